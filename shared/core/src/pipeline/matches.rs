//! What matched in one object, as small as it is held: there may be millions.

use std::fmt;

use jiff::Timestamp;

use crate::varint::{Writer, number, unzigzag, zigzag};

/// A record that a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// The record's number, from 1.
    pub record: u64,
    /// The rule's number in the catalogue.
    pub rule: usize,
    /// The record's time.
    pub time: Option<Timestamp>,
}

/// (record, rule) pairs in their order.
///
/// Of each, a number holds how many records it is after the one before, times four, and what is known of its time; then come
/// the rule's number, and the time as its difference from the last one. That is some five bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Matches {
    bytes: Vec<u8>,
    last: Last,
}

/// What differences are from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Last {
    record: u64,
    time: Timestamp,
}

/// The record has no time.
const NO_TIME: u64 = 0;
/// The last one's.
const SAME_TIME: u64 = 1;
/// So many seconds, of either sign, after the last one's.
const SECONDS: u64 = 2;
/// The same, and its nanoseconds.
const NANOSECONDS: u64 = 3;

/// The most bytes of a match: record, rule, seconds and nanoseconds.
const LONGEST: usize = 10 + 10 + 10 + 5;

impl Matches {
    /// Adds one, of the same record as the last one or of a later record.
    pub(super) fn push(&mut self, new: Match) {
        let Last { record, time: last } = self.last;
        let has_nanoseconds = |time: Timestamp| time.subsec_nanosecond() != last.subsec_nanosecond();
        let kind = match new.time {
            None => NO_TIME,
            Some(time) if time == last => SAME_TIME,
            Some(time) if has_nanoseconds(time) => NANOSECONDS,
            Some(_) => SECONDS,
        };
        let mut packed = Writer::<LONGEST>::default();
        packed.number((new.record - record) << 2 | kind);
        packed.number(new.rule as u64);
        if let Some(time) = new.time.filter(|_| kind != SAME_TIME) {
            packed.number(zigzag(time.as_second() - last.as_second()));
            if kind == NANOSECONDS {
                packed.number(zigzag(time.subsec_nanosecond().into()));
            }
        }
        self.bytes.extend_from_slice(&packed.bytes[..packed.end]);
        self.last = Last { record: new.record, time: new.time.unwrap_or(last) };
    }

    /// Adds all of another list, whose records are numbered from `before` on.
    pub(super) fn append(&mut self, others: &Self, before: u64) {
        others.iter().for_each(|other| self.push(Match { record: before + other.record, ..other }));
    }

    /// Whether nothing matched.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Match> {
        Reader { rest: &self.bytes, last: Last::default() }
    }

    /// The numbers of the records that any rule matched.
    pub fn records(&self) -> impl Iterator<Item = u64> {
        let mut last = None;
        self.iter().filter_map(move |found| (last.replace(found.record) != Some(found.record)).then_some(found.record))
    }
}

impl fmt::Debug for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Reads what [`Matches::push`] wrote.
struct Reader<'m> {
    rest: &'m [u8],
    last: Last,
}

impl Iterator for Reader<'_> {
    type Item = Match;

    fn next(&mut self) -> Option<Match> {
        let (head, rest) = number(self.rest)?;
        let (rule, mut rest) = number(rest)?;
        let record = self.last.record + (head >> 2);
        let time = match head & 3 {
            NO_TIME => None,
            SAME_TIME => Some(self.last.time),
            kind => {
                let (seconds, mut nanoseconds);
                (seconds, rest) = number(rest)?;
                nanoseconds = self.last.time.subsec_nanosecond();
                if kind == NANOSECONDS {
                    let packed;
                    (packed, rest) = number(rest)?;
                    nanoseconds = i32::try_from(unzigzag(packed)).ok()?;
                }
                Some(Timestamp::new(self.last.time.as_second() + unzigzag(seconds), nanoseconds).ok()?)
            }
        };
        self.rest = rest;
        self.last = Last { record, time: time.unwrap_or(self.last.time) };
        Some(Match { record, rule: usize::try_from(rule).ok()?, time })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;

    fn matches_of(list: &[Match]) -> Matches {
        let mut matches = Matches::default();
        for one in list {
            matches.push(*one);
        }
        matches
    }

    #[test]
    fn what_is_held_is_read_back_however_it_is_split() {
        let range = Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond();
        let near = (0..5_i128, prop_oneof![Just(0), Just(500_000_000), 0..1_000_000_000_i128])
            .prop_map(|(second, nanosecond)| (1_772_359_200 + second) * 1_000_000_000 + nanosecond);
        let time = prop_oneof![1 => range, 6 => near].prop_map(|time| Timestamp::from_nanosecond(time).unwrap());
        let apart = prop_oneof![8 => 0..3_u64, 1 => 0..1_u64 << 40];
        let one = (apart, prop_oneof![0..300_usize, Just(usize::MAX)], prop::option::weighted(0.9, time));
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[34; 32]));
        runner
            .run(&(prop::collection::vec(one, 0..20), 0..20_usize), |(list, split)| {
                let mut record = 0;
                let numbered = list.into_iter().map(|(apart, rule, time)| {
                    record += apart;
                    Match { record, rule, time }
                });
                let list: Vec<Match> = numbered.collect();
                let matches = matches_of(&list);
                prop_assert_eq!(matches.iter().collect::<Vec<_>>(), list.clone());
                prop_assert_eq!(matches.is_empty(), list.is_empty());
                let records: BTreeSet<u64> = list.iter().map(|one| one.record).collect();
                prop_assert!(matches.records().eq(records));

                let (first, second) = list.split_at(split.min(list.len()));
                let before = first.last().map_or(0, |one| one.record);
                let second: Vec<Match> =
                    second.iter().map(|one| Match { record: one.record - before, ..*one }).collect();
                let mut appended = matches_of(first);
                appended.append(&matches_of(&second), before);
                prop_assert_eq!(&appended, &matches);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_matches_of_an_attack_take_few_bytes() {
        let mut matches = Matches::default();
        for number in 0..1_000 {
            let time = Timestamp::from_second(1_772_359_200 + i64::try_from(number / 4).unwrap()).ok();
            for rule in [3, 140] {
                matches.push(Match { record: number * 4, rule, time });
            }
        }
        assert!(matches.bytes.len() < 2_000 * 4, "{}", matches.bytes.len());
    }
}
