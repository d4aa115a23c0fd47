//! Somebody disables the rules of EventBridge and deletes a trail, while another one logs: the poll sees it, and says
//! besides that EventBridge has not brought it. It does not say so of what happened before the stack was there, nor of what
//! may still come.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::calls::{ago, call};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{Emulator, Mail, REGION};
use crate::harness::history_stub::HistoryStub;
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    // One from before the stack was there, one that EventBridge should have brought, and one that it still may.
    let delete = |(minutes, id)| call(ago(minutes), id, "DeleteTrail", &json!({"name": "old"}));
    let events = [(300, "before"), (40, "absent"), (10, "recent")].into_iter().map(delete);
    let stub = HistoryStub::start(events.collect())?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    cloudvigil.disable_rules()?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    // As if the first poll had been three hours ago.
    let since = json!({"schema": 1, "since": ago(180).to_string(), "last": ago(5).to_string()});
    cloudvigil.remember("trail-detector#delivering", REGION, &since)?;

    for _ in 0..2 {
        cloudvigil.poll()?;
    }
    let is_it = |mail: &Mail| mail.text.contains("event history alone");
    let mail = cloudvigil.mail(Duration::from_secs(20), "seen by the poll alone", is_it)?;
    ensure!(mail.text.contains("absent"), "which event:\n{}", mail.text);
    ensure!(!["event/before", "event/recent"].iter().any(|one| mail.text.contains(one)), "too much:\n{}", mail.text);
    cloudvigil.settle()?;
    let mails = cloudvigil.mails(is_it)?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());
    let log = cloudvigil.log("trail-detector")?;
    let mut summary = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let summary = summary.rfind(|line| line["message"] == "the event history was swept");
    let summary = summary.context("the sweep says what it did")?;
    ensure!(summary["regions_failed"] == "{}" && summary["events_seen_by_poll_alone"] == 1, "{summary}");
    Ok(())
}
