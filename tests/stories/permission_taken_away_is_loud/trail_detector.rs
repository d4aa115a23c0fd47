//! The trail-detector. A call that it could not judge is an invocation that failed; a poll does what it can, and ends
//! in an error.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::table::Trial;
use super::{LIMIT, Trials, counted, is_error, names};
use crate::harness::aws::Invocation;
use crate::harness::emulator::ACCOUNT;
use crate::harness::poll::poll_until;
use crate::stories::calls::{by_event_bridge, call};
use crate::stories::log_lines::recently;

/// Who stops a trail, which only the event history tells.
const UNSEEN: &str = "unseen-by-the-bus";
/// Seconds in which a poll ends before it has read the history: a call a second of it would take long, each time.
const SHORT: u32 = 18;
/// The template's time-out.
const LONG: u32 = 600;

pub fn trials(trials: &Trials<'_>) -> Result<()> {
    let cloudvigil = trials.cloudvigil;
    cloudvigil.set_variable(trials.function, "LOOKUP_DAYS", "1")?;
    // A recorder to ask about.
    let recorder =
        json!({"ConfigurationRecorder": {"name": "default", "roleARN": format!("arn:aws:iam::{ACCOUNT}:role/config")}});
    cloudvigil.emulator.root.json("config", "StarlingDoveService.PutConfigurationRecorder", &recorder)?;
    let poll = json!({"task": "poll"});
    let mut number = 0;
    trials.each(|action, trial| {
        number += 1;
        match trial {
            Trial::Call => {
                let call = stop_logging(number);
                trials.fails(action, &call)?;
                let judged = trials.succeeds(&call)?;
                ensure!(counted(judged.log.lines(), "Findings") > 0, "it was lost:\n{}", judged.log);
                Ok(())
            }
            Trial::CallLater => ends_as_a_dead_letter(trials, action, &stop_logging(number)),
            Trial::Poll => {
                cloudvigil.set_timeout(trials.function, SHORT)?;
                trials.fails(action, &poll)?;
                trials.succeeds(&poll).map(|_| ())
            }
            Trial::PollLook => {
                cloudvigil.set_timeout(trials.function, SHORT)?;
                let looked = trials.succeeds(&poll)?;
                let refused = trials.role.without(action, || trials.succeeds(&poll))?;
                ensure!(not_looked(&refused) > not_looked(&looked), "it does not say so:\n{}", refused.log);
                Ok(())
            }
            Trial::History => {
                cloudvigil.set_timeout(trials.function, LONG)?;
                let unseen = cloudvigil.emulator.user(UNSEEN)?;
                unseen.cloudtrail("StopLogging", &json!({"Name": "cloudvigil-trail"}))?;
                unseen.cloudtrail("StartLogging", &json!({"Name": "cloudvigil-trail"}))?;
                let stopped = Instant::now();
                trials.fails(action, &poll)?;
                // The history is asked up to a whole second, and not for the one that is not over yet.
                poll_until(LIMIT, "the second of the call is over", || {
                    Ok((stopped.elapsed() > Duration::from_secs(2)).then_some(()))
                })?;
                trials.succeeds(&poll)?;
                cloudvigil.mail(LIMIT, UNSEEN, |mail| mail.text.contains(UNSEEN)).map(|_| ())
            }
            Trial::Start => trials.starts_without_configuration(action, &stop_logging(number)),
            other => bail!("the trail-detector has no trial {other:?}"),
        }
    })
}

/// What a poll could not look at beside the trails.
fn not_looked(poll: &Invocation) -> u64 {
    let counted = |metric| counted(poll.log.lines(), metric);
    counted("ControlsNotLooked") + counted("TrailBucketsNotLooked")
}

/// Delivered as EventBridge does, the call is tried three times; then it lies among the dead letters, with its payload
/// and the reason, and can be judged from there.
fn ends_as_a_dead_letter(trials: &Trials<'_>, action: &str, call: &Value) -> Result<()> {
    const QUEUE: &str = "InvocationDeadLetters";
    let cloudvigil = trials.cloudvigil;
    let errors = trials.counted_so_far("Errors")?;
    let letter = trials.role.without(action, || {
        let function = cloudvigil.stack.id("TrailDetector")?;
        cloudvigil.emulator.root.invoke_later(function, call)?;
        poll_until(LIMIT, "the call is a dead letter", || {
            let mut letters = cloudvigil.queued(QUEUE)?.into_iter();
            let id = call["detail"]["eventID"].as_str().unwrap_or_default();
            Ok(letters.find(|letter| letter.body.contains(id)))
        })
    })?;
    let letter: Value = serde_json::from_str(&letter.body).context("read the dead letter")?;
    let reason = letter["responsePayload"]["errorMessage"].as_str().unwrap_or_default();
    ensure!(names(reason, action), "the dead letter does not say why: {letter}");
    let lines = cloudvigil.log(trials.function)?;
    ensure!(lines.iter().any(|line| is_error(line) && names(line, action)), "the log does not say why");
    ensure!(trials.counted_so_far("Errors")? >= errors + 3, "the three failures were not counted");
    let judged = trials.succeeds(&letter["requestPayload"])?;
    ensure!(counted(judged.log.lines(), "Findings") > 0, "it was lost:\n{}", judged.log);
    Ok(())
}

/// A call that stops a trail, as EventBridge delivers it.
fn stop_logging(number: u32) -> Value {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    by_event_bridge(&call(recently(), &id, "StopLogging", &json!({"name": "main"})))
}
