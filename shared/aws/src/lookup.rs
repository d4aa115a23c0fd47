//! The account's event history: `CloudTrail` `LookupEvents`
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>).
//!
//! The history has management events of the last ninety days, of one region, whether or not a trail records them. It
//! answers fifty at a time, the newest first, about one attribute, and twice a second for everybody in the account and
//! region together: so cloudvigil asks once a second ([`Pace`]) and leaves the rest to people.
//!
//! A stretch of it is read by a [`Reading`], which decides what to ask, and can be put down and taken up at any page.
//!
//! Throttling (which comes as HTTP 400), time-outs and HTTP 5xx are tried again with exponential backoff and jitter,
//! here and not by the SDK, so that every attempt keeps the pace. What else fails ends the reading.

mod reading;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::lookup_events::{LookupEventsError, LookupEventsOutput};
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use cloudvigil_core::detect::EventQuery;
use cloudvigil_core::ports::{Failure, PortError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::error::explain;
use crate::time::{date_time, timestamp};

pub use reading::{Questions, Reading};

/// What a region's event history is called where it is told in which places a record was read.
pub fn source_of(region: &str) -> String {
    format!("{SOURCE}{region}")
}

/// Whether a place where a record was read is some region's event history.
pub fn is_source(place: &str) -> bool {
    place.starts_with(SOURCE)
}

/// What every event history's name as a source begins with.
const SOURCE: &str = "CloudTrail event history of ";

/// Events of a page.
const PAGE: i32 = 50;

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupQuery {
    /// All that change something: those whose `readOnly` is false.
    Changes,
    /// All of a service's: `iam.amazonaws.com`.
    EventSource(String),
    /// All of a name: `StopLogging`.
    EventName(String),
    /// All of a user or role session.
    Username(String),
}

impl LookupQuery {
    fn attribute(&self) -> (LookupAttributeKey, &str) {
        match self {
            Self::Changes => (LookupAttributeKey::ReadOnly, "false"),
            Self::EventSource(value) => (LookupAttributeKey::EventSource, value),
            Self::EventName(value) => (LookupAttributeKey::EventName, value),
            Self::Username(value) => (LookupAttributeKey::Username, value),
        }
    }
}

impl From<EventQuery> for LookupQuery {
    fn from(query: EventQuery) -> Self {
        match query {
            EventQuery::Source(source) => Self::EventSource(source),
            EventQuery::Name(name) => Self::EventName(name),
            // The history knows the root user by this name, in every account.
            EventQuery::Root => Self::Username("root".to_owned()),
        }
    }
}

/// One event of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupEvent {
    /// Its `eventID`: windows that overlap bring the same event again.
    pub id: String,
    /// The event as `CloudTrail` records it: one JSON object.
    pub event: String,
}

/// What was asked, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pages read.
    pub pages: u64,
    /// Events handed on.
    pub events: u64,
    /// Events without an id or a record, which were not handed on.
    pub incomplete: u64,
    /// Attempts that failed and were, time permitting, made again.
    pub retries: u64,
    /// Those of them that were throttled.
    pub throttled: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.pages += more.pages;
        self.events += more.events;
        self.incomplete += more.incomplete;
        self.retries += more.retries;
        self.throttled += more.throttled;
    }
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The pace's deadline was reached first.
    #[error(transparent)]
    CutShort(PortError),
    /// It could not be had.
    #[error(transparent)]
    Failed(PortError),
}

/// How fast a region's history is asked. Shared by the readings of one process, so that they keep the pace together.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    first_backoff: Duration,
    longest_backoff: Duration,
    retry_for: Duration,
    deadline: Option<Instant>,
    /// By region, when the next call may be made.
    next: Mutex<HashMap<String, Instant>>,
}

impl Default for Pace {
    /// A call a second and region; a failed one is tried again after about 1, 2, 4, 8 and then every 15 seconds, for a
    /// minute.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(15),
            retry_for: Duration::from_mins(1),
            deadline: None,
            next: Mutex::new(HashMap::new()),
        }
    }
}

impl Pace {
    /// The time between two calls in a region; zero for none.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// How long to wait after the first failure, and at most.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self { first_backoff: first, longest_backoff: longest, ..self }
    }

    /// How long one page may fail until the reading is given up.
    #[must_use]
    pub fn retry_for(self, time: Duration) -> Self {
        Self { retry_for: time, ..self }
    }

    /// When every reading ends, done or not: before the invocation does.
    #[must_use]
    pub fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Takes the region's next turn, not before `earliest`; `None` if that is at or after `limit`.
    fn turn(&self, region: &str, earliest: Instant, limit: Option<Instant>) -> Option<Instant> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.get(region).map_or(earliest, |next| earliest.max(*next));
        if limit.is_some_and(|limit| turn >= limit) {
            return None;
        }
        next.insert(region.to_owned(), turn + self.interval);
        Some(turn)
    }

    /// How long to wait after the `failures`th failure in a row: between half and all of it, so that those who were
    /// throttled together do not come back together.
    fn wait(&self, failures: u32) -> Duration {
        let longest = self.first_backoff.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let longest = longest.min(self.longest_backoff);
        let jitter = u32::try_from(RandomState::new().hash_one(failures) % 1024).unwrap_or(0);
        longest / 2 + longest / 2 * jitter / 1024
    }
}

