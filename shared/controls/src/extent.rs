//! How much a part covers, where that can be more or less: which types of resource a recorder records.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How many names a sentence has.
const NAMED: usize = 5;

/// What is covered, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Everything.
    All,
    /// These alone.
    Only(BTreeSet<String>),
    /// Everything but these.
    Except(BTreeSet<String>),
}

impl Extent {
    /// What this covers and `now` does not, in words; `None` if that is nothing.
    pub fn missing_in(&self, now: &Self) -> Option<String> {
        let some = |names: BTreeSet<&String>| (!names.is_empty()).then(|| listed(&names));
        let all_but = |names: &BTreeSet<String>| format!("all but {}", listed(&names.iter().collect()));
        match (self, now) {
            (_, Self::All) => None,
            (Self::All, Self::Except(left_out)) => some(left_out.iter().collect()),
            (Self::Except(before), Self::Except(left_out)) => some(left_out.difference(before).collect()),
            (Self::Only(before), Self::Except(left_out)) => some(before.intersection(left_out).collect()),
            (Self::Only(before), Self::Only(now)) => some(before.difference(now).collect()),
            (Self::All | Self::Except(_), Self::Only(now)) if now.is_empty() => Some("all".to_owned()),
            (Self::All | Self::Except(_), Self::Only(now)) => Some(all_but(now)),
        }
    }

    /// This without some.
    #[must_use]
    pub fn but(&self, names: &BTreeSet<String>) -> Self {
        match self {
            Self::All => Self::Except(names.clone()),
            Self::Only(only) => Self::Only(only - names),
            Self::Except(except) => Self::Except(except | names),
        }
    }

    /// What one of the two covers.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Only(one), Self::Only(other)) => Self::Only(one | other),
            (Self::Except(one), Self::Except(other)) => Self::Except(one & other),
            (Self::Only(only), Self::Except(except)) | (Self::Except(except), Self::Only(only)) => {
                Self::Except(except - only)
            }
        }
    }
}

/// `a`, `a and b`, `a, b and 7 more`.
fn listed(names: &BTreeSet<&String>) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| (*name).clone()).collect();
    if names.len() > NAMED {
        shown.push(format!("{} more", names.len() - NAMED));
    }
    match shown.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_missing_is_said_in_words() {
        let only = |names| Extent::Only(set(names));
        let except = |names| Extent::Except(set(names));
        for (before, now, expected) in [
            (Extent::All, Extent::All, None),
            (Extent::All, except("a b"), Some("a and b")),
            (Extent::All, except(""), None),
            (Extent::All, only("a b"), Some("all but a and b")),
            (Extent::All, only(""), Some("all")),
            (except("a"), except("a b"), Some("b")),
            (except("a b"), except("a"), None),
            (except("a"), only("b"), Some("all but b")),
            (only("a b"), only("b c"), Some("a")),
            (only("a"), only("a b"), None),
            (only("a b"), except("b c"), Some("b")),
            (only("a b c d e f g"), only(""), Some("a, b, c, d, e and 2 more")),
            (only("a"), Extent::All, None),
        ] {
            assert_eq!(before.missing_in(&now).as_deref(), expected, "{before:?} {now:?}");
            assert_eq!(before.or(&now).missing_in(&before.or(&now)), None);
            assert_eq!(before.missing_in(&before.or(&now)), None, "both cover what one does: {before:?} {now:?}");
            assert_eq!(now.missing_in(&before.or(&now)), None, "{before:?} {now:?}");
        }
    }
}
