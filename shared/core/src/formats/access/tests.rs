//! What of a line becomes which field, and which lines are none.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq};
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use super::*;
use crate::formats::trial::{context, lines, no_bytes_make_it_panic};

const BASIC: &[u8] = include_bytes!("../fixtures/access/basic.log");
const MALFORMED: &[u8] = include_bytes!("../fixtures/access/malformed.log");

fn fields(line: &str) -> Value {
    match Access.parser(&context()).parse(line) {
        Parsed::Record(record) => {
            assert_eq!(record.raw, line);
            record.fields.tree().clone()
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_basic_line_is_parsed() {
    let mut parser = Access.parser(&context());
    for line in lines(BASIC) {
        assert!(matches!(parser.parse(&line), Parsed::Record(record) if record.time.is_some()), "{line}");
    }
    assert!(Access.recognises(BASIC));
}

#[test]
fn every_malformed_line_is_unparsed() {
    let mut parser = Access.parser(&context());
    for line in lines(MALFORMED) {
        assert!(matches!(parser.parse(&line), Parsed::Unparsed(_)), "{line}");
    }
    assert!(!Access.recognises(MALFORMED));
}

#[test]
fn the_fields_of_a_combined_line() {
    let line = r#"198.51.100.7 - alice [01/Mar/2026:10:00:00 +0100] "GET /a/b.php?id=1&x=%27 HTTP/1.1" 404 1234 "https://example.com/" "Mozilla/5.0 (X11)" "-" extra"#;
    assert_eq!(
        fields(line),
        serde_json::json!({
            "c-ip": "198.51.100.7", "cs-username": "alice", "cs-method": "GET", "cs-uri": "/a/b.php?id=1&x=%27",
            "cs-uri-stem": "/a/b.php", "cs-uri-query": "id=1&x=%27", "cs-version": "HTTP/1.1", "sc-status": 404,
            "sc-bytes": 1234, "cs-referer": "https://example.com/", "cs-user-agent": "Mozilla/5.0 (X11)"
        })
    );
}

#[test]
fn what_is_absent_has_no_field() {
    let common = r#"2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] "-" 408 -"#;
    assert_eq!(fields(common), serde_json::json!({"c-ip": "2001:db8::1", "cs-username": "-", "sc-status": 408}));
    let dashes = r#"2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 0 "-" "-""#;
    let fields = fields(dashes);
    assert_eq!((fields.get(CS_REFERER), fields.get(CS_USER_AGENT)), (None, None));
}

#[test]
fn a_header_without_a_value_is_an_empty_text() {
    let empty = fields(r#"2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 0 "" """#);
    assert_eq!((&empty[CS_REFERER], &empty[CS_USER_AGENT]), (&Value::from(""), &Value::from("")));
}

#[test]
fn an_anonymous_user_has_the_taxonomys_name_and_is_no_actor() {
    for (user, actor) in [("-", None), ("alice", Some("alice"))] {
        let line = format!(r#"2001:db8::1 - {user} [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 0"#);
        let mut parser = Access.parser(&context());
        let Parsed::Record(record) = parser.parse(&line) else { panic!("{line}: not parsed") };
        assert_eq!((record.fields.text(CS_USERNAME), Access.facts(&record).actor.as_deref()), (Some(user), actor));
    }
}

#[test]
fn escaped_quotes_do_not_end_a_value() {
    let forged = r#"203.0.113.9 - x\" [y] \" [01/Mar/2026:10:00:00 +0000] "GET /?a=\" 200 5 \"b HTTP/1.1" 403 12 "-" "a \"quoted\" agent""#;
    let fields = fields(forged);
    assert_eq!((&fields[SC_STATUS], &fields[CS_URI]), (&Value::from(403), &Value::from(r#"/?a=\" 200 5 \"b"#)));
    assert_eq!(fields[CS_USER_AGENT], r#"a \"quoted\" agent"#);
    assert_eq!(fields[CS_USERNAME], r#"x\" [y] \""#);
}

#[test]
fn what_is_no_http_request_is_kept_as_the_target() {
    let tls = r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "\x16\x03\x01\x02" 400 226 "-" "-""#;
    let fields = fields(tls);
    assert_eq!((&fields[CS_URI], fields.get(CS_METHOD)), (&Value::from(r"\x16\x03\x01\x02"), None));
}

#[test]
fn a_target_with_spaces_or_a_host() {
    let spaces = fields(r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /a b?c d HTTP/1.1" 400 226"#);
    assert_eq!((&spaces[CS_URI_STEM], &spaces[CS_URI_QUERY]), (&Value::from("/a b"), &Value::from("c d")));
    let proxy =
        fields(r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET http://evil.example/x?y HTTP/1.1" 400 226"#);
    assert_eq!((&proxy[CS_HOST], &proxy[CS_URI_STEM]), (&Value::from("evil.example"), &Value::from("/x")));
}

#[test]
fn an_impossible_time_leaves_the_line_parsed() {
    let line = "203.0.113.9 - - [31/Feb/2026:10:00:00 +0000] \"GET /caf\u{fffd} HTTP/1.1\" 200 1 \"-\" \"\u{fffd}\"";
    let mut parser = Access.parser(&context());
    let Parsed::Record(record) = parser.parse(line) else { panic!("not parsed") };
    assert_eq!((record.time, &record.fields[CS_URI]), (None, &Value::from("/caf\u{fffd}")));
}

#[test]
fn other_logs_are_not_recognised() {
    for head in [
        &include_bytes!("../fixtures/syslog/basic.log")[..],
        include_bytes!("../fixtures/application/basic.log"),
        include_bytes!("../fixtures/unrelated.txt"),
        b"",
    ] {
        assert!(!Access.recognises(head));
    }
}

/// Nothing that a parser remembers of lines before shows in a line.
#[test]
fn a_line_is_read_the_same_whatever_came_before() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let samples: Vec<&str> = [BASIC, MALFORMED].iter().filter_map(|log| std::str::from_utf8(log).ok()).collect();
    let samples: Vec<&str> = samples.iter().flat_map(|log| log.lines()).filter(|line| !line.is_empty()).collect();
    let piece = select(&["", "] \"", "[", "\\", "\"", " ", "' or 1=1--", "sqlmap", "/../../etc/passwd", "\u{e9}"][..]);
    let lines = vec((select(samples), piece, any::<usize>()), 1..40);
    runner
        .run(&lines, |lines| {
            let mut one = Access.parser(&context());
            for (line, piece, at) in lines {
                let at = line.floor_char_boundary(at % (line.len() + 1));
                let line = [&line[..at], piece, &line[at..]].concat();
                let fresh = format!("{:?}", Access.parser(&context()).parse(&line));
                prop_assert_eq!(format!("{:?}", one.parse(&line)), fresh);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_a_request_is_up_to_is_told_with_it() {
    let derived = |request: &str, agent: &str| {
        let line = format!(r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "{request}" 200 1 "-" "{agent}""#);
        match Access.parser(&context()).parse(&line) {
            Parsed::Record(record) => Value::Object(record.derived.unwrap_or_default()),
            other => panic!("{line}: {other:?}"),
        }
    };
    let both = derived("GET /?id=1%27%20OR%20%271%27=%271 HTTP/1.1", "sqlmap/1.9 ${jndi:ldap://x}");
    let attacks = serde_json::json!(["sql_injection", "command_injection"]);
    assert_eq!(both, serde_json::json!({"cloudvigil.web_attack": attacks, "cloudvigil.scanner": "sqlmap"}));
    // Only the path climbs, not the host.
    let proxy = derived("GET http://h.example/../../x HTTP/1.1", "curl/8.5.0");
    assert_eq!(proxy, serde_json::json!({"cloudvigil.web_attack": ["path_traversal"]}));
    assert_eq!(derived("GET /a%20b?c=d HTTP/1.1", "Mozilla/5.0"), serde_json::json!({}));
}

#[test]
fn no_bytes_make_the_parser_panic() {
    no_bytes_make_it_panic(&Access, BASIC);
}
