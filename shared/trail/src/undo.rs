//! What to run to have a trail as it was: commands for `aws`, ready for a POSIX shell.

use std::borrow::Cow;

use serde_json::Value;

use crate::state::TrailState;

/// The commands that give `after`, which is there, what `before` had.
pub fn undo(before: &TrailState, after: &TrailState) -> Vec<String> {
    let mut commands = Vec::new();
    let settings = settings(before, Some(after));
    if !settings.is_empty() {
        commands.push(command("update-trail", "--name", before, &settings));
    }
    commands.extend(selectors(before, Some(after)));
    if before.is_logging == Some(true) && after.is_logging == Some(false) {
        commands.push(start(before));
    }
    commands
}

/// The commands that create a trail anew that is gone.
pub fn create(before: &TrailState) -> Vec<String> {
    let mut options = settings(before, None);
    if let Some(bucket) = &before.s3_bucket {
        options.insert(0, format!("--s3-bucket-name {}", quoted(bucket)));
    }
    // A new trail is named, it has no ARN yet.
    let create = format!(
        "aws cloudtrail create-trail --region {} --name {} {}",
        quoted(&before.home_region),
        quoted(&before.name),
        options.join(" ")
    );
    let mut commands = vec![create];
    commands.extend(selectors(before, None));
    commands.push(start(before));
    commands
}

/// The command that switches a trail on.
pub fn start(trail: &TrailState) -> String {
    command("start-logging", "--name", trail, &[])
}

fn command(operation: &str, name: &str, trail: &TrailState, options: &[String]) -> String {
    let (region, arn) = (quoted(&trail.home_region), quoted(&trail.arn));
    let mut command = format!("aws cloudtrail {operation} --region {region} {name} {arn}");
    for option in options {
        command.push(' ');
        command.push_str(option);
    }
    command
}

/// What differs from `after`; from a new trail's defaults, if there is none.
fn settings(before: &TrailState, after: Option<&TrailState>) -> Vec<String> {
    let mut options = Vec::new();
    let mut flag = |name: &str, before: bool, after: bool| {
        if before != after {
            options.push(format!("--{}{name}", if before { "" } else { "no-" }));
        }
    };
    flag("is-multi-region-trail", before.multi_region, after.is_some_and(|trail| trail.multi_region));
    flag("is-organization-trail", before.organization, after.is_some_and(|trail| trail.organization));
    let global = after.is_none_or(|trail| trail.global_services);
    flag("include-global-service-events", before.global_services, global);
    flag(
        "enable-log-file-validation",
        before.log_file_validation,
        after.is_some_and(|trail| trail.log_file_validation),
    );
    let mut value = |name: &str, of: fn(&TrailState) -> Option<&str>| {
        let (before, after) = (of(before).unwrap_or_default(), after.and_then(of).unwrap_or_default());
        if before != after {
            options.push(format!("--{name} {}", quoted(before)));
        }
    };
    if after.is_some() {
        value("s3-bucket-name", |trail| trail.s3_bucket.as_deref());
    }
    value("s3-key-prefix", |trail| trail.s3_prefix.as_deref());
    value("cloud-watch-logs-log-group-arn", |trail| trail.log_group.as_deref());
    value("cloud-watch-logs-role-arn", |trail| trail.log_role.as_deref());
    // The API takes the topic's name, and answers with its ARN: either is understood.
    value("sns-topic-name", |trail| trail.sns_topic.as_deref());
    value("kms-key-id", |trail| trail.kms_key.as_deref());
    options
}

fn selectors(before: &TrailState, after: Option<&TrailState>) -> Vec<String> {
    let mut commands = Vec::new();
    let differ = match after {
        Some(after) => after.selectors.is_some() && after.selectors != before.selectors,
        // A new trail records every management event, and no other.
        None => before.recording().is_some_and(|had| had.management_events() != "all" || !had.others.is_empty()),
    };
    if let Some(selectors) = before.selectors.as_ref().filter(|_| differ) {
        for (member, option) in
            [("EventSelectors", "--event-selectors"), ("AdvancedEventSelectors", "--advanced-event-selectors")]
        {
            if let Some(selectors @ Value::Array(_)) = selectors.get(member) {
                let given = format!("{option} {}", quoted(&selectors.to_string()));
                commands.push(command("put-event-selectors", "--trail-name", before, &[given]));
            }
        }
    }
    if before.insights && !after.is_some_and(|after| after.insights) {
        let both = r#"'[{"InsightType":"ApiCallRateInsight"},{"InsightType":"ApiErrorRateInsight"}]'"#;
        let given = format!("--insight-selectors {both}");
        commands.push(command("put-insight-selectors", "--trail-name", before, &[given]));
    }
    commands
}

/// A word of a shell's command line.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}
