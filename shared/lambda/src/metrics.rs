//! Counters as a log line that `CloudWatch` turns into metrics, without a call: the embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::{Add, AddAssign};

use cloudvigil_core::ports::Clock;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The metrics' namespace.
pub const NAMESPACE: &str = "cloudvigil";
/// Their one dimension: the function's name, which says of which stack it is, too.
pub const DIMENSION: &str = "Function";
/// The most metrics of one line, by the specification.
const MAX_METRICS: usize = 100;

/// What one invocation did. It balances: `records_in = parsed + unparsed + skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that came in, of whatever quality.
    pub records_in: u64,
    /// Those that were parsed.
    pub parsed: u64,
    /// Those that are not of their format.
    pub unparsed: u64,
    /// Those that were recognised and put aside.
    pub skipped: u64,
    /// Objects and events that were not looked at, because cloudvigil itself has written them.
    pub refused: u64,
    /// Findings published.
    pub findings: u64,
    /// What failed: objects, calls, messages.
    pub errors: u64,
    /// Whatever else a function counts, by the metric's name (`UpperCamelCase`, at most 1,024 bytes).
    pub other: BTreeMap<String, u64>,
}

impl Counters {
    /// Adds to a counter of one's own.
    pub fn count(&mut self, name: &str, value: u64) {
        *self.other.entry(name.to_owned()).or_default() += value;
    }

    /// The log lines for `function`, without line ends: one, unless there are more than a hundred metrics.
    pub fn lines(&self, function: &str, at: Timestamp) -> Vec<String> {
        let own = [
            ("RecordsIn", self.records_in),
            ("Parsed", self.parsed),
            ("Unparsed", self.unparsed),
            ("Skipped", self.skipped),
            ("Refused", self.refused),
            ("Findings", self.findings),
            ("Errors", self.errors),
        ];
        // A name that a counter of ours or the format has taken would stand for two things.
        let taken = |name: &str| {
            name.is_empty() || name == DIMENSION || name == "_aws" || own.iter().any(|(own, _)| *own == name)
        };
        let other = self.other.iter().map(|(name, value)| (name.as_str(), *value)).filter(|(name, _)| !taken(name));
        let metrics: Vec<_> = own.into_iter().chain(other).collect();
        metrics.chunks(MAX_METRICS).map(|metrics| line(function, at, metrics)).collect()
    }

    /// Writes the lines to the standard output, which Lambda sends to `CloudWatch` Logs. To be called whether the
    /// invocation succeeded or failed: what it did until then is counted either way.
    pub fn emit(&self, function: &str, clock: &dyn Clock) {
        let mut lines = self.lines(function, clock.now()).join("\n");
        lines.push('\n');
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
            tracing::error!(%error, "the metrics could not be written");
        }
    }
}

fn line(function: &str, at: Timestamp, metrics: &[(&str, u64)]) -> String {
    let definitions: Vec<_> = metrics.iter().map(|(name, _)| json!({"Name": name, "Unit": "Count"})).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": at.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": definitions}],
        }),
    );
    line.insert(DIMENSION.to_owned(), Value::from(function));
    for (name, value) in metrics {
        line.insert((*name).to_owned(), Value::from(*value));
    }
    Value::Object(line).to_string()
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.records_in += more.records_in;
        self.parsed += more.parsed;
        self.unparsed += more.unparsed;
        self.skipped += more.skipped;
        self.refused += more.refused;
        self.findings += more.findings;
        self.errors += more.errors;
        for (name, value) in more.other {
            *self.other.entry(name).or_default() += value;
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(mut self, more: Self) -> Self {
        self += more;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_formats_shape() {
        let mut counters = Counters { records_in: 5, parsed: 4, unparsed: 1, ..Counters::default() };
        counters.count("Throttled", 2);
        let lines = counters.lines("log-analyzer", "2026-03-01T10:00:00Z".parse().unwrap());
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].contains('\n'));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 1_772_359_200_000_u64);
        assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("cloudvigil"), &json!([["Function"]])));
        // Every metric, and the dimension, must be a member of the line by the same name.
        assert_eq!(line["Function"], "log-analyzer");
        let names: Vec<_> =
            directive["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        assert_eq!(names, ["RecordsIn", "Parsed", "Unparsed", "Skipped", "Refused", "Findings", "Errors", "Throttled"]);
        assert!(names.iter().all(|name| line[name].is_u64()));
        assert_eq!((&line["RecordsIn"], &line["Throttled"]), (&json!(5), &json!(2)));
    }

    #[test]
    fn a_line_has_at_most_a_hundred_metrics_and_none_twice() {
        let mut counters = Counters::default();
        (0..100).for_each(|n| counters.count(&format!("Metric{n}"), n));
        counters.count("Errors", 9);
        let lines = counters.lines("f", Timestamp::UNIX_EPOCH);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines.concat().matches("\"Name\":\"Errors\"").count(), 1);
    }

    #[test]
    fn counters_add_up() {
        let mut one = Counters { records_in: 1, errors: 2, ..Counters::default() };
        one.count("Throttled", 1);
        let sum = one.clone() + one;
        assert_eq!((sum.records_in, sum.errors, sum.other["Throttled"]), (2, 4, 2));
    }
}
