//! What `EventBridge` delivered, and what it should have: an event that the event history alone knows of means that the
//! way by which tampering is seen within seconds is cut.
//!
//! The way in real time leaves a note of each event that matched a rule. The poll, when it comes upon an event that
//! matched, looks for the note, and where there is none, the event becomes an inventory line (`event_seen_by_poll_alone`),
//! which a rule judges. Only where it is certain that the event should have come:
//!
//! - a generated pattern names its call, and it is of the kinds that the patterns take;
//! - its region is one whose events come here. That begins with the first poll for the stack's own region, and for
//!   another with the first event of it that came (see `infra/region.yaml`); and ends when none has come for a month;
//! - a trail that records all changing calls was logging there when it happened;
//! - it happened half an hour ago or more, and not so long ago that its note may have expired.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_aws::lookup::LookupEvent;
use cloudvigil_aws::trails::{ManagementWrites, Trail};
use cloudvigil_core::detect::EventName;
use cloudvigil_core::ports::PortResult;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::context::Context;

/// The state's partition of events that came in real time; the sort key is the `eventID`.
const DELIVERED: &str = "trail-detector#delivered";
/// The state's partition of since when a region's events come; the sort key is the region.
const DELIVERING: &str = "trail-detector#delivering";
const SCHEMA: u32 = 1;
/// The version of the inventory line's shape.
const LINE_SCHEMA: u32 = 1;

/// How long it is remembered that an event came.
const KEPT: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Up to which age an event is judged: its note is still there.
const JUDGED: SignedDuration = SignedDuration::from_hours(13 * 24);
/// How long an event may take. `CloudTrail` needs about five minutes, and a failed invocation is tried again.
const GRACE: SignedDuration = SignedDuration::from_mins(30);
/// How long after it was switched on, and before it was switched off, a trail is not relied on.
const SETTLING: SignedDuration = SignedDuration::from_mins(15);
/// How long a region is expected to deliver after its last event.
const DELIVERING_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often that is written anew.
const REFRESH: SignedDuration = SignedDuration::from_hours(24);
/// The largest event that `EventBridge` carries, in bytes.
const MAX_EVENT: usize = 256 * 1024;
/// The events' kinds that the generated patterns take, by `eventType`.
const TYPES: [&str; 2] = ["AwsApiCall", "AwsConsoleSignIn"];

#[derive(Serialize, Deserialize)]
struct Delivered {
    schema: u32,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Delivering {
    schema: u32,
    since: Timestamp,
    /// When it was last known, give or take [`REFRESH`].
    last: Timestamp,
}

/// Notes that an event came in real time. `event` is `CloudTrail`'s own.
pub async fn note(event: &Value, context: &Context) -> PortResult<()> {
    let text = |name: &str| event[name].as_str().filter(|text| !text.is_empty());
    let delivered = async {
        let Some(id) = text("eventID") else { return Ok(()) };
        let note = Delivered { schema: SCHEMA, at: context.detector.clock.now() };
        put(DELIVERED, id, &note, KEPT, context).await
    };
    let delivers = async {
        let Some(region) = text("awsRegion") else { return Ok(()) };
        delivering(region, context).await.map(drop)
    };
    futures::try_join!(delivered, delivers)?;
    Ok(())
}

/// Since when a region's events come, if they do now.
async fn delivering(region: &str, context: &Context) -> PortResult<Timestamp> {
    let now = context.detector.clock.now();
    let item = context.detector.state.get(DELIVERING, region).await?;
    let known = item.and_then(|item| read(&item.body));
    let since = known.as_ref().map_or(now, |known| known.since);
    if known.is_none_or(|known| known.last < now.saturating_sub(REFRESH).unwrap_or(now)) {
        put(DELIVERING, region, &Delivering { schema: SCHEMA, since, last: now }, DELIVERING_FOR, context).await?;
    }
    Ok(since)
}

fn read(body: &[u8]) -> Option<Delivering> {
    serde_json::from_slice::<Delivering>(body).ok().filter(|known| known.schema == SCHEMA)
}

async fn put(
    partition: &str,
    sort: &str,
    body: &impl Serialize,
    kept: SignedDuration,
    context: &Context,
) -> PortResult<()> {
    let expires = context.detector.clock.now().saturating_add(kept).unwrap_or(Timestamp::MAX);
    // Serialising texts and times does not fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    context.detector.state.put(partition, sort, body, expires).await
}

/// What should have come in real time.
pub struct Expected<'a> {
    names: BTreeMap<String, BTreeSet<EventName>>,
    /// Since when, by region.
    since: BTreeMap<String, Timestamp>,
    trails: &'a [Trail],
    now: Timestamp,
}

