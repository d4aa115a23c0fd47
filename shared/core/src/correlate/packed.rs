//! Contributions, as small as they are held and stored: an attack makes millions of them.
//!
//! Each is a byte of flags and what differs from the one before: the time and the key as differences, everything else only
//! where it is not what it mostly is, and the time in seconds where a log has no more. A line's takes some four bytes, an
//! event's with an id of its own some twenty. In an item of the state the bytes are base64.

use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::contribution::{Contribution, RecordKey};
use super::plan::Micros;
use crate::varint::{Writer, long_number, number, unzigzag, unzigzag_long, zigzag, zigzag_long};

/// There is a time: its [difference](part_of_time) follows.
const HAS_TIME: u8 = 1;
/// The key is near the one before: the difference follows, else the key itself.
const IS_NEAR: u8 = 1 << 1;
/// The leaf follows; else it is the first.
const HAS_LEAF: u8 = 1 << 2;
/// The weight follows; else it is 1.
const HAS_WEIGHT: u8 = 1 << 3;
/// The value follows.
const HAS_VALUE: u8 = 1 << 4;
/// The call failed.
const FAILED: u8 = 1 << 5;
/// It was aimed at one of cloudvigil's own resources.
const OWN: u8 = 1 << 6;
/// A role that deploys made it.
const DEPLOYING: u8 = 1 << 7;

/// A list of contributions, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    count: usize,
    last: Last,
    /// Whether one came before what came earlier, or has no time.
    is_unordered: bool,
}

/// What differences are from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Last {
    time: Micros,
    key: u128,
}

/// A contribution from which others are told by what differs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Base(Last);

impl Packed {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// One alone.
    pub fn of_one(one: &Contribution) -> Self {
        let mut packed = Self::default();
        packed.push(one);
        packed
    }

    /// Those of which these are the bytes; `None` if they are not.
    fn of_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut reader = Reader::of(&bytes);
        let (mut count, mut is_unordered, mut last) = (0, false, Micros::MIN);
        for one in reader.by_ref() {
            count += 1;
            is_unordered |= one.time.is_none_or(|time| time < last);
            last = one.time.unwrap_or(last);
        }
        let Reader { rest: [], last, .. } = reader else { return None };
        Some(Self { bytes, count, last, is_unordered })
    }

    /// What others are near that come after the last.
    pub fn base(&self) -> Base {
        Base(self.last)
    }

    /// All of them as differences from a base, to be [added](Self::append_from) to others.
    pub fn bytes_from(&self, base: &Base) -> Vec<u8> {
        let mut from = Self { last: base.0, ..Self::default() };
        from.append(self);
        from.bytes
    }

    /// Adds those of which these are the [bytes](Self::bytes_from).
    pub fn append_from(&mut self, base: &Base, bytes: &[u8]) {
        Reader { last: base.0, ..Reader::of(bytes) }.for_each(|one| self.push(&one));
    }

    /// Adds one.
    pub fn push(&mut self, new: &Contribution) {
        let key = new.key.0;
        // Differences wrap around: so every one can be undone.
        let apart = u64::try_from(key.wrapping_sub(self.last.key)).ok();
        let flags = flag(HAS_TIME, new.time.is_some())
            | flag(IS_NEAR, apart.is_some())
            | flag(HAS_LEAF, new.leaf != 0)
            | flag(HAS_WEIGHT, new.weight != 1)
            | flag(HAS_VALUE, new.value.is_some())
            | flag(FAILED, new.failed)
            | flag(OWN, new.own)
            | flag(DEPLOYING, new.deploying);
        let mut new_bytes = Writer::<LONGEST>::default();
        new_bytes.byte(flags);
        if let Some(time) = new.time {
            new_bytes.number(part_of_time(time.wrapping_sub(self.last.time)));
            self.is_unordered |= self.count > 0 && time < self.last.time;
            self.last.time = time;
        } else {
            self.is_unordered = true;
        }
        match apart {
            Some(apart) => new_bytes.number(apart),
            None => key.to_be_bytes().into_iter().for_each(|byte| new_bytes.byte(byte)),
        }
        self.last.key = key;
        if new.leaf != 0 {
            new_bytes.number(new.leaf as u64);
        }
        if new.weight != 1 {
            new_bytes.number(new.weight.into());
        }
        if let Some(value) = new.value {
            new_bytes.long_number(zigzag_long(value));
        }
        let end = self.bytes.len() + new_bytes.end;
        let is_long = new_bytes.end > MOSTLY;
        if self.bytes.capacity() - self.bytes.len() < if is_long { LONGEST } else { MOSTLY } {
            // For half as much again, not for as much: tens of thousands of lists are held at once.
            self.bytes.reserve_exact(LONGEST + self.bytes.len() / 2);
        }
        match new_bytes.bytes.first_chunk::<MOSTLY>() {
            // Copying a known number of bytes is a step.
            Some(first) if !is_long => self.bytes.extend_from_slice(first),
            _ => self.bytes.extend_from_slice(&new_bytes.bytes),
        }
        self.bytes.truncate(end);
        self.count += 1;
    }

    /// Gives back the room that is not needed: nothing more will come.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds all of another list.
    pub fn append(&mut self, other: &Self) {
        let mut reader = Reader::of(&other.bytes);
        let mut left = other.count;
        // What follows the first time and the first key are differences between the other's own.
        for one in reader.by_ref() {
            self.push(&one);
            left -= 1;
            if one.time.is_some() {
                break;
            }
        }
        if left > 0 {
            self.bytes.extend_from_slice(reader.rest);
            self.count += left;
            self.last = other.last;
            self.is_unordered |= other.is_unordered;
        }
    }

    /// All of them, without those that are later than a time.
    #[inline]
    pub fn until(&self, latest: Micros) -> impl Iterator<Item = Contribution> {
        let is_due = move |one: &Contribution| one.time.is_none_or(|time| time <= latest);
        Reader::of(&self.bytes).take_while(move |one| self.is_unordered || is_due(one)).filter(is_due)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Contribution> {
        Reader::of(&self.bytes)
    }

    /// The same in lists of at most `size` bytes each, but for a single contribution that takes more.
    pub fn split(self, size: usize) -> Vec<Self> {
        if self.bytes.len() <= size {
            return vec![self];
        }
        let mut parts = vec![Self::default()];
        for contribution in self.iter() {
            let mut part = parts.pop().unwrap_or_default();
            let before = part.clone_end();
            part.push(&contribution);
            if part.bytes.len() > size && part.count > 1 {
                part.undo(before);
                parts.push(part);
                part = Self::default();
                part.push(&contribution);
            }
            parts.push(part);
        }
        parts
    }

    fn clone_end(&self) -> (usize, Last, bool) {
        (self.bytes.len(), self.last, self.is_unordered)
    }

    fn undo(&mut self, (length, last, is_unordered): (usize, Last, bool)) {
        self.bytes.truncate(length);
        self.last = last;
        self.is_unordered = is_unordered;
        self.count -= 1;
    }
}

