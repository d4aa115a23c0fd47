//! Findings to an SNS topic: [`FindingSink`].
//!
//! The body is core's [`Message`] as JSON; the attributes `level` and `rule` let a subscription filter
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-filtering.html>). SNS and SQS take 256 KiB; what is published
//! stays under [`MAX_MESSAGE`], so that attributes and the envelope that SNS puts around it still fit.
//!
//! Throttling, time-outs and HTTP 5xx are retried by the SDK, then `Transient`. A topic that is not there is `NotFound`.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use cloudvigil_aws::Clients;
use cloudvigil_aws::error::port_error;
use cloudvigil_core::finding::{Evidence, Finding, Guidance, Message};
use cloudvigil_core::ports::{Failure, FindingSink, PortError, PortResult};
use tokio::sync::OnceCell;

/// The longest body that is published, in bytes.
pub const MAX_MESSAGE: usize = 200_000;
/// The longest rule id that goes into an attribute, in bytes: the body has all of it.
const MAX_ATTRIBUTE: usize = 256;
/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// Findings to one topic.
pub struct SnsFindings {
    clients: Arc<Clients>,
    client: OnceCell<Client>,
    topic: String,
}

impl SnsFindings {
    /// Findings to the topic with this ARN, in the current region. Nothing is asked yet.
    pub fn new(clients: Arc<Clients>, topic_arn: impl Into<String>) -> Self {
        Self { clients, client: OnceCell::new(), topic: topic_arn.into() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.clients.config().await) }).await
    }
}

#[async_trait]
impl FindingSink for SnsFindings {
    async fn publish(&self, message: &Message) -> PortResult<()> {
        let what = || format!("publish finding {} to {}", message.finding.id, self.topic);
        let body = body(message).map_err(|why| PortError::new(Failure::Permanent, what(), why))?;
        let mut publish = self.client().await.publish().topic_arn(&self.topic).message(body);
        let mut rule = message.finding.rule.clone();
        cut(&mut rule, MAX_ATTRIBUTE);
        rule.retain(|char| !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}'));
        for (name, value) in [("level", message.finding.level.as_str()), ("rule", &rule)] {
            // SNS refuses a message with an empty attribute.
            if value.is_empty() {
                continue;
            }
            let attribute = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            publish = publish.message_attributes(
                name,
                attribute.map_err(|error| PortError::new(Failure::Permanent, what(), error))?,
            );
        }
        publish.send().await.map_err(|error| port_error(what(), &error))?;
        Ok(())
    }
}

/// `message` as JSON of at most [`MAX_MESSAGE`] bytes.
///
/// If it is longer, values of an absurd length are cut first; no real finding has them, and whatever follows is quick
/// for it. Then give way, in this order: the texts of the evidence, all of them together, shorter each time; where else
/// its entries were read; the evidence, the last entry first; the list of resources; the values that logs had a hand in. What is left always says
/// what was found and where it was read: an entry keeps its source and record as long as it is there.
fn body(message: &Message) -> Result<String, String> {
    if roughly(message) <= 2 * MAX_MESSAGE {
        let json = to_json(message)?;
        if json.len() <= MAX_MESSAGE {
            return Ok(json);
        }
    }
    let mut message = message.clone();
    cut_values(&mut message, 200, 2048);
    cut_words(&mut message.guidance);
    let mut json = to_json(&message)?;
    let mut ways = ways_to_shorten(message.finding.evidence.len());
    while json.len() > MAX_MESSAGE {
        let Some(shorten) = ways.next() else {
            return Err(format!("it has {} bytes however it is cut, and {MAX_MESSAGE} is the limit", json.len()));
        };
        shorten(&mut message);
        json = to_json(&message)?;
    }
    Ok(json)
}

type Shorten = Box<dyn Fn(&mut Message) + Send>;

