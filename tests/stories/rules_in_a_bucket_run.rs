//! A rule and a configuration lie in a bucket. What the rule finds is mailed, with a placeholder that the configuration
//! fills in; the finding that a suppression names is not, and is counted; a file that is no rule is told by its name. The
//! rule is encrypted with the configuration's own key; one under a key that the function may not use is told by its name.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::log_lines::{access_line, access_log_with_injection, gzipped, recently};
use crate::harness::aws::Aws;
use crate::harness::cloudvigil::Cloudvigil;
use crate::harness::emulator::Emulator;
use crate::harness::poll::poll_until;
use crate::harness::story::Story;

const CONFIGURATION: &str = r#"
[notify]
mails_per_hour = 30

[placeholders]
hidden = ["/hidden-*"]

[[suppressions]]
rule = "2c5431d3-3ec1-4628-9074-e3b0ac32320f"
owner = "platform@example.com"
reason = "the penetration test"
expires = 2999-12-31
source_address = "198.51.100.*"
"#;

const RULE: &str = "
title: Hidden page asked for
id: 5b0f5a3e-3f0e-4f0c-9a59-6c6f7f1d2a01
level: high
logsource: {category: webserver}
detection:
  selection: {cs-uri-stem|expand: '%hidden%'}
  condition: selection
";

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let root = &emulator.root;
    root.create_event_bucket("logs")?;
    root.create_bucket("settings")?;
    root.put_object("settings", "team/cloudvigil.toml", CONFIGURATION.as_bytes())?;
    let (key, foreign) = (create_key(root)?, create_key(root)?);
    put_encrypted(root, "rules/web/hidden.yml", RULE, &key)?;
    put_encrypted(root, "rules/web/locked.yml", &RULE.replace("2a01", "2a02"), &foreign)?;
    root.put_object("settings", "rules/broken.yml", b"title: [")?;
    let parameters = [
        ("LogBucket", "logs"),
        ("ConfigurationBucket", "settings"),
        ("ConfigurationKey", "team/cloudvigil.toml"),
        ("ConfigurationKmsKeyArn", &key),
        ("RulesPrefix", "rules/"),
    ];
    let cloudvigil = Cloudvigil::deploy(story, &emulator, &parameters)?;

    let mut log = access_log_with_injection("198.51.100.7", "192.0.2.10");
    log.push_str(&access_line(recently(), "203.0.113.7", "/hidden-door", "x", 200));
    root.put_object("logs", "web/access.log.gz", &gzipped(&log)?)?;
    cloudvigil.mail(Duration::from_secs(30), "the page", |mail| mail.text.contains("203.0.113.7"))?;

    cloudvigil.settle()?;
    let suppressed = cloudvigil.mails(|mail| mail.text.contains("198.51.100.7"))?;
    ensure!(suppressed.is_empty(), "what is suppressed was mailed: {suppressed:?}");
    poll_until(Duration::from_secs(30), "the log says what was held back, and what is no rule", || {
        let lines = cloudvigil.log("log-analyzer")?;
        let lines = || lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let counted = |metric: &str| lines().any(|line| line[metric].as_u64().is_some_and(|count| count > 0));
        let told = |words: &[&str]| {
            let mut errors = lines().filter(|line| line["level"] == "ERROR").map(|line| line.to_string());
            errors.any(|line| words.iter().all(|word| line.contains(word)))
        };
        let told = told(&["rules/broken.yml"]) && told(&["rules/web/locked.yml", "AccessDenied"]);
        Ok((counted("Suppressed") && counted("ConfigurationProblems") && told).then_some(()))
    })
}

/// A key that whoever has the permission may use; its ARN.
fn create_key(root: &Aws) -> Result<String> {
    let created = root.json("kms", "TrentService.CreateKey", &json!({}))?;
    created["KeyMetadata"]["Arn"].as_str().map(str::to_owned).context("the key has an ARN")
}

fn put_encrypted(root: &Aws, name: &str, text: &str, key: &str) -> Result<()> {
    let encrypted = [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", key)];
    root.put_object_with("settings", name, text.as_bytes(), &encrypted).map(|_| ())
}