/// Reads what [`Packed::push`] wrote; ends where it reads something else.
struct Reader<'p> {
    rest: &'p [u8],
    last: Last,
    /// How version 2 wrote a time: as microseconds, whatever they were.
    in_microseconds: bool,
}

impl<'p> Reader<'p> {
    fn of(bytes: &'p [u8]) -> Self {
        Self { rest: bytes, last: Last::default(), in_microseconds: false }
    }
}

impl Iterator for Reader<'_> {
    type Item = Contribution;

    #[inline]
    fn next(&mut self) -> Option<Contribution> {
        let (flags, mut rest) = self.rest.split_first()?;
        let has = |flag: u8| flags & flag != 0;
        let Last { mut time, mut key } = self.last;
        if has(HAS_TIME) {
            let difference;
            (difference, rest) = number(rest)?;
            let difference = if self.in_microseconds { unzigzag(difference) } else { time_of_part(difference) };
            time = time.wrapping_add(difference);
        }
        if has(IS_NEAR) {
            let difference;
            (difference, rest) = number(rest)?;
            key = key.wrapping_add(difference.into());
        } else {
            let (whole, after) = rest.split_first_chunk()?;
            (key, rest) = (u128::from_be_bytes(*whole), after);
        }
        let (mut leaf, mut weight, mut value) = (0, 1, None);
        if has(HAS_LEAF) {
            (leaf, rest) = number(rest)?;
        }
        if has(HAS_WEIGHT) {
            (weight, rest) = number(rest)?;
        }
        if has(HAS_VALUE) {
            let number;
            (number, rest) = long_number(rest)?;
            value = Some(unzigzag_long(number));
        }
        let read = Contribution {
            time: has(HAS_TIME).then_some(time),
            key: RecordKey(key),
            leaf: usize::try_from(leaf).ok()?,
            weight: u32::try_from(weight).ok()?,
            failed: has(FAILED),
            own: has(OWN),
            deploying: has(DEPLOYING),
            value,
        };
        // What is left, if it ends before, says that something could not be read.
        (self.rest, self.last) = (rest, Last { time, key });
        Some(read)
    }
}

/// The microseconds of a second.
const SECOND: Micros = 1_000_000;

/// A difference of times as a number: twice the seconds and one if it is whole seconds, else twice the microseconds.
/// Times are [`jiff::Timestamp`]s, so there is room for that bit.
fn part_of_time(difference: Micros) -> u64 {
    match difference % SECOND {
        0 => zigzag(difference / SECOND) << 1 | 1,
        _ => zigzag(difference) << 1,
    }
}

fn time_of_part(part: u64) -> Micros {
    let (number, is_seconds) = (unzigzag(part >> 1), part & 1 == 1);
    if is_seconds { number.wrapping_mul(SECOND) } else { number }
}

fn flag(flag: u8, holds: bool) -> u8 {
    if holds { flag } else { 0 }
}

/// The most bytes of a contribution: flags, time, key, leaf, weight and value.
const LONGEST: usize = 1 + 10 + 16 + 10 + 5 + 19;

/// As many bytes suffice for most.
const MOSTLY: usize = 16;

/// Stands before the base64 of this version.
const MARK: char = '.';

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{MARK}{}", Base64Display::new(&self.bytes, &STANDARD_NO_PAD)))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Stored)
    }
}

/// Reads contributions, as this version stores them or as version 2 did.
struct Stored;

impl Visitor<'_> for Stored {
    type Value = Packed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("contributions in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Packed, E> {
        let own = text.strip_prefix(MARK);
        let bytes = STANDARD_NO_PAD.decode(own.unwrap_or(text)).map_err(E::custom)?;
        let packed = if own.is_some() { Packed::of_bytes(bytes) } else { of_version_2(&bytes) };
        packed.ok_or_else(|| E::custom("contributions that this version cannot read"))
    }
}

fn of_version_2(bytes: &[u8]) -> Option<Packed> {
    let mut packed = Packed::default();
    let mut reader = Reader { in_microseconds: true, ..Reader::of(bytes) };
    reader.by_ref().for_each(|one| packed.push(&one));
    reader.rest.is_empty().then_some(packed)
}

#[cfg(test)]
mod tests;
