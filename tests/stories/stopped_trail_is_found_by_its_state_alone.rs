//! A trail is stopped, and no event ever says so: EventBridge delivers nothing, and a policy closes the event history. The
//! trail's own state is enough. It is mailed once, with how to undo it; and that the trail logs again is told too.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{Emulator, Mail};
use crate::harness::history_stub::{BUCKET, HistoryStub};
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    let stub = HistoryStub::start(Vec::new())?;
    let emulator = Emulator::start(story, &[("AWS_ENDPOINT_URL_CLOUDTRAIL", &stub.endpoint())])?;
    emulator.root.create_bucket(BUCKET)?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    cloudvigil.disable_rules()?;
    stub.close_history();

    poll(&cloudvigil)?;
    cloudvigil.settle()?;
    let calm = emulator.mails()?;
    ensure!(calm.is_empty(), "a trail that logs was mailed: {calm:?}");

    stub.stop_trail();
    for _ in 0..2 {
        poll(&cloudvigil)?;
    }
    let is_it = |mail: &Mail| mail.subject.contains("Trail is not logging");
    let mail = cloudvigil.mail(Duration::from_secs(20), "the stopped trail", is_it)?;
    for expected in ["trail/main", "aws cloudtrail start-logging"] {
        ensure!(mail.text.contains(expected), "{expected} is missing in the mail:\n{}", mail.text);
    }
    cloudvigil.settle()?;
    let mails = emulator.mails()?;
    ensure!(mails.len() == 1, "mailed {} times, not once: {mails:?}", mails.len());

    stub.start_trail();
    poll(&cloudvigil)?;
    let told = || Ok(cloudvigil.findings()?.into_iter().find(|finding| finding["title"] == "Trail is back"));
    let told: Value = poll_until(Duration::from_secs(5), "the return is told", told)?;
    ensure!(told["resources"].to_string().contains("trail/main"), "what returned: {told}");
    cloudvigil.settle()?;
    Ok(())
}

/// A poll that says what it could not do, and does the rest.
fn poll(cloudvigil: &Cloudvigil<'_>) -> Result<()> {
    let poll = cloudvigil.invoke("trail-detector", &json!({"task": "poll"}))?;
    ensure!(poll.error.is_some(), "a closed history is a failure: {}", poll.payload);
    ensure!(poll.log.contains("AccessDenied"), "why it failed: {}", poll.log);
    Ok(())
}
