//! `cloudvigil.toml`: suppressions, what is cloudvigil's own, and who deploys it.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod support;

use serde_json::Value;
use support::{Folder, Ran};

/// CloudTrail's own switch, and a rule about it of one's own: about tampering, of level high, each call its own finding.
const RULE: &str = "
title: Stopped
id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a10
level: high
tags: [attack.t1685]
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
";

/// A trail that is stopped, by whom.
fn stop(number: u8, trail: &str, role: &str) -> String {
    format!(
        r#"{{"eventID":"{number}","eventTime":"2026-03-01T10:0{number}:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","recipientAccountId":"123456789012","userIdentity":{{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/{role}/s","sessionContext":{{"sessionIssuer":{{"arn":"arn:aws:iam::123456789012:role/{role}"}}}}}},"requestParameters":{{"name":"{trail}"}}}}"#
    )
}

/// The level of each finding, by title.
fn levels(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ran.json().iter().map(|finding| (text(&finding["title"]), text(&finding["level"]))).collect()
}

fn pair(title: &str, level: &str) -> (String, String) {
    (title.to_owned(), level.to_owned())
}

#[test]
fn what_is_ones_own_is_critical_and_the_deploying_role_lowers_it() {
    let folder = Folder::new();
    let log =
        [stop(0, "other", "Dev"), stop(1, "company", "Dev"), stop(2, "company", "Deploy"), stop(3, "other", "Deploy2")];
    folder.write("rule.yml", RULE).write("a.json", log.join("\n"));
    folder.write(
        "cloudvigil.toml",
        "[own]\nresources = [\"arn:aws:cloudtrail:eu-central-1:123456789012:trail/company\"]\n\
         deploying_roles = [\"arn:aws:iam::123456789012:role/Deploy\"]\n",
    );
    let ran = folder.scan(&["--output", "json", "a.json"]);
    assert_eq!(
        levels(&ran),
        [
            pair("Stopped", "high"),
            pair("Stopped", "critical"),
            pair("Stopped (deployment)", "high"),
            pair("Stopped", "high")
        ],
        "{}",
        ran.stderr
    );
}

#[test]
fn a_suppression_keeps_a_finding_from_people_and_from_nothing_else() {
    let folder = Folder::new();
    let log = [stop(0, "other", "Dev"), stop(1, "company", "Dev"), stop(2, "other", "Ops")];
    folder.write("rule.yml", RULE).write("a.json", log.join("\n"));
    let config = |expires: &str| {
        folder.write(
            "cloudvigil.toml",
            format!(
                "[own]\nresources = [\"arn:aws:cloudtrail:*:*:trail/company\"]\n[[suppressions]]\n\
                 rule = \"0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a10\"\nowner = \"dev@example.com\"\nreason = \"a test\"\n\
                 expires = {expires}\nactor = \"*assumed-role/Dev/*\"\n"
            ),
        );
    };
    config("2999-12-31");
    let scan = |more: &[&str]| folder.scan(&[&["--output", "json", "a.json"], more].concat());
    let ran = scan(&["--state", "state.db", "--fail-on", "critical"]);
    assert_eq!(levels(&ran), [pair("Stopped", "critical"), pair("Stopped", "high")], "the own trail's is told");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("1 finding held back by the suppression of rule 0f3f2d9e"), "{}", ran.stderr);
    assert!(ran.stderr.contains("dev@example.com: a test"), "{}", ran.stderr);
    let matches = folder.scan(&["--output", "matches", "a.json"]);
    assert_eq!(matches.matches().len(), 3);
    let listed = folder.run(&["findings", "--state", "state.db", "--output", "json"]);
    assert_eq!(
        (listed.json().len(), listed.stderr.contains("held back by suppressions: 1")),
        (2, true),
        "{}",
        listed.stderr
    );

    config("2026-03-31");
    let ran = scan(&["--state", "state.db"]);
    assert_eq!(levels(&ran), [pair("Stopped", "high")], "what was held back is told now: {}", ran.stderr);
    assert!(ran.stderr.contains("expired at 2026-04-01T00:00:00Z"), "{}", ran.stderr);
    assert_eq!(folder.run(&["findings", "--state", "state.db", "--output", "json"]).json().len(), 3);
}

#[test]
fn a_configuration_that_is_none_ends_it_before_anything_is_read() {
    let folder = Folder::new();
    folder.write("rule.yml", RULE).write("a.json", stop(0, "other", "Dev"));
    for (text, word) in [
        ("[[suppressions]]\nrule = \"x\"\nowner = \"o\"\nreason = \"r\"\n", "`expires`"),
        ("[own]\nresources = [\"*\"]\n", "resources"),
        ("[suppresions]\n", "suppresions"),
    ] {
        folder.write("cloudvigil.toml", text);
        let ran = folder.scan(&["a.json"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("cloudvigil.toml, line ") && ran.stderr.contains(word), "{}", ran.stderr);
    }
    let ran = folder.scan(&["--config", "absent.toml", "a.json"]);
    assert!(ran.code == 2 && ran.stderr.contains("absent.toml"), "{}", ran.stderr);
}
