//! What rules find that name their log source and its fields as Sigma's taxonomy does.
//!
//! See <https://sigmahq.io/sigma-specification/specification/sigma-appendix-taxonomy.html>.

use cloudvigil_core::detect::{Catalogue, RuleFile};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline};
use serde_json::{Value, json};

use super::{catalogue, is_match};

/// A question and its answer as Suricata's three versions of DNS events, and its grouped form, have them.
fn dns_events() -> [Vec<Value>; 4] {
    let event = |dns: Value| {
        json!({
            "timestamp": "2026-03-01T10:00:00.000000+0000", "event_type": "dns", "src_ip": "192.0.2.7", "src_port": 4711,
            "dest_ip": "192.0.2.53", "dest_port": 53, "dns": dns,
        })
    };
    let (name, data) = ("aaa.stage.example.com", "cmd.exe /c x");
    let asked = json!([{"rrname": name, "rrtype": "TXT"}]);
    let answers = json!([
        {"rrname": name, "rrtype": "CNAME", "ttl": 60, "rdata": "example.net"},
        {"rrname": "example.net", "rrtype": "TXT", "ttl": 60, "rdata": data},
    ]);
    let request = |kind: &str| event(json!({"type": kind, "id": 7, "rrname": name, "rrtype": "TXT"}));
    let answer = |answers: Value| {
        let mut dns =
            json!({"version": 2, "type": "answer", "id": 7, "rrname": name, "rrtype": "TXT", "rcode": "NOERROR"});
        dns.as_object_mut().unwrap().append(answers.clone().as_object_mut().unwrap());
        event(dns)
    };
    [
        vec![
            request("query"),
            event(json!({"type": "answer", "rrname": name, "rrtype": "TXT", "rcode": "NOERROR", "rdata": data})),
        ],
        vec![request("query"), answer(json!({ "answers": answers }))],
        vec![request("query"), answer(json!({"grouped": {"CNAME": ["example.net"], "TXT": [data]}}))],
        vec![
            event(json!({"version": 3, "type": "request", "id": 7, "rcode": "NOERROR", "queries": asked})),
            event(
                json!({"version": 3, "type": "response", "id": 7, "rcode": "NOERROR", "queries": asked, "answers": answers}),
            ),
        ],
    ]
}

#[test]
fn rules_about_dns_find_what_suricata_writes_of_it() {
    // Of each question and its answer, which are found.
    for (log_source, selection, found) in [
        ("category: dns", "query|startswith: aaa.stage.", [true, true]),
        ("category: dns", "query: aaa.stage.example.com", [true, true]),
        ("category: dns", "query|re: '^aaa\\.'", [true, true]),
        ("category: dns", "query|endswith: .example.net", [false, false]),
        ("category: dns", "{record_type: TXT, answer|contains: [IEX, cmd.exe]}", [false, true]),
        ("category: dns", "answer: cmd.exe /c x", [false, true]),
        ("category: dns", "answer|exists: false", [true, false]),
        ("category: dns", "record_type: A", [false, false]),
        ("category: dns", "{dns.id: 7, query|contains: stage}", [true, true]),
        ("category: network, service: dns", "{source.ip: 192.0.2.7, dns.question.name|contains: stage}", [true, true]),
        (
            "category: network, service: dns",
            "{dns.answers.data|contains: cmd, dns.response.code: NOERROR}",
            [false, true],
        ),
        ("product: suricata, service: eve", "{event_type: dns, src_ip|cidr: 192.0.2.0/24}", [true, true]),
        ("product: suricata, service: alert", "src_ip|cidr: 192.0.2.0/24", [false, false]),
    ] {
        let selection = if selection.starts_with('{') { selection.to_owned() } else { format!("{{{selection}}}") };
        let catalogue = catalogue(&format!("  s: {selection}\n  condition: s"), log_source);
        for [question, answer] in dns_events().map(|events| <[Value; 2]>::try_from(events).unwrap()) {
            let matches = [&question, &answer].map(|event| is_match(&catalogue, "eve", event.to_string().as_bytes()));
            // The first version's answer has no id.
            let expected = if selection.contains("dns.id") { [true, answer["dns"]["id"] == 7] } else { found };
            assert_eq!(matches, expected, "{selection}: {question} {answer}");
        }
    }
}

#[test]
fn correlations_about_dns_count_and_group_by_its_names() {
    let rule = "title: a\nid: a\nlogsource: {category: dns}\ndetection: {s: {query|contains: stage}, condition: s}\n";
    let of = "{type: value_count, rules: [a], group-by: [source.ip, query], timespan: 1h, condition: {field: answer, gte: 1}}";
    let text = format!("{rule}---\ntitle: b\nid: b\ncorrelation: {of}\n");
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("t.yml", text)]);
    assert!(problems.is_empty(), "{problems:?}");
    for events in dns_events() {
        let bytes = events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        let pipeline = Pipeline::new(&catalogue, Options::default());
        let entries = bytes.lines().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
        let report = pipeline.entries("test", formats::by_name("eve"), entries);
        let contributed = &report.contributions;
        let findings = contributed.iter().filter_map(|(partition, _)| contributed.finding(&catalogue, partition));
        let groups: Vec<_> = findings.map(|finding| finding.group).collect();
        assert_eq!(groups.len(), 1, "{events:?}");
        assert_eq!(groups[0].get("query").and_then(Option::as_deref), Some("aaa.stage.example.com"));
        assert_eq!(groups[0].get("source.ip").and_then(Option::as_deref), Some("192.0.2.7"));
    }
}

#[test]
fn rules_about_a_web_servers_error_log_read_it() {
    let line = b"[Sun Mar 01 10:00:00.123456 2026] [core:notice] [pid 17] AH00052: child pid 18 exit signal Segmentation fault (11)";
    for log_source in
        ["service: apache", "product: apache, service: error", "product: nginx, service: error", "product: apache"]
    {
        let detection = "  k: [exit signal Segmentation Fault]\n  condition: k";
        assert!(is_match(&catalogue(detection, log_source), "application", line), "{log_source}");
    }
    let access = br#"192.0.2.7 - - [01/Mar/2026:10:00:00 +0000] "GET /error HTTP/1.1" 200 1"#;
    for (log_source, is_its) in [("product: apache, service: access", true), ("product: apache, service: error", false)]
    {
        assert_eq!(
            is_match(&catalogue("  k: [error]\n  condition: k", log_source), "access", access),
            is_its,
            "{log_source}"
        );
    }
}
