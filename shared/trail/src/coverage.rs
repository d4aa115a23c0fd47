//! What a trail records, and what it does no more, in words: each a whole sentence without its full stop.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_core::enrich::{Access, Others, Recording, Share};

use crate::state::TrailState;

/// What `before` had and `after` lacks, in words: "Write events of KMS are no longer recorded, in all regions".
///
/// What could not be looked at before or after is not spoken of.
pub fn lost(before: &TrailState, after: &TrailState) -> Vec<String> {
    let mut lost: Vec<String> = missing(before, after).iter().map(|part| part.sentence(Tense::NoLonger)).collect();
    lost.extend(redirected(before, after));
    lost
}

/// What `after` has and `before` lacked, in words: "Write events of KMS are recorded now, in all regions".
pub fn gained(before: &TrailState, after: &TrailState) -> Vec<String> {
    missing(after, before).iter().map(|part| part.sentence(Tense::Now)).collect()
}

/// What nobody records while the trail does not: "Write events of all services are not recorded, in all regions".
pub fn unrecorded(trail: &TrailState) -> Vec<String> {
    let nothing = Recording::nothing();
    let mut parts = Vec::new();
    match trail.recording() {
        Some(recording) => events(&recording, &nothing, trail, &mut parts),
        None => parts.push(Part::events("Events", trail)),
    }
    if trail.insights {
        parts.push(Part::events("Insights events", trail));
    }
    if trail.organization {
        parts.push(Part::recorded("Events of the organization's accounts"));
    }
    parts.iter().map(|part| part.sentence(Tense::Not)).collect()
}

#[derive(Clone, Copy)]
enum Tense {
    NoLonger,
    Not,
    Now,
}

/// Something that a trail does: a sentence's subject, its participle, what follows it, and what follows its end.
struct Part {
    subject: String,
    participle: &'static str,
    rest: String,
    else_what: &'static str,
}

impl Part {
    fn events(subject: impl Into<String>, trail: &TrailState) -> Self {
        Self { rest: format!(", {}", trail.place()), ..Self::recorded(subject) }
    }

    fn recorded(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), participle: "recorded", rest: String::new(), else_what: "" }
    }

    fn sentence(&self, tense: Tense) -> String {
        let Self { subject, participle, rest, else_what } = self;
        match tense {
            Tense::NoLonger => format!("{subject} are no longer {participle}{rest}{else_what}"),
            Tense::Not => format!("{subject} are not {participle}{rest}"),
            Tense::Now => format!("{subject} are {participle} now{rest}"),
        }
    }
}

/// What `from` has and `to` lacks.
fn missing(from: &TrailState, to: &TrailState) -> Vec<Part> {
    let mut parts = Vec::new();
    if from.multi_region && !to.multi_region {
        parts.push(Part::recorded(format!("Events of all regions but {}", to.home_region)));
    }
    if from.organization && !to.organization {
        parts.push(Part::recorded("Events of the organization's other accounts"));
    }
    if from.global_services && !to.global_services {
        parts.push(Part::recorded("Events of global services (IAM, STS, CloudFront)"));
    }
    if let (Some(had), Some(has)) = (from.recording(), to.recording()) {
        events(&had, &has, to, &mut parts);
    }
    if from.insights && !to.insights {
        parts.push(Part::events("Insights events", to));
    }
    if from.log_file_validation && !to.log_file_validation {
        let else_what = ": if somebody changes or removes one, nothing shows it";
        parts.push(Part { participle: "validated", else_what, ..Part::recorded("Log files") });
    }
    let mut delivered = |had: &Option<String>, has: &Option<String>, subject: &str, participle, to| {
        if let (Some(had), None) = (had, has) {
            parts.push(Part { participle, rest: format!(" {to} {had}"), ..Part::recorded(subject) });
        }
    };
    delivered(&from.log_group, &to.log_group, "Events", "delivered", "to the log group");
    delivered(&from.sns_topic, &to.sns_topic, "Deliveries", "announced", "to the topic");
    delivered(&from.kms_key, &to.kms_key, "Log files", "encrypted", "with the key");
    parts
}

