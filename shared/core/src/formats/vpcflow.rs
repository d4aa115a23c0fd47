//! VPC flow logs.
//!
//! Specification: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>.
//!
//! Version 2 has a fixed order. Any other order or version comes with a header line that names its fields, as flow
//! logs in S3 have; without one, a later version cannot be read. Fields have AWS's names, and those of Sigma's category
//! `firewall` beside them: `src_ip`, `src_port`, `dst_ip`, `dst_port`.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Context, Format, Framing, Parsed, Parser, head};
use crate::record::{Facts, LogSource, Record};

const VERSION: &str = "version";
const ACCOUNT_ID: &str = "account-id";
const SRCADDR: &str = "srcaddr";
const DSTADDR: &str = "dstaddr";
const SRCPORT: &str = "srcport";
const DSTPORT: &str = "dstport";
const START: &str = "start";
const ACTION: &str = "action";
const REGION: &str = "region";

/// The order of version 2.
const DEFAULT_FIELDS: [&str; 14] = [
    VERSION,
    ACCOUNT_ID,
    "interface-id",
    SRCADDR,
    DSTADDR,
    SRCPORT,
    DSTPORT,
    "protocol",
    "packets",
    "bytes",
    START,
    "end",
    ACTION,
    "log-status",
];
const DEFAULT_VERSION: u64 = 2;

/// Fields whose values are numbers.
const NUMBERS: [&str; 10] =
    [VERSION, SRCPORT, DSTPORT, "protocol", "packets", "bytes", START, "end", "tcp-flags", "traffic-path"];

/// Names of the category `firewall`.
const FIREWALL_NAMES: [(&str, &str); 4] =
    [(SRCADDR, "src_ip"), (SRCPORT, "src_port"), (DSTADDR, "dst_ip"), (DSTPORT, "dst_port")];

/// What stands for no value.
const ABSENT: &str = "-";

/// A header that names fewer of the fields that we know is a line of something else.
const KNOWN_IN_HEADER: usize = 3;

static LOG_SOURCE: LogSource =
    LogSource { products: &["aws"], services: &["vpcflow"], categories: &["firewall"], group_by: &[SRCADDR] };

/// The format `vpcflow`.
pub struct VpcFlow;

impl Format for VpcFlow {
    fn name(&self) -> &'static str {
        "vpcflow"
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn recognises(&self, head: &[u8]) -> bool {
        let lines = head::lines(head);
        let mut parser = VpcFlowParser { header: None };
        let known = lines.iter().filter(|line| !matches!(parser.parse(line), Parsed::Unparsed(_))).count();
        known * 2 > lines.len()
    }

    fn parser(&self, _: &Context) -> Box<dyn Parser> {
        Box::new(VpcFlowParser { header: None })
    }

    fn facts(&self, record: &Record<'_>) -> Facts {
        let text = |name: &str| record.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        Facts {
            account: text(ACCOUNT_ID),
            region: text(REGION),
            actor: None,
            source_address: text(SRCADDR),
            resources: text(DSTADDR).into_iter().collect(),
        }
    }
}

struct VpcFlowParser {
    /// The order that a header line set; `None`: the default order.
    header: Option<Vec<String>>,
}

impl Parser for VpcFlowParser {
    fn parse<'a>(&mut self, frame: &'a [u8]) -> Parsed<'a> {
        let raw = String::from_utf8_lossy(frame);
        if is_header(&raw) {
            self.header = Some(raw.split_ascii_whitespace().map(str::to_owned).collect());
            return Parsed::Skipped;
        }
        match self.fields(&raw) {
            Ok(fields) => {
                let start = fields.get(START).and_then(Value::as_i64);
                Parsed::Record(Record {
                    log_source: &LOG_SOURCE,
                    time: start.and_then(|seconds| Timestamp::from_second(seconds).ok()),
                    id: None,
                    fields: Value::Object(fields),
                    derived: Map::new(),
                    occurrences: 1,
                    raw,
                })
            }
            Err(reason) => Parsed::Unparsed(reason),
        }
    }
}

impl VpcFlowParser {
    fn fields(&self, line: &str) -> Result<Map<String, Value>, &'static str> {
        let mut fields = Map::new();
        if let Some(names) = &self.header {
            fill(&mut fields, names.iter().map(String::as_str), line)?;
        } else {
            let version = line.split_ascii_whitespace().next().and_then(number).ok_or("no version at the start")?;
            if version != DEFAULT_VERSION {
                return Err("unknown version: only version 2 can be read without a header line");
            }
            fill(&mut fields, DEFAULT_FIELDS.into_iter(), line)?;
        }
        if fields.get(VERSION).is_some_and(|version| !version.is_u64()) {
            return Err("the version is no number");
        }
        if fields.get(ACTION).is_some_and(|action| action != "ACCEPT" && action != "REJECT") {
            return Err("an action other than ACCEPT and REJECT");
        }
        for (name, firewall_name) in FIREWALL_NAMES {
            if let Some(value) = fields.get(name).cloned() {
                fields.insert(firewall_name.to_owned(), value);
            }
        }
        Ok(fields)
    }
}

