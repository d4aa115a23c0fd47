//! Config's recorder is stopped and a flow log deleted, and no event tells of either: the next poll and the next scan
//! mail what nobody sees any longer and what to run, once.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::harness::aws::Aws;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{ACCOUNT, Emulator, Mail};
use crate::harness::story::Story;
use crate::harness::xml;

/// How long a mail may take.
const LIMIT: Duration = Duration::from_secs(30);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/config");
    config(root, "PutConfigurationRecorder", &json!({"ConfigurationRecorder": {"name": "default", "roleARN": role}}))?;
    let channel = json!({"DeliveryChannel": {"name": "default", "s3BucketName": "config-logs"}});
    config(root, "PutDeliveryChannel", &channel)?;
    config(root, "StartConfigurationRecorder", &json!({"ConfigurationRecorderName": "default"}))?;
    let vpc = xml::text(&root.query("ec2", "DescribeVpcs", &[])?, "vpcId");
    let flow_log = create_flow_log(root, &vpc)?;

    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[])?;
    cloudvigil.disable_rules()?;
    cloudvigil.set_variable("trail-detector", "LOOKUP_DAYS", "1")?;
    look(&cloudvigil)?;
    cloudvigil.settle()?;
    let early = cloudvigil.mails(|mail| mail.text.contains("recorder default") || mail.text.contains(&vpc))?;
    ensure!(early.is_empty(), "the first look is not calm: {early:?}");

    config(root, "StopConfigurationRecorder", &json!({"ConfigurationRecorderName": "default"}))?;
    root.query("ec2", "DeleteFlowLogs", &[("FlowLogId.1", &flow_log)])?;
    for _ in 0..2 {
        look(&cloudvigil)?;
    }
    for words in [["recorder default is stopped", "start-configuration-recorder"], [vpc.as_str(), "create-flow-logs"]] {
        let is_it = |mail: &Mail| words.iter().all(|word| mail.text.contains(word));
        cloudvigil.mail(LIMIT, words[1], is_it)?;
        cloudvigil.settle()?;
        let mails = cloudvigil.mails(is_it)?;
        ensure!(mails.len() == 1, "{} was mailed {} times: {mails:?}", words[1], mails.len());
    }
    Ok(())
}

fn config(root: &Aws, operation: &str, body: &Value) -> Result<Value> {
    root.json("config", &format!("StarlingDoveService.{operation}"), body)
}

fn create_flow_log(root: &Aws, vpc: &str) -> Result<String> {
    let flow_log = [
        ("ResourceId.1", vpc),
        ("ResourceType", "VPC"),
        ("TrafficType", "ALL"),
        ("LogDestinationType", "s3"),
        ("LogDestination", "arn:aws:s3:::flows"),
    ];
    let created = root.query("ec2", "CreateFlowLogs", &flow_log)?;
    // <flowLogIdSet><item>fl-…</item></flowLogIdSet>
    Ok(xml::text(&created, "item"))
}

/// A poll and a scan.
fn look(cloudvigil: &Cloudvigil<'_>) -> Result<()> {
    for (function, task) in [("trail-detector", "poll"), ("inventory-scanner", "scan")] {
        let looked = cloudvigil.invoke(function, &json!({"task": task}))?;
        ensure!(looked.error.is_none(), "the {task} failed: {} {}", looked.payload, looked.log);
    }
    Ok(())
}
