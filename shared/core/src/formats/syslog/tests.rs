use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use super::*;
use crate::formats::trial::{context, lasting_parser, lines, no_bytes_make_it_panic};

const BASIC: &[u8] = include_bytes!("../fixtures/syslog/basic.log");

fn record(line: &str) -> Record<'_> {
    match lasting_parser(&Syslog).parse(line) {
        Parsed::Record(record) => record,
        other => panic!("{line}: {other:?}"),
    }
}

/// The fields of an sshd message, without those of the header.
fn sshd(message: &str) -> Value {
    let line = format!("Mar  1 10:00:00 web-1 sshd[7]: {message}");
    let mut fields = record(&line).fields.tree().clone();
    for name in [HOST, APPNAME, PID, MESSAGE] {
        fields.as_object_mut().unwrap().remove(name);
    }
    fields
}

#[test]
fn every_basic_line_is_parsed_with_its_time() {
    let mut parser = Syslog.parser(&context());
    for line in lines(BASIC) {
        let parsed = parser.parse(&line);
        assert!(matches!(parsed, Parsed::Record(ref record) if record.time.is_some()), "{parsed:?}");
    }
    assert!(Syslog.recognises(BASIC));
}

#[test]
fn every_malformed_line_is_unparsed() {
    let mut parser = Syslog.parser(&context());
    for line in include_str!("../fixtures/syslog/malformed.log").lines() {
        assert!(matches!(parser.parse(line), Parsed::Unparsed(_)), "{line}");
    }
    let newer = include_str!("../fixtures/syslog/unknown_version.log");
    assert!(matches!(parser.parse(newer), Parsed::Unparsed(reason) if reason.contains("unknown version")));
}

#[test]
fn other_logs_are_not_recognised() {
    for head in [
        &include_bytes!("../fixtures/access/basic.log")[..],
        include_bytes!("../fixtures/application/basic.log"),
        include_bytes!("../fixtures/unrelated.txt"),
        b"2026-03-01T10:00:00Z ERROR db: connection refused\n2026-03-01T10:00:01Z main ready\n",
        b"",
    ] {
        assert!(!Syslog.recognises(head), "{}", String::from_utf8_lossy(head));
    }
}

#[test]
fn the_header_of_each_kind() {
    let traditional = record("<38>Mar  1 10:00:01 web-1 sshd[1291]: hello");
    assert_eq!(
        traditional.fields,
        serde_json::json!({"host": "web-1", "appname": "sshd", "pid": 1291, "message": "hello", "facility": "auth", "severity": "info"})
    );
    assert_eq!(traditional.time.unwrap().to_string(), "2026-03-01T10:00:01Z");
    let structured = record("<165>1 2026-03-01T10:00:02.003Z web-1 app 8710 ID47 [a b=\"\\\"]\"][c] \u{feff}hello");
    assert_eq!(
        structured.fields,
        serde_json::json!({"host": "web-1", "appname": "app", "pid": 8710, "message": "hello", "facility": "local4", "severity": "notice"})
    );
    assert_eq!(structured.time.unwrap().to_string(), "2026-03-01T10:00:02.003Z");
    let sparse = record("<14>1 - - - - - -");
    assert_eq!((sparse.time, sparse.fields["message"].as_str(), sparse.fields.get(HOST)), (None, Some(""), None));
    let rsyslog = record("2026-03-01T10:00:03.5+01:00 web-1 CRON[77]: (root) CMD (x)");
    assert_eq!((rsyslog.log_source, rsyslog.time.unwrap().to_string().as_str()), (&CRON, "2026-03-01T09:00:03.5Z"));
}

#[test]
fn a_stamp_of_no_time_leaves_the_line_parsed() {
    let record = record("Feb 31 25:61:00 web-1 sshd[1]: Failed password for root from 203.0.113.9 port 40000 ssh2");
    assert_eq!((record.time, &record.fields[EVENT]), (None, &Value::from("failed_password")));
}

#[test]
fn stamps_without_a_year_are_read_each_by_itself() {
    let time = |line| record(line).time.unwrap().to_string();
    assert_eq!(time("Dec 31 23:59:59 web-1 app: x"), "2025-12-31T23:59:59Z");
    assert_eq!(time("Mar  2 23:59:59 web-1 app: x"), "2026-03-02T23:59:59Z");
    assert_eq!(time("Mar  3 00:00:01 web-1 app: x"), "2025-03-03T00:00:01Z");
    assert_eq!(time("Feb 29 10:00:00 web-1 app: x"), "2024-02-29T10:00:00Z");
}

