//! What the formats' tests share.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use super::{Context, Format, Parsed, Parser, by_name};

/// An object modified on 2 March 2026, its naive stamps in UTC.
pub(super) fn context() -> Context {
    Context { modified: "2026-03-02T00:00:00Z".parse().unwrap(), timezone: TimeZone::UTC }
}

/// A parser that what it lends can be kept of.
pub(super) fn lasting_parser(format: &dyn Format) -> &'static mut dyn Parser {
    Box::leak(format.parser(&context()))
}

/// Parses random bytes, and `samples` damaged at random places.
pub(super) fn no_bytes_make_it_panic(format: &dyn Format, samples: &[u8]) {
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let lines: Vec<&[u8]> = samples.split(|byte| *byte == b'\n').collect();
    let damage = (any::<usize>(), vec((any::<usize>(), damaging_byte()), 0..4), any::<usize>());
    let frames = (vec(any::<u8>(), 0..200), damage);
    runner
        .run(&frames, |(noise, (which, changes, length))| {
            let mut damaged = lines[which % lines.len()].to_vec();
            for (at, byte) in changes {
                if !damaged.is_empty() {
                    let at = at % damaged.len();
                    damaged[at] = byte;
                }
            }
            damaged.truncate(length % (damaged.len() + 1) + damaged.len() / 2);
            let mut parser = format.parser(&context());
            for frame in [&noise, &damaged] {
                let _ = format.recognises(frame);
                if let Parsed::Record(record) = parser.parse(&String::from_utf8_lossy(frame)) {
                    let _ = format.facts(&record);
                    let mut record = record;
                    crate::enrich::enrich(&mut record, &crate::enrich::OwnResources::default(), |_| true);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// The lines of a sample that are not blank, as they are handed over.
pub(super) fn lines(sample: &[u8]) -> impl Iterator<Item = String> {
    let lines = sample.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| String::from_utf8_lossy(line).into_owned())
}

fn damaging_byte() -> impl Strategy<Value = u8> {
    proptest::prop_oneof![any::<u8>(), proptest::sample::select(&b" []\"'\\<>:;,.=%{}()-\t\r\xc3\xff0"[..])]
}

#[test]
fn a_field_of_a_line_is_the_same_alone_and_among_all_of_them() {
    // The last of several columns of a name that has a value, whichever of its names it goes by.
    let twice = b"version srcaddr src_ip srcaddr dstaddr action\n5 192.0.2.1 192.0.2.2 - 192.0.2.3 REJECT\n";
    let mut seen = BTreeSet::new();
    for (name, samples) in [
        ("access", &include_bytes!("fixtures/access/basic.log")[..]),
        ("syslog", include_bytes!("fixtures/syslog/basic.log")),
        ("vpcflow", include_bytes!("fixtures/vpcflow/basic.log")),
        ("vpcflow", include_bytes!("fixtures/vpcflow/custom_order.log")),
        ("vpcflow", twice),
    ] {
        let mut parser = by_name(name).unwrap().parser(&context());
        for sample in lines(samples) {
            let Parsed::Record(record) = parser.parse(&sample) else { continue };
            let line = record.fields.as_line().unwrap();
            let all = line.all();
            assert_eq!(line.get("nothing"), None);
            for (field, value) in &all {
                assert_eq!(&Value::from(line.get(field).unwrap()), value, "{field}");
                seen.insert((name, field.clone()));
            }
        }
    }
    for field in [("syslog", "invalid_user"), ("syslog", "USER"), ("syslog", "severity"), ("vpcflow", "dst_port")] {
        assert!(seen.contains(&(field.0, field.1.to_owned())), "{field:?}");
    }
}

#[test]
fn every_format_recognises_its_own_samples_first() {
    for (head, name) in [
        (&include_bytes!("fixtures/access/basic.log")[..], Some("access")),
        (include_bytes!("fixtures/syslog/basic.log"), Some("syslog")),
        (include_bytes!("fixtures/eve/basic.ndjson"), Some("eve")),
        (include_bytes!("fixtures/vpcflow/basic.log"), Some("vpcflow")),
        (include_bytes!("fixtures/vpcflow/custom_order.log"), Some("vpcflow")),
        (include_bytes!("fixtures/inventory/basic.ndjson"), Some("inventory")),
        (include_bytes!("fixtures/application/basic.log"), Some("application")),
        (include_bytes!("fixtures/application/json.ndjson"), Some("application")),
        (include_bytes!("fixtures/unrelated.txt"), None),
        (b"\x1f\x8b\x08\0\0", None),
        (b"", None),
    ] {
        assert_eq!(super::recognise(super::FORMATS, head).map(Format::name), name);
        let odd = [b"\xef\xbb\xbf\n\n".as_slice(), head].concat();
        assert_eq!(
            super::recognise(super::FORMATS, &odd).map(Format::name),
            name,
            "with a byte order mark and blank lines"
        );
    }
    for format in super::FORMATS {
        assert!(super::by_name(format.name()).is_some_and(|found| found.name() == format.name()));
    }
}
