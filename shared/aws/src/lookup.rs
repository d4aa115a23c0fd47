//! The account's event history: `CloudTrail` `LookupEvents`
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>).
//!
//! The history has management events of the last ninety days, of one region, whether or not a trail records them. It
//! answers fifty at a time, the newest first, about one attribute, and twice a second for everybody in the account and
//! region together: so cloudvigil asks once a second ([`Pace`]) and leaves the rest to people.
//!
//! Throttling (which comes as HTTP 400), time-outs and HTTP 5xx are tried again with exponential backoff and jitter, by
//! [`lookup`] and not by the SDK, so that every attempt keeps the pace. What else fails ends the lookup.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::lookup_events::LookupEventsOutput;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use cloudvigil_core::detect::EventQuery;
use cloudvigil_core::ports::{Failure, PortError};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::error::port_error;
use crate::time::date_time;

/// Events of a page.
const PAGE: i32 = 50;

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupQuery {
    /// All of a service's: `iam.amazonaws.com`.
    EventSource(String),
    /// All of a name: `StopLogging`.
    EventName(String),
    /// All of a user or role session.
    Username(String),
    /// All.
    Everything,
}

impl LookupQuery {
    fn attribute(&self) -> Option<(LookupAttributeKey, &str)> {
        match self {
            Self::EventSource(value) => Some((LookupAttributeKey::EventSource, value)),
            Self::EventName(value) => Some((LookupAttributeKey::EventName, value)),
            Self::Username(value) => Some((LookupAttributeKey::Username, value)),
            Self::Everything => None,
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

/// How a lookup went.
#[derive(Debug, Default)]
#[must_use]
pub struct Looked {
    /// Events handed to the sink.
    pub events: u64,
    /// Pages read.
    pub pages: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Events without an id or a record, which were not handed on.
    pub incomplete: u64,
    /// Whether it was the pace's deadline that ended the lookup.
    pub cut_short: bool,
    /// What ended the lookup before its end. The newest events came first, so what is missing is older: a watermark
    /// moves only where this is `None`.
    pub error: Option<PortError>,
}

/// How fast a region's history is asked. Shared by the lookups of one process, so that they keep the pace together.
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

    /// How long one page may fail until the lookup is given up.
    #[must_use]
    pub fn retry_for(self, time: Duration) -> Self {
        Self { retry_for: time, ..self }
    }

    /// When every lookup ends, done or not: before the invocation does.
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

/// Hands every event that `query` asks for, from `from` to `to` (whole seconds, both included), to `sink`, page by page,
/// the newest first. `client` belongs to the region whose history is read.
///
/// The events that were read before a failure have been handed over: see [`Looked::error`].
pub async fn lookup(
    client: &Client,
    query: &LookupQuery,
    from: Timestamp,
    to: Timestamp,
    pace: &Pace,
    sink: &mut (dyn FnMut(LookupEvent) + Send),
) -> Looked {
    let mut looked = Looked::default();
    let mut token = None;
    loop {
        let answer = match next_page(client, query, (from, to), token, pace, &mut looked).await {
            Ok(answer) => answer,
            Err(error) => {
                looked.error = Some(error);
                return looked;
            }
        };
        looked.pages += 1;
        for event in answer.events.unwrap_or_default() {
            if let (Some(id), Some(event)) = (event.event_id, event.cloud_trail_event) {
                looked.events += 1;
                sink(LookupEvent { id, event });
            } else {
                looked.incomplete += 1;
            }
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return looked;
        }
    }
}

async fn next_page(
    client: &Client,
    query: &LookupQuery,
    (from, to): (Timestamp, Timestamp),
    token: Option<String>,
    pace: &Pace,
    looked: &mut Looked,
) -> Result<LookupEventsOutput, PortError> {
    let region = client.config().region().map(ToString::to_string).unwrap_or_default();
    let what = || format!("look up {query:?} from {from} to {to} in {region} (cloudtrail:LookupEvents)");
    let attribute = query
        .attribute()
        .map(|(key, value)| LookupAttribute::builder().attribute_key(key).attribute_value(value).build());
    let attribute = attribute.transpose().map_err(|error| PortError::new(Failure::Permanent, what(), error))?;
    let give_up = Instant::now() + pace.retry_for;
    let mut limit = pace.deadline;
    let mut earliest = Instant::now();
    let mut failures = 0;
    let mut last = None;
    loop {
        let Some(turn) = pace.turn(&region, earliest, limit) else {
            looked.cut_short = limit == pace.deadline;
            return Err(last.unwrap_or_else(|| PortError::new(Failure::Transient, what(), "no time is left for it")));
        };
        sleep_until(turn).await;
        let answer = client
            .lookup_events()
            .set_lookup_attributes(attribute.clone().map(|attribute| vec![attribute]))
            .start_time(date_time(from))
            .end_time(date_time(to))
            .max_results(PAGE)
            .set_next_token(token.clone())
            .customize()
            .config_override(aws_sdk_cloudtrail::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => port_error(what(), &error),
        };
        if error.failure != Failure::Transient {
            return Err(error);
        }
        last = Some(error);
        failures += 1;
        looked.retries += 1;
        earliest = Instant::now() + pace.wait(failures);
        limit = Some(limit.map_or(give_up, |limit| limit.min(give_up)));
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Stub};
    use serde_json::{Value, json};

    use super::*;
    use crate::Clients;

    fn page_of(ids: &[&str], next: Option<&str>) -> Reply {
        let events: Vec<Value> = ids
            .iter()
            .map(|id| json!({"EventId": id, "EventName": "StopLogging", "CloudTrailEvent": format!(r#"{{"eventID":"{id}"}}"#)}))
            .collect();
        Reply::json(&json!({"Events": events, "NextToken": next}))
    }

    fn throttled() -> Reply {
        Reply::error(400, "ThrottlingException", "Rate exceeded")
    }

    fn fast() -> Pace {
        Pace::default().interval(Duration::ZERO).backoff(Duration::from_millis(1), Duration::from_millis(4))
    }

    async fn run(stub: &Stub, pace: &Pace) -> (Looked, Vec<String>) {
        let client = stub.clients(Clients::with_config).cloudtrail_in("us-east-1").await;
        let query = LookupQuery::EventName("StopLogging".into());
        let mut ids = Vec::new();
        let times = ("2026-03-01T10:00:00Z".parse().unwrap(), "2026-03-01T11:00:00Z".parse().unwrap());
        let looked = lookup(&client, &query, times.0, times.1, pace, &mut |event| {
            assert_eq!(event.event, format!(r#"{{"eventID":"{}"}}"#, event.id));
            ids.push(event.id);
        })
        .await;
        (looked, ids)
    }

    #[tokio::test]
    async fn every_page_is_read() {
        let stub =
            Stub::answering([page_of(&["c", "b"], Some("two")), page_of(&[], Some("three")), page_of(&["a"], None)]);
        let (looked, ids) = run(&stub, &fast()).await;
        assert_eq!(ids, ["c", "b", "a"]);
        assert_eq!((looked.events, looked.pages, looked.retries), (3, 3, 0));
        assert!(looked.error.is_none());
        let requests = stub.requests();
        let first = requests[0].json();
        assert_eq!(first["LookupAttributes"], json!([{"AttributeKey": "EventName", "AttributeValue": "StopLogging"}]));
        assert_eq!((&first["StartTime"], &first["EndTime"]), (&json!(1_772_359_200), &json!(1_772_362_800)));
        assert_eq!((&first["MaxResults"], first.get("NextToken")), (&json!(50), None));
        assert_eq!(requests[2].json()["NextToken"], "three");
    }

    #[tokio::test]
    async fn throttling_by_http_400_is_tried_again() {
        let unavailable = Reply::error(503, "ServiceUnavailable", "later");
        let stub = Stub::answering([
            throttled(),
            throttled(),
            page_of(&["b"], Some("two")),
            unavailable,
            page_of(&["a"], None),
        ]);
        let (looked, ids) = run(&stub, &fast()).await;
        assert_eq!(ids, ["b", "a"]);
        assert_eq!((looked.pages, looked.retries), (2, 3));
        assert!(looked.error.is_none());
        assert_eq!(stub.requests()[4].json()["NextToken"], "two");
    }

    #[tokio::test]
    async fn throttling_without_end_is_given_up_and_what_was_read_is_kept() {
        let mut first = true;
        let stub =
            Stub::with(move |_| if std::mem::take(&mut first) { page_of(&["b"], Some("two")) } else { throttled() });
        let (looked, ids) = run(&stub, &fast().retry_for(Duration::from_millis(50))).await;
        assert_eq!(ids, ["b"]);
        let error = looked.error.unwrap();
        assert_eq!((error.failure, looked.cut_short), (Failure::Transient, false));
        assert!(error.to_string().contains("ThrottlingException"), "{error}");
        assert!(looked.retries > 1);
    }

    #[tokio::test]
    async fn denial_ends_it_at_once() {
        let stub = Stub::answering([page_of(&["b"], Some("two")), Reply::error(400, "AccessDeniedException", "no")]);
        let (looked, ids) = run(&stub, &fast()).await;
        assert_eq!((ids.len(), looked.retries), (1, 0));
        let error = looked.error.unwrap();
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("cloudtrail:LookupEvents") && error.to_string().contains("us-east-1"));
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_asks_nothing() {
        let stub = Stub::answering([]);
        let (looked, _) = run(&stub, &fast().deadline(Instant::now())).await;
        assert!(looked.cut_short);
        assert_eq!(looked.error.unwrap().failure, Failure::Transient);
        assert!(stub.requests().is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_would_come_after_the_deadline_is_not_waited_for() {
        let stub = Stub::answering([page_of(&["b"], Some("two"))]);
        let pace = fast().interval(Duration::from_mins(1)).deadline(Instant::now() + Duration::from_secs(50));
        let (looked, ids) = run(&stub, &pace).await;
        assert_eq!((ids.len(), looked.cut_short, looked.error.is_some()), (1, true, true));
    }

    #[tokio::test]
    async fn calls_in_a_region_keep_the_pace_and_regions_do_not_wait_for_one_another() {
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
