//! VPC flow logs.
//!
//! Specification: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>.
//!
//! Version 2 has a fixed order. Any other order or version comes with a header line that names its fields, as flow
//! logs in S3 have; without one, a later version cannot be read. Fields have AWS's names, and those of Sigma's category
//! `firewall` beside them: `src_ip`, `src_port`, `dst_ip`, `dst_port`.

use std::borrow::Cow;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::bytes::{count_if_even, first_of, last_of};
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, head};
use crate::fields::{Fields, Flat, Line};
use crate::record::{FactsOf, LogSource, Record};

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

static LOG_SOURCE: LogSource = LogSource {
    products: &["aws"],
    services: &["vpcflow"],
    categories: &["firewall"],
    group_by: &[SRCADDR],
    keys: &[ACTION],
    rare: &[],
    words: &[],
    aliases: &[],
};

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&LOG_SOURCE];

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
        let mut parser = VpcFlowParser::default();
        let known = lines
            .iter()
            .filter(|line| !matches!(parser.parse(&String::from_utf8_lossy(line)), Parsed::Unparsed(_)))
            .count();
        known * 2 > lines.len()
    }

    fn parser(&self, _: &Context) -> Box<dyn Parser> {
        Box::new(VpcFlowParser::default())
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf {
            account: text(ACCOUNT_ID),
            region: text(REGION),
            actor: None,
            source_address: text(SRCADDR),
            resources: text(DSTADDR).into_iter().collect(),
        }
    }
}

struct VpcFlowParser(Flow);

impl Default for VpcFlowParser {
    fn default() -> Self {
        Self(Flow { order: Order::new(&DEFAULT_FIELDS, None), shape: Shape::default() })
    }
}

/// What stands in which column.
#[derive(Debug)]
struct Order {
    columns: Vec<Column>,
    /// Where each name stands, a column's own or its firewall name. Of several alike, the last that has a value counts.
    by_name: HashMap<String, Vec<usize>, RandomState>,
    version: Option<usize>,
    action: Option<usize>,
    start: Option<usize>,
    /// The header line that has set it; without one, only version 2 has this order.
    header: Option<Arc<str>>,
}

#[derive(Debug)]
struct Column {
    name: String,
    firewall_name: Option<&'static str>,
    is_number: bool,
}

impl Order {
    fn new(names: &[&str], header: Option<Arc<str>>) -> Self {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            firewall_name: FIREWALL_NAMES.iter().find(|(own, _)| own == name).map(|(_, other)| *other),
            is_number: NUMBERS.contains(name),
        };
        let columns: Vec<Column> = names.iter().map(column).collect();
        let mut by_name: HashMap<String, Vec<usize>, RandomState> = HashMap::default();
        for (number, Column { name, firewall_name, .. }) in columns.iter().enumerate() {
            for name in std::iter::once(name.as_str()).chain(*firewall_name) {
                by_name.entry(name.to_owned()).or_default().push(number);
            }
        }
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        Self { version: at(VERSION), action: at(ACTION), start: at(START), columns, by_name, header }
    }
}

impl Parser for VpcFlowParser {
    fn header(&self) -> Option<&Arc<str>> {
        self.0.order.header.as_ref()
    }

    fn parse_if<'a>(&'a mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        if is_header(raw) {
            let names: Vec<&str> = raw.split_ascii_whitespace().collect();
            self.0.order = Order::new(&names, Some(raw.into()));
            return Parsed::Skipped;
        }
        let (Flow { order, shape }, values) = (&mut self.0, Values::of(raw));
        if let Err(reason) = order.check(&values) {
            return Parsed::Unparsed(reason);
        }
        let action = match order.action.and_then(|column| values.given(column)) {
            None => &Key::Absent,
            Some("ACCEPT") => &Key::Text("ACCEPT"),
            Some("REJECT") => &Key::Text("REJECT"),
            Some(_) => return Parsed::Unparsed("an action other than ACCEPT and REJECT"),
        };
        if !gate.admits_word(&LOG_SOURCE, action, raw) {
            return Parsed::Unwatched;
        }
        let start = order.start.and_then(|column| values.given(column));
        let start = start.and_then(number).and_then(|seconds| i64::try_from(seconds).ok());
        *shape = values.shape;
        Parsed::Record(Record {
            log_source: &LOG_SOURCE,
            time: start.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            id: None,
            fields: Fields::line(raw, &self.0),
            derived: None,
            occurrences: 1,
            raw: Cow::Borrowed(raw),
        })
    }
}

impl Order {
    /// Whether a line has as many values as the order has columns, and a version that can be read.
    fn check(&self, values: &Values<'_>) -> Result<(), &'static str> {
        let version = self.version.and_then(|column| values.get(column));
        if self.header.is_none() && version.and_then(number) != Some(DEFAULT_VERSION) {
            return Err(match version.and_then(number) {
                None => "no version at the start",
                Some(_) => "unknown version: only version 2 can be read without a header line",
            });
        }
        if values.shape.count != self.columns.len() {
            let more = values.shape.count > self.columns.len();
            return Err(if more { "more fields than the order has" } else { "fewer fields than the order has" });
        }
        if version.is_some_and(|version| version != ABSENT && number(version).is_none()) {
            return Err("the version is no number");
        }
        Ok(())
    }
}

impl Column {
    /// What a value is, if there is one.
    fn read<'l>(&self, value: &'l str) -> Option<Flat<'l>> {
        let as_number = if self.is_number { number(value) } else { None };
        (value != ABSENT).then(|| as_number.map_or(Flat::Text(value), Flat::Number))
    }
}

/// What is known of a line's columns.
#[derive(Debug)]
struct Flow {
    order: Order,
    /// That of the last line that was taken apart.
    shape: Shape,
}

