mod sections;

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::correlate::plan::Node;
use crate::detect::RuleFile;
use crate::formats;
use crate::framing::in_pieces;

const RULES: &str = "
title: Any event
id: event
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
---
title: Any request
id: request
logsource: {category: webserver}
detection: {keywords: [GET, passwd], condition: keywords}
---
title: Many requests
id: requests
correlation: {type: event_count, rules: [request], group-by: [c-ip], timespan: 5m, condition: {gte: 2}, generate: true}
---
title: Failed password
id: failed
logsource: {product: linux}
detection: {keywords: [Failed], condition: keywords}
";

const EVENT: &str =
    r#"{"eventID":"1","eventName":"StopLogging","eventSource":"x","eventTime":"2026-03-01T10:00:00Z","a":"ü"}"#;
const REQUEST: &str =
    r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /etc/passwd HTTP/1.1" 200 512 "-" "curl/8.0""#;
const FAILED: &str =
    "2026-03-01T10:00:00+00:00 host-1 sshd[7]: Failed password for root from 203.0.113.9 port 4711 ssh2";

fn catalogue() -> Catalogue {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rules.yml", RULES)]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn analysed<'p>(options: &Options, pieces: impl IntoIterator<Item = &'p [u8]>) -> Report {
    analysed_with(&catalogue(), options, pieces)
}

fn analysed_with<'p>(catalogue: &Catalogue, options: &Options, pieces: impl IntoIterator<Item = &'p [u8]>) -> Report {
    let pipeline = Pipeline::new(catalogue, options.clone());
    let mut analysis = pipeline.analysis("test", "object".to_owned(), None);
    for piece in pieces {
        if !analysis.push(piece) {
            break;
        }
    }
    let report = analysis.finish();
    let SourceStats { records_in, parsed, unparsed, skipped, .. } = report.stats;
    assert_eq!(records_in, parsed + unparsed + skipped, "{:?}", report.stats);
    report
}

fn read_as(format: &str) -> Options {
    Options { format: formats::by_name(format), matches: true, ..Options::default() }
}

/// Records in, parsed, unparsed, skipped.
fn counts(report: &Report) -> (u64, u64, u64, u64) {
    let stats = &report.stats;
    (stats.records_in, stats.parsed, stats.unparsed, stats.skipped)
}

fn numbers(report: &Report) -> Vec<u64> {
    report.matches.iter().map(|hit| hit.record).collect()
}

#[test]
fn every_line_has_its_number_and_blank_lines_are_no_records() {
    let text = format!("\u{feff}{REQUEST}\r\n\r\nnonsense\n \n{REQUEST}");
    let report = analysed(&read_as("access"), [text.as_bytes()]);
    assert_eq!((counts(&report), numbers(&report)), ((3, 2, 1, 0), vec![1, 5]));
    assert!(report.damage.is_empty());
}

#[test]
fn what_is_asked_for_is_kept_whole_with_where_its_finding_lies() {
    let long = EVENT.replace("\"ü\"", &format!("\"{}\"", "ü".repeat(4000)));
    let text = format!("{EVENT}\n{}\n{long}", EVENT.replace("StopLogging", "StartLogging"));
    let options = Options { whole: Some(|rule| rule == "event"), ..read_as("cloudtrail") };
    let report = analysed(&options, [text.as_bytes()]);
    let kept: Vec<&str> = report.whole.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(kept, [EVENT, &long]);
    assert!(report.whole.iter().all(|(lies, _)| report.contributions.iter().any(|(partition, _)| partition == lies)));

    assert!(analysed(&read_as("cloudtrail"), [text.as_bytes()]).whole.is_empty(), "nobody asked");
    let many = format!("{long}\n").repeat(200);
    let kept: usize = analysed(&options, [many.as_bytes()]).whole.iter().map(|(_, text)| text.len()).sum();
    assert!(kept <= MAX_WHOLE && kept > MAX_WHOLE - long.len(), "{kept}");
}

