//! Among good objects comes one that is no log at all behind its `.gz`. The good ones are analysed and mailed; the
//! poisoned one is tried again and ends, by name, in the dead-letter queue.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::log_lines::{access_log_with_injection, gzipped};
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

const ATTACKERS: [&str; 3] = ["198.51.100.31", "198.51.100.32", "198.51.100.33"];

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("LogBucket", "logs")])?;

    for (number, attacker) in ATTACKERS.iter().enumerate() {
        let log = gzipped(&access_log_with_injection(attacker, "192.0.2.10")?)?;
        root.put_object("logs", &format!("good-{number}.log.gz"), &log)?;
        if number == 0 {
            // A gzip header, and then no deflate stream.
            let header = log.get(..10).unwrap_or_default();
            root.put_object("logs", "poisoned.log.gz", &[header, &[0xff; 200]].concat())?;
        }
    }
    for attacker in ATTACKERS {
        cloudvigil.mail(Duration::from_mins(1), attacker, |mail| mail.text.contains(attacker))?;
    }
    let dead = poll_until(Duration::from_secs(90), "the poisoned object is in the dead-letter queue", || {
        let dead = cloudvigil.queued("ObjectDeadLetters")?;
        Ok((!dead.is_empty()).then_some(dead))
    })?;
    ensure!(dead.len() == 1 && dead[0].body.contains("poisoned.log.gz"), "the dead letters: {dead:?}");
    cloudvigil.settle()?;
    let told = cloudvigil.log("log-analyzer")?.iter().any(|line| line.contains("poisoned.log.gz"));
    ensure!(told, "the function's log says nothing of the poisoned object");
    Ok(())
}
