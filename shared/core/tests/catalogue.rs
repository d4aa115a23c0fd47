//! The built-in rules hold what they promise: each loads, lacks nothing, passes its own tests, and passes them because of
//! what it says, not by accident.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, also outside of its #[test] function")]

use std::collections::BTreeSet;

use cloudvigil_core::detect::{Catalogue, Rule, RuleFile, lint, run_cases};
use serde::Deserialize as _;
use yaml_serde::{Mapping, Value};

fn built_in() -> Catalogue {
    let (catalogue, problems) = Catalogue::load(Catalogue::built_in_files());
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    catalogue
}

#[test]
fn every_rule_loads_and_lacks_nothing() {
    let catalogue = built_in();
    let problems: Vec<String> = lint(&catalogue).iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(!catalogue.rules().is_empty());
}

#[test]
fn a_rule_without_its_tests_is_the_same_rule() {
    let (catalogue, problems) = Catalogue::built_in();
    assert!(problems.is_empty(), "{problems:?}");
    let shown = |rule: &Rule| (rule.id.clone(), rule.logic.clone(), rule.level, rule.reports, rule.guidance().clone());
    let whole = built_in();
    assert_eq!(
        catalogue.rules().iter().map(shown).collect::<Vec<_>>(),
        whole.rules().iter().map(shown).collect::<Vec<_>>()
    );
    assert!(catalogue.rules().iter().all(|rule| rule.cases.runs().is_empty()));
}

#[test]
fn every_rule_passes_its_own_tests() {
    let catalogue = built_in();
    let (mut ran, mut failures) = (0, Vec::new());
    for rule in catalogue.rules() {
        let (cases, failed) = run_cases(&catalogue, rule);
        ran += cases;
        failures
            .extend(failed.into_iter().map(|failure| format!("{}: {}: {}", rule.file, failure.case, failure.reason)));
    }
    println!("{} rules, {ran} tests", catalogue.rules().len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn no_rule_passes_its_tests_by_accident() {
    let catalogue = built_in();
    let mut accidents = Vec::new();
    for rule in catalogue.rules() {
        // A correlation must fall silent whichever of the rules that it counts does.
        let counted = rule.leaves.iter().map(|leaf| catalogue.rule(leaf.rule));
        let parts = counted.chain(rule.detection.is_some().then_some(rule));
        for part in parts {
            let failed = failed_cases(&changed(rule, part, |detection| *detection = never()), rule);
            let passed = rule.cases.positive.iter().filter(|case| !failed.contains(&case.name));
            accidents.extend(passed.map(|case| format!("{}: {} without {}", rule.file, case.name, part.title)));
        }
    }
    assert!(accidents.is_empty(), "{}", accidents.join("\n"));
}

#[test]
fn every_part_of_a_rule_is_shown_by_a_test() {
    let catalogue = built_in();
    let mut idle = Vec::new();
    for rule in catalogue.rules() {
        for part in parts(rule) {
            let without = changed(rule, rule, |detection| {
                detection.insert(Value::from(part.as_str()), impossible());
            });
            if failed_cases(&without, rule).is_empty() {
                idle.push(format!("{}: {}: nothing fails without {part}", rule.file, rule.title));
            }
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
}

#[test]
fn rules_about_logging_name_the_technique_of_both_versions_of_attack() {
    for rule in built_in().rules() {
        let tags: BTreeSet<&str> = rule.tags.iter().map(String::as_str).collect();
        let (before, since) = (tags.contains("attack.t1562.008"), tags.contains("attack.t1685.002"));
        assert_eq!(before, since, "{}", rule.file);
    }
}

/// The names of a rule's cases that fail in a catalogue where something was changed.
fn failed_cases(catalogue: &Catalogue, rule: &Rule) -> BTreeSet<String> {
    let rule = catalogue.by_id(&rule.id).expect("the changed rule is loaded");
    run_cases(catalogue, rule).1.into_iter().map(|failure| failure.case).collect()
}

/// A catalogue with another detection for one rule, of the files that `tested` needs.
fn changed(tested: &Rule, rule: &Rule, change: impl Fn(&mut Mapping)) -> Catalogue {
    // A correlation counts rules of its own file and of those beside it; other rules need no company.
    let folder = |file: &str| file.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let mut files = Catalogue::built_in_files();
    let correlates = |file: &RuleFile| file.name == tested.file && file.text().contains("\ncorrelation:");
    let beside = files.iter().any(correlates).then(|| folder(&tested.file));
    files
        .retain(|file| file.name == tested.file || beside.as_ref().is_some_and(|beside| *beside == folder(&file.name)));
    let file = files.iter_mut().find(|file| file.name == rule.file).expect("the rule has a file");
    let mut documents = documents(file);
    let document = documents.iter_mut().find(|document| document["id"] == rule.id.as_str()).expect("it is in its file");
    change(document["detection"].as_mapping_mut().expect("a simple rule has a detection"));
    let texts: Vec<String> = documents.iter().map(|document| yaml_serde::to_string(document).unwrap()).collect();
    *file = RuleFile::new(file.name.as_str(), texts.join("---\n"));
    let (catalogue, problems) = Catalogue::load(files);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

fn documents(file: &RuleFile) -> Vec<Value> {
    yaml_serde::Deserializer::from_str(file.text()).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The names of a simple rule's selections and filters.
fn parts(rule: &Rule) -> Vec<String> {
    let files = Catalogue::built_in_files();
    let file = files.iter().find(|file| file.name == rule.file).expect("the rule has a file");
    let documents = documents(file);
    let document = documents.iter().find(|document| document["id"] == rule.id.as_str()).expect("it is in its file");
    let names = document.get("detection").and_then(Value::as_mapping).into_iter().flat_map(Mapping::keys);
    names.filter_map(Value::as_str).filter(|name| *name != "condition").map(str::to_owned).collect()
}

/// A detection that finds nothing.
fn never() -> Mapping {
    let mut detection = Mapping::new();
    detection.insert(Value::from("selection"), impossible());
    detection.insert(Value::from("condition"), Value::from("selection"));
    detection
}

/// A selection that no record fulfils.
fn impossible() -> Value {
    let mut selection = Mapping::new();
    selection.insert(Value::from("a field that no record has"), Value::from("this"));
    Value::Mapping(selection)
}