impl<'a> Expected<'a> {
    /// What is known of it now.
    pub async fn load(trails: &'a [Trail], context: &Context) -> PortResult<Self> {
        let home = context.detector.clients.region().await?;
        let since_here = delivering(&home, context).await?;
        let items = context.detector.state.query(DELIVERING).await?;
        let known = items.into_iter().filter_map(|(region, item)| Some((region, read(&item.body)?.since)));
        let since = known.chain([(home, since_here)]).collect();
        // EventBridge's patterns are made from the built-in rules; what only a rule of one's own asks for does not come.
        let names = context.detector.catalogue().event_names(|rule| context.detector.is_built_in(rule));
        Ok(Self { names, since, trails, now: context.detector.clock.now() })
    }

    /// Those of the events that should have come and did not, as inventory lines.
    pub async fn absent<'e>(
        &self,
        events: impl Iterator<Item = &'e LookupEvent>,
        context: &Context,
    ) -> PortResult<Vec<String>> {
        let mut lines = Vec::new();
        for LookupEvent { id, event } in events {
            if let Ok(fields) = serde_json::from_str::<Value>(event)
                && event.len() < MAX_EVENT
                && let Some(trail) = self.should_have_come(&fields)
                && context.detector.state.get(DELIVERED, id).await?.is_none()
            {
                lines.push(line(id, &fields, trail).to_string());
            }
        }
        Ok(lines)
    }

    /// The trail because of which an event should have come.
    fn should_have_come(&self, event: &Value) -> Option<&Trail> {
        let text = |name: &str| event[name].as_str();
        let name = text("eventName")?;
        let is_delivered = self.names.get(text("eventSource")?)?.iter().any(|wanted| wanted.matches(name))
            && TYPES.contains(&text("eventType")?);
        let (region, time) = (text("awsRegion")?, text("eventTime")?.parse::<Timestamp>().ok()?);
        let since = *self.since.get(region)?;
        let age = self.now.duration_since(time);
        let is_judged = is_delivered && time >= since && (GRACE..=JUDGED).contains(&age);
        self.trails.iter().find(|trail| is_judged && records(trail, region, time))
    }
}

/// Whether a trail certainly recorded changing calls of a region at a time.
fn records(trail: &Trail, region: &str, time: Timestamp) -> bool {
    let Ok(status) = &trail.status else { return false };
    let before = |time: Timestamp| time.saturating_sub(SETTLING).unwrap_or(Timestamp::MIN);
    (trail.multi_region || trail.home_region == region)
        && trail.management_writes() == Ok(ManagementWrites::All)
        && status.started.is_some_and(|started| started <= before(time))
        && (status.is_logging || status.stopped.is_some_and(|stopped| time <= before(stopped)))
}

fn line(id: &str, event: &Value, trail: &Trail) -> Value {
    let region = &event["awsRegion"];
    let account = event["recipientAccountId"].as_str().or(trail.account.as_deref()).unwrap_or_default();
    let partition = trail.arn.split(':').nth(1).unwrap_or("aws");
    json!({
        "schema": LINE_SCHEMA,
        "service": "cloudtrail",
        "type": "event_seen_by_poll_alone",
        // What AWS has no name for, named as it would.
        "resource": format!("arn:{partition}:cloudtrail:{}:{account}:event/{id}", region.as_str().unwrap_or_default()),
        "account": account,
        "region": region,
        "since": event["eventTime"],
        "event_id": id,
        "event_name": event["eventName"],
        "event_source": event["eventSource"],
        "actor": event["userIdentity"]["arn"],
        "trail": trail.arn,
    })
}

#[cfg(test)]
mod tests {
    use cloudvigil_aws::trails::Selectors;

    use super::*;
    use crate::stage::{Stage, trail};

    /// A call of CloudTrail as the history has it.
    fn call(id: &str, time: &str, changes: &Value) -> LookupEvent {
        let mut event = json!({
            "eventID": id, "eventTime": time, "eventSource": "cloudtrail.amazonaws.com", "eventName": "DeleteTrail",
            "eventType": "AwsApiCall", "awsRegion": "us-east-1", "recipientAccountId": "111122223333",
            "userIdentity": {"arn": "arn:aws:iam::111122223333:user/mallory"},
        });
        event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        LookupEvent { id: id.to_owned(), event: event.to_string() }
    }

    /// A stage whose first poll was at ten o'clock, and now it is two.
    async fn afternoon() -> Stage {
        let stage = Stage::at("2026-03-01T10:00:00Z");
        Expected::load(&[], &stage.context).await.unwrap();
        stage.set("2026-03-01T14:00:00Z");
        stage
    }