fn ways_to_shorten(evidence: usize) -> impl Iterator<Item = Shorten> {
    let texts = [1024, 512, 256, 128, 0].into_iter().map(|limit| -> Shorten {
        Box::new(move |message| {
            for evidence in &mut message.finding.evidence {
                cut(&mut evidence.text, limit);
            }
        })
    });
    let places = std::iter::once_with(|| -> Shorten {
        Box::new(|message| message.finding.evidence.iter_mut().for_each(|evidence| evidence.also_in.clear()))
    });
    let entries = (0..evidence).rev().map(|left| -> Shorten { Box::new(move |m| m.finding.evidence.truncate(left)) });
    let values = [(100, 1024), (10, 512), (1, 256)]
        .into_iter()
        .map(|(resources, limit)| -> Shorten { Box::new(move |message| cut_values(message, resources, limit)) });
    texts.chain(places).chain(entries).chain(values)
}

/// The bytes of what can be many or long: no more than the JSON's.
fn roughly(message: &Message) -> usize {
    let finding = &message.finding;
    let evidence =
        finding.evidence.iter().flat_map(|entry| [&entry.text, &entry.source].into_iter().chain(&entry.also_in));
    let values = finding.group.values().flatten().chain(&finding.resources).chain(&finding.actor);
    evidence.chain(values).map(String::len).sum()
}

fn cut_values(message: &mut Message, most_resources: usize, limit: usize) {
    let Finding { title, rule, account, region, actor, source_address, resources, group, evidence, .. } =
        &mut message.finding;
    resources.truncate(most_resources);
    for value in
        [account, region, actor, source_address].into_iter().chain(group.iter_mut().map(|(_, value)| value)).flatten()
    {
        cut(value, limit);
    }
    let sources = evidence.iter_mut().flat_map(|entry| std::iter::once(&mut entry.source).chain(&mut entry.also_in));
    for value in [title, rule].into_iter().chain(resources).chain(sources) {
        cut(value, limit);
    }
    for evidence in evidence {
        cut(&mut evidence.text, Evidence::MAX_TEXT);
    }
}

fn cut_words(guidance: &mut Guidance) {
    let Guidance { description, runbook, false_positives, references, tags } = guidance;
    cut(description, 4096);
    cut(runbook, 16_384);
    for list in [false_positives, references, tags] {
        list.truncate(20);
        for entry in list {
            cut(entry, 512);
        }
    }
}

