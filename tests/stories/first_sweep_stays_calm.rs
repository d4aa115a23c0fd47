//! cloudvigil is deployed into an account with a past. The first sweep over its event history mails each thing that was
//! wrong once, and says of nothing that EventBridge should have brought it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::calls::{ago, call};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{Emulator, Mail};
use crate::harness::history_stub::{BUCKET, HistoryStub};
use crate::harness::story::Story;

const DAY: i64 = 24 * 60;

pub fn story(story: &Story) -> Result<()> {
    let mut events = vec![
        call(ago(2 * DAY + 100), "stopped", "StopLogging", &json!({"name": "main"})),
        call(ago(DAY + 100), "deleted", "DeleteTrail", &json!({"name": "old"})),
    ];
    // What people do all day, several pages of it.
    for number in 0..200 {
        events.push(call(ago(40 + number * 18), &format!("harmless-{number}"), "AddTags", &Value::Null));
    }
    let stub = HistoryStub::start(events)?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    emulator.root.create_bucket(BUCKET)?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    // At a call a second, a week would take longer than it shows more.
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "3")?;

    for _ in 0..2 {
        cloudvigil.poll()?;
    }
    let asked = stub.asked();
    ensure!(asked.further_pages > 0, "the stub was asked too little to matter: {asked:?}");
    for name in ["StopLogging", "DeleteTrail"] {
        cloudvigil.mail(Duration::from_secs(20), name, |mail| tells_of(mail, name))?;
    }
    cloudvigil.settle()?;
    let mails = emulator.mails()?;
    ensure!(mails.len() == 2, "two things were wrong, and {} mails say so: {mails:?}", mails.len());
    let alone = cloudvigil.findings()?.into_iter().find(|finding| finding.to_string().contains("seen_by_poll_alone"));
    ensure!(alone.is_none(), "what was before cloudvigil need not have come: {alone:?}");
    Ok(())
}

fn tells_of(mail: &Mail, name: &str) -> bool {
    mail.text.contains(&format!("\"eventName\":\"{name}\""))
}