impl Line for Flow {
    fn get<'l>(&'l self, line: &'l str, name: &str) -> Option<Flat<'l>> {
        let (columns, values) = (self.order.by_name.get(name)?, Values { line, shape: self.shape });
        columns.iter().rev().find_map(|column| self.order.columns[*column].read(values.get(*column)?))
    }

    fn all(&self, line: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        for (column, value) in self.order.columns.iter().zip(Values { line, shape: self.shape }.all()) {
            if let Some(value) = column.read(value) {
                fields.extend(column.firewall_name.map(|name| (name.to_owned(), value.into())));
                fields.insert(column.name.clone(), value.into());
            }
        }
        fields
    }
}

/// The values of a line. Most lines are looked at by no rule: of those only a column or two are read.
struct Values<'l> {
    line: &'l str,
    shape: Shape,
}

/// How the values stand in a line.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    count: usize,
    /// Whether single spaces stand between the values, and nothing else: then they can be found from either end.
    is_even: bool,
}

impl<'l> Values<'l> {
    fn of(line: &'l str) -> Self {
        let even = count_if_even(line.as_bytes());
        let count = even.unwrap_or_else(|| line.split_ascii_whitespace().count());
        Self { line, shape: Shape { count, is_even: even.is_some() } }
    }

    fn get(&self, column: usize) -> Option<&'l str> {
        let from_end = self.shape.count.checked_sub(column + 1)?;
        if !self.shape.is_even {
            return self.all().nth(column);
        }
        let bytes = self.line.as_bytes();
        let (mut start, mut end) = (0, bytes.len());
        if column <= from_end {
            for _ in 0..column {
                start += first_of(&bytes[start..], [b' '])? + 1;
            }
            end = first_of(&bytes[start..], [b' ']).map_or(end, |length| start + length);
        } else {
            for _ in 0..from_end {
                end = last_of(&bytes[..end], b' ')?;
            }
            start = last_of(&bytes[..end], b' ').map_or(0, |space| space + 1);
        }
        Some(&self.line[start..end])
    }

    /// All of them, in order.
    fn all(&self) -> impl Iterator<Item = &'l str> {
        let (is_even, mut words) = (self.shape.is_even, self.line.split_ascii_whitespace());
        let mut rest = Some(self.line);
        std::iter::from_fn(move || {
            if !is_even {
                return words.next();
            }
            let line = rest?;
            let end = first_of(line.as_bytes(), [b' ']);
            rest = end.map(|end| &line[end + 1..]);
            Some(&line[..end.unwrap_or(line.len())])
        })
    }

    /// A value that is there.
    fn given(&self, column: usize) -> Option<&'l str> {
        self.get(column).filter(|value| *value != ABSENT)
    }
}

fn number(text: &str) -> Option<u64> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(u64::from(digit - b'0')),
        [b'0'..=b'9', ..] => text.parse().ok(),
        _ => None,
    }
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
    use serde_json::Value;

    use super::*;
    use crate::formats::trial::{context, no_bytes_make_it_panic};

    const BASIC: &[u8] = include_bytes!("fixtures/vpcflow/basic.log");
    const CUSTOM: &str = include_str!("fixtures/vpcflow/custom_order.log");

    #[test]
    fn the_default_order() {
        let mut parser = VpcFlow.parser(&context());
        let line =
            "2 123456789012 eni-0a1b2c3d 203.0.113.9 192.0.2.10 40000 22 6 20 4249 1772359200 1772359260 REJECT OK";
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
        assert_eq!(facts.account.as_deref(), Some("123456789012"));
        assert_eq!(facts.resources.as_slice(), ["192.0.2.10"]);
    }

    #[test]
    fn an_interval_without_data_is_a_record_without_those_fields() {
        let mut parser = VpcFlow.parser(&context());
        for status in ["NODATA", "SKIPDATA"] {
            let line = format!("2 123456789012 eni-0a1b2c3d - - - - - - - 1772359200 1772359260 - {status}");
            let Parsed::Record(record) = parser.parse(&line) else { panic!("not parsed") };
            assert_eq!((record.fields.get("srcaddr"), &record.fields["log-status"]), (None, &Value::from(status)));
        }
    }

    #[test]
    fn a_header_sets_another_order() {
        let mut parser = VpcFlow.parser(&context());
        let mut lines = CUSTOM.lines();
        assert!(lines.next().is_some_and(|line| matches!(parser.parse(line), Parsed::Skipped)));
        let Some(Parsed::Record(record)) = lines.next().map(|line| parser.parse(line)) else { panic!("not parsed") };
        assert_eq!((&record.fields["version"], &record.fields["dst_port"]), (&Value::from(5), &Value::from(443)));
        assert_eq!(record.fields["region"], "eu-central-1");
        assert!(VpcFlow.recognises(CUSTOM.as_bytes()) && VpcFlow.recognises(BASIC));
    }

    #[test]
    fn what_is_no_flow_is_unparsed() {
        for line in include_str!("fixtures/vpcflow/malformed.log").lines() {
            let mut parser = VpcFlow.parser(&context());
            assert!(matches!(parser.parse(line), Parsed::Unparsed(_)), "{line}");
        }
        assert!(!VpcFlow.recognises(include_bytes!("fixtures/vpcflow/malformed.log")));
        assert!(!VpcFlow.recognises(include_bytes!("fixtures/unrelated.txt")));
    }

    #[test]
    fn an_unknown_version_is_unparsed() {
        let line = include_str!("fixtures/vpcflow/unknown_version.log");
        let mut parser = VpcFlow.parser(&context());
        let parsed = parser.parse(line);
        assert!(matches!(parsed, Parsed::Unparsed(reason) if reason.contains("unknown version")));
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        no_bytes_make_it_panic(&VpcFlow, BASIC);
    }
}
