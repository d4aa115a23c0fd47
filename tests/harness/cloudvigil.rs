//! The real template on the emulator, with the real functions.
//!
//! Nothing of the template is changed but where the functions' code lies. What the emulator gets wrong is put right
//! beside it, after the deployment: see [`Cloudvigil::deploy`].

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::aws::{Aws, Invocation};
use super::binaries::FUNCTIONS;
use super::clock::now;
use super::emulator::{ACCOUNT, Emulator, Mail, REGION};
use super::ground::function_zips;
use super::poll::poll_until;
use super::sigv4::encode;
use super::stack::Stack;
use super::story::Story;

/// Who findings are mailed from.
pub const SENDER: &str = "cloudvigil@example.com";
/// Who findings are mailed to.
pub const RECIPIENT: &str = "security@example.com";

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/template.yaml");
const STACK: &str = "cloudvigil";
/// When a message that failed comes back, in seconds: more than a function takes here, even on a busy machine.
const RETRY_SECONDS: &str = "5";
const CODE_BUCKET: &str = "code";

/// The stack, deployed.
pub struct Cloudvigil<'a> {
    story: &'a Story,
    /// What it is deployed on.
    pub emulator: &'a Emulator,
    /// Its resources.
    pub stack: Stack,
}

/// A message that lies in a queue.
#[derive(Debug)]
pub struct Queued {
    /// Its body.
    pub body: String,
}

impl<'a> Cloudvigil<'a> {
    /// Deploys the template with these parameters, besides those that every story needs.
    ///
    /// The emulator evaluates `ses:SendEmail` against `*` instead of the identity's ARN, so that the template's own
    /// statement never allows it: the notifier's role gets that one action in a policy of its own. It leaves out a
    /// topic's key, which publishers need permissions for: the topic gets the template's. And messages that failed come
    /// back after seconds, not after six times a function's time-out.
    pub fn deploy(story: &'a Story, emulator: &'a Emulator, parameters: &[(&str, &str)]) -> Result<Self> {
        let root = &emulator.root;
        for identity in [SENDER, RECIPIENT] {
            root.rest("ses", "POST", "/v2/email/identities", &json!({"EmailIdentity": identity}))?;
        }
        root.create_bucket(CODE_BUCKET)?;
        for (function, zip) in function_zips()? {
            root.put_object(CODE_BUCKET, &format!("{function}.zip"), zip)?;
        }
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let mut all = vec![("Sender", SENDER), ("Recipient", RECIPIENT), ("Architecture", architecture)];
        all.extend(parameters);
        let stack = Stack::create(root, STACK, &template()?, &all)?;
        let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ses:SendEmail","ses:SendRawEmail"],"Resource":"*"}]}"#;
        let policy = [
            ("RoleName", stack.id("NotifierRole")?),
            ("PolicyName", "emulator-evaluates-ses-against-star"),
            ("PolicyDocument", allow),
        ];
        root.query("iam", "PutRolePolicy", &policy)?;
        let key = [
            ("TopicArn", stack.id("FindingsTopic")?),
            ("AttributeName", "KmsMasterKeyId"),
            ("AttributeValue", stack.id("TopicKey")?),
        ];
        root.query("sns", "SetTopicAttributes", &key)?;
        for queue in ["ObjectsQueue", "FindingsQueue"] {
            let attributes = json!({"VisibilityTimeout": RETRY_SECONDS});
            root.sqs("SetQueueAttributes", &json!({"QueueUrl": stack.id(queue)?, "Attributes": attributes}))?;
        }
        Ok(Self { story, emulator, stack })
    }

    fn root(&self) -> &Aws {
        &self.emulator.root
    }

    /// Invokes a function, named as its folder is, and waits for its answer.
    pub fn invoke(&self, function: &str, payload: &Value) -> Result<Invocation> {
        self.root().invoke(&format!("{STACK}-{function}"), payload)
    }

    /// Lets the trail-detector look at everything that it looks at by its schedule. It must not fail.
    pub fn poll(&self) -> Result<()> {
        let poll = self.invoke("trail-detector", &json!({"task": "poll"}))?;
        ensure!(poll.error.is_none(), "the poll failed: {} {}", poll.payload, poll.log);
        Ok(())
    }

    /// Every finding as it is settled in the state.
    pub fn findings(&self) -> Result<Vec<Value>> {
        let (mut findings, mut next) = (Vec::new(), Value::Null);
        loop {
            let mut scan = json!({"TableName": self.stack.id("StateTable")?});
            if !next.is_null() {
                scan["ExclusiveStartKey"] = next;
            }
            let answer = self.root().json("dynamodb", "DynamoDB_20120810.Scan", &scan)?;
            let marks = answer["Items"].as_array().into_iter().flatten().filter(|item| item["sk"]["S"] == "finding");
            for mark in marks {
                let body = BASE64.decode(mark["body"]["B"].as_str().unwrap_or_default()).context("an item's body")?;
                let mark: Value = serde_json::from_slice(&body).context("an item's body")?;
                findings.extend(Some(mark["finding"].clone()).filter(|finding| !finding.is_null()));
            }
            next = answer["LastEvaluatedKey"].clone();
            if next.is_null() {
                return Ok(findings);
            }
        }
    }

