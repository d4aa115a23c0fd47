//! What comes of an object does not depend on who judged its sections.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::*;
use crate::formats::{Framing, Gate, Parsed, Parser};
use crate::pipeline::screening::Counts;
use crate::record::{FactsOf, Record};

/// What a generated object consists of, by format: ordinary records, ones that rules look for, and what disturbs.
const PARTS: [(&str, &[&str], [&str; 3]); 5] = [
    (
        "access",
        &[
            REQUEST,
            r#"198.51.100.7 - - [01/Mar/2026:10:00:01 +0000] "POST /a HTTP/1.1" 200 5 "-" "x""#,
            r#"198.51.100.7 - - [01/Mar/2026:10:00:02 +0000] "HEAD / HTTP/1.1" 200 5 "-" "ü""#,
            "no request",
            "",
            " \r",
        ],
        ["", "\n", "\n"],
    ),
    (
        "syslog",
        &[
            FAILED,
            "Mar  1 10:00:07 host-1 sshd[7]: Failed password for invalid user b from 203.0.113.10 port 4712 ssh2",
            "Mar  1 10:00:08 host-1 sshd[8]: Accepted password for root from 203.0.113.9 port 4711 ssh2",
            "Mar  1 10:00:09 host-1 sshd[8]: message repeated 5 times: [ Failed password for root from 203.0.113.9 port 4711 ssh2]",
            "<86>Mar  1 10:00:10 host-1 sudo:    alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            "2026-03-01T10:00:11.000000002+00:00 host-1 sshd[9]: Failed password for c from 203.0.113.9 port 4713 ssh2",
            "2026-03-01T10:00:11.000000001+00:00 host-1 sshd[9]: Failed password for d from 203.0.113.9 port 4713 ssh2",
            "Failed",
        ],
        ["", "\n", "\n"],
    ),
    (
        "vpcflow",
        &[
            "2 123456789012 eni-0a 192.0.2.1 10.0.0.5 40022 22 6 5 300 1772359200 1772359260 REJECT OK",
            "2 123456789012 eni-0a 192.0.2.1 10.0.0.5 40022 443 6 5 300 1772359200 1772359260 ACCEPT OK",
            "2 123456789012 eni-0a - - - - - - - 1772359200 1772359260 - NODATA",
            "version srcaddr dstaddr action log-status start",
            "2 192.0.2.1 10.0.0.9 REJECT OK 1772359200",
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status",
        ],
        ["", "\n", "\n"],
    ),
    (
        "cloudtrail",
        &[
            EVENT,
            r#"{"eventID":"2","eventName":"ListBuckets","eventTime":"2026-03-01T10:00:01Z"}"#,
            r#"{"eventID":"3","eventName":"ListKeys","inner":[{"eventID":"4"},{"eventID":"5"}],"text":"{\"eventID\":"}"#,
            r#"{"eventID":"6","eventName":"StopLogging","text":",{"}"#,
            "{\"eventID\":\"7\",\n \"eventName\":\"ListKeys\"}",
            "7",
        ],
        [r#"{"Records":["#, ",", "]}"],
    ),
    (
        "cloudtrail",
        &[
            EVENT,
            r#"{"eventID":"2","eventName":"ListBuckets"}"#,
            r#"{"eventID":"8","eventName":"StopLogging"}"#,
            r#"{"eventID":"9","eventName":}"#,
            "garbage }",
            "",
        ],
        ["", "\n", ""],
    ),
];

/// Rules of every kind: with groups of one value and of several, correlations of several rules, counted values.
const CORRELATIONS: &str = "
title: Attempt
id: attempt
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed_password}, condition: selection}
---
title: Login
id: login
logsource: {product: linux, service: sshd}
detection: {selection: {event: accepted}, condition: selection}
---
title: Guessed
id: guessed
correlation: {type: temporal, rules: [attempt, login], group-by: [src_ip, user], timespan: 10m}
---
title: Many users
id: users
correlation: {type: value_count, rules: [attempt], group-by: [src_ip], timespan: 10m, condition: {gte: 2, field: user}}
---
title: Rejected
id: rejected
level: low
logsource: {category: firewall}
detection: {selection: {action: REJECT}, condition: selection}
---
title: Scan
id: scan
correlation: {type: value_count, rules: [rejected], group-by: [src_ip], timespan: 1h, condition: {gte: 2, field: dst_ip}}
---
title: Rarely
id: rarely
correlation: {type: event_count, rules: [rejected], group-by: [src_ip], timespan: 1h, condition: {lt: 3}}
";

fn reports_are_equal(one: &Report, other: &Report) -> bool {
    one.stats == other.stats
        && one.matches == other.matches
        && one.refused == other.refused
        && one.contributions.iter().eq(other.contributions.iter())
        && one.contributions.given_up().eq(other.contributions.given_up())
}

