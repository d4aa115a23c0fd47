//! Suricata's EVE JSON: alerts, and what else Suricata writes beside them.
//!
//! Specification: <https://docs.suricata.io/en/latest/output/eve/eve-json-format.html>.
//!
//! Fields as they stand: `event_type`, `src_ip`, `dest_ip`, `alert.signature`, `alert.severity`, ... DNS events answer to
//! the names of Sigma's taxonomy, too.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::json::{self, Heads, Name, Names};
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, head, stamp};
use crate::record::{FactsOf, LogSource, Record};

const TIMESTAMP: &str = "timestamp";
const EVENT_TYPE: &str = "event_type";
const ALERT: &str = "alert";
const SRC_IP: &str = "src_ip";
const DEST_IP: &str = "dest_ip";

static ALERTS: LogSource = LogSource {
    products: &["suricata"],
    services: &["eve", "alert"],
    categories: &["ids", "network"],
    group_by: &["alert.signature", SRC_IP],
    keys: KEYS,
    rare: &[],
    words: &[],
    aliases: &[],
};
static OTHERS: LogSource = LogSource {
    products: &["suricata"],
    services: &["eve"],
    categories: &["network"],
    group_by: &[EVENT_TYPE, SRC_IP],
    keys: KEYS,
    rare: &[],
    words: &[],
    aliases: &[],
};

static DNS: LogSource = LogSource {
    products: &["suricata"],
    services: &["eve", "dns"],
    categories: &["network", "dns"],
    group_by: &[EVENT_TYPE, SRC_IP],
    keys: KEYS,
    rare: &[],
    words: &[],
    aliases: DNS_NAMES,
};

/// Names of the category `dns`, as rules of the community have them, and of the service `dns` of the category `network`
/// (<https://sigmahq.io/sigma-specification/specification/sigma-appendix-taxonomy.html>): where Suricata's three versions of
/// DNS events have the same. See <https://docs.suricata.io/en/latest/upgrade/8.0-dns-logging-changes.html>.
const DNS_NAMES: &[(&str, &[&str])] = &[
    ("query", QUERY_NAME),
    ("record_type", QUERY_TYPE),
    ("answer", ANSWER),
    ("source.ip", &[SRC_IP]),
    ("source.port", &["src_port"]),
    ("destination.ip", &[DEST_IP]),
    ("destination.port", &["dest_port"]),
    ("network.community_id", &["community_id"]),
    ("dns.question.name", QUERY_NAME),
    ("dns.question.type", QUERY_TYPE),
    ("dns.answers.name", &["dns.answers.rrname"]),
    ("dns.answers.type", &["dns.answers.rrtype"]),
    ("dns.answers.data", ANSWER),
    ("dns.header.flags", &["dns.flags"]),
    ("dns.response.code", &["dns.rcode"]),
];
const QUERY_NAME: &[&str] = &["dns.rrname", "dns.queries.rrname"];
const QUERY_TYPE: &[&str] = &["dns.rrtype", "dns.queries.rrtype"];
/// Suricata lists answers one by one, by their types, or both.
const ANSWER: &[&str] = &["dns.rdata", "dns.answers.rdata", "dns.grouped"];

const KEYS: &[&str] = &["alert.category", "alert.severity", EVENT_TYPE];

/// The members that are read of every event: those that each has come first.
impl Names<4> for EveParser {
    const NAMES: [Name; 4] =
        [(EVENT_TYPE, None), (TIMESTAMP, None), (ALERT, Some("category")), (ALERT, Some("severity"))];
}

/// Their numbers.
const TYPE: usize = 0;
const TIME: usize = 1;
const CATEGORY: usize = 2;
const SEVERITY: usize = 3;

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&ALERTS, &DNS, &OTHERS];

/// The format `eve`.
pub struct Eve;

impl Format for Eve {
    fn name(&self) -> &'static str {
        "eve"
    }

    fn framing(&self) -> Framing {
        Framing::Json
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head::most_objects(head, &[EVENT_TYPE, TIMESTAMP], |fields| {
            [EVENT_TYPE, TIMESTAMP].iter().all(|key| fields.get(*key).is_some_and(Value::is_string))
        })
    }

    fn parser(&self, context: &Context) -> Box<dyn Parser> {
        Box::new(EveParser { timezone: context.timezone.clone() })
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf { source_address: text(SRC_IP), resources: text(DEST_IP).into_iter().collect(), ..FactsOf::default() }
    }
}

struct EveParser {
    timezone: TimeZone,
}

