//! `CloudTrail` events: in a log file's `Records`, one by one, in an `EventBridge` event's `detail`, or as the
//! `CloudTrailEvent` text of a `LookupEvents` result.
//!
//! Specification: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>,
//! digest files: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html>.
//!
//! A record is matched as it stands, whatever fields it has or lacks. Envelopes are opened only where they have their
//! shape, so that a record that happens to have a field `detail` stays whole.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memmem;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::json::{self, Heads, Name, Names};
use super::{Context, Format, Framing, Gate, Parsed, Parser, members};
use crate::fields::Fields;
use crate::record::{FactsOf, LogSource, Record};

const EVENT_ID: &str = "eventID";
const EVENT_NAME: &str = "eventName";
const EVENT_SOURCE: &str = "eventSource";
const EVENT_TIME: &str = "eventTime";
/// Where `EventBridge` says what kind of event it has, see
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-aws-service-specific-topics.html>.
const DETAIL_TYPE: &str = "detail-type";
/// Where `EventBridge` has the event.
const DETAIL: &str = "detail";
/// Where a `LookupEvents` result has its text.
const LOOKED_UP: &str = "CloudTrailEvent";

static LOG_SOURCE: LogSource = LogSource {
    products: &["aws"],
    services: &["cloudtrail"],
    categories: &[],
    group_by: &[],
    keys: &[EVENT_NAME, EVENT_SOURCE, "userIdentity.type", "errorCode"],
    rare: &["errorCode"],
    words: &[],
    aliases: &[],
};

/// The members that are read of every event: the keys first, in their order.
impl Names<10> for CloudTrailParser {
    const NAMES: [Name; 10] = [
        (EVENT_NAME, None),
        (EVENT_SOURCE, None),
        ("userIdentity", Some("type")),
        ("errorCode", None),
        (EVENT_TIME, None),
        (EVENT_ID, None),
        (DETAIL, None),
        (LOOKED_UP, None),
        ("digestStartTime", None),
        ("digestS3Bucket", None),
    ];
}

/// Their numbers.
const NAME: usize = 0;
const TIME: usize = 4;
const ID: usize = 5;
const DETAIL_AT: usize = 6;
const LOOKED_UP_AT: usize = 7;
const DIGEST_START: usize = 8;
const DIGEST_BUCKET: usize = 9;

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&LOG_SOURCE];

/// The format `cloudtrail`.
pub struct CloudTrail;

impl Format for CloudTrail {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    fn framing(&self) -> Framing {
        Framing::Json
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        let has = |name: &str| memmem::find(head, format!("\"{name}\"").as_bytes()).is_some();
        matches!(head.first(), Some(b'{' | b'['))
            && (has("Records") && (has(EVENT_SOURCE) || memmem::find(head, b"[]").is_some() || has("eventVersion"))
                || has(EVENT_NAME) && has(EVENT_SOURCE)
                || has("CloudTrailEvent")
                || has("digestStartTime") && has("digestS3Bucket"))
    }

    fn parser(&self, _: &Context) -> Box<dyn Parser> {
        Box::new(CloudTrailParser)
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let fields = &record.fields;
        let text = |path: &[&str]| fields.text_at(path).map(Cow::Borrowed);
        let resources = fields.get("resources").and_then(Value::as_array).into_iter().flatten();
        let mut resources: SmallVec<[Cow<'_, str>; 1]> =
            resources.filter_map(|resource| Some(Cow::Borrowed(resource.get("ARN")?.as_str()?))).collect();
        if resources.is_empty() {
            resources.extend(target(fields).map(Cow::Borrowed));
        }
        let of_caller = |name: &str| text(&["userIdentity", name]);
        FactsOf {
            account: text(&["recipientAccountId"]).or_else(|| of_caller("accountId")),
            region: text(&["awsRegion"]),
            actor: ["arn", "userName", "principalId", "invokedBy"].into_iter().find_map(of_caller),
            source_address: text(&["sourceIPAddress"]),
            resources,
        }
    }
}

/// What a call without a `resources` list was aimed at: the request's parameter that names it, or, for a denied call
/// (whose parameters are null), the ARN in the error message.
fn target<'r>(fields: &'r Fields<'_>) -> Option<&'r str> {
    const NAMES: [&str; 9] =
        ["name", "trailName", "bucketName", "groupId", "userName", "roleName", "instanceId", "functionName", "keyId"];
    let named = NAMES.iter().find_map(|name| fields.text_at(&["requestParameters", name]));
    named.or_else(|| {
        let message = fields.text("errorMessage")?;
        let resource = message.split("on resource: ").nth(1)?;
        resource.split_whitespace().next().filter(|word| word.starts_with("arn:"))
    })
}

struct CloudTrailParser;

impl Parser for CloudTrailParser {
    fn parse_if<'a>(&'a mut self, frame: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        match json::heads::<Self, _>(frame) {
            Ok(heads) if is_event(&heads) => {
                let known = known(&heads, frame, gate);
                known.map_or(Parsed::Unwatched, |known| event(known, Cow::Borrowed(frame)))
            }
            Ok(_) => enveloped(frame, gate),
            Err(reason) => Parsed::Unparsed(reason),
        }
    }

