//! An instance with a public address gets a security group that is open to the world. The next scan, which its
//! schedule starts, mails it; the scan after that has nothing new to say.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::{Emulator, Mail};
use crate::harness::story::Story;
use crate::harness::xml;

/// The longest that the schedule lets its first scan wait, and the scan takes.
const FIRST_SCAN: Duration = Duration::from_mins(3);

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &[("ScanSchedule", "rate(1 minute)")])?;
    let root = &emulator.root;
    let group = root.query("ec2", "CreateSecurityGroup", &[("GroupName", "ssh"), ("GroupDescription", "ssh")])?;
    let group = xml::text(&group, "groupId");
    let open = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    root.query("ec2", "AuthorizeSecurityGroupIngress", &open)?;
    let image = ("ImageId", "ami-0abcdef1234567890");
    let counts = [("MinCount", "1"), ("MaxCount", "1"), ("InstanceType", "t3.micro")];
    let run = [&[image, ("SecurityGroupId.1", group.as_str())], counts.as_slice()].concat();
    let instance = xml::text(&root.query("ec2", "RunInstances", &run)?, "instanceId");
    let allocation = xml::text(&root.query("ec2", "AllocateAddress", &[("Domain", "vpc")])?, "allocationId");
    root.query("ec2", "AssociateAddress", &[("AllocationId", &allocation), ("InstanceId", &instance)])?;

    let is_it = |mail: &Mail| mail.text.contains(&group) || mail.text.contains(&instance);
    let mail = cloudvigil.mail(FIRST_SCAN, "the exposed instance", is_it)?;
    ensure!(mail.text.contains("22"), "the port is missing in the mail:\n{}", mail.text);
    cloudvigil.settle()?;
    let first = cloudvigil.mails(is_it)?.len();

    let scan = cloudvigil.invoke("inventory-scanner", &json!({"task": "scan"}))?;
    ensure!(scan.error.is_none(), "the scan failed: {} {}", scan.payload, scan.log);
    cloudvigil.settle()?;
    let second = cloudvigil.mails(is_it)?;
    ensure!(second.len() == first, "the second scan mailed again: {second:?}");
    Ok(())
}
