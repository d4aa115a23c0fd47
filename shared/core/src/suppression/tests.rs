use super::*;
use crate::config::Config;
use crate::finding::{Evidence, Level};

const NEEDED: &str = "[[suppressions]]\nrule = \"r\"\nowner = \"o@example.com\"\nreason = \"a test\"\n";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Suppressions of rule `r` until the end of March, with these conditions.
fn with(conditions: &str) -> Suppressions {
    Config::parse("c.toml", &format!("{NEEDED}expires = 2026-03-31\n{conditions}\n")).unwrap().suppressions
}

fn finding() -> Finding {
    let text = |text: &str| Some(text.to_owned());
    Finding {
        id: "f".to_owned(),
        revision: 1,
        rule: "r".to_owned(),
        title: "R".to_owned(),
        level: Level::High,
        count: 1,
        first_time: None,
        last_time: None,
        group: [("sourceIPAddress".to_owned(), text("198.51.100.7")), ("user".to_owned(), None)].into_iter().collect(),
        account: text("123456789012"),
        region: text("eu-central-1"),
        actor: text("arn:aws:iam::123456789012:role/ci-7"),
        source_address: text("198.51.100.7"),
        resources: vec!["arn:aws:s3:::site".to_owned(), "arn:aws:s3:::site-assets".to_owned()],
        evidence: vec![Evidence {
            time: None,
            source: "s".to_owned(),
            record: 1,
            text: String::new(),
            also_in: Vec::new(),
        }],
        dedup_key: "d".to_owned(),
    }
}

fn holds(conditions: &str, finding: &Finding) -> bool {
    with(conditions).of(finding, at("2026-03-01T00:00:00Z")).is_some()
}

#[test]
fn every_condition_that_is_there_must_hold() {
    for conditions in [
        "",
        "account = \"123456789012\"\nregion = [\"us-east-1\", \"eu-*\"]",
        "actor = \"arn:aws:iam::*:role/ci-?\"",
        "source_address = \"198.51.100.*\"",
        "resource = [\"arn:aws:s3:::site\", \"arn:aws:s3:::site-*\"]",
        "group = {sourceIPAddress = \"198.51.100.7\"}",
    ] {
        assert!(holds(conditions, &finding()), "{conditions}");
    }
    for conditions in [
        "account = \"123456789012\"\nregion = \"us-east-1\"",
        "actor = \"ci-?\"",
        "resource = \"arn:aws:s3:::site\"",
        "group = {user = \"*\"}",
        "group = {eventName = \"*\"}",
        "region = []",
    ] {
        assert!(!holds(conditions, &finding()), "{conditions}");
    }
    assert!(!holds("", &Finding { rule: "other".to_owned(), ..finding() }));
    assert!(!holds("actor = \"*\"", &Finding { actor: None, ..finding() }), "not known is none of them");
}

#[test]
fn what_a_finding_does_not_show_is_not_taken_for_what_it_shows() {
    let many = Finding { count: 1000, ..finding() };
    assert!(!holds("actor = \"*role/ci-7\"", &many), "some of the thousand may be another's");
    assert!(!holds("resource = \"*\"", &many));
    assert!(holds("source_address = \"198.51.100.7\"", &many), "they are grouped by it");
    assert!(holds("", &many));
    let full = Finding { resources: vec!["arn:aws:s3:::site".to_owned(); MAX_RESOURCES], ..finding() };
    assert!(!holds("resource = \"*\"", &full), "there may be more than are named");
}

#[test]
fn it_holds_to_the_end_of_its_day_or_until_its_time() {
    for (written, last, first) in [
        ("2026-03-31", "2026-03-31T23:59:59Z", "2026-04-01T00:00:00Z"),
        ("\"2026-03-31\"", "2026-03-31T23:59:59Z", "2026-04-01T00:00:00Z"),
        ("2026-03-31T18:00:00Z", "2026-03-31T17:59:59Z", "2026-03-31T18:00:00Z"),
        ("2026-03-31T18:00:00", "2026-03-31T17:59:59Z", "2026-03-31T18:00:00Z"),
        ("\"2026-03-31T18:00:00+09:00\"", "2026-03-31T08:59:59Z", "2026-03-31T09:00:00Z"),
    ] {
        let text = format!("{NEEDED}expires = {written}\n");
        let suppressions = Config::parse("c.toml", &text).unwrap().suppressions;
        assert!(suppressions.of(&finding(), at(last)).is_some(), "{written}");
        assert_eq!(suppressions.expired(at(last)).count(), 0, "{written}");
        assert!(suppressions.of(&finding(), at(first)).is_none(), "{written}");
        assert_eq!(suppressions.expired(at(first)).count(), 1, "{written}");
    }
}

#[test]
fn one_without_owner_reason_or_expiry_is_refused() {
    let whole = format!("{NEEDED}expires = 2026-03-31\n");
    for key in ["rule", "owner", "reason", "expires"] {
        let kept: Vec<&str> = whole.lines().filter(|line| !line.starts_with(key)).collect();
        let error = Config::parse("c.toml", &kept.join("\n")).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
    for (line, key) in [("owner = \" \"", "owner"), ("expires = \"soon\"", "expires"), ("acount = \"1\"", "acount")] {
        let (name, _) = line.split_once(' ').unwrap();
        let kept: Vec<&str> = whole.lines().filter(|line| !line.starts_with(name)).chain([line]).collect();
        let error = Config::parse("c.toml", &kept.join("\n")).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
        assert!(error.line > 1, "{error}");
    }
    assert!(Config::parse("c.toml", &format!("{whole}actor = \"\"\n")).is_err());
}

#[test]
fn one_whose_rule_is_not_there_is_told() {
    let (catalogue, _) = Catalogue::load(Vec::new());
    assert_eq!(with("").without_rule(&catalogue).count(), 1);
}