impl Parser for EveParser {
    fn parse_if<'a>(&'a mut self, frame: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        match json::heads::<Self, _>(frame).and_then(|heads| self.known(&heads, frame, gate)) {
            Ok(Some(known)) => event(known, Cow::Borrowed(frame)),
            Ok(None) => Parsed::Unwatched,
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
        let parsed = match self.known(&heads, raw, gate) {
            Ok(Some(known)) => event(known, Cow::Borrowed(raw)),
            Ok(None) => Parsed::Unwatched,
            Err(reason) => Parsed::Unparsed(reason),
        };
        Some((raw.len(), parsed))
    }
}

/// An event's log source and time.
type Known = (&'static LogSource, Option<Timestamp>);

impl EveParser {
    /// What is known of an event; `None` if it is not admitted.
    fn known(&self, heads: &Heads<'_, 4>, raw: &str, gate: &mut dyn Gate) -> Result<Option<Known>, &'static str> {
        let (event_type, time) = if heads.opaque {
            let tree = json::tree(raw);
            let text = |name: &str| tree.get(name).and_then(Value::as_str).map(|text| Cow::Owned(text.to_owned()));
            (text(EVENT_TYPE), text(TIMESTAMP))
        } else {
            (heads.text(TYPE).map(Cow::Borrowed), heads.text(TIME).map(Cow::Borrowed))
        };
        let event_type = event_type.ok_or("no event_type")?;
        let log_source = match &*event_type {
            ALERT => &ALERTS,
            "dns" => &DNS,
            _ => &OTHERS,
        };
        let keys = [heads.key(CATEGORY), heads.key(SEVERITY), Key::Text(&event_type)];
        let admitted = gate.admits(log_source, &keys, raw);
        Ok(admitted.then(|| (log_source, time.and_then(|time| stamp::iso_whole(&time, &self.timezone)))))
    }
}

fn event((log_source, time): Known, raw: Cow<'_, str>) -> Parsed<'_> {
    let fields = json::fields(raw.clone());
    Parsed::Record(Record { log_source, time, id: None, fields, derived: None, occurrences: 1, raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::trial::{context, lines, no_bytes_make_it_panic};

    const BASIC: &[u8] = include_bytes!("fixtures/eve/basic.ndjson");

    #[test]
    fn an_alert_and_another_event() {
        let lines: Vec<String> = lines(BASIC).collect();
        let mut parser = Eve.parser(&context());
        let Parsed::Record(alert) = parser.parse(&lines[0]) else { panic!("not parsed") };
        assert_eq!(alert.time.unwrap().to_string(), "2026-03-01T10:00:00.221126Z");
        assert_eq!(alert.fields["alert"]["signature"], "EXAMPLE SCAN many connections");
        assert_eq!(alert.log_source, &ALERTS);
        assert_eq!(Eve.facts(&alert).source_address.as_deref(), Some("203.0.113.9"));
        assert_eq!(Eve.facts(&alert).resources.as_slice(), ["192.0.2.10"]);
        let Parsed::Record(flow) = parser.parse(&lines[1]) else { panic!("not parsed") };
        assert_eq!((flow.time.unwrap().to_string().as_str(), flow.log_source), ("2026-03-01T10:00:01Z", &OTHERS));
        assert!(Eve.recognises(BASIC));
        let dns =
            r#"{"timestamp":"2026-03-01T10:00:01","event_type":"dns","dns":{"type":"query","rrname":"example.com"}}"#;
        assert!(matches!(parser.parse(dns), Parsed::Record(record) if record.log_source == &DNS));
    }

    #[test]
    fn what_is_no_event_is_unparsed() {
        let mut parser = Eve.parser(&context());
        for frame in include_str!("fixtures/eve/malformed.ndjson").lines() {
            assert!(matches!(parser.parse(frame), Parsed::Unparsed(_)), "{frame}");
        }
        assert!(!Eve.recognises(include_bytes!("fixtures/eve/malformed.ndjson")));
        assert!(!Eve.recognises(include_bytes!("fixtures/inventory/basic.ndjson")));
        assert!(!Eve.recognises(include_bytes!("fixtures/unrelated.txt")));
    }

    #[test]
    fn an_invalid_time_is_no_time() {
        let mut parser = Eve.parser(&context());
        for time in [r#""2026-02-31T10:00:00Z""#, r#""now""#, "7", "null"] {
            let frame = format!(r#"{{"event_type":"alert","timestamp":{time}}}"#);
            assert!(matches!(parser.parse(&frame), Parsed::Record(record) if record.time.is_none()), "{time}");
        }
    }

    #[test]
    fn a_head_that_is_cut_or_begins_oddly_is_recognised() {
        assert!(Eve.recognises(&BASIC[..120]));
        let odd = [b"\xef\xbb\xbf\n\nnot json\n".as_slice(), BASIC].concat();
        assert!(Eve.recognises(&odd));
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        no_bytes_make_it_panic(&Eve, BASIC);
    }
}