    /// Puts an item into the state, as if a function had done so.
    pub fn remember(&self, partition: &str, sort: &str, body: &Value) -> Result<()> {
        let expires = (now() + SignedDuration::from_hours(24)).as_second();
        let item = json!({
            "pk": {"S": partition}, "sk": {"S": sort}, "version": {"N": "1"}, "ttl": {"N": expires.to_string()},
            "body": {"B": BASE64.encode(body.to_string())},
        });
        let put = json!({"TableName": self.stack.id("StateTable")?, "Item": item});
        self.root().json("dynamodb", "DynamoDB_20120810.PutItem", &put).map(|_| ())
    }

    /// What a function wrote into its log group, oldest first.
    pub fn log(&self, function: &str) -> Result<Vec<String>> {
        self.root().log_lines(&format!("/cloudvigil/{STACK}/{function}"))
    }

    /// The first mail that `fits`, within `limit`.
    pub fn mail(&self, limit: Duration, what: &str, fits: impl Fn(&Mail) -> bool) -> Result<Mail> {
        poll_until(limit, &format!("a mail: {what}"), || Ok(self.emulator.mails()?.into_iter().find(|mail| fits(mail))))
    }

    /// Every mail that `fits`.
    pub fn mails(&self, fits: impl Fn(&Mail) -> bool) -> Result<Vec<Mail>> {
        Ok(self.emulator.mails()?.into_iter().filter(|mail| fits(mail)).collect())
    }

    /// What lies in a queue, visible or not, named by its logical id. Nothing is received by looking.
    pub fn queued(&self, queue: &str) -> Result<Vec<Queued>> {
        let url = self.stack.id(queue)?;
        let answer = self.root().get(&format!("/_ministack/sqs/messages?QueueUrl={}", encode(url, false)))?.json()?;
        let messages = answer["messages"][ACCOUNT][REGION][url].as_array();
        let messages = messages.with_context(|| format!("look into {queue}: {answer}"))?;
        Ok(messages
            .iter()
            .map(|message| Queued { body: message["Body"].as_str().unwrap_or_default().to_owned() })
            .collect())
    }

    /// Waits until every message on its way has been dealt with: nothing lies in the queues between the functions.
    pub fn settle(&self) -> Result<()> {
        poll_until(Duration::from_mins(1), "the queues are empty", || {
            let waiting = self.queued("ObjectsQueue")?.len() + self.queued("FindingsQueue")?.len();
            Ok((waiting == 0).then_some(()))
        })
    }

    /// Disables every rule of the event bus.
    pub fn disable_rules(&self) -> Result<()> {
        for rule in self.stack.resources.values().filter(|resource| resource.kind == "AWS::Events::Rule") {
            self.root().events("DisableRule", &json!({"Name": rule_name(&rule.id)}))?;
        }
        Ok(())
    }

    /// Enables one rule of the event bus again, by its logical id.
    pub fn enable_rule(&self, rule: &str) -> Result<()> {
        self.root().events("EnableRule", &json!({"Name": rule_name(self.stack.id(rule)?)})).map(|_| ())
    }

    /// Lets Lambda take messages from a queue, or stops it. The mapping is named by its logical id.
    pub fn take_messages(&self, mapping: &str, enabled: bool) -> Result<()> {
        let path = format!("/2015-03-31/event-source-mappings/{}", self.stack.id(mapping)?);
        self.root().rest("lambda", "PUT", &path, &json!({"Enabled": enabled})).map(|_| ())
    }

    /// Sets one variable of a function's environment, beside those that the template sets.
    pub fn set_variable(&self, function: &str, name: &str, value: &str) -> Result<()> {
        let path = configuration(function);
        let configuration = self.root().rest("lambda", "GET", &path, &Value::Null)?;
        let mut variables = configuration["Environment"]["Variables"].clone();
        variables[name] = json!(value);
        let body = json!({"Environment": {"Variables": variables}});
        self.root().rest("lambda", "PUT", &path, &body).map(|_| ())
    }

    /// Sets how long a function may run, in seconds.
    pub fn set_timeout(&self, function: &str, seconds: u32) -> Result<()> {
        self.root().rest("lambda", "PUT", &configuration(function), &json!({"Timeout": seconds})).map(|_| ())
    }
}

impl Drop for Cloudvigil<'_> {
    /// Keeps the functions' logs, of which a failed story shows the ends.
    fn drop(&mut self) {
        for function in FUNCTIONS {
            let lines = self.log(function).unwrap_or_else(|error| vec![format!("could not be read: {error:#}")]);
            fs::write(self.story.log(&format!("{function}.log")), lines.join("\n")).ok();
        }
    }
}

/// A rule's name by its physical id, which is its name, or its bus and its name.
fn rule_name(id: &str) -> &str {
    id.rsplit(['/', '|']).next().unwrap_or_default()
}

fn configuration(function: &str) -> String {
    format!("/2015-03-31/functions/{STACK}-{function}/configuration")
}

/// The template, with each function's code in the code bucket.
fn template() -> Result<String> {
    let template = fs::read_to_string(TEMPLATE).with_context(|| format!("read {TEMPLATE}"))?;
    let mut found = 0;
    let lines: Vec<String> = template
        .lines()
        .map(|line| match line.split_once("CodeUri: ../functions/") {
            Some((indent, function)) => {
                found += 1;
                format!("{indent}CodeUri: {{Bucket: {CODE_BUCKET}, Key: {}.zip}}", function.trim())
            }
            None => line.to_owned(),
        })
        .collect();
    let functions = function_zips()?.len();
    ensure!(found == functions, "{TEMPLATE} has {found} lines `CodeUri: ../functions/...`, not {functions}");
    Ok(lines.join("\n"))
}
