use super::*;
use crate::formats::trial::{context, no_bytes_make_it_panic};

const BASIC: &[u8] = include_bytes!("../fixtures/application/basic.log");

fn parsed(line: &str) -> (Option<String>, Value) {
    match Application.parser(&context()).parse(line) {
        Parsed::Record(record) => (record.time.map(|time| time.to_string()), record.fields.tree().clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_has_its_message_level_and_time() {
    for (line, level, time) in [
        ("2026-03-01T10:00:00Z ERROR db: connection refused", Some("ERROR"), Some("2026-03-01T10:00:00Z")),
        ("2026-03-01 10:00:00,250 - app - WARNING - slow", Some("WARN"), Some("2026-03-01T10:00:00.25Z")),
        ("[2026-03-01 10:00:00] production.CRITICAL: gone", Some("CRITICAL"), Some("2026-03-01T10:00:00Z")),
        ("2026/03/01 10:00:00 [error] 7#0: *1 open() failed", Some("ERROR"), Some("2026-03-01T10:00:00Z")),
        ("2026-02-31 10:00:00 INFO impossible", Some("INFO"), None),
        ("  at com.example.Main(Main.java:7)", None, None),
        ("an error that is only prose", None, None),
        ("time=x level=warn msg=slow", Some("WARN"), None),
    ] {
        let (found, fields) = parsed(line);
        assert_eq!((fields.get(LEVEL).and_then(Value::as_str), found.as_deref()), (level, time), "{line}");
        assert_eq!(fields[MESSAGE], line);
    }
}

#[test]
fn a_json_line_keeps_its_keys() {
    let (time, fields) = parsed(r#"{"ts":1772359200.5,"severity":"warning","msg":"slow","query_ms":900}"#);
    assert_eq!(time.as_deref(), Some("2026-03-01T10:00:00.5Z"));
    assert_eq!((&fields[MESSAGE], &fields[LEVEL], &fields["query_ms"]), (&"slow".into(), &"WARN".into(), &900.into()));
    let (time, fields) = parsed(r#"{"time":1772359200000,"level":50,"message":"down"}"#);
    assert_eq!((time.as_deref(), &fields[LEVEL]), (Some("2026-03-01T10:00:00Z"), &Value::from("ERROR")));
    let (time, fields) = parsed(r#"{"time":1e300,"level":{},"broken"#);
    assert_eq!((time, fields.get(LEVEL)), (None, None));
}

#[test]
fn application_logs_are_recognised() {
    for head in [
        BASIC,
        include_bytes!("../fixtures/application/json.ndjson"),
        b"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: x\n",
        b"thread 'main' panicked at src/main.rs:2:5:\nboom\n",
        b"[Sun Mar 01 10:00:00.123456 2026] [core:notice] [pid 17:tid 1] AH00094: Command line: 'apache2'\n",
        b"2026/03/01 10:00:00 [alert] 17#17: worker process 18 exited on signal 6 (core dumped)\n",
        b"\xef\xbb\xbf\n\nstarting up\n[INFO] ready\n[ERROR] not ready\n",
    ] {
        assert!(Application.recognises(head), "{}", String::from_utf8_lossy(head));
    }
}

#[test]
fn prose_and_binaries_are_not() {
    for head in [
        &include_bytes!("../fixtures/unrelated.txt")[..],
        b"\x7fELF\x02\x01\x01\0\0\0ERROR: \0",
        b"{\"name\":\"package\",\"version\":\"1.0.0\"}\n",
        b"a,b,c\n1,2,3\n",
        b"",
        b"\n\n",
    ] {
        assert!(!Application.recognises(head), "{}", String::from_utf8_lossy(head));
    }
}

#[test]
fn no_bytes_make_the_parser_panic() {
    no_bytes_make_it_panic(&Application, BASIC);
}
