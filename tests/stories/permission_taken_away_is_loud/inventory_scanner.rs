//! The inventory-scanner. Where it may not look, it looks at the rest, and says what it left out.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::table::Trial;
use super::{Trials, counted, text};
use crate::harness::aws::Aws;
use crate::harness::xml;

pub fn trials(trials: &Trials<'_>) -> Result<()> {
    let root = &trials.cloudvigil.emulator.root;
    let scan = json!({"task": "scan"});
    let open = group(root, "open")?;
    let rule = [
        ("GroupId", open.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    root.query("ec2", "AuthorizeSecurityGroupIngress", &rule)?;
    let gone = group(root, "gone")?;
    let first = trials.succeeds(&scan)?;
    ensure!(denied(&first.payload)?.is_empty(), "denied with every permission: {}", first.payload);

    trials.each(|action, trial| match trial {
        Trial::Look => {
            let scanned = trials.role.without(action, || trials.invoke(&scan))?;
            // The one before has its permission back: nothing else is denied.
            let expected = BTreeSet::from([format!("AccessDenied: {action}")]);
            ensure!(denied(&scanned.payload)? == expected, "what could not be looked at: {}", scanned.payload);
            ensure!(counted(scanned.log.lines(), "Errors") > 0, "no error was counted:\n{}", scanned.log);
            let told = trials.cloudvigil.log(trials.function)?.iter().any(|line| is_collection(line, action));
            ensure!(told, "the log has no record of type collection that names it");
            Ok(())
        }
        Trial::NewInstance => {
            expose_an_instance(root, &open)?;
            trials.fails(action, &scan)?;
            let scanned = trials.succeeds(&scan)?;
            let findings = scanned.payload["findings"].as_u64();
            ensure!(findings.is_some_and(|findings| findings > 0), "it was lost: {}", scanned.payload);
            Ok(())
        }
        Trial::GoneGroup => {
            root.query("ec2", "DeleteSecurityGroup", &[("GroupId", &gone)])?;
            trials.fails(action, &scan)?;
            let scanned = trials.succeeds(&scan)?;
            ensure!(scanned.payload["resources"]["removed"] == 1, "it was lost: {}", scanned.payload);
            Ok(())
        }
        Trial::Start => trials.starts_without_configuration(action, &scan),
        other => bail!("the inventory-scanner has no trial {other:?}"),
    })?;
    let last = trials.succeeds(&scan)?;
    ensure!(denied(&last.payload)?.is_empty(), "denied with every permission: {}", last.payload);
    Ok(())
}

/// What a scan was not allowed to look at, whatever the region: `AccessDenied: ec2:DescribeInstances`.
fn denied(outcome: &Value) -> Result<BTreeSet<String>> {
    let mut denied = BTreeSet::new();
    for failure in outcome["could_not_look"].as_array().into_iter().flatten() {
        if let Some((_, why)) = text(failure, "what could not be looked at")?.split_once(' ') {
            denied.extend(why.starts_with("AccessDenied").then(|| why.to_owned()));
        }
    }
    Ok(denied)
}

fn is_collection(line: &str, action: &str) -> bool {
    let record = serde_json::from_str::<Value>(line).unwrap_or_default();
    record["type"] == "collection" && record["could_not_look"] == format!("AccessDenied: {action}")
}

fn group(root: &Aws, name: &str) -> Result<String> {
    let group = root.query("ec2", "CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", name)])?;
    Ok(xml::text(&group, "groupId"))
}

/// A new instance with a public address in the group.
fn expose_an_instance(root: &Aws, group: &str) -> Result<()> {
    let run = [
        ("ImageId", "ami-0abcdef1234567890"),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SecurityGroupId.1", group),
    ];
    let instance = xml::text(&root.query("ec2", "RunInstances", &run)?, "instanceId");
    let address = xml::text(&root.query("ec2", "AllocateAddress", &[("Domain", "vpc")])?, "allocationId");
    root.query("ec2", "AssociateAddress", &[("AllocationId", &address), ("InstanceId", &instance)]).map(|_| ())
}