#[test]
fn failed_and_accepted_logins() {
    assert_eq!(
        sshd("Failed password for invalid user admin from 203.0.113.9 port 40000 ssh2"),
        serde_json::json!({"event": "failed_password", "auth_method": "password", "user": "admin", "invalid_user": true,
            "src_ip": "203.0.113.9", "src_port": 40000})
    );
    assert_eq!(
        sshd("Accepted publickey for alice from 2001:db8::7 port 50000 ssh2: ED25519 SHA256:abc"),
        serde_json::json!({"event": "accepted", "auth_method": "publickey", "user": "alice", "invalid_user": false,
            "src_ip": "2001:db8::7", "src_port": 50000})
    );
    assert_eq!(
        sshd("Failed keyboard-interactive/pam for root from fe80::1%eth0 port 1 ssh2")[EVENT],
        "failed_keyboard_interactive"
    );
    assert_eq!(sshd("Failed password for invalid user  from 203.0.113.9 port 1 ssh2")[USER], "");
}

#[test]
fn a_user_name_cannot_forge_an_address() {
    for (message, user) in [
        (
            "Failed password for invalid user root from 198.51.100.1 port 22 ssh2 from 203.0.113.9 port 40000 ssh2",
            "root from 198.51.100.1 port 22 ssh2",
        ),
        (
            "Failed publickey for invalid user x from 198.51.100.1 port 22 ssh2: RSA SHA256:a from 203.0.113.9 port 40000 ssh2: RSA SHA256:b",
            "x from 198.51.100.1 port 22 ssh2: RSA SHA256:a",
        ),
        ("Invalid user a from 198.51.100.1 from 203.0.113.9 port 40000", "a from 198.51.100.1"),
        (
            "Connection closed by invalid user b 198.51.100.1 port 2 203.0.113.9 port 40000 [preauth]",
            "b 198.51.100.1 port 2",
        ),
        (
            "error: maximum authentication attempts exceeded for invalid user c from d from 203.0.113.9 port 40000 ssh2 [preauth]",
            "c from d",
        ),
    ] {
        let fields = sshd(message);
        assert_eq!((&fields[SRC_IP], &fields[USER]), (&"203.0.113.9".into(), &user.into()), "{message}");
        assert_eq!(fields[SRC_PORT], 40000);
    }
}

#[test]
fn other_messages_of_sshd() {
    for (message, event, address) in [
        ("Invalid user admin from 203.0.113.9", "invalid_user", Some("203.0.113.9")),
        ("Connection closed by 203.0.113.9 port 40000 [preauth]", "connection_closed", Some("203.0.113.9")),
        (
            "Connection closed by authenticating user root 203.0.113.9 port 40000 [preauth]",
            "connection_closed",
            Some("203.0.113.9"),
        ),
        ("Connection reset by 203.0.113.9 port 40000 [preauth]", "connection_reset", Some("203.0.113.9")),
        ("Disconnected from 203.0.113.9 port 40000", "disconnected", Some("203.0.113.9")),
        ("Disconnected from user alice 203.0.113.9 port 40000", "disconnected", Some("203.0.113.9")),
        (
            "Disconnecting authenticating user root 203.0.113.9 port 4: Too many authentication failures [preauth]",
            "disconnecting",
            Some("203.0.113.9"),
        ),
        (
            "Received disconnect from 203.0.113.9 port 40000:11: Bye from 198.51.100.1",
            "received_disconnect",
            Some("203.0.113.9"),
        ),
        ("Received disconnect from 203.0.113.9: 11: Bye Bye [preauth]", "received_disconnect", Some("203.0.113.9")),
        ("Did not receive identification string from 203.0.113.9", "no_identification", Some("203.0.113.9")),
        (
            "Bad protocol version identification 'GET / from 198.51.100.1 port 1' from 203.0.113.9 port 2",
            "bad_protocol",
            Some("203.0.113.9"),
        ),
        (
            "fatal: Unable to negotiate with 203.0.113.9 port 1: no matching cipher found. Their offer: x [preauth]",
            "negotiation_failed",
            Some("203.0.113.9"),
        ),
        (
            "User bob from 203.0.113.9 not allowed because not listed in AllowUsers",
            "user_not_allowed",
            Some("203.0.113.9"),
        ),
        (
            "reverse mapping checking getaddrinfo for a.example [203.0.113.9] failed - POSSIBLE BREAK-IN ATTEMPT!",
            "reverse_mapping_failed",
            Some("203.0.113.9"),
        ),
        ("input_userauth_request: invalid user admin [preauth]", "userauth_request", None),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root",
            "pam_failure",
            Some("203.0.113.9"),
        ),
        (
            "PAM 5 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9  user=root",
            "pam_more_failures",
            Some("203.0.113.9"),
        ),
        ("pam_unix(sshd:session): session opened for user alice by (uid=0)", "session_opened", None),
        ("pam_unix(sshd:session): session closed for user alice", "session_closed", None),
    ] {
        let fields = sshd(message);
        assert_eq!(fields[EVENT], event, "{message}");
        assert_eq!(fields.get(SRC_IP).and_then(Value::as_str), address, "{message}");
    }
    assert_eq!(sshd("Server listening on 0.0.0.0 port 22."), serde_json::json!({}));
}