    async fn absent(stage: &Stage, trail: Trail, event: &LookupEvent) -> Vec<Value> {
        let trails = [trail];
        let expected = Expected::load(&trails, &stage.context).await.unwrap();
        let lines = expected.absent([event].into_iter(), &stage.context).await.unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_event_that_did_not_come_is_told_and_one_that_came_is_not() {
        let stage = afternoon().await;
        let (event, came) =
            (call("a", "2026-03-01T13:00:00Z", &json!({})), call("b", "2026-03-01T13:00:00Z", &json!({})));
        note(&serde_json::from_str(&came.event).unwrap(), &stage.context).await.unwrap();
        assert!(absent(&stage, trail(), &came).await.is_empty());
        let lines = absent(&stage, trail(), &event).await;
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["resource"], "arn:aws:cloudtrail:us-east-1:111122223333:event/a");
        assert_eq!((&line["event_name"], &line["since"]), (&json!("DeleteTrail"), &json!("2026-03-01T13:00:00Z")));
    }

    #[tokio::test]
    async fn what_need_not_have_come_is_not_told() {
        let stage = afternoon().await;
        for (why, time, changes) in [
            ("before the rules were there", "2026-03-01T09:59:00Z", json!({})),
            ("it may still come", "2026-03-01T13:31:00Z", json!({})),
            ("of a region that forwards nothing", "2026-03-01T13:00:00Z", json!({"awsRegion": "eu-west-1"})),
            ("no pattern names it", "2026-03-01T13:00:00Z", json!({"eventName": "DescribeTrails"})),
            ("no pattern takes its kind", "2026-03-01T13:00:00Z", json!({"eventType": "AwsServiceEvent"})),
            ("without a region", "2026-03-01T13:00:00Z", json!({"awsRegion": null})),
            ("without a time", "yesterday", json!({})),
        ] {
            assert!(absent(&stage, trail(), &call("a", time, &changes)).await.is_empty(), "{why}");
        }
        let event = call("a", "2026-03-01T13:00:00Z", &json!({}));
        assert_eq!(absent(&stage, trail(), &event).await.len(), 1);
        stage.set("2026-03-15T13:00:00Z");
        assert!(absent(&stage, trail(), &event).await.is_empty(), "its note may have expired");
    }

    #[tokio::test]
    async fn without_a_trail_that_was_logging_nothing_is_expected() {
        let stage = afternoon().await;
        let event = call("a", "2026-03-01T13:00:00Z", &json!({}));
        let with = |started: Option<&str>, stopped: Option<&str>| {
            let mut trail = trail();
            let status = trail.status.as_mut().unwrap();
            status.is_logging = stopped.is_none();
            status.started = started.map(|time| time.parse().unwrap());
            status.stopped = stopped.map(|time| time.parse().unwrap());
            trail
        };
        for (started, stopped, expected) in [
            (Some("2026-02-01T00:00:00Z"), None, 1),
            (Some("2026-03-01T12:50:00Z"), None, 0),
            (None, None, 0),
            (Some("2026-02-01T00:00:00Z"), Some("2026-03-01T13:00:00Z"), 0),
            (Some("2026-02-01T00:00:00Z"), Some("2026-03-01T13:20:00Z"), 1),
        ] {
            let absent = absent(&stage, with(started, stopped), &event).await;
            assert_eq!(absent.len(), expected, "{started:?} {stopped:?}");
        }
        let elsewhere = Trail { multi_region: false, ..trail() };
        assert!(absent(&stage, elsewhere, &event).await.is_empty());
        let excluding = json!({"EventSelectors": [{
            "ReadWriteType": "All", "IncludeManagementEvents": true, "ExcludeManagementEventSources": ["kms.amazonaws.com"],
        }]});
        let blind = Trail { selectors: Ok(Selectors::written(excluding)), ..trail() };
        assert!(absent(&stage, blind, &event).await.is_empty());
    }

    #[tokio::test]
    async fn another_region_is_expected_to_deliver_once_it_has() {
        let stage = afternoon().await;
        let first = call("first", "2026-03-01T13:58:00Z", &json!({"awsRegion": "eu-west-1"}));
        note(&serde_json::from_str(&first.event).unwrap(), &stage.context).await.unwrap();
        let before = call("before", "2026-03-01T13:00:00Z", &json!({"awsRegion": "eu-west-1"}));
        let after = call("after", "2026-03-01T14:10:00Z", &json!({"awsRegion": "eu-west-1"}));
        stage.set("2026-03-01T15:00:00Z");
        assert!(absent(&stage, trail(), &before).await.is_empty());
        assert_eq!(absent(&stage, trail(), &after).await.len(), 1);
        // A month later nothing has come: the region's stack is gone.
        stage.set("2026-04-02T15:00:00Z");
        let late = call("late", "2026-04-02T13:00:00Z", &json!({"awsRegion": "eu-west-1"}));
        assert!(absent(&stage, trail(), &late).await.is_empty());
    }
}
