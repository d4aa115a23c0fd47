//! Log sources that fall silent: when each was heard last, how long its pauses are wont to be, and which ones are longer.
//!
//! A source is whatever brings records on its own: a log group, a prefix of a bucket, a trail in a region. Whoever reads
//! one says so to its [`Ears`]; a schedule asks with [`listen`] which sources are silent, and makes inventory lines of
//! them, which rules judge:
//!
//! | `type` | which |
//! | --- | --- |
//! | `source_silent` | nothing was heard for longer than ever: `last_record`, `silent_for`, `usual_gap`, `reported_after` |
//! | `source_returned` | it is heard again: `silent_since` |
//!
//! How long is too long is learnt: twice the longest pause of the last days on which the source was heard, at least the
//! floor that is configured. A pause that was told is learnt by half, so that another of its length is the longest that
//! is not told: a server that rests at weekends is told once. A source counts once it was heard a few times over a day;
//! what was brought once, as an upload by hand, is never missed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, SpanRound, Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ports::{PortResult, StateStore};

/// The state's partition of sources; the sort key is [`Source::name`].
const SOURCES: &str = "source#heard";
/// The version of the stored shape and of the inventory line's.
const SCHEMA: u32 = 1;
/// How often it is written that a source was heard: a write for each object would cost more than its analysis.
const SPACING: SignedDuration = SignedDuration::from_mins(5);
/// Of how many days the longest pause is kept: a month has every rhythm of a business.
const DAYS: usize = 30;
/// How much longer than the longest pause a silence is.
const FACTOR: i32 = 2;
/// How often a source is to be heard before it is missed, and over how long.
const HEARD: u32 = 3;
const KNOWN: SignedDuration = SignedDuration::from_hours(24);
/// How long a source is kept that is heard no more.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// How many sources a process remembers to have written.
const REMEMBERED: usize = 10_000;

/// What kind of source it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A trail in a region, by its deliveries.
    Trail,
    /// A log group of `CloudWatch` Logs.
    LogGroup,
    /// A prefix of a bucket.
    BucketPrefix,
}

/// Something that brings records on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What kind it is.
    pub kind: Kind,
    /// Its name: the trail's ARN, the log group's name, `s3://bucket/prefix`.
    pub resource: String,
    /// The account that it belongs to, where it is known.
    pub account: Option<String>,
    /// The region, where it has one.
    pub region: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.region {
            Some(region) => write!(f, "{} in {region}", self.resource),
            None => f.write_str(&self.resource),
        }
    }
}

impl Source {
    /// The prefix of a bucket under which an object lies: its folders up to the first that is a date or an id, which
    /// every object has its own of.
    pub fn of_object(bucket: &str, key: &str) -> Self {
        let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
        let lasting: Vec<&str> = folders.split('/').take(8).take_while(|folder| !is_passing(folder)).collect();
        let resource = format!("s3://{bucket}/{}", lasting.join("/"));
        Self { kind: Kind::BucketPrefix, resource, account: None, region: None }
    }

    /// Its sort key in the state.
    fn name(&self) -> String {
        self.to_string()
    }
}

/// Whether a folder's name is a date, an hour or an id: `2026`, `2026-03-01`, `year=2026`, `dt=20260301`, a UUID.
fn is_passing(folder: &str) -> bool {
    let value = folder.rsplit_once('=').map_or(folder, |(_, value)| value);
    let is_partition = value.len() < folder.len();
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let is_date = digits >= 4 && value.bytes().all(|byte| byte.is_ascii_digit() || b"-_T:Z".contains(&byte));
    let is_year = is_date && matches!(value.get(..2), Some("19" | "20")) && value.len() != 12;
    let is_id = value.len() >= 16 && digits >= 4 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_year || is_id || is_partition && digits > 0 && digits == value.len()
}

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    schema: u32,
    source: Source,
    first: Timestamp,
    last: Timestamp,
    times: u32,
    /// For each day, in days since 1970, the longest pause that ended on it, in seconds.
    pauses: BTreeMap<i64, i64>,
    /// The last record before the silence that was told and is not over, or whose end was not told yet.
    told: Option<Timestamp>,
    /// When the source was heard again after that.
    back: Option<Timestamp>,
}

impl Heard {
    fn new(source: Source, at: Timestamp) -> Self {
        let pauses = BTreeMap::new();
        Self { schema: SCHEMA, source, first: at, last: at, times: 1, pauses, told: None, back: None }
    }

    fn hear(&mut self, at: Timestamp) {
        if at <= self.last {
            return;
        }
        let mut pause = at.duration_since(self.last);
        if self.told.is_some() && self.back.is_none() {
            self.back = Some(at);
            pause /= FACTOR;
        }
        let longest = self.pauses.entry(at.as_second().div_euclid(24 * 3600)).or_default();
        *longest = pause.as_secs().max(*longest);
        while self.pauses.len() > DAYS {
            self.pauses.pop_first();
        }
        self.last = at;
        self.times = self.times.saturating_add(1);
    }

