//! `--output matches`: which record is meant, whatever the input looks like.

mod support;

use support::{Folder, RULE_ID, gzip, record, stop};

fn numbers(folder: &Folder, path: &str) -> (Vec<u64>, i32, String) {
    let ran = folder.scan(&["--output", "matches", "--format", "cloudtrail", path]);
    (ran.matches().into_iter().map(|(_, record)| record).collect(), ran.code, ran.summary().to_owned())
}

#[test]
fn a_line_has_these_keys_in_this_order() {
    let folder = Folder::new();
    folder.write("logs/a.json", format!("{}\n{{\"eventName\":\"StopLogging\",\"eventSource\":\"x\"}}\n", stop(61)));
    let ran = folder.scan(&["--output", "matches", "--format", "cloudtrail", "logs"]);
    let expected = |record: u32, time: &str| {
        format!(
            r#"{{"source":"a.json","record":{record},"rule":"{RULE_ID}","title":"A trail was stopped","level":"high","time":{time}}}"#
        )
    };
    assert_eq!(ran.stdout, format!("{}\n{}\n", expected(1, "\"2026-03-01T01:01:00Z\""), expected(2, "null")));
    assert_eq!(ran.code, 0);
}

#[test]
fn records_are_numbered_from_1_and_everything_counts() {
    let folder = Folder::new();
    let other = record(9, "GetTrailStatus");
    let cases: [(&str, String, &[u64], i32); 8] = [
        ("one.json", stop(1), &[1], 0),
        ("ndjson.json", format!("{other}\n{}\n{other}\n{}\n", stop(1), stop(2)), &[2, 4], 0),
        ("blank_between.json", format!("{other}\n\n\n{}\n", stop(1)), &[2], 0),
        ("array.json", format!("[{other},\n{},{}]", stop(1), stop(2)), &[2, 3], 0),
        ("records.json", format!("{{\"Records\":[{other},{}]}}", stop(1)), &[2], 0),
        ("unparsed_counts.json", format!("{other}\n17\n\"text\"\n{}\n", stop(1)), &[4], 3),
        ("broken_counts.json", format!("{{\"a\":}}\n{}\n", stop(1)), &[2], 3),
        ("cut_off.json", format!("{}\n{}", stop(1), &stop(2)[..40]), &[1], 3),
    ];
    for (name, content, expected, code) in cases {
        folder.write(name, &content);
        let (found, ended, summary) = numbers(&folder, name);
        assert_eq!((found.as_slice(), ended), (expected, code), "{name}: {summary}");
        // However it is compressed.
        folder.write("gz", gzip(&content));
        assert_eq!(numbers(&folder, "gz"), (found, ended, summary), "{name}, compressed");
    }
}

#[test]
fn blank_lines_count_in_line_formats() {
    let folder = Folder::new();
    folder.write(
        "rule.yml",
        "title: An error page\nid: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a02\nlevel: low\nlogsource: {category: webserver}\ndetection:\n  selection: {sc-status: 500}\n  condition: selection\n",
    );
    let line =
        |status| format!("203.0.113.7 - - [01/Mar/2026:10:00:00 +0000] \"GET / HTTP/1.1\" {status} 5 \"-\" \"x\"\n");
    folder.write("access.log", format!("{}\n\r\n{}nonsense\n{}", line(200), line(500), line(500).trim_end()));
    let ran = folder.scan(&["--output", "matches", "access.log"]);
    assert_eq!(ran.matches(), [("access.log".to_owned(), 4), ("access.log".to_owned(), 6)], "{}", ran.stderr);
    assert_eq!(ran.summary(), "4 records, 1 unparsed, 0 skipped, 0 errors");
}

#[test]
fn gzip_members_follow_one_another_and_a_cut_one_keeps_what_came_before() {
    let folder = Folder::new();
    let mut members = gzip(stop(1) + "\n");
    members.extend(gzip(stop(2) + "\n"));
    folder.write("members.gz", &members);
    assert_eq!(numbers(&folder, "members.gz").0, [1, 2]);
    folder.write("cut.gz", &members[..members.len() - 6]);
    let (found, code, summary) = numbers(&folder, "cut.gz");
    assert!(found.starts_with(&[1]) && code == 3 && summary.ends_with(" 1 errors"), "{found:?} {summary}");
}