/// What goes elsewhere than it went.
fn redirected(before: &TrailState, after: &TrailState) -> Vec<String> {
    let mut moved = Vec::new();
    let mut note = |what: &str, before: Option<&str>, after: Option<&str>| {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            moved.push(format!("{what} {after} instead of {before}"));
        }
    };
    note("Log files go to the bucket", before.s3_bucket.as_deref(), after.s3_bucket.as_deref());
    let prefix = |trail: &TrailState| match trail.s3_prefix.as_deref() {
        None | Some("") => "no prefix".to_owned(),
        Some(prefix) => format!("the prefix {prefix}"),
    };
    note("Log files lie under", Some(&prefix(before)), Some(&prefix(after)));
    note("Events go to the log group", before.log_group.as_deref(), after.log_group.as_deref());
    note("Deliveries are announced to the topic", before.sns_topic.as_deref(), after.sns_topic.as_deref());
    note("Log files are encrypted with the key", before.kms_key.as_deref(), after.kms_key.as_deref());
    if let (None, Some(key), Some(account)) = (&before.kms_key, &after.kms_key, &after.account)
        // arn:aws:kms:REGION:ACCOUNT:key/ID
        && key.split(':').nth(4).is_some_and(|owner| owner != account)
    {
        moved.push(format!("Log files are encrypted with a key of another account, {key}"));
    }
    moved
}

/// The events that `had` records and `has` does not.
fn events(had: &Recording, has: &Recording, place: &TrailState, parts: &mut Vec<Part>) {
    let (reads, writes) = (missing_of(&had.reads, &has.reads), missing_of(&had.writes, &has.writes));
    let mut management = |kind: &str, of: Option<String>| {
        parts.extend(of.map(|of| Part::events(format!("{kind} events of {of}"), place)));
    };
    if reads == writes {
        management("Read and write", writes);
    } else {
        management("Write", writes);
        management("Read", reads);
    }

    let mut others: BTreeMap<(String, String, String), Vec<Access>> = BTreeMap::new();
    for (kind, conditions) in &had.others {
        let nothing = BTreeSet::new();
        let still = has.others.get(kind).unwrap_or(&nothing);
        if still.contains("") {
            continue;
        }
        for condition in conditions.iter().filter(|had| !still.iter().any(|has| is_within(had, has))) {
            let Others { category, of, .. } = kind;
            // What is left of everything: what the other conditions leave.
            let left = if condition.is_empty() && !still.is_empty() {
                format!(" other than where {}", still.iter().map(String::as_str).collect::<Vec<_>>().join(", or "))
            } else if condition.is_empty() {
                String::new()
            } else {
                format!(" where {condition}")
            };
            others.entry((category.clone(), of.clone(), left)).or_default().push(kind.access);
        }
    }
    for ((category, of, condition), access) in others {
        let access = match access.as_slice() {
            [Access::Read] => "Read ",
            [Access::Write] => "Write ",
            _ => "",
        };
        let kind = match category.as_str() {
            "Data" => "data events",
            "NetworkActivity" => "network activity events",
            _ => "events",
        };
        let kind = if access.is_empty() { capitalised(kind) } else { kind.to_owned() };
        parts.push(Part::events(format!("{access}{kind} of {}{condition}", resource_type(&of)), place));
    }
}

/// Whether what fulfils `one` fulfils `other`: the same condition, or a longer beginning of a name.
fn is_within(one: &str, other: &str) -> bool {
    let is_beginning = |condition: &str| condition.contains(" starts with ") && !condition.contains(" and ");
    one == other || is_beginning(one) && is_beginning(other) && one.starts_with(other)
}

/// Of which services `had` had what `has` lacks.
pub(crate) fn missing_of(had: &Share, has: &Share) -> Option<String> {
    let some = |services: BTreeSet<String>| (!services.is_empty()).then(|| named(&services));
    match (had, has) {
        (Share::None, _) | (_, Share::All) => None,
        (Share::Only(had), Share::None) => Some(named(had)),
        (Share::Except(except), Share::None) => Some(format!("all services but {}", named(except))),
        (_, Share::None) => Some("all services".to_owned()),
        (Share::All, Share::Except(except)) => Some(named(except)),
        (Share::Except(had), Share::Except(has)) => some(has - had),
        (Share::Only(had), Share::Except(has)) => some(had & has),
        (Share::Only(had), Share::Only(has)) => some(had - has),
        (Share::All | Share::Except(_), Share::Only(has)) => Some(format!("all services but {}", named(has))),
        (Share::Partly, Share::Only(has)) => Some(format!("some calls of services other than {}", named(has))),
        (Share::Partly, _) => None,
        (_, Share::Partly) => Some("some services, or of some of their calls,".to_owned()),
    }
}

fn named(services: &BTreeSet<String>) -> String {
    let names: Vec<&str> = services
        .iter()
        .map(|service| match service.as_str() {
            "kms.amazonaws.com" => "KMS",
            "rdsdata.amazonaws.com" => "the RDS Data API",
            other => other,
        })
        .collect();
    listed(&names)
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn resource_type(of: &str) -> &str {
    match of {
        "" => "all resources",
        "AWS::S3::Object" => "S3 objects",
        "AWS::Lambda::Function" => "Lambda functions",
        "AWS::DynamoDB::Table" => "DynamoDB tables",
        other => other,
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