#[test]
fn a_repeated_message_stands_for_its_occurrences() {
    let repeated = |count: &str| {
        format!(
            "Mar  1 10:00:00 web-1 sshd[7]: message repeated {count} times: [ Failed password for root from 203.0.113.9 port 4 ssh2]"
        )
    };
    for (count, occurrences) in [("5", 5), ("0", 1), ("1000000", 1000), ("99999999999999999999", 1000)] {
        let line = repeated(count);
        let record = record(&line);
        assert_eq!((record.occurrences, &record.fields[EVENT]), (occurrences, &"failed_password".into()), "{count}");
        assert_eq!(record.fields[MESSAGE], "Failed password for root from 203.0.113.9 port 4 ssh2");
    }
    let line = repeated("-1");
    assert_eq!((record(&line).occurrences, record(&line).fields.get(EVENT)), (1, None));
}

#[test]
fn sudo_and_su() {
    let line =
        "Mar  1 10:00:04 web-1 sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh -c a ; b";
    let sudo = record(line);
    assert_eq!((&sudo.fields[USER], &sudo.fields[TARGET_USER]), (&"alice".into(), &"root".into()));
    assert_eq!(sudo.fields["USER"], "root", "as sudo names it");
    assert_eq!((&sudo.fields[EVENT], &sudo.fields[COMMAND]), (&"sudo_command".into(), &"/bin/sh -c a ; b".into()));
    assert_eq!(sudo.log_source, &SUDO);
    let denied =
        "Mar  1 10:00:04 web-1 sudo: bob : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
    assert_eq!(record(denied).fields[EVENT], "sudo_denied");
    let wrong = "Mar  1 10:00:04 web-1 sudo: bob : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
    assert_eq!(record(wrong).fields[EVENT], "sudo_failed_password");
    let opened = "Mar  1 10:00:04 web-1 su[9]: pam_unix(su:session): session opened for user root by alice(uid=1000)";
    let opened = record(opened);
    assert_eq!((&opened.fields[USER], &opened.fields[TARGET_USER]), (&"alice".into(), &"root".into()));
    assert_eq!(record("Mar  1 10:00:04 web-1 su[9]: FAILED SU (to root) bob on pts/1").fields[EVENT], "su_failed");
}

#[test]
fn each_program_has_its_log_source() {
    for (program, expected) in
        [("sshd", &SSHD), ("sshd-session", &SSHD), ("/usr/sbin/cron", &CRON), ("useradd", &AUTH), ("nginx", &SYSLOG)]
    {
        let line = format!("Mar  1 10:00:00 web-1 {program}[7]: hello");
        assert_eq!(record(&line).log_source, expected, "{program}");
    }
    assert_eq!(record("Mar  1 10:00:00 web-1 vmtoolsd[7]: pam_unix(vmtoolsd:auth): x").log_source, &AUTH);
}

/// Admits what a rule about one event may match.
struct About(&'static str);

impl Gate for About {
    fn admits(&mut self, _: &'static LogSource, keys: &[Key<'_>], _: &str) -> bool {
        matches!(keys, [Key::Any]) || keys == [Key::Text(self.0)]
    }
}