fn to_json(message: &Message) -> Result<String, String> {
    let json = serde_json::to_string(message).map_err(|error| error.to_string())?;
    // SQS refuses a message with a character that XML 1.0 does not have, and with it the finding would be lost. JSON
    // escapes the control characters by itself; these two are left, and logs can hold them.
    Ok(json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
}

/// Shortens `text` to at most `limit` bytes, the mark at its end included, at a character's boundary.
fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit.saturating_sub(CUT.len())));
        if limit >= CUT.len() {
            text.push_str(CUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::finding::{Level, SCHEMA};
    use cloudvigil_stub::{Reply, Stub};

    use super::*;

    fn message(text: &str) -> Message {
        let evidence = (1..=10).map(|record| Evidence {
            time: "2026-03-01T10:00:00Z".parse().ok(),
            source: "s3://logs/a.gz".into(),
            record,
            text: text.into(),
            also_in: Vec::new(),
        });
        Message {
            schema: SCHEMA,
            finding: Finding {
                id: "0123456789abcdef0123456789abcdef".into(),
                revision: 1,
                rule: "6f1f2f3c-0001-4000-8000-000000000001".into(),
                title: "Trail logging stopped".into(),
                level: Level::High,
                count: 10,
                first_time: None,
                last_time: None,
                group: [("src_ip".to_owned(), Some("203.0.113.9".to_owned()))].into_iter().collect(),
                account: None,
                region: None,
                actor: None,
                source_address: None,
                resources: Vec::new(),
                evidence: evidence.collect(),
                dedup_key: "d".into(),
            },
            guidance: Guidance::default(),
        }
    }

    fn published(message: &Message) -> Message {
        let body = body(message).unwrap();
        assert!(body.len() <= MAX_MESSAGE, "{}", body.len());
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn what_fits_is_published_as_it_is() {
        let message = message(&"x".repeat(Evidence::MAX_TEXT));
        assert_eq!(published(&message), message);
    }

    /// Each control character takes six bytes in JSON.
    fn long_values(resources: usize) -> Vec<String> {
        (0..resources).map(|_| "\u{1}".repeat(1000)).collect()
    }

    #[test]
    fn texts_give_way_first_and_every_entry_stays_a_pointer() {
        let mut message = message(&"\u{1}".repeat(Evidence::MAX_TEXT));
        message.finding.resources = long_values(20);
        let published = published(&message);
        assert_eq!((published.finding.evidence.len(), published.finding.resources.len()), (10, 20));
        assert!(published.finding.evidence.iter().all(|evidence| evidence.text.ends_with('…') && evidence.record > 0));
    }

    #[test]
    fn then_where_else_entries_were_read() {
        let mut message = message("text");
        for evidence in &mut message.finding.evidence {
            evidence.also_in = vec!["\u{1}".repeat(1000); Evidence::MAX_PLACES];
        }
        let published = published(&message);
        assert!(published.finding.evidence.iter().all(|evidence| evidence.also_in.is_empty()));
        assert_eq!(published.finding.evidence.len(), 10);
    }

    #[test]
    fn then_entries_from_the_end() {
        let mut message = message("text");
        message.finding.resources = long_values(20);
        for evidence in &mut message.finding.evidence {
            evidence.source = "\u{1}".repeat(2000);
        }
        let published = published(&message);
        let records: Vec<_> = published.finding.evidence.iter().map(|evidence| evidence.record).collect();
        assert_eq!(records, [1, 2, 3, 4, 5, 6]);
        assert_eq!(published.finding.resources.len(), 20);
    }

    #[test]
    fn whatever_is_too_long_the_finding_is_published() {
        let long = "\u{1}".repeat(100_000);
        let mut message = message(&long);
        message.finding.title.clone_from(&long);
        message.finding.actor = Some(long.clone());
        message.finding.group.insert("user_agent".into(), Some(long.clone()));
        message.finding.resources = vec![long.clone(); 500];
        message.guidance.runbook.clone_from(&long);
        message.guidance.references = vec![long; 30];
        let published = published(&message);
        assert_eq!((&published.finding.id, published.finding.count), (&message.finding.id, 10));
    }

    #[test]
    fn characters_that_queues_refuse_are_escaped() {
        let body = body(&message("a\u{fffe}b\u{ffff}\u{0}")).unwrap();
        let refused = |char: char| matches!(char, '\u{fffe}' | '\u{ffff}' | '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}');
        assert!(!body.contains(refused));
        let back: Message = serde_json::from_str(&body).unwrap();
        assert_eq!(back.finding.evidence[0].text, "a\u{fffe}b\u{ffff}\u{0}");
    }

    #[tokio::test]
    async fn level_and_rule_are_attributes() {
        let answer = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
        let stub = Stub::answering([Reply::ok(answer)]);
        let topic = "arn:aws:sns:us-east-1:111122223333:findings";
        SnsFindings::new(stub.clients(Clients::with_config), topic).publish(&message("text")).await.unwrap();
        let request = String::from_utf8(stub.requests()[0].body.clone()).unwrap();
        assert!(request.contains("Value.StringValue=high"), "{request}");
        assert!(request.contains("Value.StringValue=6f1f2f3c-0001-4000-8000-000000000001"));
        assert!(request.contains("TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A111122223333%3Afindings"));
    }

    #[tokio::test]
    async fn a_topic_that_may_not_be_published_to_is_denied() {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>no</Message></Error></ErrorResponse>";
        let stub = Stub::answering([Reply::status(403, body)]);
        let error = SnsFindings::new(stub.clients(Clients::with_config), "arn:aws:sns:us-east-1:1:t")
            .publish(&message(""))
            .await
            .unwrap_err();
        assert_eq!(error.failure, Failure::Denied);
    }
}
