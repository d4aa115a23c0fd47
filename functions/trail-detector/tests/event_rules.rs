//! The templates' `EventBridge` rules are generated from the detection rules: this test is the generator, and fails
//! where a template is not what it would write. To write them: `CLOUDVIGIL_WRITE=1 cargo test -p trail-detector`.
//!
//! The stack's own region has them with the function for a target, every other region with the bus of that region.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, also outside of its #[test] function")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use cloudvigil_core::detect::{Catalogue, EventName};
use serde_json::{Value, json};

const BEGIN: &str = "  # BEGIN generated\n";
const END: &str = "  # END generated\n";
/// The longest event pattern that `EventBridge` takes, in characters,
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>.
const MAX_PATTERN: usize = 2_048;

/// The templates, each with what its rules' targets begin with.
const TEMPLATES: [(&str, &str); 2] = [
    (
        "template.yaml",
        "        - Id: trail-detector
          Arn: !GetAtt TrailDetector.Arn
",
    ),
    (
        "region.yaml",
        "        - Id: home
          Arn: !Sub 'arn:${AWS::Partition}:events:${HomeRegion}:${AWS::AccountId}:event-bus/default'
          RoleArn: !GetAtt ForwardRole.Arn
",
    ),
];
/// The largest template that `CloudFormation` takes without a bucket, in bytes: what the README deploys so.
const MAX_TEMPLATE: usize = 51_200;

/// One rule of a template: calls of one service.
struct EventRule {
    service: String,
    source: String,
    names: BTreeSet<EventName>,
}

impl EventRule {
    fn pattern(&self) -> Value {
        json!({
            // Without the prefix, anybody's PutEvents would pass for CloudTrail's.
            "source": [{"prefix": "aws."}],
            "detail-type": ["AWS API Call via CloudTrail", "AWS Console Sign In via CloudTrail"],
            "detail": {"eventSource": [self.source], "eventName": self.names.iter().map(in_pattern).collect::<Vec<_>>()},
        })
    }

    fn fits(&self) -> bool {
        self.pattern().to_string().len() < MAX_PATTERN
    }

    fn matches(&self, source: &str, name: &str) -> bool {
        self.source == source && self.names.iter().any(|wanted| wanted.matches(name))
    }

    fn resource(&self, target: &str) -> String {
        let mut capital = self.service.clone();
        capital.get_mut(..1).map(str::make_ascii_uppercase).unwrap();
        let in_yaml = |name: &EventName| match name {
            EventName::Exact(name) => name.clone(),
            EventName::Prefix(prefix) => format!("{{prefix: {prefix}}}"),
        };
        let names = self.names.iter().map(in_yaml).collect::<Vec<_>>().join(", ");
        let capital = capital.replace('-', "");
        let (service, source) = (&self.service, &self.source);
        format!(
            "  TrailRule{capital}:
    Type: AWS::Events::Rule
    Properties:
      Name: !Sub '${{AWS::StackName}}-trail-{service}'
      Description: API calls of {source} that a rule looks for
      State: ENABLED
      EventPattern:
        source: [{{prefix: aws.}}]
        detail-type: [AWS API Call via CloudTrail, AWS Console Sign In via CloudTrail]
        detail:
          eventSource: [{source}]
          eventName: [{names}]
      Targets:
{target}          RetryPolicy: {{MaximumRetryAttempts: 185, MaximumEventAgeInSeconds: 86400}}
          DeadLetterConfig: {{Arn: !GetAtt EventDeadLetters.Arn}}
"
        )
    }
}

/// A service's name as the rules' names have it: with the stack's, `-trail-` and the number of a part they stay within
/// the 64 characters of a rule's name.
fn service_name(source: &str) -> String {
    match source.trim_end_matches(".amazonaws.com") {
        "elasticloadbalancing" => "elb".to_owned(),
        name => name.replace('.', "-"),
    }
}

/// A name as a pattern has it.
fn in_pattern(name: &EventName) -> Value {
    match name {
        EventName::Exact(name) => json!(name),
        EventName::Prefix(prefix) => json!({"prefix": prefix}),
    }
}