/// Runs with two threads that help.
fn helped<T>(screening: &Screening, pipeline: &Pipeline<'_>, run: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| screening.help(pipeline));
        }
        let started = Instant::now();
        while screening.threads() < 2 && started.elapsed() < Duration::from_mins(1) {
            std::thread::yield_now();
        }
        let outcome = catch_unwind(AssertUnwindSafe(run));
        screening.close();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn sections_judged_elsewhere_come_to_the_same() {
    let rules = [RULES, CORRELATIONS].map(|rules| RuleFile::new("rules.yml", rules));
    let (catalogue, problems) = Catalogue::load(rules.into());
    assert!(problems.is_empty(), "{problems:?}");
    for since in [None, "2026-03-01T10:00:01Z".parse().ok()] {
        let modified = "2026-03-02T00:00:00Z".parse().unwrap();
        let options = Options { matches: true, since, modified, ..Options::default() };
        let alone = Pipeline::new(&catalogue, options);
        for screening in [Screening::judging_all(400), Screening::with_sections_of(400)] {
            let by_several = alone.screened_by(&screening);
            helped(&screening, &by_several, || objects_read_alike(&alone, &by_several));
            let Counts { put, judged, held } = screening.counts();
            assert!(put > 1_000 && held * 2 > judged, "{held} of {judged} of {put} sections");
        }
    }
}

/// Hundreds of objects of all kinds come to the same by both.
fn objects_read_alike(one: &Pipeline<'_>, other: &Pipeline<'_>) {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]));
    // The first parts are the most of a log, the last ones rare.
    let part = prop_oneof![60 => 0..3_usize, 2 => 3..8_usize];
    let object = prop::collection::vec(part, 0..120);
    let input = (0..PARTS.len(), prop::collection::vec(object, 1..4), prop::collection::vec(1..900_usize, 1..20));
    let outcome = runner.run(&input, |(kind, objects, sizes)| {
        let (format, parts, [before, between, after]) = PARTS[kind];
        let texts = objects.iter().map(|object| {
            let records: Vec<&str> = object.iter().map(|part| parts[*part % parts.len()]).collect();
            format!("{before}{}{after}", records.join(between))
        });
        let text = texts.collect::<Vec<_>>().join("\n");
        let read = |pipeline: &Pipeline<'_>| {
            let options = Options { format: formats::by_name(format), ..pipeline.options.clone() };
            let pipeline = Pipeline { options, ..pipeline.clone() };
            let mut analysis = pipeline.analysis("test", "object".to_owned(), None);
            for piece in in_pieces(text.as_bytes(), &sizes) {
                analysis.push(piece);
            }
            analysis.finish()
        };
        let (one, other) = (read(one), read(other));
        prop_assert!(reports_are_equal(&one, &other), "{:?}\n{:?}\n{}", one.stats, other.stats, text);
        Ok(())
    });
    outcome.unwrap();
}

/// More than so many sections were put up, and what came of those that were judged by themselves held.
fn all_held(screening: &Screening, least: u64) {
    let Counts { put, judged, held } = screening.counts();
    assert!(put > least && held == judged, "{held} of {judged} of {put} sections");
}

/// More evidence and more partitions than are kept: what gives way depends on everything that came before.
#[test]
fn what_is_beyond_the_budget_is_the_same_whoever_judged_it() {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("x.yml", BY_ADDRESS)]);
    assert!(problems.is_empty(), "{problems:?}");
    let budget = u32::try_from(crate::correlate::MAX_PARTITIONS).unwrap();
    let log: String = (0..3 * budget).fold(String::new(), |mut log, number| {
        let [_, a, b, c] = (number.wrapping_mul(7_919) % (2 * budget)).to_be_bytes();
        let (method, status) = [("GET", 404), ("GET", 403), ("DEBUG", 200)][number as usize % 5 % 3];
        let _ = writeln!(log, "10.{a}.{b}.{c} - - [01/Mar/2026:10:00:00 +0000] \"{method} / HTTP/1.1\" {status} 1");
        log
    });
    let alone = Pipeline::new(&catalogue, read_as("access"));
    let read = |pipeline: &Pipeline<'_>| {
        let mut analysis = pipeline.analysis("test", "object".to_owned(), None);
        log.as_bytes().chunks(9_000).for_each(|piece| assert!(analysis.push(piece)));
        analysis.finish()
    };
    let one = read(&alone);
    assert!(one.contributions.given_up().count() > 0);
    for screening in [Screening::judging_all(20_000), Screening::with_sections_of(20_000)] {
        let by_several = alone.screened_by(&screening);
        let other = helped(&screening, &by_several, || read(&by_several));
        assert!(reports_are_equal(&one, &other));
        all_held(&screening, 100);
    }
}

