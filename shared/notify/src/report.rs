//! One page about a scan: what was read, what was found. Self-contained, without scripts; it prints, and it reads well
//! on a phone.

use askama::Template;
use cloudvigil_core::finding::{Level, Message};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;

use crate::view::{Extent, FindingView, colour, time};
use crate::visible;

/// More findings than this are counted, and not shown one by one.
const SHOWN: usize = 500;
/// More sources than this are counted, and not listed.
const SOURCES: usize = 200;
/// The chart's bars.
const BARS: u32 = 48;
/// The chart's size, in the units of its view box.
const CHART: (u32, u32) = (960, 132);

/// What a page is made of.
#[derive(Debug, Clone)]
pub struct Report {
    /// When the page was made.
    pub generated: Timestamp,
    /// The findings, in any order.
    pub findings: Vec<Message>,
    /// What was read, in the order in which it is to be listed.
    pub sources: Vec<SourceSummary>,
}

/// What became of the records of one source: `records_in` = `parsed` + `unparsed` + `skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Its name.
    pub source: String,
    /// The format, if it was recognised.
    pub format: Option<String>,
    /// Records that were read.
    pub records_in: u64,
    /// Records in their format's frame.
    pub parsed: u64,
    /// Records that are not.
    pub unparsed: u64,
    /// Records that were recognised and put aside.
    pub skipped: u64,
    /// Uncompressed.
    pub bytes: u64,
    /// What could not be read, and why.
    pub errors: Vec<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    generated: String,
    span: Option<String>,
    findings: Vec<FindingView>,
    left: usize,
    total: usize,
    levels: Vec<LevelCount>,
    chart: Option<Chart>,
    sources: Vec<SourceRow>,
    sources_left: usize,
    records: String,
    unparsed: String,
    bytes: String,
    errors: Vec<String>,
}

struct LevelCount {
    level: Level,
    colour: &'static str,
    count: usize,
}

struct SourceRow {
    source: String,
    format: String,
    records_in: String,
    parsed: String,
    unparsed: String,
    skipped: String,
    bytes: String,
}

/// Findings by the time at which they began: stacked bars.
struct Chart {
    width: u32,
    height: u32,
    bars: Vec<Bar>,
    from: String,
    until: String,
    most: u32,
    each: String,
}

struct Bar {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    colour: &'static str,
    label: String,
}

impl Report {
    /// Renders the page: a whole HTML document that loads nothing.
    pub fn render(&self) -> Result<String, Error> {
        let mut sorted: Vec<&Message> = self.findings.iter().collect();
        sorted.sort_by(|a, b| {
            let key = |m: &Message| {
                (std::cmp::Reverse(m.finding.level), m.finding.first_time.is_none(), m.finding.first_time)
            };
            (key(a), &a.finding.id).cmp(&(key(b), &b.finding.id))
        });
        let levels = Level::ALL
            .into_iter()
            .rev()
            .map(|level| LevelCount {
                level,
                colour: colour(level),
                count: self.findings.iter().filter(|message| message.finding.level == level).count(),
            })
            .collect();
        let times = self.findings.iter().flat_map(|m| [m.finding.first_time, m.finding.last_time]).flatten();
        let (first, last) = (times.clone().min(), times.max());
        let sum = |of: fn(&SourceSummary) -> u64| self.sources.iter().map(of).sum::<u64>();
        let errors = self.sources.iter().flat_map(|source| {
            source
                .errors
                .iter()
                .map(|error| format!("{}: {}", visible::line(&source.source, 200), visible::line(error, 300)))
        });
        let page = Page {
            generated: time(self.generated),
            span: first.zip(last).map(|(first, last)| format!("{} to {}", time(first), time(last))),
            findings: sorted.iter().take(SHOWN).map(|message| FindingView::new(message, Extent::PAGE)).collect(),
            left: sorted.len().saturating_sub(SHOWN),
            total: sorted.len(),
            levels,
            chart: chart(&sorted),
            sources: self.sources.iter().take(SOURCES).map(SourceRow::new).collect(),
            sources_left: self.sources.len().saturating_sub(SOURCES),
            records: thousands(sum(|source| source.records_in)),
            unparsed: thousands(sum(|source| source.unparsed)),
            bytes: size(sum(|source| source.bytes)),
            errors: errors.take(SOURCES).collect(),
        };
        Ok(page.render()?)
    }
}

impl SourceRow {
    fn new(source: &SourceSummary) -> Self {
        Self {
            source: visible::line(&source.source, 200),
            format: source.format.as_deref().map_or_else(|| "not recognised".to_owned(), |f| visible::line(f, 40)),
            records_in: thousands(source.records_in),
            parsed: thousands(source.parsed),
            unparsed: thousands(source.unparsed),
            skipped: thousands(source.skipped),
            bytes: size(source.bytes),
        }
    }
}

