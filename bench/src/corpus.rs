//! Logs to measure with: made from a seed, the same bytes each time, or read from a folder.
//!
//! A made corpus has a stated share of **candidates**: records that at least one built-in rule looks for, before any
//! correlation. A failed password is one, and so is an accepted one, which counts once others failed before it.
//! Everything else is what such logs mostly hold, some of it close to what rules look for.

mod access;
mod cloudtrail;
mod eve;
mod random;
mod syslog;
mod vpcflow;

use std::io::Write as _;

use cloudvigil_core::formats::{self, Format};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};

use self::random::Random;
use crate::floors::plain;

/// 2026-03-01T10:00:00Z, when the first record happens.
const START: i64 = 1_772_359_200;
/// The objects' time of modification, days after the last record of the largest corpus.
pub const MODIFIED: Timestamp = Timestamp::constant(START + 180 * 86_400, 0);

/// A kind of log that can be made.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Of a hundred records, how many are candidates where nothing else is asked for.
    pub candidates: u8,
    /// Whether all records are in one object.
    pub is_one_object: bool,
    /// Its format.
    pub format: &'static dyn Format,
    /// How many records an object has.
    records_per_object: u64,
    /// What stands before the records of an object, between two, and after the last.
    frame: [&'static str; 3],
    /// Whether objects are compressed.
    compressed: bool,
    /// Writes one record.
    write: fn(&mut Random, Timestamp, bool, &mut Vec<u8>),
}

/// Every kind, with its objects as they usually are.
pub static KINDS: [Kind; 7] = [
    cloudtrail("cloudtrail", 1000, false),
    cloudtrail("cloudtrail-tiny-objects", 20, false),
    cloudtrail("cloudtrail-one-object", 1000, true),
    lines("access", 5, &formats::access::Access, "", access::write),
    lines("auth", 25, &formats::syslog::Syslog, "", syslog::write),
    lines("eve", 5, &formats::eve::Eve, "", eve::write),
    lines("vpcflow", 20, &formats::vpcflow::VpcFlow, vpcflow::HEADER, vpcflow::write),
];

const fn cloudtrail(name: &'static str, records_per_object: u64, is_one_object: bool) -> Kind {
    Kind {
        name,
        candidates: 1,
        is_one_object,
        format: &formats::cloudtrail::CloudTrail,
        records_per_object,
        frame: [r#"{"Records":["#, ",", "]}"],
        compressed: true,
        write: cloudtrail::write,
    }
}

const fn lines(
    name: &'static str,
    candidates: u8,
    format: &'static dyn Format,
    header: &'static str,
    write: fn(&mut Random, Timestamp, bool, &mut Vec<u8>),
) -> Kind {
    Kind {
        name,
        candidates,
        is_one_object: false,
        format,
        records_per_object: 20_000,
        frame: [header, "\n", "\n"],
        compressed: false,
        write,
    }
}

/// Objects of one format.
pub struct Corpus {
    /// What it is called in the table.
    pub name: &'static str,
    /// How they are to be read.
    pub format: &'static dyn Format,
    /// The objects, as they are stored.
    pub objects: Vec<Vec<u8>>,
    /// How many records of a made corpus there are, and how many of them are candidates.
    pub made: Option<Made>,
}

impl Corpus {
    /// All of it in one gzip member, each object on lines of its own.
    pub fn together(&self) -> anyhow::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for object in &self.objects {
            encoder.write_all(&plain(object)?)?;
            encoder.write_all(b"\n")?;
        }
        Ok(encoder.finish()?)
    }
}

/// What was put into a made corpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Records.
    pub records: u64,
    /// Records that at least one rule looks for.
    pub candidates: u64,
}

impl Kind {
    /// Whole objects of at least `bytes` bytes together, uncompressed. Of every hundred records, `percent` are
    /// candidates.
    pub fn make(&self, seed: u64, bytes: u64, percent: u8) -> anyhow::Result<Corpus> {
        let mut random = Random::new(seed);
        let mut made = Made::default();
        let mut objects = Vec::new();
        let mut time = Timestamp::constant(START, 0);
        let mut written = 0;
        while written < bytes {
            let mut object = Vec::new();
            object.extend_from_slice(self.frame[0].as_bytes());
            let mut records = 0;
            while records < self.records_per_object || self.is_one_object && (object.len() as u64) < bytes {
                if records > 0 {
                    object.extend_from_slice(self.frame[1].as_bytes());
                }
                records += 1;
                // The line of `percent` in a hundred crosses a whole number here: evenly spread, and exact.
                let number = made.records;
                let candidate = (number + 1) * u64::from(percent) / 100 > number * u64::from(percent) / 100;
                (self.write)(&mut random, time, candidate, &mut object);
                made.records += 1;
                made.candidates += u64::from(candidate);
                time += SignedDuration::from_millis(random.below_signed(400));
            }
            object.extend_from_slice(self.frame[2].as_bytes());
            written += object.len() as u64;
            objects.push(if self.compressed { compressed(&object)? } else { object });
        }
        Ok(Corpus { name: self.name, format: self.format, objects, made: Some(made) })
    }
}

fn compressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::detect::Catalogue;
    use cloudvigil_core::pipeline::{Options, Pipeline};

    use super::*;

    /// The kinds, with objects small enough for a debug build.
    fn small_kinds() -> [Kind; 7] {
        KINDS.map(|kind| Kind { records_per_object: 300, ..kind })
    }

    #[test]
    fn a_seed_decides_every_byte() {
        for kind in small_kinds() {
            let make = |seed| kind.make(seed, 1, 1).unwrap().objects;
            assert_eq!(make(7), make(7), "{}", kind.name);
            assert_ne!(make(7), make(8), "{}", kind.name);
        }
    }

    #[test]
    fn every_record_parses_and_the_candidates_are_those_that_rules_match() {
        let (catalogue, problems) = Catalogue::built_in();
        assert!(problems.is_empty(), "{problems:?}");
        let pipeline = Pipeline::new(&catalogue, Options { matches: true, ..Options::default() });
        let kinds = small_kinds().into_iter().cycle().zip([1, 3, 10, 50, 100, 100, 100, 100, 0, 7, 20, 25, 5, 1]);
        for (kind, percent) in kinds {
            let name = kind.name;
            let corpus = kind.make(42, 100_000, percent).unwrap();
            let made = corpus.made.unwrap();
            assert_eq!(made.candidates, made.records * u64::from(percent) / 100, "{name}");
            let mut seen = Made::default();
            for (number, object) in corpus.objects.iter().enumerate() {
                // The format is recognised, not given.
                let mut analysis = pipeline.analysis("made", number.to_string(), Some(MODIFIED));
                analysis.push(object);
                let report = analysis.finish();
                assert!(report.damage.is_empty(), "{name}: {:?}", report.damage);
                assert_eq!(report.stats.format, Some(kind.format.name()));
                assert_eq!(report.stats.unparsed, 0, "{name}");
                assert_eq!(report.stats.skipped, u64::from(kind.frame[0] == vpcflow::HEADER), "{name}");
                seen.records += report.stats.parsed;
                seen.candidates += report.matches.records().count() as u64;
            }
            assert_eq!(seen, made, "{name} at {percent} %");
        }
    }
}
