//! What was prepared of the built-in rules is what their files say.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::tests::loaded;
use super::super::{Loader, simple};
use super::{Prepared, SEPARATOR};
use crate::detect::compiled::Lowered;
use crate::detect::words::Words;
use crate::detect::{Catalogue, Placeholders, Rule, RuleFile, embedded};

const HEADER: &str =
    "# What the rules beside this file come to, a file a line, so that no start has to read them. Not to be edited: run
# CLOUDVIGIL_WRITE=1 cargo test -p cloudvigil-core --lib prepared
";

/// A file's rules in JSON.
fn prepared(file: &RuleFile) -> String {
    let placeholders = Placeholders::default();
    let mut loader = Loader::new(&[], &placeholders);
    loader.read(file);
    let (mut rules, mut all_lowered) = (Vec::new(), Vec::new());
    for waiting in std::mem::take(&mut loader.simple) {
        let simple::Waiting::Read { file, line, rule, .. } = waiting else { panic!("{} was read", file.name) };
        let (rule, lowered, _) = simple::lower(&mut loader, &file, line, *rule).unwrap();
        rules.push(Prepared::Simple(rule));
        all_lowered.push(lowered);
    }
    for waiting in loader.correlations {
        assert_eq!(waiting.fault, None, "{}", file.name);
        rules.push(Prepared::Correlation(waiting.rule));
    }
    assert!(loader.problems.is_empty(), "{:?}", loader.problems);
    let mut parts = vec![serde_json::to_value(rules).unwrap()];
    parts.extend(all_lowered.into_iter().map(|lowered| serde_json::to_value(lowered).unwrap()));
    // By way of a tree, whose keys are sorted.
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

#[test]
fn what_is_prepared_is_what_the_files_say() {
    let mut text = HEADER.to_owned();
    for (file, fingerprint, _) in embedded::fingerprints() {
        writeln!(text, "{} {fingerprint} {}", file.name, prepared(&file)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/prepared.txt");
    if fs::read_to_string(&path).unwrap() == text {
        assert!(embedded::fingerprints().all(|(_, _, is_prepared)| is_prepared), "all of it is embedded");
        return;
    }
    #[allow(clippy::disallowed_methods, reason = "a test's own switch, and no configuration of the product")]
    let is_wanted = std::env::var("CLOUDVIGIL_WRITE").is_ok();
    assert!(is_wanted, "{} is behind the rules; CLOUDVIGIL_WRITE=1 writes it", path.display());
    fs::write(&path, text).unwrap();
}

/// All that can be seen of a rule.
fn shown(rule: &Rule) -> String {
    let mut shown = rule.clone();
    shown.words = Words::Read(rule.guidance().clone());
    let detection = shown.detection.take();
    let detection = detection.map(|own| format!("{:?} {:?} {:?}", own.log_source, own.events, own.unknown));
    format!("{shown:?} {detection:?}")
}

/// The built-in files, of which none is taken for one.
fn foreign() -> Vec<RuleFile> {
    let mut files = Catalogue::built_in_files_without_tests();
    for file in &mut files {
        *file = RuleFile::new(file.name.as_str(), format!("{}# changed\n", file.text()));
    }
    files
}

#[test]
fn a_prepared_rule_is_the_rule_of_its_file() {
    let (prepared, problems) = Catalogue::built_in();
    assert!(problems.is_empty(), "{problems:?}");
    let (read, problems) = loaded(foreign());
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(prepared.rules().len(), read.rules().len());
    for (number, (one, other)) in prepared.rules().iter().zip(read.rules()).enumerate() {
        assert_eq!(shown(one), shown(other));
        assert_eq!(prepared.uses(number), read.uses(number), "{}", one.file);
        let compiled = |rule: &Rule| {
            let compiled = rule.detection.as_ref().map(|detection| detection.compiled.get().clone());
            let mut selections: Vec<_> =
                compiled.iter().flat_map(|rule| &rule.detections).map(|part| format!("{part:?}")).collect();
            selections.sort();
            (selections, format!("{:?}", compiled.map(|rule| rule.conditions)))
        };
        assert_eq!(compiled(one), compiled(other), "{}", one.file);
        let outlined = |rule: &Rule| rule.detection.as_ref().map(|own| own.compiled.outline().conditions.clone());
        assert_eq!(outlined(one), outlined(other), "{}", one.file);
        let has_condition = one.detection.as_ref().is_none_or(|own| !own.compiled.get().conditions.is_empty());
        assert!(has_condition, "{}: it could not be compiled", one.file);
    }
}

#[test]
fn nothing_is_compiled_of_a_log_source_that_was_not_met() {
    let (catalogue, _) = Catalogue::built_in();
    let compiled = || -> HashSet<&str> {
        let compiled = catalogue.rules().iter().filter(|rule| {
            let detection = rule.detection.as_ref();
            detection.is_some_and(|detection| detection.compiled.is_made())
        });
        compiled.map(|rule| rule.file.rsplit_once('/').unwrap().0).collect()
    };
    assert!(compiled().is_empty());
    let line = "2 123456789012 eni-0a1b2c3d 192.0.2.1 10.0.0.5 40022 22 6 5 300 1772359200 1772359260 REJECT OK";
    let pipeline = crate::pipeline::Pipeline::new(&catalogue, crate::pipeline::Options::default());
    let entry = crate::pipeline::Entry { key: None, time: None, bytes: line.as_bytes() };
    pipeline.entries("test", crate::formats::by_name("vpcflow"), std::iter::once(entry));
    assert_eq!(compiled(), HashSet::from(["rules/aws/vpcflow"]));
}

#[test]
fn a_users_rules_do_to_prepared_rules_what_they_do_to_any_other() {
    let (built_in, _) = Catalogue::built_in();
    let of = |folder: &str| {
        let alone = |rule: &&Rule| rule.file.contains(folder) && rule.detection.is_some() && rule.reports;
        built_in.rules().iter().find(alone).unwrap().id.as_str()
    };
    let (filtered, counted, taken) = (of("/cloudtrail/"), of("/access/"), of("/inventory/"));
    let text = format!(
        "title: not here\nlogsource: {{product: aws, service: cloudtrail}}\n\
         filter:\n  rules: [{filtered}]\n  own: {{x: y}}\n  condition: not own\n\
         ---\ntitle: count\nid: count\ncorrelation: {{type: event_count, rules: [{counted}], group-by: [c-ip], \
         timespan: 5m, condition: {{gte: 5}}}}\n\
         ---\ntitle: taken\nid: {taken}\nlogsource: {{}}\ndetection: {{s: {{x: y}}, condition: s}}\n\
         ---\ntitle: another's\nlogsource: {{product: linux}}\n\
         filter:\n  rules: [{filtered}]\n  own: {{x: y}}\n  condition: not own\n"
    );
    let own = RuleFile::new("own.yml", text);
    for own_place in [0, built_in.rules().len() / 2, usize::MAX] {
        let with = |mut files: Vec<RuleFile>| {
            files.insert(own_place.min(files.len()), own.clone());
            let (catalogue, problems) = loaded(files);
            let shown: Vec<_> = catalogue.rules().iter().map(shown).collect();
            let uses: Vec<_> = (0..shown.len()).map(|number| catalogue.uses(number).to_vec()).collect();
            (shown, uses, problems)
        };
        let (prepared, read) = (with(Catalogue::built_in_files_without_tests()), with(foreign()));
        assert_eq!(prepared, read);
        let reasons: Vec<_> = prepared.2.iter().map(|problem| problem.reason.as_str()).collect();
        let [one, other] = reasons.as_slice() else { panic!("{reasons:?}") };
        assert!(one.contains("the id is taken") && other.contains("another log source"), "{reasons:?}");
        let logic = &built_in.by_id(filtered).unwrap().logic;
        assert!(!prepared.0.iter().any(|shown| shown.contains(logic.as_str())), "it was not filtered");
    }
}

#[test]
fn what_rsigma_makes_of_a_rule_survives_being_kept() {
    let text = "title: t\nid: t\nlogsource: {}\ndetection: {s: {a|gte: 0.1, b|cidr: 10.0.0.0/8, c|re|i: 'x+', d: null, e|base64offset|contains: f}, k: [word], condition: s or not k}\n";
    let mut collection = rsigma_parser::parse_sigma_yaml(text).unwrap();
    let lowered = Lowered::of(&collection.rules.remove(0)).unwrap();
    let kept: Lowered = serde_json::from_str(&serde_json::to_string(&lowered).unwrap()).unwrap();
    assert_eq!(kept, lowered);
    kept.compile().unwrap();
}