#[test]
fn odd_bytes_and_sizes_do_not_stop_it() {
    let folder = Folder::new();
    let mut invalid = stop(1).replace("eu-west-1", "eu-\u{fffd}").into_bytes();
    let at = invalid.windows(3).position(|bytes| bytes == "\u{fffd}".as_bytes()).unwrap();
    invalid.splice(at..at + 3, [0xff]);
    folder.write("invalid_utf8.json", invalid);
    assert_eq!(numbers(&folder, "invalid_utf8.json").0, [1]);
    let long = stop(1).replace("eu-west-1", &"x".repeat(10_000_000));
    folder.write("long.json", format!("{long}\n{}\n", stop(2)));
    assert_eq!(numbers(&folder, "long.json"), (vec![1, 2], 0, "2 records, 0 unparsed, 0 skipped, 0 errors".to_owned()));
    folder.write("deep.json", format!("{}{}\n{}\n", "[".repeat(300), "]".repeat(300), stop(2)));
    let (_, code, summary) = numbers(&folder, "deep.json");
    assert!(code == 3 || code == 0, "{summary}");
    folder.write("deep_object.json", format!("{}1{}\n{}\n", "{\"a\":".repeat(500), "}".repeat(500), stop(2)));
    assert_eq!(numbers(&folder, "deep_object.json").0, [2]);
}

#[test]
fn sources_are_sorted_and_named_as_given() {
    let folder = Folder::new();
    folder
        .write("b.json", stop(1))
        .write("a/z.json", stop(2))
        .write("a/sub/y.json", stop(3))
        .write("a/.hidden", stop(4));
    let ran = folder.scan(&["--output", "matches", "--jobs", "3", "b.json", "a", "./b.json"]);
    let sources: Vec<String> = ran.matches().into_iter().map(|(source, _)| source).collect();
    assert_eq!(sources, ["./b.json", ".hidden", "b.json", "sub/y.json", "z.json"]);
    let absolute = folder.path("b.json").to_str().unwrap().to_owned();
    assert_eq!(folder.scan(&["--output", "matches", &absolute]).matches(), [(absolute, 1)]);
}

#[test]
fn the_standard_input_is_a_source() {
    let folder = Folder::new();
    let arguments = ["scan", "--no-default-rules", "--rules", "rule.yml", "--output", "matches", "-"];
    let ran = folder.run_with_input(&arguments, &gzip(stop(1)));
    assert_eq!((ran.matches(), ran.code), (vec![("-".to_owned(), 1)], 0), "{}", ran.stderr);
    let ran = folder.run_with_input(&arguments, b"");
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.starts_with("error: -: "), "{}", ran.stderr);
}

#[test]
fn levels_and_times_narrow_it() {
    let folder = Folder::new();
    folder.write("a.json", (0..10).map(|n| stop(n * 60) + "\n").collect::<String>());
    let with = |more: &[&str]| {
        let ran = folder.scan(&[&["--output", "matches", "a.json"], more].concat());
        (ran.matches().into_iter().map(|(_, record)| record).collect::<Vec<_>>(), ran.summary().to_owned())
    };
    assert_eq!(with(&["--min-level", "critical"]).0, Vec::<u64>::new());
    let (found, summary) = with(&["--since", "2026-03-01T03:00:00Z", "--until", "2026-03-01T05:00:00Z"]);
    assert_eq!((found, summary.as_str()), (vec![4, 5], "10 records, 0 unparsed, 8 skipped, 0 errors"));
    assert_eq!(with(&["--since", "2026-03-01T12:00:00", "--timezone", "+09:00"]).0, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(with(&["--until", "2026-03-01"]).0, Vec::<u64>::new());
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let folder = Folder::new();
    for n in 0..60 {
        folder.write(&format!("logs/{n:02}.json"), format!("{}\n{}", stop(n), record(n, "GetTrailStatus")));
    }
    let one = folder.scan(&["--output", "matches", "--jobs", "1", "logs"]);
    let eight = folder.scan(&["--output", "matches", "--jobs", "8", "logs"]);
    assert_eq!(one.matches().len(), 60);
    assert_eq!(one.stdout, eight.stdout);
    let findings = |jobs| folder.scan(&["--output", "json", "--jobs", jobs, "logs"]).stdout;
    assert_eq!(findings("1"), findings("8"));
}