/// Files of one flow log that were put together: each begins with the header that the one before had.
#[test]
fn a_header_like_the_one_before_spoils_no_section() {
    let catalogue = catalogue();
    let header = "version account-id srcaddr dstaddr action start log-status";
    let flow = "5 123456789012 192.0.2.1 10.0.0.5 REJECT 1772359200 OK\n";
    let text = format!("{header}\n{}", flow.repeat(50)).repeat(40);
    let screening = Screening::judging_all(1_000);
    let pipeline = Pipeline::new(&catalogue, read_as("vpcflow"));
    let by_several = pipeline.screened_by(&screening);
    let report = helped(&screening, &by_several, || {
        let mut analysis = by_several.analysis("test", "object".to_owned(), None);
        text.as_bytes().chunks(700).for_each(|piece| assert!(analysis.push(piece)));
        analysis.finish()
    });
    assert_eq!(counts(&report), (2_040, 2_000, 0, 40));
    all_held(&screening, 50);
}

/// A large stream, whole, damaged in every way, and longer than is allowed.
#[test]
fn a_large_stream_comes_to_the_same_whoever_judged_it() {
    let catalogue = catalogue();
    let log: String = (0..40_000_u64).fold(String::new(), |mut log, number| {
        let random = [1, 2, 3].map(|salt| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(salt * 7) ^ number);
        let _ = writeln!(log, "{REQUEST} {random:x?}");
        log
    });
    let whole = gzip(log.as_bytes());
    assert!(whole.len() > 1_100_000, "{}", whole.len());
    let mut corrupt = whole.clone();
    corrupt[1_080_000] ^= 0x55;
    let cut = whole[..whole.len() - 100].to_vec();
    let trailing = [whole.as_slice(), &b"garbage".repeat(20_000)].concat();
    let two = [whole.as_slice(), &gzip(REQUEST.as_bytes())].concat();
    let screening = Screening::default();
    let limited = |max_bytes| Pipeline::new(&catalogue, Options { max_bytes, ..read_as("access") });
    let by_several = limited(None).screened_by(&screening);
    helped(&screening, &by_several, || {
        let limit = Some(log.len() as u64 - 100_000);
        let cases = [(&whole, None), (&corrupt, None), (&cut, None), (&trailing, None), (&two, None), (&whole, limit)];
        for (number, (stored, max_bytes)) in cases.into_iter().enumerate() {
            let read = |pipeline: &Pipeline<'_>| {
                let mut analysis = pipeline.analysis("test", "object".to_owned(), None);
                let _ = stored.chunks(50_000).all(|piece| analysis.push(piece));
                analysis.finish()
            };
            let alone = limited(max_bytes);
            let (one, other) = (read(&alone), read(&alone.screened_by(&screening)));
            assert!(reports_are_equal(&one, &other), "case {number}: {:?} {:?}", one.stats, other.stats);
            assert_eq!(one.damage.len(), usize::from(number != 0 && number != 4), "case {number}: {:?}", one.damage);
        }
    });
    all_held(&screening, 20);
}

/// A defect of whatever goes on with an object elsewhere ends the object's own reader, and nothing else.
#[test]
fn a_panic_elsewhere_is_the_readers() {
    let catalogue = catalogue();
    let options = Options { format: Some(&Defective), ..Options::default() };
    let pipeline = Pipeline::new(&catalogue, options);
    for screening in [Screening::judging_all(1_000), Screening::with_sections_of(1_000)] {
        let by_several = pipeline.screened_by(&screening);
        helped(&screening, &by_several, || {
            let read = |text: &str| {
                let mut analysis = by_several.analysis("test", "object".to_owned(), None);
                text.as_bytes().chunks(700).for_each(|piece| assert!(analysis.push(piece)));
                analysis.finish()
            };
            let sound = "sound\n".repeat(5_000);
            let defective = format!("{sound}defective\n{sound}");
            let panic = catch_unwind(AssertUnwindSafe(|| read(&defective))).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"a defect"));
            assert_eq!(counts(&read(&sound)), (5_000, 0, 0, 5_000));
        });
    }
}

/// A format whose parser fails.
struct Defective;

impl Format for Defective {
    fn name(&self) -> &'static str {
        "defective"
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn recognises(&self, _: &[u8]) -> bool {
        false
    }

    fn parser(&self, _: &Context) -> Box<dyn Parser> {
        Box::new(Self)
    }

    fn facts<'r>(&self, _: &'r Record<'_>) -> FactsOf<'r> {
        FactsOf::default()
    }
}

impl Parser for Defective {
    fn parse_if<'a>(&'a mut self, frame: &'a str, _: &mut dyn Gate) -> Parsed<'a> {
        assert!(frame != "defective", "a defect");
        Parsed::Skipped
    }
}
