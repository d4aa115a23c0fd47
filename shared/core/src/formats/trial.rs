//! What the formats' tests share.

use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Context, Format, Parsed};

/// An object modified on 2 March 2026, its naive stamps in UTC.
pub(super) fn context() -> Context {
    Context { modified: "2026-03-02T00:00:00Z".parse().unwrap(), timezone: TimeZone::UTC }
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
                if let Parsed::Record(record) = parser.parse(frame) {
                    let _ = format.facts(&record);
                    let mut record = record;
                    crate::enrich::enrich(&mut record, &crate::enrich::OwnResources::default(), |_| true);
                }
            }
            Ok(())
        })
        .unwrap();
}

fn damaging_byte() -> impl Strategy<Value = u8> {
    proptest::prop_oneof![any::<u8>(), proptest::sample::select(&b" []\"'\\<>:;,.=%{}()-\t\r\xc3\xff0"[..])]
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
        assert_eq!(super::recognise(head).map(Format::name), name);
        let odd = [b"\xef\xbb\xbf\n\n".as_slice(), head].concat();
        assert_eq!(super::recognise(&odd).map(Format::name), name, "with a byte order mark and blank lines");
    }
    for format in super::FORMATS {
        assert!(super::by_name(format.name()).is_some_and(|found| found.name() == format.name()));
    }
}
