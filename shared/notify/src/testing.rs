//! Fakes and findings for this crate's tests, and an executor that a test can hold in its hand: it decides which task
//! goes on, and it can kill one between any two steps.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use cloudvigil_core::finding::{Evidence, Finding, Guidance, Level, Message, SCHEMA};
use cloudvigil_core::ports::{Clock, Failure, Item, Mail, Mailer, PortError, PortResult, StateStore};
use jiff::{SignedDuration, Timestamp};

use crate::channels::{Channel, Notice};
use crate::{Deliverer, Error, Limits};

/// Runs a future whose fakes never wait for anything outside.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Polls a task once.
pub fn step<T>(task: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Option<T> {
    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Lets other tasks go on: every fake does this before and after it acts, so that a task can be overtaken or die there.
pub async fn pause() {
    let mut paused = false;
    std::future::poll_fn(move |_| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        Poll::Pending
    })
    .await;
}

/// Random numbers that are the same in every run (xorshift64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }
}

pub struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    pub fn at(time: &str) -> Self {
        Self(Mutex::new(time.parse().unwrap()))
    }

    pub fn advance(&self, minutes: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_mins(minutes);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[derive(Default)]
pub struct MemoryStore {
    items: Mutex<BTreeMap<(String, String), Item>>,
}

impl MemoryStore {
    pub fn items(&self, partition: &str) -> Vec<(String, Item)> {
        let items = self.items.lock().unwrap();
        items.iter().filter(|((p, _), _)| p == partition).map(|((_, s), item)| (s.clone(), item.clone())).collect()
    }

    pub fn count(&self, fits: impl Fn(&str) -> bool) -> usize {
        let items = self.items.lock().unwrap();
        items.values().filter(|item| fits(std::str::from_utf8(&item.body).unwrap())).count()
    }

    pub fn largest(&self) -> usize {
        self.items.lock().unwrap().values().map(|item| item.body.len()).max().unwrap_or(0)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        pause().await;
        Ok(self.items.lock().unwrap().get(&(partition.to_owned(), sort.to_owned())).cloned())
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        pause().await;
        Ok(self.items(partition))
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, _expires: Timestamp) -> PortResult<()> {
        pause().await;
        {
            let mut items = self.items.lock().unwrap();
            let item =
                items.entry((partition.to_owned(), sort.to_owned())).or_insert(Item { body: vec![], version: 0 });
            *item = Item { body, version: item.version + 1 };
        }
        pause().await;
        Ok(())
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        _expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        pause().await;
        let written = {
            let mut items = self.items.lock().unwrap();
            let key = (partition.to_owned(), sort.to_owned());
            let version = items.get(&key).map(|item| item.version);
            if version == expected {
                items.insert(key, Item { body, version: version.unwrap_or(0) + 1 });
            }
            version == expected
        };
        pause().await;
        Ok(written)
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        pause().await;
        self.items.lock().unwrap().remove(&(partition.to_owned(), sort.to_owned()));
        Ok(())
    }
}

/// Records mails.
#[derive(Default)]
pub struct Outbox {
    pub mails: Mutex<Vec<Mail>>,
    pub fails: AtomicBool,
}

#[async_trait]
impl Mailer for Outbox {
    async fn send(&self, mail: &Mail) -> PortResult<()> {
        pause().await;
        if self.fails.load(Ordering::Relaxed) {
            return Err(PortError::new(Failure::Transient, "send a mail", "throttled"));
        }
        self.mails.lock().unwrap().push(mail.clone());
        pause().await;
        Ok(())
    }
}

/// What arrived through a [`Wire`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrived {
    Finding(String),
    /// The hour, the rule, the ids.
    Summary(String, String, Vec<String>),
    /// The date, the ids.
    Digest(String, Vec<String>),
}

/// A channel that records what came, and fails each time that its number of failures is not used up.
#[derive(Default)]
pub struct Wire {
    pub arrived: Mutex<Vec<Arrived>>,
    pub failures: AtomicU32,
}

impl Wire {
    pub fn all(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }
}

#[async_trait]
impl Channel for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    async fn send(&self, notice: &Notice<'_>, _now: Timestamp) -> Result<(), Error> {
        pause().await;
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(PortError::new(Failure::Transient, "send a notice", "throttled").into());
        }
        let ids = |entries: &[crate::Entry]| entries.iter().map(|entry| entry.id.clone()).collect();
        self.arrived.lock().unwrap().push(match notice {
            Notice::Finding(message) => Arrived::Finding(message.finding.id.clone()),
            Notice::Summary(s) => Arrived::Summary(s.hour.to_string(), s.entries[0].rule.clone(), ids(&s.entries)),
            Notice::Digest(d) => Arrived::Digest(d.date.to_string(), ids(&d.entries)),
        });
        pause().await;
        Ok(())
    }
}

