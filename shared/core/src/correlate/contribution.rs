//! One record's contribution, and the key by which the record is counted.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::hex;
use super::plan::Micros;

/// What makes a record the same record, whatever way it came: 128 bits, stored as 32 hexadecimal digits. As a number the
/// positions of an object follow one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordKey(pub(super) u128);

impl RecordKey {
    /// By texts: an id, and what kind of id it is.
    pub(crate) fn of(parts: &[&str]) -> Self {
        Self(u128::from_be_bytes(hash_of(parts)))
    }

    /// By the position in the object that this is the key of. Positions are consecutive, and the keys of objects are
    /// spread over 128 bits: no two objects' ranges meet.
    pub(crate) fn at(self, position: u64) -> Self {
        Self(self.0.wrapping_add(position.into()))
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0.to_be_bytes()))
    }
}

impl Serialize for RecordKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0.to_be_bytes()))
    }
}

impl<'de> Deserialize<'de> for RecordKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = RecordKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hexadecimal digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RecordKey, E> {
                let number = if text.len() == 32 { u128::from_str_radix(text, 16).ok() } else { None };
                // Any other text is a key all the same.
                Ok(number.map_or_else(|| RecordKey::of(&["stored", text]), RecordKey))
            }
        }

        deserializer.deserialize_str(Digits)
    }
}

/// One record's contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contribution {
    /// When, in microseconds since 1970.
    pub time: Option<Micros>,
    /// The record.
    pub key: RecordKey,
    /// The leaf of the plan that it is for.
    pub leaf: usize,
    /// How many occurrences the record stands for.
    pub weight: u32,
    /// Whether it is a call that failed.
    pub failed: bool,
    /// Whether it is about one of cloudvigil's own resources.
    pub own: bool,
    /// Whether a role made it that deploys cloudvigil.
    pub deploying: bool,
    /// For leaves whose values are looked at, the value: a number in millionths, or a hash.
    pub value: Option<i128>,
}

/// 16 bytes over texts, each told apart from the next by its length.
pub(crate) fn hash_of(parts: &[&str]) -> [u8; 16] {
    Texts::of(parts).hash()
}

/// Texts on their way to [`hash_of`].
#[derive(Clone)]
pub(super) struct Texts(Sha256);

impl Texts {
    pub fn of(parts: &[&str]) -> Self {
        parts.iter().fold(Self(Sha256::new()), |texts, part| texts.and(part))
    }

    /// With one more.
    pub fn and(mut self, part: &str) -> Self {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part.as_bytes());
        self
    }

    pub fn hash(self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0.finalize()[..16]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_keys_of_their_own() {
        let object = RecordKey::of(&["position", "object"]);
        assert_ne!(object.at(1), object.at(2));
        assert_ne!(object.at(1), RecordKey::of(&["position", "other"]).at(1));
    }
}
