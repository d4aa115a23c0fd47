//! What comes of an object does not depend on who looked through its sections.

use std::time::{Duration, Instant};

use super::*;

/// What a generated object consists of, by format: ordinary records, ones that rules look for, and what disturbs.
const PARTS: [(&str, &[&str], [&str; 3]); 4] = [
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

fn reports_are_equal(one: &Report, other: &Report) -> bool {
    one.stats == other.stats
        && one.matches == other.matches
        && one.refused == other.refused
        && one.contributions.iter().eq(other.contributions.iter())
}

#[test]
fn sections_looked_through_elsewhere_come_to_the_same() {
    let catalogue = catalogue();
    let screening = Screening::with_sections_of(400);
    let alone = Pipeline::new(&catalogue, Options { matches: true, ..Options::default() });
    let helped = alone.screened_by(&screening);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| screening.help(&helped));
        }
        let started = Instant::now();
        while screening.threads() < 2 && started.elapsed() < Duration::from_mins(1) {
            std::thread::yield_now();
        }
        let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]));
        // The first parts are the most of a log, the last ones rare.
        let part = prop_oneof![60 => 0..3_usize, 2 => 3..6_usize];
        let object = prop::collection::vec(part, 0..120);
        let input = (0..PARTS.len(), prop::collection::vec(object, 1..4), prop::collection::vec(1..900_usize, 1..20));
        let outcome = runner.run(&input, |(kind, objects, sizes)| {
            let (format, parts, [before, between, after]) = PARTS[kind];
            let texts = objects.iter().map(|object| {
                let records: Vec<&str> = object.iter().map(|part| parts[*part]).collect();
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
            let (one, other) = (read(&alone), read(&helped));
            prop_assert!(reports_are_equal(&one, &other), "{:?}\n{:?}\n{}", one, other, text);
            Ok(())
        });
        screening.close();
        outcome.unwrap();
    });
    assert!(screening.sections_put() > 1_000, "{} sections", screening.sections_put());
}
