//! A finding's group while it is looked up: most records belong to groups that are known.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::{Bucket, Group};
use crate::spread::spread;

/// A name and its value.
type Named<'r> = (&'r str, Option<Cow<'r, str>>);

/// A group whose names and values lie elsewhere, by name, each once.
#[derive(Debug)]
pub(crate) enum BorrowedGroup<'r> {
    /// Of one name, as most are.
    One(Named<'r>),
    /// Of any number of names.
    Many(Vec<Named<'r>>),
}

impl<'r> BorrowedGroup<'r> {
    pub(crate) fn new(mut values: impl Iterator<Item = Named<'r>>) -> Self {
        let (Some(first), second) = (values.next(), values.next()) else { return Self::Many(Vec::new()) };
        let Some(second) = second else { return Self::One(first) };
        let mut values: Vec<_> = [first, second].into_iter().chain(values).collect();
        values.sort_by_key(|(name, _)| *name);
        values.dedup_by(|(later, value), (name, kept)| {
            let same = later == name;
            if same {
                // As in a map: the last value of a name is its value.
                std::mem::swap(value, kept);
            }
            same
        });
        Self::Many(values)
    }

    /// Of names that are in order, each there once.
    pub(crate) fn of_sorted(mut values: impl ExactSizeIterator<Item = Named<'r>>) -> Self {
        match values.len() {
            1 => values.next().map_or_else(|| Self::Many(Vec::new()), Self::One),
            _ => Self::Many(values.collect()),
        }
    }

    /// The names and values, by name.
    pub(crate) fn values(&self) -> &[Named<'r>] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// A number below 256 that groups of the same values have under a rule, and mostly no others that come with them: of an address, the
    /// end is what differs. Whoever chooses values chooses it.
    #[inline]
    pub(super) fn hint(&self, rule: usize) -> usize {
        let ends = self.values().iter().map(|(_, value)| {
            let value = value.as_deref().unwrap_or_default().as_bytes();
            let short = || value.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            let end = value.last_chunk().map_or_else(short, |end| u64::from_le_bytes(*end));
            end ^ value.len() as u64
        });
        spread(ends.fold(rule as u64, |all, end| all.rotate_left(5) ^ end), u8::BITS)
    }

    /// See [`hash`].
    pub(super) fn hash(&self, hashing: &RandomState, rule: usize, bucket: Bucket) -> u64 {
        hash(hashing, rule, bucket, self.values().iter().map(|(_, value)| value.as_deref()))
    }

    /// Whether it is the same.
    pub(super) fn is(&self, group: &Group) -> bool {
        let same = |(name, value): &Named<'_>, known: &str, of_known: &Option<String>| {
            let same_value = match (value, of_known) {
                (Some(value), Some(known)) => is_same(value, known),
                (value, known) => value.is_none() && known.is_none(),
            };
            same_value && is_same(name, known)
        };
        match self {
            Self::One(own) => group.len() == 1 && group.first().is_some_and(|(known, value)| same(own, known, value)),
            Self::Many(values) => {
                let mut both = values.iter().zip(group);
                values.len() == group.len() && both.all(|(own, (known, value))| same(own, known, value))
            }
        }
    }

    /// The same, independent of where its names and values lie.
    pub(crate) fn to_group(&self) -> Group {
        let mut group = Group::with_capacity(self.values().len());
        group.extend(
            self.values().iter().map(|(name, value)| ((*name).to_owned(), value.as_deref().map(str::to_owned))),
        );
        group
    }
}

/// A hash of a rule, a bucket and a group's values. Its names say nothing more: a rule has the same ones mostly.
pub(super) fn hash<'v>(
    hashing: &RandomState,
    rule: usize,
    bucket: Bucket,
    values: impl Iterator<Item = Option<&'v str>>,
) -> u64 {
    let mut hasher = hashing.build_hasher();
    // The start of a bucket leaves the highest bits to the rule.
    hasher.write_u64((rule as u64).rotate_right(12) ^ bucket.unwrap_or_default().cast_unsigned());
    for value in values {
        match value {
            Some(value) => hasher.write(value.as_bytes()),
            None => hasher.write_u8(0),
        }
    }
    hasher.finish()
}

/// Whether two texts are the same, which mostly are short: comparing them in general is a call that goes by their length.
#[inline]
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        8..=16 => ends(one).map(u64::from_ne_bytes) == ends(other).map(u64::from_ne_bytes),
        4..8 => ends(one).map(u32::from_ne_bytes) == ends(other).map(u32::from_ne_bytes),
        _ => one == other,
    }
}

/// The first bytes of a text, and the last.
#[inline]
fn ends<const N: usize>(text: &[u8]) -> [[u8; N]; 2] {
    [text.first_chunk(), text.last_chunk()].map(|bytes| *bytes.unwrap_or(&[0; N]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_differ_in_the_end_mostly_have_different_hints() {
        for of in [
            |number: u32| format!("203.0.113.{number}"),
            |number: u32| format!("10.{number}.0.1"),
            |number: u32| format!("user{number:03}"),
            |number: u32| format!("{number}"),
        ] {
            let hints: std::collections::BTreeSet<usize> =
                (0..200).map(|number| BorrowedGroup::One(("name", Some(Cow::Owned(of(number))))).hint(7)).collect();
            // By chance it would be 139 of 256.
            assert!(hints.len() > 100, "{} from {}", hints.len(), of(0));
            assert!(hints.last() < Some(&256));
        }
    }

    #[test]
    fn texts_are_the_same_exactly_if_each_of_their_bytes_is() {
        for length in 0..40 {
            let text = "a".repeat(length);
            assert!(is_same(&text, &text.clone()));
            assert!(!is_same(&text, &format!("{text}a")));
            for odd in 0..length {
                let mut other = text.clone();
                other.replace_range(odd..=odd, "b");
                assert!(!is_same(&text, &other), "{other}");
            }
        }
    }
}