fn fill<'n>(
    fields: &mut Map<String, Value>,
    mut names: impl Iterator<Item = &'n str>,
    line: &str,
) -> Result<(), &'static str> {
    for value in line.split_ascii_whitespace() {
        let name = names.next().ok_or("more fields than the order has")?;
        if value != ABSENT {
            let number = if NUMBERS.contains(&name) { number(value) } else { None };
            fields.insert(name.to_owned(), number.map_or_else(|| Value::from(value), Value::from));
        }
    }
    if names.next().is_some() { Err("fewer fields than the order has") } else { Ok(()) }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.as_bytes()[0].is_ascii_digit())
}

/// Whether a line names fields: words of lower-case letters, some of them known, and nothing else.
fn is_header(line: &str) -> bool {
    let is_name = |word: &str| {
        word.as_bytes()[0].is_ascii_lowercase()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    line.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && line.split_ascii_whitespace().all(is_name)
        && line.split_ascii_whitespace().filter(|word| DEFAULT_FIELDS.contains(word)).count() >= KNOWN_IN_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::trial::{context, no_bytes_make_it_panic};

    const BASIC: &[u8] = include_bytes!("fixtures/vpcflow/basic.log");
    const CUSTOM: &str = include_str!("fixtures/vpcflow/custom_order.log");

    #[test]
    fn the_default_order() {
        let mut parser = VpcFlow.parser(&context());
        let line =
            b"2 123456789012 eni-0a1b2c3d 203.0.113.9 192.0.2.10 40000 22 6 20 4249 1772359200 1772359260 REJECT OK";
        let Parsed::Record(record) = parser.parse(line) else { panic!("not parsed") };
        assert_eq!(record.time.unwrap().to_string(), "2026-03-01T10:00:00Z");
        assert_eq!(
            record.fields,
            serde_json::json!({
                "version": 2, "account-id": "123456789012", "interface-id": "eni-0a1b2c3d", "srcaddr": "203.0.113.9",
                "dstaddr": "192.0.2.10", "srcport": 40000, "dstport": 22, "protocol": 6, "packets": 20, "bytes": 4249,
                "start": 1_772_359_200, "end": 1_772_359_260, "action": "REJECT", "log-status": "OK",
                "src_ip": "203.0.113.9", "dst_ip": "192.0.2.10", "src_port": 40000, "dst_port": 22
            })
        );
        let facts = VpcFlow.facts(&record);
        assert_eq!((facts.account.as_deref(), facts.resources), (Some("123456789012"), vec!["192.0.2.10".to_owned()]));
    }

    #[test]
    fn an_interval_without_data_is_a_record_without_those_fields() {
        let mut parser = VpcFlow.parser(&context());
        for status in ["NODATA", "SKIPDATA"] {
            let line = format!("2 123456789012 eni-0a1b2c3d - - - - - - - 1772359200 1772359260 - {status}");
            let Parsed::Record(record) = parser.parse(line.as_bytes()) else { panic!("not parsed") };
            assert_eq!((record.fields.get("srcaddr"), &record.fields["log-status"]), (None, &Value::from(status)));
        }
    }

    #[test]
    fn a_header_sets_another_order() {
        let mut parser = VpcFlow.parser(&context());
        let parsed: Vec<Parsed<'_>> = CUSTOM.lines().map(|line| parser.parse(line.as_bytes())).collect();
        assert!(matches!(parsed[0], Parsed::Skipped));
        let Parsed::Record(record) = &parsed[1] else { panic!("not parsed") };
        assert_eq!((&record.fields["version"], &record.fields["dst_port"]), (&Value::from(5), &Value::from(443)));
        assert_eq!(record.fields["region"], "eu-central-1");
        assert!(VpcFlow.recognises(CUSTOM.as_bytes()) && VpcFlow.recognises(BASIC));
    }

    #[test]
    fn what_is_no_flow_is_unparsed() {
        for line in include_str!("fixtures/vpcflow/malformed.log").lines() {
            let mut parser = VpcFlow.parser(&context());
            assert!(matches!(parser.parse(line.as_bytes()), Parsed::Unparsed(_)), "{line}");
        }
        assert!(!VpcFlow.recognises(include_bytes!("fixtures/vpcflow/malformed.log")));
        assert!(!VpcFlow.recognises(include_bytes!("fixtures/unrelated.txt")));
    }

    #[test]
    fn an_unknown_version_is_unparsed() {
        let line = include_bytes!("fixtures/vpcflow/unknown_version.log");
        let parsed = VpcFlow.parser(&context()).parse(line);
        assert!(matches!(parsed, Parsed::Unparsed(reason) if reason.contains("unknown version")));
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        no_bytes_make_it_panic(&VpcFlow, BASIC);
    }
}