#[test]
fn every_value_has_its_number_whatever_stands_around_it() {
    let ndjson = format!("\u{feff}{EVENT}\r\n\r\n7\ngarbage\n{EVENT}\n{{\"cut\":");
    let array = format!("[{EVENT}, 7, \"garbage\", {EVENT}, {{\"cut\":");
    let envelope = format!("{{\"Records\":[{EVENT}, 7, null, {EVENT}, {{\"cut\":");
    for text in [ndjson, array, envelope] {
        let report = analysed(&read_as("cloudtrail"), [text.as_bytes()]);
        assert_eq!((counts(&report), numbers(&report)), ((5, 2, 3, 0), vec![1, 4]), "{text}");
    }
}

#[test]
fn a_cut_gzip_is_damage_and_what_came_before_counts() {
    // Numbers that do not repeat, so that there is something to be cut.
    let text: String = (0_u64..2_000).fold(String::new(), |mut text, n| {
        writeln!(text, "{REQUEST}{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
        text
    });
    let whole = gzip(text.as_bytes());
    let report = analysed(&read_as("access"), [&whole[..whole.len() / 2]]);
    assert!(report.stats.records_in > 100 && report.stats.records_in < 2_000, "{:?}", report.stats);
    assert_eq!(report.stats.errors, ["the gzip data is cut off"]);
}

#[test]
fn a_line_that_was_cut_off_is_not_taken_for_a_whole_one() {
    let text = format!("{FAILED}\n{FAILED}");
    let keys =
        |report: &Report| report.contributions.iter().map(|(partition, _)| partition.clone()).collect::<Vec<_>>();
    let whole = analysed(&read_as("syslog"), [text.as_bytes()]);
    assert_eq!((counts(&whole), numbers(&whole)), ((2, 2, 0, 0), vec![1, 2]));
    let options = Options { max_bytes: Some(text.len() as u64 - 5), ..read_as("syslog") };
    let cut = analysed(&options, [text.as_bytes()]);
    assert_eq!((counts(&cut), numbers(&cut)), ((2, 1, 1, 0), vec![1]));
    assert_eq!(keys(&cut), keys(&whole));
    assert_ne!(cut.object, whole.object, "what is stored of it does not take the place of the whole's");
    let trailing = [gzip(text.as_bytes()), b"garbage".to_vec()].concat();
    assert_eq!(counts(&analysed(&read_as("syslog"), [trailing.as_slice()])), (2, 2, 0, 0));
}

#[test]
fn an_object_that_is_too_large_is_read_up_to_the_limit() {
    let text = format!("{REQUEST}\n").repeat(100);
    let limit = (REQUEST.len() as u64 + 1) * 10;
    let options = Options { max_bytes: Some(limit), ..read_as("access") };
    for stored in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
        for size in [1, 1000, stored.len()] {
            let report = analysed(&options, stored.chunks(size));
            assert_eq!((counts(&report), report.stats.bytes), ((10, 10, 0, 0), limit));
            assert!(matches!(report.damage.as_slice(), [Damage::TooLarge(bytes)] if *bytes == limit));
        }
    }
    let exact = analysed(&options, [&text.as_bytes()[..usize::try_from(limit).unwrap()]]);
    assert!(exact.damage.is_empty());
}

#[test]
fn what_is_empty_or_of_no_format_is_named() {
    for (text, damage) in [
        ("", "no record"),
        ("\n \r\n", "no record"),
        ("lorem ipsum\n", "format is not known"),
        ("{\"Records\":[]}", "no record"),
    ] {
        let report = analysed(&Options::default(), [text.as_bytes()]);
        assert_eq!(counts(&report), (0, 0, 0, 0));
        assert!(report.stats.errors.len() == 1 && report.stats.errors[0].contains(damage), "{:?}", report.stats);
    }
}