    fn parse_object_if<'a>(
        &'a mut self,
        text: &'a str,
        may_be_envelope: bool,
        gate: &mut dyn Gate,
    ) -> Option<(usize, Parsed<'a>)> {
        let (raw, heads) = json::first_object::<Self, _>(text, may_be_envelope)?;
        let parsed = if is_event(&heads) {
            known(&heads, raw, gate).map_or(Parsed::Unwatched, |known| event(known, Cow::Borrowed(raw)))
        } else {
            enveloped(raw, gate)
        };
        Some((raw.len(), parsed))
    }
}

type EventHeads<'t> = Heads<'t, 10>;

/// Whether an object is what it seems: no envelope, no digest file, nothing that only the tree can tell.
fn is_event(heads: &EventHeads<'_>) -> bool {
    let envelope = !heads.has(NAME) && (heads.has(DETAIL_AT) || heads.has(LOOKED_UP_AT));
    let digest = heads.has(DIGEST_START) && heads.has(DIGEST_BUCKET);
    !(heads.opaque || envelope || digest)
}

/// An event's time and id, if it is admitted.
fn known(heads: &EventHeads<'_>, raw: &str, gate: &mut dyn Gate) -> Option<(Option<Timestamp>, Option<String>)> {
    admitted(heads, raw, gate).then(|| (time(heads.text(TIME)), id(heads.text(ID))))
}

