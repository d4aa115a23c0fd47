//! Somebody stops the trail. Within ten seconds there is a mail that says who, from where, when, and what to do. It says
//! on the standard error how long the trail-detector takes to publish it, the emulator's own time included.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::SignedDuration;
use serde_json::json;

use super::calls::{ago, by_event_bridge, call};
use crate::harness::clock::now;
use crate::harness::cloudvigil::{Cloudvigil, RECIPIENT};
use crate::harness::emulator::{ACCOUNT, Emulator};
use crate::harness::story::Story;
use crate::harness::tap::Tap;

const LIMIT: Duration = Duration::from_secs(10);
/// How many starts are timed, and how many events after each.
const STARTS: u32 = 5;
const EVENTS: i64 = 4;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("CreateTrail", "true")])?;
    let mallory = emulator.user("mallory")?.calling_from("203.0.113.9");

    let start = Instant::now();
    mallory.cloudtrail("StopLogging", &json!({"Name": "cloudvigil-trail"}))?;
    let mail = cloudvigil.mail(LIMIT, "StopLogging", |mail| mail.subject.contains("Trail logging stopped"))?;
    eprintln!("StopLogging was mailed after {:.1?}", start.elapsed());

    ensure!(mail.to == [RECIPIENT], "whom it is to: {mail:?}");
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/mallory");
    let event = &emulator.root.cloudtrail(
        "LookupEvents",
        &json!({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "StopLogging"}]}),
    )?["Events"][0];
    let event: serde_json::Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap_or_default())?;
    // The minute is enough: how the time is written is for the mail to choose.
    let time = event["eventTime"].as_str().unwrap_or_default();
    let (day, minute) = (time.get(..10).unwrap_or("?"), time.get(11..16).unwrap_or("?"));
    for (what, expected) in [("who", arn.as_str()), ("where", "203.0.113.9"), ("day", day), ("minute", minute)] {
        ensure!(mail.text.contains(expected), "{what} ({expected}) is missing in the mail:\n{}", mail.text);
    }
    // The runbook says how to undo it.
    ensure!(mail.text.contains("StartLogging") || mail.text.contains("start-logging"), "no runbook:\n{}", mail.text);
    time_events(&cloudvigil)
}

/// Hands new events to the trail-detector, the first of each few to a function that has to be started, and takes the time
/// until the finding is in a queue of its topic.
fn time_events(cloudvigil: &Cloudvigil<'_>) -> Result<()> {
    let tap = Tap::open(cloudvigil)?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for start in 0..STARTS {
        // A new configuration takes a new process.
        cloudvigil.set_timeout("trail-detector", 60 + start)?;
        for number in 0..=EVENTS {
            let time = ago(5) + SignedDuration::from_secs(number);
            let id = format!("timed-{start}-{number}");
            let event = by_event_bridge(&call(time, &id, "StopLogging", &json!({"name": "elsewhere"})));
            // What else goes on takes the emulator's time.
            cloudvigil.settle()?;
            let begun = now();
            let invocation = cloudvigil.invoke("trail-detector", &event)?;
            ensure!(invocation.error.is_none(), "a timed event failed: {} {}", invocation.payload, invocation.log);
            let taken = tap.sent(cloudvigil, &id)?.duration_since(begun);
            if number == 0 { &mut cold } else { &mut warm }.push(taken);
        }
    }
    let median = |mut times: Vec<SignedDuration>| {
        times.sort();
        times[times.len() / 2].as_millis()
    };
    let (warm, cold) = (median(warm), median(cold));
    eprintln!("a finding was published {warm} ms after its event reached the trail-detector, {cold} ms if it was cold");
    Ok(())
}
