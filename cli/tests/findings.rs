//! Findings as they are written: JSON, CSV, OCSF, tables; and the counters beside them.

mod support;

use serde_json::{Value, json};
use support::{Folder, RULE_ID, gzip, stop};

/// What an attacker may write into a log.
const HOSTILE: &str = "\\u001b]0;owned\\u0007\\u001b[31m\\u009b2J\\u202e\\r\\n=HYPERLINK(1)";

#[test]
fn json_has_all_keys_and_is_sorted_by_time_then_id() {
    let folder = Folder::new();
    let timeless = stop(7).replace("2026-03-01T00:07:00Z", "never");
    folder.write("a.json", format!("{timeless}\n{}\n{}\n{}\n", stop(300), stop(1), stop(200)));
    let ran = folder.scan(&["--output", "json", "a.json"]);
    let found = ran.json();
    let times: Vec<&Value> = found.iter().map(|finding| &finding["first_time"]).collect();
    let expected = ["2026-03-01T00:01:00Z", "2026-03-01T03:20:00Z", "2026-03-01T05:00:00Z"];
    assert_eq!(times, [&json!(expected[0]), &json!(expected[1]), &json!(expected[2]), &Value::Null]);
    let keys = r#"{"id":.*"revision":1,"rule":.*"title":.*"level":"high","count":1,"first_time":.*"last_time":.*"group":.*"account":null,"region":"eu-west-1","actor":null,"source_address":"203.0.113.7","resources":.*"evidence":.*"dedup_key":"#;
    let line = ran.stdout.lines().next().unwrap();
    let mut rest = line;
    for part in keys.split(".*") {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} in {line}"));
        rest = &rest[at + part.len()..];
    }
    assert_eq!(found[0]["rule"], RULE_ID);
}

