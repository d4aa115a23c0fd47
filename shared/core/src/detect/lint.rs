//! What a rule of the catalogue must have beyond being loadable.

mod counted;
mod idle;

use std::collections::HashMap;

pub(super) use counted::never_matches;
pub use idle::idle;

use serde_json::Value;

use super::{Catalogue, Problem, Rule, WantedLogSource, fields};
use crate::attack::{self, Standing};

/// Words for the levels of maturity, <https://sigmahq.io/docs/basics/rules.html>.
const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

/// Names what each rule lacks: a valid id, a level, a description, a status, references, false positives, a runbook, tags
/// of the current version of ATT&CK, a file named for its condition, fields that its log source has, a condition that names
/// each selection, two tests that must match and two that must not. Where it looks at calls to AWS, one of its tests must
/// be of a call that failed; where these tamper, such a call must match.
pub fn lint(catalogue: &Catalogue) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut titles: HashMap<&str, &str> = HashMap::new();
    for rule in catalogue.rules() {
        let mut problem = |reason: String| {
            let (file, line, rule) = (rule.file.clone(), rule.line, Some(rule.id.clone()));
            problems.push(Problem { file, line, rule, reason, is_harmless: true });
        };
        for reason in lacks(rule).into_iter().chain(counted::lacks(catalogue, rule)) {
            problem(reason);
        }
        if let Some(other) = titles.insert(&rule.title, &rule.file) {
            problem(format!("the title '{}' is taken by a rule in {other}", rule.title));
        }
    }
    problems
}

fn lacks(rule: &Rule) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut require = |holds: bool, reason: &str| {
        if !holds {
            reasons.push(reason.to_owned());
        }
    };
    // A rule without one goes by its logic.
    let names_id = rule.id != rule.logic;
    require(names_id, "there is no id, or it is no text: put a UUID there");
    require(!names_id || is_uuid(&rule.id), "the id is no lower-case UUID");
    require(!rule.title.is_empty() && rule.title.chars().count() <= 100, "the title must have 1 to 100 characters");
    require(!rule.guidance().description.trim().is_empty(), "there is no description");
    require(rule.status.as_deref().is_some_and(|status| STATUSES.contains(&status)), "there is no valid status");
    require(rule.names_level, "there is no level: informational, low, medium, high or critical");
    require(!rule.guidance().references.is_empty(), "there are no references");
    require(
        rule.guidance().references.iter().all(|address| address.starts_with("https://")),
        "a reference is no https address",
    );
    require(file_is_named_for_condition(&rule.file), "the file's name must state the condition: lower_case_words.yml");
    // A rule that only serves correlations speaks through them.
    if rule.reports {
        require(!rule.guidance().false_positives.is_empty(), "there are no false positives; say 'Unknown' at least");
        require(!rule.guidance().runbook.is_empty(), "there is no runbook");
        require(!rule.tags.is_empty(), "there are no tags");
    }
    require(rule.cases.positive.len() >= 2, "fewer than two tests that must match");
    require(rule.cases.negative.len() >= 2, "fewer than two tests that must not match");
    if looks_at_calls(rule) {
        let runs = rule.cases.runs();
        let denied_matches = runs.iter().any(|run| run.expected && run.is_denied());
        require(
            !rule.is_about_tampering() || denied_matches,
            "no test shows that a denied call matches: errorCode: AccessDenied, requestParameters: null",
        );
        require(
            rule.is_about_tampering() || runs.iter().any(|run| run.records.iter().any(has_failed)),
            "no test shows what becomes of a call that failed: errorCode: AccessDenied",
        );
    }
    if let Some(detection) = &rule.detection {
        if detection.log_source == WantedLogSource::default() {
            reasons.push("there is no log source: the rule is asked of every record of every log".to_owned());
        }
        reasons.extend(fields::unheard_of(&detection.log_source));
        reasons.extend(detection.unknown.reason());
        reasons.extend(detection.doubts.iter().cloned());
    }
    reasons.extend(rule.tags.iter().filter_map(|tag| wrong_tag(tag, &rule.tags)));
    reasons
}

/// Whether the rule looks at single calls to AWS.
fn looks_at_calls(rule: &Rule) -> bool {
    rule.detection.as_ref().is_some_and(|detection| detection.log_source.service.as_deref() == Some("cloudtrail"))
}

/// Whether a record is of a call that failed; a sign-in that did has a message alone.
fn has_failed(record: &Value) -> bool {
    let says = |name: &str| record.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    says("errorCode") || says("errorMessage")
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn file_is_named_for_condition(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".yml").is_some_and(|stem| {
        stem.starts_with(|first: char| first.is_ascii_lowercase())
            && stem.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    })
}