fn event((time, id): (Option<Timestamp>, Option<String>), raw: Cow<'_, str>) -> Parsed<'_> {
    let fields = json::fields(raw.clone());
    Parsed::Record(Record { log_source: &LOG_SOURCE, time, id, fields, derived: None, occurrences: 1, raw })
}

fn admitted(heads: &EventHeads<'_>, raw: &str, gate: &mut dyn Gate) -> bool {
    gate.admits(&LOG_SOURCE, &[heads.key(0), heads.key(1), heads.key(2), heads.key(3)], raw)
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn id(text: Option<&str>) -> Option<String> {
    text.filter(|id| !id.is_empty()).map(str::to_owned)
}

/// What may be an `EventBridge` event, an entry of a `LookupEvents` result, or a digest file: the event within, nothing,
/// or, where it is none of them, the record as it stands.
fn enveloped<'a>(frame: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
    let fields = match members(frame) {
        Ok(fields) => fields,
        Err(reason) => return Parsed::Unparsed(reason),
    };
    let (raw, fields) = unwrapped(frame, fields);
    if fields.contains_key("digestStartTime") && fields.contains_key("digestS3Bucket") {
        return Parsed::Skipped;
    }
    if let Ok(heads) = json::heads::<CloudTrailParser, _>(&raw)
        && !admitted(&heads, &raw, gate)
    {
        return Parsed::Unwatched;
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (time, id) = (time(text(EVENT_TIME)), id(text(EVENT_ID)));
    let fields = fields.into();
    Parsed::Record(Record { log_source: &LOG_SOURCE, time, id, fields, derived: None, occurrences: 1, raw })
}

/// The event within an `EventBridge` event or an entry of a `LookupEvents` result; anything else as it stands.
fn unwrapped(raw: &str, mut fields: Map<String, Value>) -> (Cow<'_, str>, Map<String, Value>) {
    if fields.contains_key(EVENT_NAME) {
        return (Cow::Borrowed(raw), fields);
    }
    // An Insights event has no name of its own.
    let is_bridged =
        fields.get(DETAIL_TYPE).and_then(Value::as_str).is_some_and(|kind| kind.ends_with("via CloudTrail"));
    let is_event =
        |value: &Value| value.is_object() && (is_bridged || value.get(EVENT_NAME).is_some_and(Value::is_string));
    if fields.get(DETAIL).is_some_and(is_event)
        && let Some(Value::Object(detail)) = fields.remove(DETAIL)
    {
        let raw = Value::Object(detail.clone()).to_string();
        return (Cow::Owned(raw), detail);
    }
    if let Some(text) = fields.get(LOOKED_UP).and_then(Value::as_str)
        && let Ok(event) = members(text)
    {
        return (Cow::Owned(text.to_owned()), event);
    }
    (Cow::Borrowed(raw), fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::trial::lasting_parser;

    const EVENT: &str = r#"{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-central-1","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/mallory","accountId":"123456789012","userName":"mallory"},"requestParameters":{"name":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"},"eventID":"11111111-2222-3333-4444-555555555555","recipientAccountId":"123456789012"}"#;

    fn record(frame: &str) -> Record<'_> {
        match lasting_parser(&CloudTrail).parse(frame) {
            Parsed::Record(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_event_by_every_way_is_the_same_record() {
        let bridge =
            format!(r#"{{"version":"0","id":"x","detail-type":"AWS API Call via CloudTrail","detail":{EVENT}}}"#);
        let lookup = serde_json::json!({"EventId": "x", "CloudTrailEvent": EVENT}).to_string();
        let plain = record(EVENT);
        assert_eq!(plain.id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
        for wrapped in [&bridge, &lookup] {
            let other = record(wrapped);
            assert_eq!((&other.id, other.time, &other.fields), (&plain.id, plain.time, &plain.fields));
        }
    }

    #[test]
    fn an_event_without_a_name_is_one_by_what_event_bridge_calls_it() {
        let insight = r#"{"eventID":"i","eventType":"AwsCloudTrailInsight","insightDetails":{"eventName":"x"}}"#;
        let bridged = |kind: &str, detail: &str| format!(r#"{{"detail-type":"{kind}","detail":{detail}}}"#);
        let wrapped = bridged("AWS Insight via CloudTrail", insight);
        assert_eq!((record(&wrapped).fields, record(&wrapped).id), (record(insight).fields, Some("i".to_owned())));
        for whole in [bridged("AWS Insight via CloudTrail", "7"), bridged("GuardDuty Finding", insight)] {
            assert_eq!(record(&whole).fields, serde_json::from_str::<Value>(&whole).unwrap());
        }
    }

    #[test]
    fn who_where_and_on_what() {
        let record_of_event = record(EVENT);
        let facts = CloudTrail.facts(&record_of_event);
        assert_eq!(facts.actor.as_deref(), Some("arn:aws:iam::123456789012:user/mallory"));
        assert_eq!(facts.source_address.as_deref(), Some("198.51.100.7"));
        assert_eq!(facts.resources.as_slice(), ["arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"]);
        let denied = r#"{"eventName":"StopLogging","errorCode":"AccessDenied","errorMessage":"User: arn:aws:iam::1:user/m is not authorized to perform: cloudtrail:StopLogging on resource: arn:aws:cloudtrail:eu-central-1:1:trail/main because no policy allows it","requestParameters":null}"#;
        assert_eq!(
            CloudTrail.facts(&record(denied)).resources.as_slice(),
            ["arn:aws:cloudtrail:eu-central-1:1:trail/main"]
        );
    }

    #[test]
    fn no_field_is_required_and_what_is_no_envelope_stays_whole() {
        for frame in [r"{}", r#"{"detail":"text"}"#, r#"{"detail":{"a":1}}"#, r#"{"CloudTrailEvent":7}"#] {
            assert_eq!(record(frame).fields, serde_json::from_str::<Value>(frame).unwrap());
        }
        let odd = record(r#"{"eventName":"x","detail":{"eventName":"y"},"eventTime":"yesterday","eventID":7}"#);
        assert_eq!((odd.time, odd.id), (None, None));
        assert_eq!(odd.fields["detail"]["eventName"], "y");
    }

    #[test]
    fn a_digest_file_is_put_aside_and_a_non_object_is_unparsed() {
        let digest = r#"{"awsAccountId":"1","digestStartTime":"2026-01-01T00:00:00Z","digestS3Bucket":"b"}"#;
        assert!(matches!(CloudTrailParser.parse(digest), Parsed::Skipped));
        for frame in ["7", "[{}]", "\"x\"", "{\"a\":tru}", "\u{fffd}"] {
            assert!(matches!(CloudTrailParser.parse(frame), Parsed::Unparsed(_)));
        }
    }

    #[test]
    fn halves_of_surrogates_are_replaced() {
        let half = r#"{"eventName":"x","userAgent":"a\ud83d\\ud83d\ud83d\ude00"}"#;
        let Parsed::Record(record) = lasting_parser(&CloudTrail).parse(half) else { panic!("not parsed") };
        assert_eq!(record.fields["userAgent"], "a\u{fffd}\\ud83d\u{1f600}");
        let looked_up = serde_json::json!({"CloudTrailEvent": half}).to_string();
        let Parsed::Record(inner) = lasting_parser(&CloudTrail).parse(&looked_up) else { panic!("not parsed") };
        assert_eq!(inner.fields, record.fields, "in an envelope too");
    }

    #[test]
    fn recognised_by_its_content() {
        for head in [
            format!("{{\"Records\":[{EVENT}"),
            EVENT.to_owned(),
            r#"{"Records":[]}"#.to_owned(),
            r#"[{"eventName":"a","eventSource":"b"}]"#.to_owned(),
            r#"{"Events":[{"CloudTrailEvent":"{}"}]}"#.to_owned(),
        ] {
            assert!(CloudTrail.recognises(head.as_bytes()), "{head}");
        }
        for head in ["", "{}", r#"{"event_type":"alert","timestamp":"x"}"#, "eventName eventSource", "Mar  1 host x:"] {
            assert!(!CloudTrail.recognises(head.as_bytes()), "{head}");
        }
    }
}
