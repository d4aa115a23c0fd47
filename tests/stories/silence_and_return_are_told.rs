//! A log group that was heard every few minutes for a week has been silent for three days. That is told once, and that it
//! is heard again is told too. A log group that was never heard often is not missed.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::calls::ago;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator};
use crate::harness::history_stub::{BUCKET, HistoryStub};
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

const GROUP: &str = "/var/log/auth";
const DAY: i64 = 24 * 60;

pub fn story(story: &Story) -> Result<()> {
    let stub = HistoryStub::start(Vec::new())?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    let root = &emulator.root;
    root.create_bucket(BUCKET)?;
    root.logs("CreateLogGroup", &json!({"logGroupName": GROUP}))?;
    root.logs("CreateLogStream", &json!({"logGroupName": GROUP, "logStreamName": "bastion"}))?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogGroup1", GROUP)])?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    // As the log-analyzer has heard them.
    for (group, times) in [(GROUP, 900), ("/uploads/by-hand", 1)] {
        let last = ago(3 * DAY);
        let day = (last.as_second() / 86_400).to_string();
        let heard = json!({
            "schema": 1, "first": last - SignedDuration::from_hours(7 * 24), "last": last, "times": times,
            "source": {"kind": "log_group", "resource": group, "account": ACCOUNT, "region": null},
            "pauses": {day: 900}, "told": null, "back": null,
        });
        cloudvigil.remember("source#heard", group, &heard)?;
    }

    for _ in 0..2 {
        cloudvigil.poll()?;
    }
    let silent = told(&cloudvigil, "Log source fell silent")?;
    ensure!(silent.len() == 1 && silent[0]["count"] == 1, "one silence, told once: {silent:?}");
    let line = silent[0]["evidence"][0]["text"].as_str().unwrap_or_default();
    for expected in [GROUP, "\"silent_for\":\"3d\"", "\"usual_gap\":\"15m\""] {
        ensure!(line.contains(expected), "{expected} is missing in what is told: {line}");
    }
    ensure!(told(&cloudvigil, "Log source is heard again")?.is_empty(), "it is not heard again yet");

    let event =
        json!({"timestamp": ago(0).as_millisecond(), "message": "Nov 22 08:00:00 bastion sshd[1]: Server listening"});
    root.logs("PutLogEvents", &json!({"logGroupName": GROUP, "logStreamName": "bastion", "logEvents": [event]}))?;
    // The delivery and the polls meet in the state alone.
    let back = poll_until(Duration::from_secs(30), "the return is told", || {
        cloudvigil.poll()?;
        Ok(Some(told(&cloudvigil, "Log source is heard again")?).filter(|told| !told.is_empty()))
    })?;
    ensure!(back.len() == 1 && back[0]["resources"] == json!([GROUP]), "what returned: {back:?}");
    ensure!(told(&cloudvigil, "Log source fell silent")?.len() == 1, "the silence was told again");
    cloudvigil.settle()?;
    ensure!(cloudvigil.queued("FindingDeadLetters")?.is_empty(), "a finding was not dealt with");
    let mails = emulator.mails()?;
    ensure!(mails.is_empty(), "a silence can wait for the digest: {mails:?}");
    Ok(())
}

/// The findings with this title.
fn told(cloudvigil: &Cloudvigil<'_>, title: &str) -> Result<Vec<Value>> {
    Ok(cloudvigil.findings()?.into_iter().filter(|finding| finding["title"] == title).collect())
}