/// What is wrong with a tag. Tags are as
/// <https://github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-appendix-tags.md> has them. One that
/// ATT&CK has replaced may stay beside what took its place, for tools that know the version before.
fn wrong_tag(tag: &str, all: &[String]) -> Option<String> {
    if tag.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(format!("the tag '{tag}' is not in lower case"));
    }
    let unknown = || {
        let hint = if tag.contains('_') { "; its words are joined by hyphens" } else { "" };
        let kinds = "neither an ATT&CK technique, tactic, group or software nor of a known family";
        Some(format!("the tag '{tag}' is {kinds}{hint}"))
    };
    let Some((family, name)) = tag.split_once('.').filter(|(_, name)| !name.is_empty()) else { return unknown() };
    match family {
        "attack" => {}
        "cve" | "car" | "d3fend" | "detection" | "tlp" | "stp" => return None,
        _ => return unknown(),
    }
    let digits = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    // Groups and software come and go with every version; they are known by their form.
    if name.strip_prefix(['g', 's']).is_some_and(digits) {
        return None;
    }
    let technique = name.strip_prefix('t').filter(|number| number.starts_with(|letter: char| letter.is_ascii_digit()));
    if technique.is_none() && !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-')) {
        return unknown();
    }
    let id = technique.map_or_else(|| name.to_owned(), |number| format!("T{number}"));
    let version = attack::version();
    match attack::standing(&id) {
        Standing::Current => None,
        Standing::Unknown if technique.is_some() => {
            Some(format!("the tag '{tag}': ATT&CK {version} has no technique {id}"))
        }
        Standing::Unknown => unknown(),
        Standing::Withdrawn => {
            Some(format!("the tag '{tag}': ATT&CK {version} has withdrawn {id}, and has nothing in its place"))
        }
        Standing::Replaced(names) => {
            let tags: Vec<String> = names.iter().map(|name| format!("attack.{}", name.to_lowercase())).collect();
            let is_there = tags.iter().any(|tag| all.contains(tag));
            let reason = || {
                format!(
                    "the tag '{tag}': ATT&CK {version} has replaced {id}; tag {} too, or instead",
                    tags.join(" or ")
                )
            };
            (!is_there).then(reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(tags: &[&str]) -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        tags.iter().filter_map(|tag| wrong_tag(tag, &tags)).collect()
    }

    #[test]
    fn a_rule_says_which_it_is_and_what_it_is_about() {
        let told = |text: &str| -> Vec<String> {
            let text = format!("title: t\n{text}\ndetection: {{s: {{a: x}}, condition: s}}\n");
            let (catalogue, _) = Catalogue::load(vec![crate::detect::RuleFile::new("t.yml", text)]);
            lint(&catalogue).into_iter().map(|problem| problem.reason).collect()
        };
        let (no_id, no_uuid, any) = ("there is no id", "the id is no lower-case UUID", "there is no log source");
        let uuid = "id: 0f3f2d9e-6a0b-4c1e-9f0e-3c1f6f8f7a01";
        for (text, expected) in [
            (format!("{uuid}\nlogsource: {{category: application}}"), [false, false, false]),
            (
                format!("{}\nlogsource: {{category: application}}", uuid.to_uppercase().replace("ID:", "id:")),
                [false, true, false],
            ),
            ("id: 7\nlogsource: {category: application}".to_owned(), [true, false, false]),
            ("logsource: {}".to_owned(), [true, false, true]),
            (uuid.to_owned(), [false, false, true]),
        ] {
            let told = told(&text);
            let is_told = |start: &str| told.iter().any(|reason| reason.starts_with(start));
            assert_eq!([no_id, no_uuid, any].map(is_told), expected, "{text}: {told:?}");
        }
    }

    #[test]
    fn a_selection_that_no_condition_names_is_told() {
        let told = |detection: &str| -> Vec<String> {
            let text = format!("title: t\nlogsource: {{category: application}}\ndetection: {detection}\n");
            let (catalogue, problems) = Catalogue::load(vec![crate::detect::RuleFile::new("t.yml", text)]);
            assert!(problems.is_empty(), "{problems:?}");
            let reasons = lint(&catalogue).into_iter().map(|problem| problem.reason);
            reasons.filter_map(|reason| Some(reason.split_once("not name the selection ")?.1.to_owned())).collect()
        };
        for (conditions, expected) in [
            ("s_a and not (s_b or _c)", [""; 0].as_slice()),
            ("1 of s_* and _c", &[]),
            ("all of them", &["'_c'"]),
            ("s_b", &["'_c'", "'s_a'"]),
            ("[s_a, 1 of _*]", &["'s_b'"]),
        ] {
            let detection = format!("{{s_a: {{a: x}}, s_b: {{b: x}}, _c: {{c: x}}, condition: {conditions}}}");
            assert_eq!(told(&detection), expected, "{conditions}");
        }
    }

    #[test]
    fn tags_are_told_apart() {
        for tag in ["attack.t1685.002", "attack.t1078", "attack.defense-impairment", "attack.g0020", "cve.2021-44228"] {
            assert_eq!(wrong(&[tag]), [""; 0], "{tag}");
        }
        assert!(wrong(&["attack.T1190"])[0].contains("not in lower case"));
        for tag in ["t1562", "mitre.t1562", "attack.", "attack.privilege_escalation", "attack.g20"] {
            assert!(wrong(&[tag])[0].contains("known family"), "{tag}");
        }
        for tag in ["attack.t15", "attack.t1685.02", "attack.t9999", "attack.t1190.001"] {
            assert!(wrong(&[tag])[0].contains("has no technique T"), "{tag}");
        }
    }

    #[test]
    fn what_attack_has_replaced_stays_only_beside_its_replacement() {
        let told = wrong(&["attack.t1562.008"]);
        assert!(told[0].contains("attack.t1685.002") && told[0].contains("ATT&CK 19"), "{told:?}");
        assert_eq!(wrong(&["attack.t1562.008", "attack.t1685.002"]), [""; 0]);
        assert!(wrong(&["attack.defense-evasion"])[0].contains("attack.stealth or attack.defense-impairment"));
        assert_eq!(wrong(&["attack.defense-evasion", "attack.stealth"]), [""; 0]);
        assert!(wrong(&["attack.t1064"])[0].contains("withdrawn"));
    }
}