/// `None` where there is nothing to draw: fewer than two findings, or all at the same time.
fn chart(findings: &[&Message]) -> Option<Chart> {
    let begun: Vec<(i64, Level)> =
        findings.iter().filter_map(|m| Some((m.finding.first_time?.as_second(), m.finding.level))).collect();
    let first = begun.iter().map(|(at, _)| *at).min()?;
    let last = begun.iter().map(|(at, _)| *at).max()?;
    if first == last {
        return None;
    }
    let step = (last - first) / i64::from(BARS) + 1;
    let bins = u32::try_from((last - first) / step + 1).ok()?;
    let counts = |bin: u32, level: Level| -> u32 {
        let in_bin = begun.iter().filter(|(at, of)| *of == level && (at - first) / step == i64::from(bin)).count();
        u32::try_from(in_bin).unwrap_or(u32::MAX)
    };
    let table: Vec<Vec<(Level, u32)>> =
        (0..bins).map(|bin| Level::ALL.into_iter().rev().map(|level| (level, counts(bin, level))).collect()).collect();
    let most = table.iter().map(|bin| bin.iter().map(|(_, count)| count).sum::<u32>()).max()?.max(1);
    let (width, height) = CHART;
    let pitch = width / bins;
    let mut bars = Vec::new();
    for (bin, stack) in (0..bins).zip(&table) {
        let mut y = height;
        let start = Timestamp::from_second(first + i64::from(bin) * step).ok()?;
        for (level, count) in stack.iter().filter(|(_, count)| *count > 0) {
            // Whatever the scale, one finding can be seen.
            let tall = (u64::from(*count) * u64::from(height) / u64::from(most)).max(3);
            let tall = u32::try_from(tall).unwrap_or(height).min(y);
            y -= tall;
            let label = format!("{count} {level} from {}", time(start));
            let gap = if pitch > 6 { 2 } else { 0 };
            bars.push(Bar { x: bin * pitch, y, width: pitch - gap, height: tall, colour: colour(*level), label });
        }
    }
    Some(Chart {
        width,
        height,
        bars,
        from: time(Timestamp::from_second(first).ok()?),
        until: time(Timestamp::from_second(last).ok()?),
        most,
        each: format!("{:#}", SignedDuration::from_secs(step)),
    })
}

/// `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1.2 MB`.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hostile, message, only_own_markup};

    #[test]
    fn findings_stand_by_level_then_time_and_sources_add_up() {
        let mut findings = Vec::new();
        for (id, level, at) in [("a", Level::Low, 10), ("b", Level::Critical, 30), ("c", Level::Critical, 20)] {
            let mut message = message(id);
            message.finding.level = level;
            message.finding.title = format!("Title {id}");
            message.finding.first_time = Some(Timestamp::from_second(at).unwrap());
            message.finding.last_time = Some(Timestamp::from_second(at + 5000).unwrap());
            findings.push(message);
        }
        let source = SourceSummary {
            source: "a.log".to_owned(),
            records_in: 1_234_567,
            bytes: 98_765_432,
            ..Default::default()
        };
        let page = Report { generated: Timestamp::UNIX_EPOCH, findings, sources: vec![source] }.render().unwrap();
        let at = |title: &str| page.find(title).unwrap();
        assert!(at("Title c") < at("Title b") && at("Title b") < at("Title a"));
        assert!(page.contains("1,234,567") && page.contains("98.7 MB") && page.contains("<svg"));
    }

    #[test]
    fn a_report_of_nothing_says_so() {
        let page = Report { generated: Timestamp::UNIX_EPOCH, findings: vec![], sources: vec![] }.render().unwrap();
        assert!(page.contains("No findings"));
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn hostile_findings_stay_text() {
        let source = SourceSummary {
            source: "<script>alert(1)</script>\u{202e}".to_owned(),
            errors: vec!["<img src=x onerror=alert(1)>".to_owned()],
            ..Default::default()
        };
        let report = Report { generated: Timestamp::UNIX_EPOCH, findings: vec![hostile()], sources: vec![source] };
        only_own_markup(&report.render().unwrap());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678].map(thousands).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["999 bytes", "1.5 kB", "2.0 GB"],
            [999, 1500, 2_000_000_000].map(size).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn a_chart_keeps_within_its_frame() {
        let findings: Vec<Message> = (0..300)
            .map(|n| {
                let mut message = message("a");
                message.finding.first_time = Some(Timestamp::from_second(n * n).unwrap());
                message.finding.level = Level::ALL[usize::try_from(n % 5).unwrap()];
                message
            })
            .collect();
        let chart = chart(&findings.iter().collect::<Vec<_>>()).unwrap();
        assert!(chart.bars.iter().all(|bar| bar.x + bar.width <= chart.width && bar.y + bar.height <= chart.height));
        assert!(chart.bars.iter().all(|bar| bar.height > 0));
    }
}