    fn usual(&self) -> SignedDuration {
        SignedDuration::from_secs(self.pauses.values().copied().max().unwrap_or_default())
    }

    /// How long it may be silent; `None` while too little is known of it.
    fn limit(&self, floor: SignedDuration) -> Option<SignedDuration> {
        let is_known = self.times >= HEARD && self.last.duration_since(self.first) >= KNOWN;
        is_known.then(|| self.usual().saturating_mul(FACTOR).max(floor))
    }

    /// What is to be told of it at a time, if anything.
    fn news(&self, now: Timestamp, floor: SignedDuration) -> Option<Value> {
        if let (Some(told), Some(back)) = (self.told, self.back) {
            return Some(self.line("source_returned", back, json!({"silent_since": told})));
        }
        let limit = self.limit(floor)?;
        let silence = now.duration_since(self.last);
        (self.told.is_none() && silence > limit).then(|| {
            let more = json!({
                "silent_for": shown(silence), "usual_gap": shown(self.usual()), "reported_after": shown(limit),
            });
            self.line("source_silent", self.last, more)
        })
    }

    /// As it is after its news were told.
    fn told(self) -> Self {
        match self.back {
            Some(_) => Self { told: None, back: None, ..self },
            None => Self { told: Some(self.last), ..self },
        }
    }

    fn line(&self, kind: &str, since: Timestamp, more: Value) -> Value {
        let Source { kind: source, resource, account, region } = &self.source;
        let mut line = json!({
            "schema": SCHEMA,
            "service": "logs",
            "type": kind,
            "resource": resource,
            "account": account,
            "region": region,
            "since": since,
            "source": source,
            "last_record": self.last,
        });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        line
    }

    async fn put(&self, state: &dyn StateStore, now: Timestamp, version: Option<u64>) -> PortResult<bool> {
        // Serialising texts, times and numbers does not fail; an empty body would read as one that was never written.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let expires = now.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        state.put_if(SOURCES, &self.source.name(), body, expires, version).await
    }
}

/// A span as people read it: `1d 2h`, `10m`.
fn shown(span: SignedDuration) -> String {
    let rounded = SpanRound::new().largest(Unit::Day).smallest(Unit::Minute).days_are_24_hours();
    let span = jiff::Span::try_from(span).and_then(|span| span.round(rounded));
    span.map_or_else(|_| "long".to_owned(), |span| if span.is_zero() { "0m".to_owned() } else { format!("{span:#}") })
}

/// What hears sources. One for a process: it remembers what it has written lately.
#[derive(Debug)]
pub struct Ears {
    spacing: SignedDuration,
    written: Mutex<HashMap<String, Timestamp>>,
}

impl Default for Ears {
    fn default() -> Self {
        Self { spacing: SPACING, written: Mutex::default() }
    }
}

impl Ears {
    /// Ears that write no more often than this that a source was heard, where that is enough to know.
    pub fn with_spacing(spacing: SignedDuration) -> Self {
        Self { spacing, ..Self::default() }
    }

    /// Notes that a source brought a record of the time `at`: a read and a write, at most once in a while.
    pub async fn hear(&self, source: &Source, at: Timestamp, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
        // A record of the future must not keep a source from ever being missed.
        let at = at.min(now);
        let name = source.name();
        if self.lately(&name, at) {
            return Ok(());
        }
        let item = state.get(SOURCES, &name).await?;
        let version = item.as_ref().map(|item| item.version);
        let known = item.and_then(|item| serde_json::from_slice::<Heard>(&item.body).ok());
        let heard = match known.filter(|heard| heard.schema == SCHEMA) {
            Some(heard) if at.duration_since(heard.last) < self.spacing => {
                self.remember(name, heard.last);
                return Ok(());
            }
            Some(mut heard) => {
                heard.hear(at);
                heard
            }
            None => Heard::new(source.clone(), at),
        };
        // If somebody else was faster, they have heard it too.
        heard.put(state, now, version).await?;
        self.remember(name, at);
        Ok(())
    }

    fn lately(&self, name: &str, at: Timestamp) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(name).is_some_and(|last| at.duration_since(*last) < self.spacing)
    }

    fn remember(&self, name: String, at: Timestamp) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED {
            written.clear();
        }
        written.insert(name, at);
    }
}

/// What is to be told of the sources.
#[derive(Debug, Default)]
pub struct News {
    /// Inventory lines.
    pub lines: Vec<Value>,
    /// How many sources are known.
    pub sources: u64,
    told: Vec<(Heard, u64)>,
}

/// Which sources have fallen silent, and which are heard again. Each is told once.
pub async fn listen(state: &dyn StateStore, floor: SignedDuration, now: Timestamp) -> PortResult<News> {
    let mut news = News::default();
    for (_, item) in state.query(SOURCES).await? {
        // One that cannot be read is made anew when it is heard.
        let Ok(heard) = serde_json::from_slice::<Heard>(&item.body) else { continue };
        if heard.schema != SCHEMA {
            continue;
        }
        news.sources += 1;
        if let Some(line) = heard.news(now, floor) {
            news.lines.push(line);
            news.told.push((heard.told(), item.version));
        }
    }
    Ok(news)
}