#[test]
fn counters_balance_and_errors_are_named() {
    let folder = Folder::new();
    folder
        .write("logs/a.json", format!("{}\n17\n{}\n", stop(1), stop(100)))
        .write("logs/b.json.gz", gzip(stop(5)))
        .write("logs/c.log", "");
    let ran = folder.scan(&["--since", "2026-03-01T01:00:00Z", "--stats", "stats.json", "logs", "missing"]);
    let stats: Value = serde_json::from_str(&folder.read("stats.json")).unwrap();
    let sources = stats["sources"].as_array().unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source["source"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.json", "b.json.gz", "c.log", "missing"]);
    let mut total = [0; 5];
    for source in sources.iter().chain([&stats["total"]]) {
        let number = |key: &str| source[key].as_u64().unwrap();
        assert_eq!(number("records_in"), number("parsed") + number("unparsed") + number("skipped"), "{source}");
        for (sum, key) in total.iter_mut().zip(["records_in", "parsed", "unparsed", "skipped", "bytes"]) {
            *sum += if source.get("source").is_some() { number(key) } else { 0 };
        }
    }
    for (sum, key) in total.iter().zip(["records_in", "parsed", "unparsed", "skipped", "bytes"]) {
        assert_eq!(stats["total"][key], json!(sum), "{key}");
    }
    assert_eq!(total, [4, 1, 1, 2, (stop(1).len() + stop(100).len() + 5 + stop(5).len()) as u64]);
    assert_eq!(sources[1]["format"], "cloudtrail");
    assert_eq!(sources[1]["bytes"], json!(stop(5).len()), "uncompressed");
    assert_eq!(sources[2]["errors"].as_array().unwrap().len(), 1);
    assert_eq!(sources[3]["errors"].as_array().unwrap().len(), 1);
    assert_eq!((ran.summary(), ran.code), ("4 records, 1 unparsed, 2 skipped, 2 errors", 3));
}

#[test]
fn csv_cells_are_no_formulas() {
    let folder = Folder::new();
    folder.write("a.json", stop(1).replace("203.0.113.7", "=cmd|'/C calc'!A0;=1").replace("eu-west-1", "@SUM(1)"));
    let ran = folder.scan(&["--output", "csv", "a.json", "-o", "out.csv"]);
    assert_eq!(ran.stdout, "");
    let text = folder.read("out.csv");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let headings = rows.headers().unwrap().clone();
    let row = rows.records().next().unwrap().unwrap();
    let cell = |name: &str| row.get(headings.iter().position(|heading| heading == name).unwrap()).unwrap();
    assert_eq!((cell("source_address"), cell("region")), ("'=cmd|'/C calc'!A0;=1", "'@SUM(1)"));
    assert_eq!((cell("level"), cell("count")), ("high", "1"));
    assert!(text.lines().all(|line| line.starts_with('"')), "every cell is quoted: {text}");
}

#[test]
fn nothing_from_a_log_or_a_file_name_reaches_a_terminal_as_it_stands() {
    let folder = Folder::new();
    folder.write("a.json", stop(1).replace("203.0.113.7", HOSTILE).replace("eu-west-1", HOSTILE));
    folder.write("evil\u{1b}[31m\n\u{9b}name.log", "");
    for output in ["table", "json", "csv", "ocsf", "matches"] {
        let ran = folder.scan(&["--output", output, "."]);
        for text in [&ran.stdout, &ran.stderr] {
            let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(bad, None, "{output}: {text:?}");
        }
        assert!(ran.stderr.lines().count() >= 2, "a name with a line break is still one line: {}", ran.stderr);
    }
}

#[test]
fn ocsf_names_the_class() {
    let folder = Folder::new();
    folder.write("a.json", stop(1));
    let found = folder.scan(&["--output", "ocsf", "a.json"]).json();
    assert_eq!((&found[0]["class_uid"], &found[0]["metadata"]["version"]), (&json!(2004), &json!("1.8.0")));
    assert_eq!(found[0]["severity_id"], 4);
}

#[test]
fn a_table_is_for_people() {
    let folder = Folder::new();
    folder.write("a.json", stop(1)).write("b.json", support::record(1, "GetTrailStatus"));
    let ran = folder.scan(&["a.json"]);
    for word in ["high", "A trail was stopped", "2026-03-01 00:01:00", "203.0.113.7", "1 finding: 1 high"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert_eq!(folder.scan(&["b.json"]).stdout, "No findings.\n");
}

#[test]
fn a_record_that_lies_in_two_files_is_one_that_both_have_seen() {
    let folder = Folder::new();
    folder
        .write("a.json", stop(1))
        .write("copy/b.json", format!("{}\n{}", support::record(2, "GetTrailStatus"), stop(1)));
    let found = folder.scan(&["--output", "json", "."]).json();
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    let entries = finding["evidence"].as_array().unwrap();
    assert_eq!((&finding["count"], entries.len()), (&json!(1), 1));
    assert_eq!((&entries[0]["source"], &entries[0]["also_in"]), (&json!("a.json"), &json!(["copy/b.json"])));
    assert!(folder.scan(&["--output", "csv", "."]).stdout.contains("a.json:1 (also in copy/b.json)"));
    let table = folder.scan(&["."]).stdout;
    assert!(table.contains("seen by: a.json") && table.contains("copy/b.json"), "{table}");
    let alone = folder.scan(&["--output", "json", "a.json"]).json();
    assert_eq!(alone[0]["evidence"][0]["also_in"], json!([]), "the key is always there");
}

#[test]
fn files_of_the_run_itself_are_no_input() {
    let folder = Folder::new();
    folder.write("logs/a.json", stop(1));
    let arguments = ["--state", "logs/state.db", "-o", "logs/out.json", "--stats", "logs/stats.json", "logs"];
    for _ in 0..2 {
        let ran = folder.scan(&[&["--output", "json"][..], &arguments].concat());
        assert_eq!((ran.summary(), ran.code), ("1 records, 0 unparsed, 0 skipped, 0 errors", 0), "{}", ran.stderr);
    }
}
