//! How runs end: 2 before anything is read, then 1, then 3, then 0; and what stands on the standard error.

mod support;

use std::process::Stdio;

use support::{Folder, record, stop};

#[test]
fn wrong_usage_ends_with_2_before_anything_is_read_or_written() {
    let folder = Folder::new();
    folder
        .write("a.json", stop(1))
        .write("empty/readme.txt", "no rule")
        .write("broken.yml", "title: [")
        .write("notours.db", "this is no database, and it is long enough to be looked at by whoever opens it as one");
    let cases: &[&[&str]] = &[
        &["scan"],
        &["scan", "a.json", "--format", "evtx"],
        &["scan", "a.json", "--min-level", "severe"],
        &["scan", "a.json", "--fail-on", "severe"],
        &["scan", "a.json", "--timezone", "Mars/Olympus"],
        &["scan", "a.json", "--since", "yesterday"],
        &["scan", "a.json", "--since", "2026-03-02", "--until", "2026-03-01"],
        &["scan", "a.json", "--jobs", "0"],
        &["scan", "a.json", "--jobs", "100000"],
        &["scan", "a.json", "s3://"],
        &["scan", "a.json", "s3:///prefix"],
        &["scan", "a.json", "--output", "xml"],
        &["scan", "a.json", "--rules", "missing"],
        &["scan", "a.json", "--rules", "empty"],
        &["scan", "a.json", "--rules", "broken.yml"],
        &["scan", "a.json", "--no-default-rules"],
        &["scan", "-", "-"],
        &["scan", "a.json", "-o", "missing/out.json"],
        &["scan", "a.json", "--stats", "missing/stats.json"],
        &["scan", "a.json", "-o", "a.json"],
        &["scan", "a.json", "-o", "x", "--stats", "x"],
        &["scan", "a.json", "--state", "missing/state.db"],
        &["scan", "a.json", "--state", "notours.db"],
        &["findings", "--state", "missing.db"],
        &["nonsense"],
    ];
    for arguments in cases {
        let ran = folder.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
        assert!(ran.stderr.contains("error:"), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains(" records, "), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(folder.read("a.json"), stop(1), "the input is as it was");
    assert!(!folder.path("missing.db").exists());
}

#[test]
fn help_ends_with_0() {
    let folder = Folder::new();
    for arguments in [&["--help"][..], &["scan", "--help"], &["--version"]] {
        let ran = folder.run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    for flag in [
        "--format",
        "--rules",
        "--no-default-rules",
        "--min-level",
        "--since",
        "--until",
        "--timezone",
        "--jobs",
        "--state",
        "--output",
        "-o",
        "--stats",
        "--fail-on",
    ] {
        assert!(folder.run(&["scan", "--help"]).stdout.contains(flag), "{flag}");
    }
}

#[test]
fn one_line_of_counters_always_ends_the_standard_error() {
    let folder = Folder::new();
    folder.write("a.json", format!("{}\n{}\n", stop(1), record(2, "GetTrailStatus")));
    let ran = folder.scan(&["a.json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "2 records, 0 unparsed, 0 skipped, 0 errors\n"));
}

#[test]
fn fail_on_looks_at_what_is_reported_and_comes_before_3() {
    let folder = Folder::new();
    folder.write("a.json", stop(1)).write("b.json", "{\"eventName\":");
    assert_eq!(folder.scan(&["a.json", "--fail-on", "high"]).code, 1);
    assert_eq!(folder.scan(&["a.json", "--fail-on", "critical"]).code, 0);
    assert_eq!(folder.scan(&["a.json", "--fail-on", "low", "--min-level", "critical"]).code, 0);
    assert_eq!(folder.scan(&["a.json", "--fail-on", "high", "--output", "matches"]).code, 1);
    let both = folder.scan(&["a.json", "b.json", "--format", "cloudtrail", "--fail-on", "high"]);
    assert_eq!(both.code, 1, "{}", both.stderr);
    assert_eq!(folder.scan(&["a.json", "b.json", "--format", "cloudtrail"]).code, 3);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_done() {
    let folder = Folder::new();
    folder.write("a.json", stop(1)).write("empty.log", "").write("blank.log", "\n \n").write("noise.bin", [0_u8; 64]);
    std::fs::create_dir(folder.path("nothing")).unwrap();
    for (path, says) in [
        ("missing.json", "No such file"),
        ("nothing", "no log"),
        ("empty.log", "no record"),
        ("blank.log", "no record"),
        ("noise.bin", "format is not known"),
    ] {
        let ran = folder.scan(&["a.json", path, "--output", "json"]);
        assert_eq!(ran.code, 3, "{path}: {}", ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{path}: {}", ran.stderr);
        assert!(lines[0].contains(path) && lines[0].contains(says), "{path}: {}", lines[0]);
        assert!(lines[1].starts_with("1 records, ") && lines[1].ends_with(" 1 errors"), "{path}: {}", lines[1]);
        assert_eq!(ran.json().len(), 1, "{path}");
    }
}

/// `scan *` passes on whatever lies in a folder, and whoever writes there chooses the names.
#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_read_like_any_other() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let folder = Folder::new();
    folder.write("a.json", stop(1));
    let (odd, gone) = (OsStr::from_bytes(b"odd\xff.json"), OsStr::from_bytes(b"gone\xff.json"));
    std::fs::write(folder.root().join(odd), stop(2)).unwrap();
    let mut command = folder.command(&["scan", "--output", "matches", "a.json"]);
    let ended = command.args([odd, gone]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!((ended.status.code(), stdout.lines().count()), (Some(3), 2), "{stdout}{stderr}");
    assert!(stdout.contains("\"source\":\"odd\u{fffd}.json\""), "{stdout}");
    assert!(stderr.starts_with("error: gone\u{fffd}.json: No such file"), "{stderr}");
    let mut command = folder.command(&["scan", "-o"]);
    let ended = command.args([odd, odd]).output().unwrap();
    assert_eq!(ended.status.code(), Some(2), "an input is not written into");
}

#[cfg(unix)]
#[test]
fn what_the_shell_keeps_of_its_outputs_is_no_input() {
    let folder = Folder::new();
    folder.write("logs/a.json", stop(1));
    let output = |name: &str| std::fs::File::create(folder.path(name)).unwrap();
    let mut command = folder.command(&["scan", "logs"]);
    let status = command.stdout(output("logs/out.txt")).stderr(output("logs/err.txt")).status().unwrap();
    assert_eq!(
        (status.code(), folder.read("logs/err.txt").as_str()),
        (Some(0), "1 records, 0 unparsed, 0 skipped, 0 errors\n")
    );
}

#[test]
fn what_cannot_be_parsed_is_told_by_source_and_is_no_error_of_its_own() {
    let folder = Folder::new();
    folder
        .write("logs/good.json", stop(1))
        .write("logs/mixed.json", format!("{}\n7\n[1]\n{}\n", stop(2), record(3, "GetTrailStatus")));
    let ran = folder.scan(&["logs"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            3,
            "warning: mixed.json: 2 of 4 records cannot be parsed as cloudtrail\n\
             5 records, 2 unparsed, 0 skipped, 0 errors\n"
        )
    );
}

#[test]
fn of_an_unknown_format_is_said_what_to_do() {
    let folder = Folder::new();
    folder.write("notes.txt", "lorem ipsum\n").write("a.log.xz", b"\xfd7zXZ\0\0\x04").write("w.log", b"\xff\xfeM\0a\0");
    for (path, says) in [
        (
            "notes.txt",
            "notes.txt: its format is not known: it begins like none of those that are read; --format NAME reads it as one",
        ),
        ("a.log.xz", "decompress it first\n"),
        ("w.log", "convert it to UTF-8 first\n"),
    ] {
        let ran = folder.scan(&[path]);
        assert!(ran.code == 3 && ran.stderr.contains(says), "{path}: {}", ran.stderr);
    }
}

#[test]
fn malformed_rules_are_named_by_file_line_and_reason_and_the_others_run() {
    let rule = |id: &str, detection: &str| {
        format!(
            "title: {id}\nid: {id}\nlogsource: {{service: cloudtrail}}\ndetection:\n  {detection}\n  condition: a\n"
        )
    };
    let folder = Folder::new();
    folder
        .write("rules/a_good.yml", support::RULE)
        .write("rules/b_no_yaml.yml", "title: x\nid: x\ndetection: [\n")
        .write("rules/c_modifier.yml", rule("c", "a: {eventName|nonsense: X}"))
        .write("rules/d_expression.yml", rule("d", "a: {eventName|re: '((a{1000}){1000}){1000}'}"))
        .write("rules/e_condition.yml", rule("e", "b: {eventName: X}"))
        .write("rules/f_same_id.yml", rule(support::RULE_ID, "a: {eventName: X}"))
        .write("rules/g_large.yml", format!("{}# {}\n", rule("g", "a: {eventName: X}"), "x".repeat(10 * 1024 * 1024)))
        .write("rules/h_no_utf8.yml", b"title: \xff\n")
        // Linear-time: what takes others for ever is a rule like any other.
        .write("rules/i_backtracking.yml", rule("i", "a: {eventName|re: '^(S+)+$'}"))
        .write("a.json", format!("{}\n{}\n", stop(1), record(2, &format!("{}!", "S".repeat(10_000)))));
    let ran = folder.run(&["scan", "a.json", "--no-default-rules", "--rules", "rules", "--output", "json"]);
    assert_eq!((ran.code, ran.json().len()), (0, 1), "{}", ran.stderr);
    for (place, reason) in [
        ("b_no_yaml.yml:4: ", ""),
        ("c_modifier.yml:5: ", "nonsense"),
        ("d_expression.yml:5: ", "size limit"),
        ("e_condition.yml:6: ", "'a'"),
        ("f_same_id.yml:2: ", "a_good.yml"),
        ("g_large.yml:7: ", "more than 1048576 bytes"),
        ("h_no_utf8.yml:1: ", "UTF-8"),
    ] {
        let line = ran.stderr.lines().find(|line| line.contains(&format!("rules/{place}")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{place}{reason}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("i_backtracking"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let folder = Folder::new();
    let lines: String = (0..20_000).map(|n| stop(n % 1400) + "\n").collect();
    folder.write("many.json", lines);
    for output in ["matches", "json"] {
        let mut child = folder
            .command(&["scan", "--no-default-rules", "--rules", "rule.yml", "--output", output, "many.json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let (status, stderr) = (ended.status, String::from_utf8(ended.stderr).unwrap());
        assert_eq!(status.code(), Some(0), "{output}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("error:"), "{output}: {stderr}");
        assert!(stderr.contains(" records, "), "{output}: the counters are told all the same: {stderr}");
    }
}