#[test]
fn since_is_included_and_until_is_not_and_what_has_no_time_stays() {
    let event = |time: &str| format!(r#"{{"eventName":"StopLogging","eventTime":"{time}"}}"#);
    let times =
        ["2026-03-01T09:59:59Z", "2026-03-01T10:00:00Z", "2026-03-01T10:59:59Z", "2026-03-01T11:00:00Z", "soon"];
    let text = times.map(event).join("\n");
    let options = Options {
        since: "2026-03-01T10:00:00Z".parse().ok(),
        until: "2026-03-01T11:00:00Z".parse().ok(),
        ..read_as("cloudtrail")
    };
    let report = analysed(&options, [text.as_bytes()]);
    assert_eq!((counts(&report), numbers(&report)), ((5, 3, 0, 2), vec![2, 3, 5]));
}

#[test]
fn times_at_the_ends_of_the_calendar_do_no_harm() {
    let event = |time: &str| format!(r#"{{"eventName":"StopLogging","eventTime":"{time}"}}"#);
    let times = [Timestamp::MIN.to_string(), Timestamp::MAX.to_string(), "9999-12-31T23:59:59Z".to_owned()];
    let text = times.map(|time| event(&time)).join("\n");
    let catalogue = catalogue();
    let report = analysed_with(&catalogue, &read_as("cloudtrail"), [text.as_bytes()]);
    assert_eq!(report.stats.parsed, 3);
    for (partition, _) in report.contributions.iter() {
        assert!(report.contributions.is_hot(&catalogue, partition));
    }
}

#[test]
fn errors_of_an_application_are_told_apart_by_their_kind() {
    let (catalogue, problems) = Catalogue::built_in();
    assert!(problems.is_empty(), "{problems:?}");
    let line = |error: &str| format!("2026-03-01 10:00:00,123 ERROR app.db - java.net.{error}: refused");
    let text = ["ConnectException", "UnknownHostException", "ConnectException"].map(line).join("\n");
    let report = analysed_with(&catalogue, &read_as("application"), [text.as_bytes()]);
    let found =
        report.contributions.iter().filter_map(|(partition, _)| report.contributions.finding(&catalogue, partition));
    let mut found: Vec<_> =
        found.map(|finding| (finding.particulars().collect::<Vec<_>>().join(","), finding.count)).collect();
    found.sort_unstable();
    assert_eq!(found, [("ConnectException".to_owned(), 2), ("UnknownHostException".to_owned(), 1)]);
}

#[test]
fn an_entry_may_bring_the_end_of_its_line() {
    let catalogue = catalogue();
    let lines = [format!("{FAILED}\r\n"), format!("{FAILED}\n"), "\n".to_owned(), FAILED.to_owned()];
    let entries = lines.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
    let report = Pipeline::new(&catalogue, read_as("syslog")).entries("test", None, entries);
    assert_eq!((counts(&report), numbers(&report)), ((3, 3, 0, 0), vec![1, 2, 4]));
    let findings = report
        .contributions
        .iter()
        .filter_map(|(partition, stored)| crate::correlate::finding_in(&catalogue, partition, &[stored]));
    let texts: Vec<String> = findings.flat_map(|finding| finding.evidence).map(|evidence| evidence.text).collect();
    assert!(!texts.is_empty() && texts.iter().all(|text| text == FAILED), "{texts:?}");
}

#[test]
fn the_same_event_by_another_way_is_the_same_finding() {
    let catalogue = catalogue();
    let bridge = format!(r#"{{"detail-type":"AWS API Call via CloudTrail","detail":{EVENT}}}"#);
    let entries = std::iter::once(Entry { key: None, time: None, bytes: bridge.as_bytes() });
    let bridge = Pipeline::new(&catalogue, read_as("cloudtrail")).entries("eventbridge", None, entries);
    let object = format!("{{\"Records\":[{EVENT}]}}");
    let object = analysed_with(&catalogue, &Options::default(), [object.as_bytes()]);
    let (ours, theirs) = (bridge.contributions.iter().next().unwrap(), object.contributions.iter().next().unwrap());
    assert_eq!(ours.0, theirs.0);
    let finding = crate::correlate::finding_in(&catalogue, ours.0, &[ours.1, theirs.1]).unwrap();
    assert_eq!((finding.count, finding.evidence.len()), (1, 1));
}

#[test]
fn a_value_of_an_attackers_length_does_not_make_a_finding_of_that_length() {
    let long = "x".repeat(500_000);
    let line = |end: &str| REQUEST.replace("203.0.113.9", &format!("{long}{end}"));
    let text = format!("{}\n{}\n", line("a"), line("b"));
    let report = analysed(&read_as("access"), [text.as_bytes()]);
    let groups: Vec<_> = report.contributions.iter().flat_map(|(partition, _)| partition.group.values()).collect();
    assert!(groups.iter().filter_map(|value| value.as_ref()).all(|value| value.len() < 3_000));
}

#[test]
fn a_burst_after_many_single_requests_has_evidence() {
    let stamp = |second: u32| format!("01/Mar/2026:10:{:02}:{:02}", second / 60, second % 60);
    let rules = RULES.replace("gte: 2", "gte: 100").replace("5m", "10s");
    let (catalogue, _) = Catalogue::load(vec![RuleFile::new("rules.yml", rules)]);
    let seconds = (0..300).chain(std::iter::repeat_n(400, 200)).chain(500..800);
    let text: String = seconds.map(|second| REQUEST.replace("01/Mar/2026:10:00:00", &stamp(second)) + "\n").collect();
    let report = analysed_with(&catalogue, &read_as("access"), [text.as_bytes()]);
    let (partition, stored) =
        report.contributions.iter().find(|(partition, _)| catalogue.rule(partition.rule).id == "requests").unwrap();
    let finding = crate::correlate::finding_in(&catalogue, partition, &[stored]).unwrap();
    assert_eq!(finding.count, 200);
    assert!(!finding.evidence.is_empty() && finding.source_address.is_some());
    let first = report.contributions.iter().find(|(partition, _)| catalogue.rule(partition.rule).id == "request");
    let (partition, stored) = first.unwrap();
    let finding = crate::correlate::finding_in(&catalogue, partition, &[stored]).unwrap();
    let records: Vec<u64> = finding.evidence.iter().map(|evidence| evidence.record).collect();
    assert_eq!(records, (1..=10).collect::<Vec<_>>(), "a simple rule shows the first");
}

#[test]
fn a_correlation_shows_the_first_and_keeps_little_more_wherever_they_come_from() {
    let stamp = |second: u32| format!("01/Mar/2026:10:{:02}:{:02}", second / 60, second % 60);
    let rules = RULES.replace("gte: 2", "gte: 5");
    let (catalogue, _) = Catalogue::load(vec![RuleFile::new("rules.yml", rules)]);
    // The first of them are too few for a finding.
    let seconds: Vec<u32> = [0, 1].into_iter().chain(1000..1900).collect();
    for (objects, order) in [(1, 1), (3, 1), (7, 1), (1, 67), (3, 67)] {
        let reports: Vec<_> = (0..objects)
            .map(|object| {
                let of_object = seconds.iter().skip(object).step_by(objects).collect::<Vec<_>>();
                let in_order = (0..of_object.len()).map(|number| of_object[number * order % of_object.len()]);
                let text: String =
                    in_order.map(|second| REQUEST.replace("01/Mar/2026:10:00:00", &stamp(*second)) + "\n").collect();
                let pipeline = Pipeline::new(&catalogue, read_as("access"));
                let mut analysis = pipeline.analysis("test", format!("object {object}"), None);
                analysis.push(text.as_bytes());
                analysis.finish()
            })
            .collect();
        let stored = reports.iter().flat_map(|report| report.contributions.iter());
        let stored: Vec<_> = stored.filter(|(partition, _)| catalogue.rule(partition.rule).id == "requests").collect();
        let bodies: Vec<_> = stored.iter().map(|(_, stored)| *stored).collect();
        let finding = crate::correlate::finding_in(&catalogue, stored[0].0, &bodies).unwrap();
        let shown: Vec<i64> = finding.evidence.iter().filter_map(|one| Some(one.time?.as_second() % 3600)).collect();
        assert_eq!((finding.count, shown.len()), (900, 10), "{objects} objects, each {order}th");
        if order == 1 {
            assert_eq!(shown, (1000..1010).collect::<Vec<_>>(), "{objects} objects");
        }
        let kept = stored.iter().map(|(_, stored)| {
            let body = serde_json::to_value(stored).unwrap();
            body["evidence"].as_array().unwrap().len()
        });
        assert!(kept.max().unwrap() < 64, "{objects} objects, each {order}th");
    }
}

/// What a correlation shows is kept whatever else was kept before it was known: single requests, and long ones, of which not
/// all fit into an item.
#[test]
fn a_correlation_shows_ten_wherever_single_requests_come_and_however_long_they_are() {
    let stamp = |second: u32| format!("01/Mar/2026:10:{:02}:{:02}", second / 60, second % 60);
    let burst = || 2700..3590;
    let single = |count: u32| (0..count).map(move |number| number * 80);
    let before: Vec<u32> = single(30).chain(burst()).collect();
    let around: Vec<u32> = single(10).chain(burst()).chain((0..100).map(|number| 1 + number * 24)).collect();
    for (threshold, seconds, more) in [
        (5, &before, String::new()),
        (5, &before, "\\x22".repeat(600)),
        (20, &around, String::new()),
        (20, &around, "\\x22".repeat(600)),
    ] {
        let rules = RULES.replace("gte: 2", &format!("gte: {threshold}"));
        let (catalogue, _) = Catalogue::load(vec![RuleFile::new("rules.yml", rules)]);
        let request = REQUEST.replace(" HTTP", &format!("{more} HTTP"));
        let text: String =
            seconds.iter().map(|second| request.replace("01/Mar/2026:10:00:00", &stamp(*second)) + "\n").collect();
        let report = analysed_with(&catalogue, &read_as("access"), [text.as_bytes()]);
        let of_burst = |partition: &Partition| catalogue.rule(partition.rule).id == "requests";
        let (partition, stored) =
            report.contributions.into_partitions().find(|(partition, _)| of_burst(partition)).unwrap();
        let bodies: Vec<_> = stored.into_items().collect();
        let finding = crate::correlate::finding_in(&catalogue, &partition, &bodies.iter().collect::<Vec<_>>()).unwrap();
        let shown: Vec<i64> = finding.evidence.iter().filter_map(|one| Some(one.time?.as_second() % 3600)).collect();
        assert_eq!(finding.count, 890);
        assert_eq!(shown, (2700..2710).collect::<Vec<_>>(), "{} bytes, at least {threshold}", request.len());
    }
}

#[test]
fn a_simple_rule_shows_the_first_by_time_in_whatever_order_they_come() {
    let stamp = |second: u32| format!("01/Mar/2026:10:{:02}:{:02}", second / 60, second % 60);
    let catalogue = catalogue();
    // 200 seconds, each once, and none where it belongs.
    let seconds = (0..200).map(|number| (number * 77 + 30) % 200);
    let text: String = seconds.map(|second| REQUEST.replace("01/Mar/2026:10:00:00", &stamp(second)) + "\n").collect();
    let report = analysed_with(&catalogue, &read_as("access"), [text.as_bytes()]);
    let is_simple = |partition: &Partition| matches!(catalogue.rule(partition.rule).plan, Node::Leaf(_));
    let (partition, stored) = report.contributions.iter().find(|(partition, _)| is_simple(partition)).unwrap();
    let finding = crate::correlate::finding_in(&catalogue, partition, &[stored]).unwrap();
    let first: Vec<i64> = finding.evidence.iter().filter_map(|entry| Some(entry.time?.as_second() % 3600)).collect();
    assert_eq!((finding.count, first), (200, (0..10).collect()));
}

/// What an object's bytes are made of.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        EVENT,
        REQUEST,
        FAILED,
        "\n",
        "\r\n",
        "\u{feff}",
        "{\"Records\":[",
        "]}",
        "[",
        ",",
        "{\"Events\":[{\"CloudTrailEvent\":\"{}\"}",
        "{\"digestStartTime\":1,\"digestS3Bucket\":2}",
        "# comment",
        "version account-id interface-id",
    ]);
    prop_oneof![
        6 => line.prop_map(|text| text.as_bytes().to_vec()),
        3 => Just(b"\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

#[test]
fn the_counters_balance_and_the_cut_changes_nothing_whatever_the_bytes() {
    let catalogue = catalogue();
    let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]));
    let stored = (prop::collection::vec(token(), 0..25), 0..4_u8, any::<prop::sample::Index>());
    let options = (0..=formats::FORMATS.len(), prop::option::of(0..2_000_u64), any::<bool>());
    let sizes = prop::collection::vec(1..200_usize, 1..10);
    runner
        .run(&(stored, options, sizes), |((tokens, storage, at), (format, max_bytes, bounded), sizes)| {
            let plain = tokens.concat();
            let mut stored = if storage == 0 { plain } else { gzip(&plain) };
            match storage {
                2 => stored.truncate(at.index(stored.len() + 1)),
                3 => {
                    let at = at.index(stored.len());
                    stored[at] ^= 0x55;
                }
                _ => {}
            }
            let options = Options {
                format: formats::FORMATS.get(format).copied(),
                matches: true,
                max_bytes,
                since: bounded.then(|| "2026-03-01T10:00:01Z".parse().unwrap()),
                ..Options::default()
            };
            let pieces = in_pieces(&stored, &sizes);
            let whole = analysed_with(&catalogue, &options, [stored.as_slice()]);
            let cut = analysed_with(&catalogue, &options, pieces);
            prop_assert_eq!(&cut.stats, &whole.stats);
            prop_assert_eq!(&cut.matches, &whole.matches);
            prop_assert!(cut.contributions.iter().eq(whole.contributions.iter()));
            Ok(())
        })
        .unwrap();
}

