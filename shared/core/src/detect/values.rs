//! What a correlation reads of the records that it counts.

use std::borrow::Cow;

use super::{Leaf, field_text};
use crate::correlate::hash_of;
use crate::correlate::plan::MILLIONTHS;
use crate::record::Record;

/// What a correlation reads of each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOf {
    /// The fields whose values are counted; several make one value together.
    Distinct(Vec<String>),
    /// The field whose number is added up.
    Number(String),
}

impl ValueOf {
    /// The fields' names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Distinct(names) => names,
            Self::Number(name) => std::slice::from_ref(name),
        }
    }
}

/// The largest number that is told from larger ones, in millionths: so many of them add up without overflow.
const LARGEST: i128 = 10_i128.pow(30);

impl Leaf {
    /// What a record contributes here: `Some(None)` where only its being there counts, and `None` where it contributes
    /// nothing, because a field is absent or null, or no number.
    pub fn value(&self, record: &Record<'_>) -> Option<Option<i128>> {
        match &self.value {
            None => Some(None),
            Some(ValueOf::Distinct(names)) => {
                let texts: Vec<Cow<'_, str>> =
                    names.iter().map(|name| field_text(record, name)).collect::<Option<_>>()?;
                Some(Some(hashed(&texts)))
            }
            Some(ValueOf::Number(name)) => Some(Some(millionths(&field_text(record, name)?)?)),
        }
    }
}

/// A number that stands for texts: a short one's own bytes and their number, else a hash.
fn hashed(texts: &[Cow<'_, str>]) -> i128 {
    if let [text] = texts
        && let Ok(length @ 0..16) = u8::try_from(text.len())
    {
        let mut bytes = [0; 16];
        bytes[0] = length;
        bytes[1..=text.len()].copy_from_slice(text.as_bytes());
        return i128::from_le_bytes(bytes);
    }
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    i128::from_be_bytes(hash_of(&texts))
}

/// A number in millionths; `None` if it is none, or not finite.
fn millionths(text: &str) -> Option<i128> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return Some(i128::from(whole) * MILLIONTHS);
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    #[allow(clippy::cast_possible_truncation, reason = "a cast of a number that is too large gives the largest")]
    let millionths = (number * 1e6).round() as i128;
    Some(millionths.clamp(-LARGEST, LARGEST))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_that_differ_have_numbers_that_do() {
        let texts = ["", "\0", "\0\0", "1", "11", "443", "203.0.113.199", "fifteen letters", "sixteen letters!"];
        let numbers: BTreeSet<i128> = texts.iter().map(|text| hashed(&[Cow::Borrowed(*text)])).collect();
        assert_eq!(numbers.len(), texts.len());
        let parts = |one, other| hashed(&[Cow::Borrowed(one), Cow::Borrowed(other)]);
        assert_ne!(parts("a", "bc"), parts("ab", "c"));
    }

    #[test]
    fn numbers_are_read_exactly_and_words_are_none() {
        for (text, expected) in [
            ("5", Some(5_000_000)),
            (" -3 ", Some(-3_000_000)),
            ("0.1", Some(100_000)),
            ("1e3", Some(1_000_000_000)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807_000_000)),
            ("1e300", Some(LARGEST)),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("many", None),
            ("[1]", None),
        ] {
            assert_eq!(millionths(text), expected, "{text}");
        }
    }
}
