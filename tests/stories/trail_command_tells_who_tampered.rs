//! `cloudvigil trail --days 7` prints an account's trails and their health, and the tampering of a week in time order, with
//! who and from where.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::calls::ADDRESS;
use crate::harness::aws::Aws;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::ground::command_line;
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_bucket("trail-logs")?;
    root.cloudtrail("CreateTrail", &json!({"Name": "main", "S3BucketName": "trail-logs", "IsMultiRegionTrail": true}))?;
    root.cloudtrail("StartLogging", &json!({"Name": "main"}))?;
    let mallory = emulator.user("mallory")?.calling_from(ADDRESS);
    let reads = json!({"ReadWriteType": "ReadOnly", "IncludeManagementEvents": true});
    mallory.cloudtrail("PutEventSelectors", &json!({"TrailName": "main", "EventSelectors": [reads]}))?;
    mallory.cloudtrail("StopLogging", &json!({"Name": "main"}))?;

    // The history is asked up to a whole second, and not for the one that is not over yet.
    let stopped = Instant::now();
    poll_until(Duration::from_secs(5), "the second of the call is over", || {
        Ok((stopped.elapsed() > Duration::from_secs(1)).then_some(()))
    })?;
    let printed = cloudvigil_trail(story, root)?;
    let table = |heading: &str| printed.split(heading).nth(1).with_context(|| format!("no '{heading}' in:\n{printed}"));
    let trails = printed.split("FINDINGS ABOUT").next().unwrap_or_default();
    for expected in ["main", "trail-logs", "aws cloudtrail start-logging"] {
        ensure!(trails.contains(expected), "{expected} is missing of the trails:\n{printed}");
    }
    ensure!(table("FINDINGS ABOUT THE TRAILS")?.contains("Trail is not logging"), "the trail's state:\n{printed}");
    let tampering = table("TAMPERING WITH LOGGING, THE LAST 7 DAYS")?;
    for expected in ["Trail logging stopped", "Trail records fewer management events", "user/mallory", ADDRESS, ACCOUNT]
    {
        ensure!(tampering.contains(expected), "{expected} is missing of the tampering:\n{printed}");
    }
    Ok(())
}

/// What the command prints. Findings are no failure.
fn cloudvigil_trail(story: &Story, root: &Aws) -> Result<String> {
    let output = Command::new(command_line()?)
        .args(["trail", "--days", "7"])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", story.folder())
        .envs([
            ("AWS_ENDPOINT_URL", root.endpoint().as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", ACCOUNT),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ])
        .output()
        .context("start cloudvigil")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}:\n{printed}\n{errors}", output.status);
    Ok(printed)
}