const BY_ADDRESS: &str = "
title: Lowest
id: lowest
level: low
logsource: {category: webserver}
detection: {selection: {sc-status: 404}, condition: selection}
---
title: Higher
id: higher
level: high
logsource: {category: webserver}
detection: {selection: {sc-status: 403}, condition: selection}
---
title: Critical
id: critical
level: critical
logsource: {category: webserver}
detection: {selection: {cs-method: DEBUG}, condition: selection}
---
title: Saturated
id: saturated
level: high
logsource: {product: aws, service: inventory}
detection: {selection: {type: state_saturated}, condition: selection}
";

/// An attack from many addresses: low levels give way first, a critical finding never does, and it is said.
#[test]
fn what_is_beyond_the_budget_is_given_up_from_the_lowest_level_on_and_told() {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("x.yml", BY_ADDRESS)]);
    assert!(problems.is_empty(), "{problems:?}");
    let budget = u32::try_from(crate::correlate::MAX_PARTITIONS).unwrap();
    let mut log = String::new();
    let mut line = |number: u32, method: &str, status: u16| {
        let [_, a, b, c] = number.to_be_bytes();
        let _ = writeln!(log, "10.{a}.{b}.{c} - - [01/Mar/2026:10:00:00 +0000] \"{method} / HTTP/1.1\" {status} 1");
    };
    for number in 0..budget + 1000 {
        line(number, "GET", 404);
    }
    for number in 0..500 {
        line(number, "GET", 403);
        line(number, "DEBUG", 200);
    }
    let options = Options { modified: "2026-03-01T12:00:00Z".parse().unwrap(), ..Options::default() };
    let pipeline = Pipeline::new(&catalogue, options);
    let mut analysis = pipeline.analysis("access.log", "o".to_owned(), None);
    analysis.push(log.as_bytes());
    let report = analysis.finish();
    assert_eq!(report.stats.parsed, u64::from(budget) + 2000, "its own record is not counted");
    let count = |id: &str| {
        let of = |partition: &Partition| catalogue.rule(partition.rule).id == id;
        report.contributions.iter().filter(|(partition, _)| of(partition)).count()
    };
    // Room for the finding that says so is there in any case.
    assert_eq!(
        [count("lowest"), count("higher"), count("critical"), count("saturated")],
        [crate::correlate::MAX_PARTITIONS - 500, 500, 500, 1]
    );
    let given_up: Vec<_> =
        report.contributions.given_up().map(|(rule, count)| (catalogue.rule(rule).id.as_str(), count)).collect();
    assert_eq!(given_up, [("lowest", 1500)]);
}