/// Whether a service's error code says that too much was asked.
fn is_throttling(code: &str) -> bool {
    ["Throttl", "TooManyRequests", "RequestLimitExceeded"].iter().any(|word| code.contains(word))
}

/// The newest events of what `query` means, from `from` to `to` (whole seconds, both included): no more than a page.
/// `client` belongs to the region whose history is read.
pub async fn newest(
    client: &Client,
    query: &LookupQuery,
    (from, to): (Timestamp, Timestamp),
    pace: &Pace,
) -> Result<Vec<LookupEvent>, Stopped> {
    match page(client, query, (from, to), None, pace, &mut Tally::default()).await {
        Ok(read) => Ok(read.events),
        Err(NoPage::Stopped(stopped)) => Err(stopped),
        Err(NoPage::TokenRefused(error)) => Err(Stopped::Failed(error)),
    }
}

/// One page of an answer.
struct Page {
    events: Vec<LookupEvent>,
    /// The time of its oldest event.
    oldest: Option<Timestamp>,
    /// What the next page is asked for with.
    token: Option<String>,
}

/// Why there is no page.
enum NoPage {
    /// The token is not, or no longer, good for one.
    TokenRefused(PortError),
    Stopped(Stopped),
}

/// Asks for a page of what `query` means, from `from` to `to` (whole seconds, both included). `client` belongs to the
/// region whose history is read.
async fn page(
    client: &Client,
    query: &LookupQuery,
    (from, to): (Timestamp, Timestamp),
    token: Option<&String>,
    pace: &Pace,
    tally: &mut Tally,
) -> Result<Page, NoPage> {
    let answer = answer(client, query, (from, to), token, pace, tally).await?;
    tally.pages += 1;
    let mut read = Page { events: Vec::new(), oldest: None, token: None };
    for event in answer.events.unwrap_or_default() {
        let time = event.event_time.as_ref().and_then(timestamp);
        read.oldest = [read.oldest, time].into_iter().flatten().min();
        if let (Some(id), Some(event)) = (event.event_id, event.cloud_trail_event) {
            read.events.push(LookupEvent { id, event });
        } else {
            tally.incomplete += 1;
        }
    }
    tally.events += read.events.len() as u64;
    read.token = answer.next_token.filter(|token| !token.is_empty());
    Ok(read)
}

async fn answer(
    client: &Client,
    query: &LookupQuery,
    (from, to): (Timestamp, Timestamp),
    token: Option<&String>,
    pace: &Pace,
    tally: &mut Tally,
) -> Result<LookupEventsOutput, NoPage> {
    let region = client.config().region().map(ToString::to_string).unwrap_or_default();
    let what = || format!("look up {query:?} from {from} to {to} in {region} (cloudtrail:LookupEvents)");
    let (key, value) = query.attribute();
    let attribute = LookupAttribute::builder().attribute_key(key).attribute_value(value).build();
    let attribute = attribute
        .map_err(|error| NoPage::Stopped(Stopped::Failed(PortError::new(Failure::Permanent, what(), error))))?;
    let give_up = Instant::now() + pace.retry_for;
    let mut limit = pace.deadline;
    let mut earliest = Instant::now();
    let mut failures = 0;
    let mut last = None;
    loop {
        let Some(turn) = pace.turn(&region, earliest, limit) else {
            let error = last.unwrap_or_else(|| PortError::new(Failure::Transient, what(), "no time is left for it"));
            let stopped = if limit == pace.deadline { Stopped::CutShort(error) } else { Stopped::Failed(error) };
            return Err(NoPage::Stopped(stopped));
        };
        sleep_until(turn).await;
        let answer = client
            .lookup_events()
            .lookup_attributes(attribute.clone())
            .start_time(date_time(from))
            .end_time(date_time(to))
            .max_results(PAGE)
            .set_next_token(token.cloned())
            .customize()
            .config_override(aws_sdk_cloudtrail::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let refused = error.as_service_error().is_some_and(LookupEventsError::is_invalid_next_token_exception);
        let (failure, source) = explain(&error);
        let throttled = is_throttling(&source.code);
        let error = PortError::new(failure, what(), source);
        if token.is_some() && refused {
            return Err(NoPage::TokenRefused(error));
        }
        if failure != Failure::Transient {
            return Err(NoPage::Stopped(Stopped::Failed(error)));
        }
        last = Some(error);
        failures += 1;
        tally.retries += 1;
        tally.throttled += u64::from(throttled);
        earliest = Instant::now() + pace.wait(failures);
        limit = Some(limit.map_or(give_up, |limit| limit.min(give_up)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_a_region_keep_the_pace_and_regions_do_not_wait_for_one_another() {
        let pace = Pace::default();
        let now = Instant::now();
        let turns: Vec<_> = (0..3).map(|_| pace.turn("us-east-1", now, None).unwrap() - now).collect();
        assert_eq!(turns, [0, 1, 2].map(Duration::from_secs));
        assert_eq!(pace.turn("eu-west-1", now, None), Some(now));
        assert_eq!(pace.turn("us-east-1", now, Some(now + Duration::from_secs(3))), None);
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let pace = Pace::default();
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (40, 15)] {
            let longest = Duration::from_secs(longest);
            let wait = pace.wait(failures);
            assert!(wait >= longest / 2 && wait <= longest, "{failures}: {wait:?}");
        }
    }
}
