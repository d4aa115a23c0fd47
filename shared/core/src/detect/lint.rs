//! What a rule of the catalogue must have beyond being loadable.

use std::collections::HashMap;

use super::{Catalogue, Problem, Rule};

/// Words for the levels of maturity, <https://sigmahq.io/docs/basics/rules.html>.
const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

/// Names what each rule lacks: a valid id, a description, a status, references, false positives, a runbook, valid
/// ATT&CK tags, a file named for its condition, two tests that must match and two that must not, and, where it finds calls
/// that tamper, one such call that was denied among those that must match.
pub fn lint(catalogue: &Catalogue) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut titles: HashMap<&str, &str> = HashMap::new();
    for rule in catalogue.rules() {
        let mut problem = |reason: String| {
            problems.push(Problem { file: rule.file.clone(), rule: Some(rule.id.clone()), reason, line: None });
        };
        for reason in lacks(rule) {
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
    require(is_uuid(&rule.id), "the id is no lower-case UUID");
    require(!rule.title.is_empty() && rule.title.chars().count() <= 100, "the title must have 1 to 100 characters");
    require(!rule.guidance.description.trim().is_empty(), "there is no description");
    require(rule.status.as_deref().is_some_and(|status| STATUSES.contains(&status)), "there is no valid status");
    require(!rule.guidance.references.is_empty(), "there are no references");
    require(
        rule.guidance.references.iter().all(|address| address.starts_with("https://")),
        "a reference is no https address",
    );
    require(file_is_named_for_condition(&rule.file), "the file's name must state the condition: lower_case_words.yml");
    // A rule that only serves correlations speaks through them.
    if rule.reports {
        require(!rule.guidance.false_positives.is_empty(), "there are no false positives; say 'Unknown' at least");
        require(!rule.guidance.runbook.is_empty(), "there is no runbook");
        require(!rule.guidance.tags.is_empty(), "there are no tags");
    }
    require(rule.cases.positive.len() >= 2, "fewer than two tests that must match");
    require(rule.cases.negative.len() >= 2, "fewer than two tests that must not match");
    require(
        !finds_tampering_calls(rule) || rule.cases.runs().iter().any(|run| run.expected && run.is_denied()),
        "no test shows that a denied call matches: errorCode: AccessDenied, requestParameters: null",
    );
    reasons.extend(rule.detection.as_ref().and_then(|detection| detection.unknown.reason()));
    for tag in &rule.guidance.tags {
        if !is_valid_tag(tag) {
            reasons.push(format!(
                "the tag '{tag}' is neither an ATT&CK technique, tactic, group or software nor of a known family"
            ));
        }
    }
    reasons
}

/// Whether the rule looks at single calls to AWS that tamper with logging or detection.
fn finds_tampering_calls(rule: &Rule) -> bool {
    let looks_at_calls =
        rule.detection.as_ref().is_some_and(|detection| detection.log_source.service.as_deref() == Some("cloudtrail"));
    looks_at_calls && rule.is_about_tampering()
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

/// Tags as <https://github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-appendix-tags.md> has them.
fn is_valid_tag(tag: &str) -> bool {
    let Some((family, name)) = tag.split_once('.').filter(|(_, name)| !name.is_empty()) else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match family {
        "attack" => {
            let numbered = name.split_at_checked(1).is_some_and(|(kind, number)| match kind {
                "t" => match number.split_once('.') {
                    Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
                    None => digits(number, 4),
                },
                "g" | "s" => digits(number, 4),
                _ => false,
            });
            numbered || name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-'))
        }
        "cve" | "car" | "d3fend" | "detection" | "tlp" | "stp" => !name.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart() {
        for tag in ["attack.t1562.008", "attack.t1078", "attack.defense-impairment", "cve.2021-44228"] {
            assert!(is_valid_tag(tag), "{tag}");
        }
        for tag in ["t1562", "attack.t15", "attack.T1562", "attack.t1562.08", "mitre.t1562", "attack."] {
            assert!(!is_valid_tag(tag), "{tag}");
        }
    }
}