impl News {
    /// Notes that they were told: the findings are safe. A source that was heard meanwhile is looked at again.
    pub async fn commit(&self, state: &dyn StateStore, now: Timestamp) -> PortResult<()> {
        for (heard, version) in &self.told {
            heard.put(state, now, Some(*version)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: SignedDuration = SignedDuration::from_hours(6);

    fn at(hour: i64) -> Timestamp {
        "2026-03-02T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn source() -> Source {
        Source { kind: Kind::LogGroup, resource: "/servers/auth".to_owned(), account: None, region: None }
    }

    /// What is told, hour by hour, of a source that is heard in these hours.
    fn told(hours: i64, is_heard: impl Fn(i64) -> bool) -> Vec<(i64, String)> {
        let mut heard: Option<Heard> = None;
        let mut told = Vec::new();
        for hour in 0..hours {
            if is_heard(hour) {
                match &mut heard {
                    Some(heard) => heard.hear(at(hour)),
                    None => heard = Some(Heard::new(source(), at(hour))),
                }
            }
            if let Some(known) = heard.take() {
                let news = known.news(at(hour), FLOOR);
                heard = Some(if news.is_some() { known.told() } else { known });
                told.extend(news.map(|line| (hour, line["type"].as_str().unwrap_or_default().to_owned())));
            }
        }
        told
    }

    fn silent(hour: i64) -> (i64, String) {
        (hour, "source_silent".to_owned())
    }

    fn returned(hour: i64) -> (i64, String) {
        (hour, "source_returned".to_owned())
    }

    #[test]
    fn a_source_that_stops_is_told_once_after_the_floor_and_so_is_its_return() {
        assert_eq!(told(400, |hour| hour < 100), [silent(106)]);
        assert_eq!(told(400, |hour| !(100..200).contains(&hour)), [silent(106), returned(200)]);
    }

    #[test]
    fn a_rhythm_is_learnt() {
        // By day alone: the first night is over before it is known.
        assert!(told(24 * 30, |hour| (8..18).contains(&(hour % 24))).is_empty());
        // Every 10 hours: the floor is never reached before it is known.
        assert!(told(24 * 30, |hour| hour % 10 == 0).is_empty());
        // The weekend is told once; what is longer than a weekend is told again.
        let works = |hour: i64| hour / 24 % 7 < 5 && hour < 24 * 7 * 3;
        let news = told(24 * 7 * 5, works);
        assert_eq!(news.len(), 3, "{news:?}");
        assert_eq!(news[1], returned(24 * 7));
        assert!(news[2].0 > 24 * 7 * 3 && news[2].1 == "source_silent");
    }

    #[test]
    fn what_was_brought_once_is_never_missed() {
        assert!(told(1000, |hour| hour == 5).is_empty());
        assert!(told(1000, |hour| (5..9).contains(&hour)).is_empty(), "an upload by hand");
    }

    #[test]
    fn an_old_record_moves_nothing() {
        let mut heard = Heard::new(source(), at(10));
        heard.hear(at(3));
        assert_eq!((heard.last, heard.times), (at(10), 1));
    }

    #[test]
    fn the_line_says_how_long() {
        let mut heard = Heard::new(source(), at(0));
        for hour in 1..30 {
            heard.hear(at(hour));
        }
        let line = heard.news(at(29 + 26), FLOOR).unwrap();
        for (name, value) in [
            ("silent_for", "1d 2h"),
            ("usual_gap", "1h"),
            ("reported_after", "6h"),
            ("last_record", "2026-03-03T05:00:00Z"),
            ("since", "2026-03-03T05:00:00Z"),
            ("source", "log_group"),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
    }

    #[test]
    fn objects_of_a_prefix_are_one_source_whatever_their_date() {
        for (key, prefix) in [
            (
                "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/03/01/f.json.gz",
                "AWSLogs/123456789012/CloudTrail/eu-west-1",
            ),
            (
                "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/03/01/00/f.gz",
                "AWSLogs/123456789012/vpcflowlogs/eu-west-1",
            ),
            ("web/2026-03-01-10-00-00-ABC", "web"),
            ("waf/year=2026/month=3/day=1/f.gz", "waf"),
            ("waf/region=eu-west-1/hour=07/f.gz", "waf/region=eu-west-1"),
            ("app/dt=2026-03-01/f", "app"),
            ("app/20260301T10/f", "app"),
            ("jobs/0b7c9f2e-56a2-4bd4-9e1f-9c57a6e41a44/out.log", "jobs"),
            ("access.log", ""),
            ("v2/servers/web-01/access.log", "v2/servers/web-01"),
        ] {
            assert_eq!(Source::of_object("b", key).resource, format!("s3://b/{prefix}"), "{key}");
        }
    }
}