/// A finding of level critical, as the trail detector publishes it.
pub fn message(id: &str) -> Message {
    let time: Timestamp = "2026-11-22T07:15:03Z".parse().unwrap();
    let event = "2ee1fc2e-56a2-4bd4-9e1f-9c57a6e41a44";
    Message {
        schema: SCHEMA,
        finding: Finding {
            id: id.to_owned(),
            revision: 1,
            rule: "7f3c9d3e-2f0a-4f51-9d55-0f6a3a9f7d10".to_owned(),
            title: "CloudTrail logging was stopped".to_owned(),
            level: Level::Critical,
            count: 1,
            first_time: Some(time),
            last_time: Some(time),
            group: [("eventID".to_owned(), Some(event.to_owned()))].into_iter().collect(),
            account: Some("123456789012".to_owned()),
            region: Some("eu-central-1".to_owned()),
            actor: Some("arn:aws:iam::123456789012:user/alice".to_owned()),
            source_address: Some("203.0.113.77".to_owned()),
            resources: vec!["arn:aws:cloudtrail:eu-central-1:123456789012:trail/main".to_owned()],
            evidence: vec![Evidence {
                time: Some(time),
                source: "s3://org-trail/AWSLogs/123456789012/CloudTrail/eu-central-1/2026/11/22/x.json.gz".to_owned(),
                record: 17,
                text: format!(
                    r#"{{"eventVersion":"1.11","userIdentity":{{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::123456789012:user/alice","accountId":"123456789012","userName":"alice"}},"eventTime":"2026-11-22T07:15:03Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","sourceIPAddress":"203.0.113.77","userAgent":"aws-cli/2.31.0 md/prompt#off","requestParameters":{{"name":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"}},"responseElements":null,"eventID":"{event}","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012"}}"#
                ),
                also_in: Vec::new(),
            }],
            dedup_key: "0123456789abcdef0123456789abcdef".to_owned(),
        },
        guidance: Guidance {
            description: "A trail was told to stop recording. Until it is started again, what happens in the account leaves no log.".to_owned(),
            runbook: "**What happened**\n\nSomebody called `StopLogging` on a trail, and the call worked.\n\n**What to check**\n\n1. Ask the person whether they did it, by another way than mail.\n2. Look at what the same identity did in the hour before and after: `aws cloudtrail lookup-events --lookup-attributes AttributeKey=Username,AttributeValue=alice`.\n3. Look for new access keys and roles.\n\n**How to undo it**\n\n```\naws cloudtrail start-logging --name main --region eu-central-1\n```\n".to_owned(),
            false_positives: vec!["A planned move of the trail, announced beforehand.".to_owned()],
            references: vec!["https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StopLogging.html".to_owned()],
            tags: vec!["attack.t1685.002".to_owned(), "attack.t1562.008".to_owned()],
        },
    }
}

/// The same of another rule and level.
pub fn finding(id: &str, rule: &str, level: Level) -> Message {
    let mut message = message(id);
    message.finding.rule = rule.to_owned();
    message.finding.level = level;
    message
}

/// What deliverers share.
pub struct World {
    pub store: Arc<MemoryStore>,
    pub wire: Arc<Wire>,
    pub clock: Arc<FakeClock>,
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(FakeClock::at("2026-11-22T07:15:00Z"));
        Self { store: Arc::default(), wire: Arc::default(), clock }
    }

    pub fn deliverer(&self, owner: &str) -> Deliverer {
        self.limited(owner, Limits::default())
    }

    pub fn limited(&self, owner: &str, limits: Limits) -> Deliverer {
        Deliverer::new(self.store.clone(), self.wire.clone(), self.clock.clone(), limits, owner)
    }
}

/// A finding whose every logged value attacks its reader.
pub fn hostile() -> Message {
    let evil = "\u{202e}\"'><script>alert(1)</script><img src=x onerror=alert(1)>\r\nBcc: victim@example.com\r\n\r\n<a href=\"https://evil.example/\">x</a>\u{1b}[2J\0{{7*7}}javascript:alert(1)";
    let mut message = message("ee");
    let finding = &mut message.finding;
    finding.title = evil.to_owned();
    finding.rule = evil.to_owned();
    finding.dedup_key = evil.to_owned();
    finding.account = Some(evil.to_owned());
    finding.region = Some(evil.to_owned());
    finding.actor = Some(evil.to_owned());
    finding.source_address = Some(evil.to_owned());
    finding.resources = vec![evil.to_owned(); 3000];
    finding.group = (0..500).map(|n| (format!("{evil}{n}"), Some(evil.to_owned()))).collect();
    finding.evidence = (0..10)
        .map(|record| Evidence {
            time: None,
            source: evil.to_owned(),
            record,
            text: format!("{evil}{}", "<&\u{200b}".repeat(350_000)),
            also_in: vec![evil.to_owned(); 8],
        })
        .collect();
    message.guidance.references = vec![evil.to_owned(), "javascript:alert(1)".to_owned()];
    message.guidance.false_positives = vec![evil.to_owned(); 50];
    message.guidance.tags = vec![evil.to_owned(); 50];
    message.guidance.runbook = evil.repeat(1000);
    message.guidance.description = format!("`{evil}` **{evil}**\n- {evil}\n```\n{evil}");
    message
}

/// Every element that the templates write.
const OWN: &[&str] = &[
    "", "a", "b", "bdi", "body", "br", "code", "details", "div", "footer", "h1", "h2", "h3", "h4", "h5", "head",
    "header", "html", "li", "main", "meta", "ol", "p", "path", "pre", "rect", "section", "span", "strong", "style",
    "summary", "svg", "table", "tbody", "td", "th", "thead", "title", "tr", "ul",
];

/// Fails if a document holds an element, a link or a character that its template did not write.
pub fn only_own_markup(html: &str) {
    for (at, _) in html.match_indices('<') {
        let name: String =
            html[at + 1..].trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(OWN.contains(&name.as_str()), "<{name}");
        let tag = &html[at..at + html[at..].find('>').unwrap()];
        for banned in ["onerror", "src=", "url(", "evil", "javascript"] {
            assert!(!tag.contains(banned), "{tag}");
        }
    }
    assert!(!html.chars().any(|c| matches!(c, '\u{202e}' | '\u{200b}' | '\u{1b}' | '\0' | '\r')));
}
