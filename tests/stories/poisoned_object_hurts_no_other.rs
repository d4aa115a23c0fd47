//! Among good objects come one that is no log at all behind its `.gz`, and one that is deleted before anybody reads it.
//! The good ones are analysed and mailed; the other two are tried again and end, by name, in the dead-letter queue.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::log_lines::{access_log_with_injection, gzipped};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

/// What cannot be analysed: the one that is damaged, the one that is gone.
const BAD: [&str; 2] = ["poisoned.log.gz", "vanished.log.gz"];
const ATTACKERS: [&str; 3] = ["198.51.100.31", "198.51.100.32", "198.51.100.33"];

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", "logs")])?;

    // Nothing is read until everything has happened.
    cloudvigil.take_messages("LogAnalyzerObjects", false)?;
    for (number, attacker) in ATTACKERS.iter().enumerate() {
        let log = gzipped(&access_log_with_injection(attacker, "192.0.2.10"))?;
        root.put_object("logs", &format!("good-{number}.log.gz"), &log)?;
        if number == 0 {
            // A gzip header, and then no deflate stream.
            let header = log.get(..10).unwrap_or_default();
            root.put_object("logs", BAD[0], &[header, &[0xff; 200]].concat())?;
            root.put_object("logs", BAD[1], &log)?;
            root.delete_object("logs", BAD[1])?;
        }
    }
    cloudvigil.take_messages("LogAnalyzerObjects", true)?;
    for attacker in ATTACKERS {
        cloudvigil.mail(Duration::from_mins(1), attacker, |mail| mail.text.contains(attacker))?;
    }
    let dead = poll_until(Duration::from_secs(90), "both bad objects are in the dead-letter queue", || {
        let dead = cloudvigil.queued("ObjectDeadLetters")?;
        Ok((dead.len() >= BAD.len()).then_some(dead))
    })?;
    cloudvigil.settle()?;
    let log = cloudvigil.log("log-analyzer")?;
    for key in BAD {
        let letters = dead.iter().filter(|letter| letter.body.contains(key)).count();
        ensure!(letters == 1, "{key} is {letters} times among the dead letters: {dead:?}");
        ensure!(log.iter().any(|line| line.contains(key)), "the function's log says nothing of {key}");
    }
    ensure!(dead.len() == BAD.len(), "the dead letters: {dead:?}");
    Ok(())
}