/// A rule for each service, cut where a pattern would be too long.
fn event_rules(wanted: &BTreeMap<String, BTreeSet<EventName>>) -> Vec<EventRule> {
    let mut rules: Vec<EventRule> = Vec::new();
    for (source, names) in wanted {
        let service = service_name(source);
        let new = |part: usize| EventRule {
            service: if part == 1 { service.clone() } else { format!("{service}-{part}") },
            source: source.clone(),
            names: BTreeSet::new(),
        };
        let mut part = 1;
        let mut rule = new(part);
        for name in names {
            rule.names.insert(name.clone());
            if !rule.fits() {
                rule.names.remove(name);
                part += 1;
                let mut next = new(part);
                next.names.insert(name.clone());
                rules.push(std::mem::replace(&mut rule, next));
            }
        }
        rules.push(rule);
    }
    rules
}

fn wanted() -> BTreeMap<String, BTreeSet<EventName>> {
    let (catalogue, problems) = Catalogue::built_in();
    assert!(problems.is_empty(), "{problems:?}");
    catalogue.event_names(|_| true)
}

#[test]
fn every_event_that_a_rule_needs_matches_exactly_one_pattern() {
    let wanted = wanted();
    assert!(wanted["cloudtrail.amazonaws.com"].contains(&EventName::Exact("StopLogging".to_owned())));
    let rules = event_rules(&wanted);
    for (source, names) in &wanted {
        for name in names {
            let (EventName::Exact(name) | EventName::Prefix(name)) = name;
            for name in [name.clone(), format!("{name}20150331v2")] {
                let matching = rules.iter().filter(|rule| rule.matches(source, &name)).count();
                let is_wanted = names.iter().any(|wanted| wanted.matches(&name));
                assert_eq!(matching, usize::from(is_wanted), "{source} {name}");
            }
        }
    }
    assert!(rules.iter().all(EventRule::fits));
}

#[test]
fn the_rules_names_are_unique_and_not_too_long() {
    let rules = event_rules(&wanted());
    let names: BTreeSet<String> = rules.iter().map(|rule| format!("-trail-{}", rule.service)).collect();
    assert_eq!(names.len(), rules.len());
    // The longest name of a stack that the README allows, and the longest of a rule,
    // <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html>.
    let too_long: Vec<&String> = names.iter().filter(|name| 38 + name.len() > 64).collect();
    assert!(too_long.is_empty(), "{too_long:?}");
}

#[test]
fn a_service_with_many_calls_is_cut_into_patterns_that_fit() {
    let name = |number: u8| EventName::Exact(format!("PutSomethingRatherLong{number:03}"));
    let names: BTreeSet<EventName> = (0..200).map(name).collect();
    let rules = event_rules(&BTreeMap::from([("config.amazonaws.com".to_owned(), names.clone())]));
    assert!(rules.len() > 2 && rules.iter().all(EventRule::fits));
    let cut: Vec<&EventName> = rules.iter().flat_map(|rule| &rule.names).collect();
    assert_eq!(cut, names.iter().collect::<Vec<_>>(), "each name once");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the variable is this test's own switch")]
fn the_templates_have_these_rules() {
    for (name, target) in TEMPLATES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra").join(name);
        let template = fs::read_to_string(&path).unwrap();
        let (before, rest) = template.split_once(BEGIN).expect("the template's generated part begins");
        let (_, after) = rest.split_once(END).expect("the template's generated part ends");
        let mut generated = String::from(before);
        generated.push_str(BEGIN);
        for rule in event_rules(&wanted()) {
            write!(generated, "{}", rule.resource(target)).unwrap();
        }
        generated.push_str(END);
        generated.push_str(after);
        if std::env::var("CLOUDVIGIL_WRITE").is_ok() {
            fs::write(&path, &generated).unwrap();
        } else {
            assert!(template == generated, "infra/{name} is not up to date: see the head of this file");
        }
        assert!(name != "region.yaml" || generated.len() <= MAX_TEMPLATE, "{} bytes", generated.len());
    }
}
