//! Each permission that a role holds, taken away: the function says so loudly, nothing is lost, and once the permission
//! is back the same work is done.
//!
//! The pairs of role and action are read from the deployed roles. Each is in one of [`table`]'s two lists, tried or
//! explained; one that is in neither fails the story by name, so that a new permission is thought about.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::harness::aws::Invocation;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::poll::poll_until;
use crate::harness::role::Role;
use crate::harness::story::Story;

mod inventory_scanner;
mod queue;
mod table;
mod trail_detector;

/// How long something may take that is to come of its own: a redelivery, above all.
const LIMIT: Duration = Duration::from_mins(2);
/// The bucket of log objects.
const BUCKET: &str = "logs";
/// The bucket of the configuration.
const SETTINGS: &str = "settings";
/// The metric that counts what is wrong with the configuration.
const CONFIGURATION_PROBLEMS: &str = "ConfigurationProblems";
/// A rule that matches nothing here.
const RULE: &str =
    "title: r\nid: r\nlogsource: {category: webserver}\ndetection: {s: {cs-host: r.example}, condition: s}\n";

/// The trials of one role, run.
type Run<'a> = &'a (dyn Fn(&Trials<'_>) -> Result<()> + Sync);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    emulator.root.create_versioned_bucket(BUCKET)?;
    emulator.root.create_bucket(SETTINGS)?;
    emulator.root.put_object(SETTINGS, "cloudvigil.toml", b"")?;
    emulator.root.put_object(SETTINGS, "rules/r.yml", RULE.as_bytes())?;
    // A trail to ask about; and no mail is held back for the next summary.
    let parameters = [
        ("CreateTrail", "true"),
        ("LogBucket", BUCKET),
        ("ConfigurationBucket", SETTINGS),
        ("RulesPrefix", "rules/"),
        ("MailsPerRulePerHour", "500"),
        ("MailsPerHour", "1000"),
    ];
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &parameters)?;
    // Every function gets exactly what its trials give it.
    cloudvigil.disable_rules()?;
    every_pair_is_considered(&cloudvigil)?;
    // With selectors of its own, a trail is asked what they are.
    let selectors = json!([{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": true}]);
    let partly = json!({"TrailName": "cloudvigil-trail", "EventSelectors": selectors});
    emulator.root.cloudtrail("PutEventSelectors", &partly)?;
    let finding = queue::finding(&cloudvigil)?;

    // A thread for each role: its trials wait for redeliveries and for the pace of CloudTrail's history.
    let notifier = |trials: &Trials<'_>| queue::notifier(trials, &finding);
    let trials: [(&str, Run<'_>); 4] = [
        ("InventoryScannerRole", &inventory_scanner::trials),
        ("TrailDetectorRole", &trail_detector::trials),
        ("LogAnalyzerRole", &queue::log_analyzer),
        ("NotifierRole", &notifier),
    ];
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = trials
            .into_iter()
            .map(|(role, run)| {
                let cloudvigil = &cloudvigil;
                (role, scope.spawn(move || run(&Trials::new(cloudvigil, role)?)))
            })
            .collect();
        let failure = |(role, outcome): (&str, thread::Result<Result<()>>)| match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{role}: {error:#}")),
            Err(_) => Some(format!("{role}: panicked, see above")),
        };
        running.into_iter().filter_map(|(role, thread)| failure((role, thread.join()))).collect()
    });
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Every pair that a role holds is in exactly one list, every pair in a list is held, and what watches instead exists.
fn every_pair_is_considered(cloudvigil: &Cloudvigil<'_>) -> Result<()> {
    let mut held = BTreeSet::new();
    for (role, resource) in cloudvigil.stack.resources.iter().filter(|(_, one)| one.kind == "AWS::IAM::Role") {
        let actions = Role::read(&cloudvigil.emulator.root, &resource.id)?.actions();
        held.extend(actions.into_iter().map(|action| (role.clone(), action)));
    }
    let pair = |role: &str, action: &str| (role.to_owned(), action.to_owned());
    let tried: BTreeSet<_> = table::TRIED.iter().map(|(role, action, _)| pair(role, action)).collect();
    let explained: BTreeSet<_> = table::EXPLAINED.iter().map(|one| pair(one.role, one.action)).collect();
    let listed = &tried | &explained;
    for (what, pairs) in [
        ("held, and in neither list", &held - &listed),
        ("in a list, and not held", &listed - &held),
        ("in both lists", &tried & &explained),
    ] {
        ensure!(pairs.is_empty(), "permissions that are {what}: {pairs:?}");
    }
    for explained in table::EXPLAINED {
        ensure!(!explained.reason.is_empty(), "{} of {} is not explained", explained.action, explained.role);
        for alarm in explained.alarms {
            let kind = cloudvigil.stack.resources.get(*alarm).map(|resource| resource.kind.as_str());
            ensure!(kind == Some("AWS::CloudWatch::Alarm"), "{alarm} is no alarm of the stack");
        }
    }
    Ok(())
}

/// The trials of one role.
struct Trials<'a> {
    cloudvigil: &'a Cloudvigil<'a>,
    role: Role,
    role_id: &'static str,
    function: &'static str,
}

impl<'a> Trials<'a> {
    fn new(cloudvigil: &'a Cloudvigil<'a>, role_id: &'static str) -> Result<Self> {
        let role = Role::read(&cloudvigil.emulator.root, cloudvigil.stack.id(role_id)?)?;
        let function = match role_id {
            "InventoryScannerRole" => "inventory-scanner",
            "TrailDetectorRole" => "trail-detector",
            "LogAnalyzerRole" => "log-analyzer",
            "NotifierRole" => "notifier",
            other => bail!("{other} is no function's role"),
        };
        Ok(Self { cloudvigil, role, role_id, function })
    }

    /// Runs the role's pairs, each to its end whatever becomes of the others. Returns every failure.
    fn each(&self, mut trial: impl FnMut(&'static str, table::Trial) -> Result<()>) -> Result<()> {
        let mut failed = Vec::new();
        for &(_, action, kind) in table::TRIED.iter().filter(|(role, _, _)| *role == self.role_id) {
            let start = Instant::now();
            let outcome = trial(action, kind);
            let result = if outcome.is_ok() { "loud" } else { "FAILED" };
            eprintln!("{} without {action}: {result}, {:.1?}", self.function, start.elapsed());
            failed.extend(outcome.err().map(|error| format!("without {action}: {error:#}")));
        }
        ensure!(failed.is_empty(), "\n  {}", failed.join("\n  "));
        Ok(())
    }

    fn invoke(&self, payload: &Value) -> Result<Invocation> {
        self.cloudvigil.invoke(self.function, payload)
    }

    /// Invokes the function without `action`: it fails, the log says why, and the error is counted.
    fn fails(&self, action: &str, payload: &Value) -> Result<()> {
        let invocation = self.role.without(action, || self.invoke(payload))?;
        ensure!(invocation.error.is_some(), "the invocation did not fail: {} {}", invocation.payload, invocation.log);
        ensure!(
            invocation.log.lines().any(|line| is_error(line) && names(line, action)),
            "the log does not say why:\n{}",
            invocation.log
        );
        ensure!(counted(invocation.log.lines(), "Errors") > 0, "the error was not counted:\n{}", invocation.log);
        Ok(())
    }

    /// Starts the function anew without `action`: it does its work all the same, the log says that its configuration could
    /// not be read and why, and that is counted.
    fn starts_without_configuration(&self, action: &str, payload: &Value) -> Result<()> {
        let before = self.counted_so_far(CONFIGURATION_PROBLEMS)?;
        self.role.without(action, || {
            self.cloudvigil.set_variable(self.function, "STARTED_WITHOUT", action)?;
            self.succeeds(payload)?;
            poll_until(LIMIT, "the log says that the configuration could not be read, and why", || {
                let lines = self.cloudvigil.log(self.function)?;
                let told = lines.iter().any(|line| is_error(line) && line.contains(SETTINGS) && names(line, action));
                Ok((told && self.counted_so_far(CONFIGURATION_PROBLEMS)? > before).then_some(()))
            })
        })?;
        // What the starts before have to say may arrive late, and is not this one's.
        poll_until(LIMIT, "a start with the permission back has no problem", || {
            let counted = self.counted_so_far(CONFIGURATION_PROBLEMS)?;
            self.cloudvigil.set_variable(self.function, "STARTED_WITHOUT", &format!("nothing, after {counted}"))?;
            self.succeeds(payload)?;
            Ok((self.counted_so_far(CONFIGURATION_PROBLEMS)? == counted).then_some(()))
        })
    }

    /// Invokes the function, which succeeds, and returns what it answered and the end of its log.
    fn succeeds(&self, payload: &Value) -> Result<Invocation> {
        let invocation = self.invoke(payload)?;
        let error = &invocation.error;
        ensure!(error.is_none(), "with the permission back: {} {}", invocation.payload, invocation.log);
        Ok(invocation)
    }

    /// The sum of a metric over the function's whole log.
    fn counted_so_far(&self, metric: &str) -> Result<u64> {
        let lines = self.cloudvigil.log(self.function)?;
        Ok(counted(lines.iter().map(String::as_str), metric))
    }
}

/// Whether a text says that this permission is missing: by its name, or in one of the words that services have for it.
fn names(text: &str, action: &str) -> bool {
    [action, "AccessDenied", "UnauthorizedOperation", "not authorized"].iter().any(|word| text.contains(word))
}

fn is_error(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == "ERROR")
}

/// The sum of a metric over lines of a log.
fn counted<'l>(lines: impl Iterator<Item = &'l str>, metric: &str) -> u64 {
    let metrics = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    metrics.filter(|line| line["_aws"].is_object()).filter_map(|line| line[metric].as_u64()).sum()
}

/// A text of an answer, which must be there.
fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str> {
    value.as_str().with_context(|| format!("{what} is missing: {value}"))
}