#[test]
fn the_gate_admits_a_message_exactly_if_it_is_of_the_event() {
    let part = prop::sample::select(vec![
        "Failed ",
        "Failed password for ",
        "Accepted publickey for ",
        "Failed keyboard-interactive/pam for ",
        "invalid user ",
        "Invalid user ",
        "User ",
        "root",
        "root from 203.0.113.9 port 22",
        " from ",
        "203.0.113.9",
        " port 22 ssh2",
        " [preauth]",
        "error: ",
        " not allowed because ",
        "[203.0.113.9]",
        " POSSIBLE BREAK-IN ATTEMPT!",
        "Connection closed by ",
        "Disconnected from ",
        "Received disconnect from ",
        "Too many authentication failures for ",
        ": Too many authentication failures",
        "PAM 2 more authentication failures; rhost=203.0.113.9",
        "pam_unix(sshd:auth): ",
        "pam_unix(sshd:auth): authentication failure; rhost=203.0.113.9",
        "session opened for user ",
        "bob : TTY=pts/0 ; USER=root ; COMMAND=/bin/sh",
        " : ",
        " ",
    ]);
    let message = prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat());
    let program = prop::sample::select(vec!["sshd", "sudo", "su", "cron", "/usr/sbin/sshd"]);
    let config = Config { cases: 20_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[31; 32]));
    let mut events = std::collections::BTreeSet::new();
    let seen = std::cell::RefCell::new(&mut events);
    runner
        .run(&(program, message), |(program, message)| {
            let line = format!("Mar  1 10:00:00 web-1 {program}[7]: {message}");
            let whole = record(&line);
            let event = whole.fields.text(EVENT);
            seen.borrow_mut().extend(event.map(str::to_owned));
            for asked in
                ["failed_password", "accepted", "reverse_mapping_failed", "sudo_command", "pam_failure", "other"]
            {
                match Syslog.parser(&context()).parse_if(&line, &mut About(asked)) {
                    Parsed::Record(found) => {
                        prop_assert_eq!((event, found.fields.tree()), (Some(asked), whole.fields.tree()));
                    }
                    Parsed::Unwatched => prop_assert_ne!(event, Some(asked)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(events.len() > 12, "{events:?}");
}

#[test]
fn a_line_is_the_same_after_whatever_line() {
    let lines = [
        "Mar  1 10:00:00 web-1 sshd[7]: a",
        "Mar  1 10:00:00.5 web-1 sshd[7]: a",
        "<13>Mar  1 10:00:00 web-1 sshd[7]: a",
        "Mar  1 2026 10:00:00 web-1 sshd[7]: a",
        "Mar  1 10:00:00  web-1 sshd[7]: a",
        "Mar  1 10:00:00 ",
        "Mar  1 10:00:00",
        "Mar  1 10:00:000 web-1 sshd[7]: a",
        "2026-03-01T10:00:00Z web-1 sshd[7]: a",
        "2026-03-01T10:00:00 web-1 sshd[7]: a",
        "2026-03-01T10:00:00Z5 web-1 sshd[7]: a",
        "2026-03-01T10:00:00+01 web-1 sshd[7]: a",
        "2026-03-01T10:00:00+01:00 web-1 sshd[7]: a",
        "<13>1 2026-03-01T10:00:00Z web-1 sshd 7 - - a",
        "<13>1 2026-03-01T10:00:00 web-1 sshd 7 - - a",
    ];
    let told = |parsed: Parsed<'_>| match parsed {
        Parsed::Record(record) => Ok((record.time, record.fields.tree().clone())),
        other => Err(format!("{other:?}")),
    };
    let alone = |line: &str| told(Syslog.parser(&context()).parse(line));
    for (first, second) in lines.iter().flat_map(|first| lines.iter().map(move |second| (first, second))) {
        let mut parser = Syslog.parser(&context());
        drop(parser.parse(first));
        assert_eq!(told(parser.parse(second)), alone(second), "{second} after {first}");
    }
}

#[test]
fn a_line_is_the_same_after_lines_that_differ_in_a_few_bytes() {
    let stamps = [
        "Mar  1 10:00:00",
        "Mar 1 10:00:00",
        "Mar 10 2026 10:00:00",
        "Mar 10 10:00:00.123456",
        "2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00.123456+01:00",
        "2026-03-01T10:00:00.123456789012345678901234567890-0100",
        "<13>Mar  1 10:00:00",
        "<165>1 2026-03-01T10:00:00.5Z",
    ];
    let rests = [
        " web-1 sshd[7]: Failed password for root from 203.0.113.9 port 4 ssh2",
        "  a-long-name-of-a-host-1 /usr/sbin/sshd[12345]: x",
        " h su: ",
        " web-1 cron[1]:x",
        " web-1: a",
    ];
    let told = |parsed: Parsed<'_>| match parsed {
        Parsed::Record(record) => Ok((record.log_source, record.time, record.fields.tree().clone())),
        other => Err(format!("{other:?}")),
    };
    let byte = prop::sample::select(&b"0123456789 -:.,TZ/+[]<>aM\0"[..]);
    let damage = prop::collection::vec((0_usize..64, byte), 0..3);
    let line = (prop::sample::select(stamps.to_vec()), prop::sample::select(rests.to_vec()), damage);
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[37; 32]));
    runner
        .run(&prop::collection::vec(line, 1..20), |lines| {
            let mut parser = Syslog.parser(&context());
            for (stamp, rest, damage) in lines {
                let mut line = format!("{stamp}{rest}").into_bytes();
                let length = line.len();
                for (at, byte) in damage {
                    line[at % length] = byte;
                }
                let line = String::from_utf8(line).unwrap();
                let alone = Syslog.parser(&context());
                prop_assert_eq!(told(parser.parse(&line)), told({ alone }.parse(&line)), "{}", line);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_bytes_make_the_parser_panic() {
    no_bytes_make_it_panic(&Syslog, BASIC);
}
