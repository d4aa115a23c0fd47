//! Mails for many findings: what went beyond a rule's hourly cap, and the day's digest.

use std::collections::BTreeMap;

use askama::Template;
use cloudvigil_core::finding::Level;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::message::{LONGEST_SUBJECT, Written, id_part};
use crate::view::{colour, occurrences, short, time};
use crate::{Entry, Error, visible};

/// How many findings a summary lists.
const LISTED: usize = 50;
/// How many rules a digest lists.
const RULES: usize = 60;
/// How many groups of a rule a digest names.
const GROUPS: usize = 3;

/// The findings of one rule beyond the cap of an hour.
#[derive(Debug)]
pub struct Summary {
    /// When the hour began.
    pub hour: Timestamp,
    /// At least one, by time.
    pub entries: Vec<Entry>,
}

/// The lower findings of a UTC day.
#[derive(Debug)]
pub struct Digest {
    /// The day.
    pub date: Date,
    /// At least one, by time.
    pub entries: Vec<Entry>,
}

struct Line {
    time: String,
    who: String,
    place: String,
    what: String,
    count: u64,
    id: String,
}

#[derive(Template)]
#[template(path = "summary.html")]
struct SummaryHtml<'a> {
    subject: &'a str,
    title: &'a str,
    lead: &'a str,
    level: Level,
    colour: &'static str,
    lines: &'a [Line],
    left: usize,
    rule: &'a str,
}

#[derive(Template)]
#[template(path = "summary.txt")]
struct SummaryText<'a> {
    title: &'a str,
    lead: &'a str,
    level: Level,
    lines: &'a [Line],
    left: usize,
    rule: &'a str,
}

impl Summary {
    /// Writes the mail.
    pub fn write(&self) -> Result<Written, Error> {
        let Some(first) = self.entries.first() else {
            return Err(Error::Malformed("a summary of no findings".to_owned()));
        };
        let level = self.entries.iter().map(|entry| entry.level).max().unwrap_or(first.level);
        let count = self.entries.len();
        let from = self.hour.to_zoned(TimeZone::UTC);
        let until = (self.hour + SignedDuration::from_hours(1)).to_zoned(TimeZone::UTC);
        let title = visible::line(&first.title, 200);
        let findings = if count == 1 { "1 more finding".to_owned() } else { format!("{count} more findings") };
        let subject = visible::header(
            &format!(
                "[{level}] {findings}: {} since {}",
                visible::header(&first.title, 80),
                from.strftime("%H:%M UTC")
            ),
            LONGEST_SUBJECT,
        );
        let lead = format!(
            "{findings} of this rule between {} and {} UTC on {}, {} in all. The hour's limit of single mails was reached before them.",
            from.strftime("%H:%M"),
            until.strftime("%H:%M"),
            from.strftime("%Y-%m-%d"),
            occurrences(self.entries.iter().map(|entry| entry.count).sum()),
        );
        let lines: Vec<Line> = self.entries.iter().take(LISTED).map(Line::new).collect();
        let left = count - lines.len();
        let rule = visible::line(&first.rule, 200);
        let (title, lead, lines) = (&*title, &*lead, &*lines);
        Ok(Written {
            html: SummaryHtml {
                subject: &subject,
                title,
                lead,
                level,
                colour: colour(level),
                lines,
                left,
                rule: &rule,
            }
            .render()?,
            text: SummaryText { title, lead, level, lines, left, rule: &rule }.render()?,
            id: id_part("summary", &format!("{}-{}", self.hour, first.rule)),
            thread: Some(id_part("summaries", &first.rule)),
            subject,
        })
    }
}

impl Line {
    fn new(entry: &Entry) -> Self {
        let shown = |value: &Option<String>| value.as_deref().map(|v| visible::line(short(v), 80)).unwrap_or_default();
        let who = [shown(&entry.actor), shown(&entry.source_address)];
        let place = [shown(&entry.account), shown(&entry.region)];
        let mut what = shown(&entry.resource);
        if entry.more_resources > 0 {
            what = format!("{what} and {} more", entry.more_resources);
        }
        if what.is_empty() {
            what = visible::line(&entry.group, 120);
        }
        let joined = |parts: [String; 2], by: &str| {
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(by)
        };
        Self {
            time: entry.first_time.map_or_else(
                || "no time".to_owned(),
                |at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            ),
            who: joined(who, " from "),
            place: joined(place, " "),
            what,
            count: entry.count,
            id: visible::line(&entry.id, 128),
        }
    }
}

/// A rule's day.
struct RuleDay {
    level: Level,
    colour: &'static str,
    title: String,
    findings: usize,
    occurrences: u64,
    span: String,
    groups: Vec<String>,
    groups_left: usize,
}

#[derive(Template)]
#[template(path = "digest.html")]
struct DigestHtml<'a> {
    subject: &'a str,
    lead: &'a str,
    date: Date,
    rules: &'a [RuleDay],
    left: usize,
}

#[derive(Template)]
#[template(path = "digest.txt")]
struct DigestText<'a> {
    lead: &'a str,
    date: Date,
    rules: &'a [RuleDay],
    left: usize,
}

impl Digest {
    /// Writes the mail.
    pub fn write(&self) -> Result<Written, Error> {
        let mut by_rule: BTreeMap<(std::cmp::Reverse<Level>, &str), Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            by_rule.entry((std::cmp::Reverse(entry.level), &entry.rule)).or_default().push(entry);
        }
        let mut rules: Vec<RuleDay> = by_rule.values().map(|entries| RuleDay::new(entries)).collect();
        rules.sort_by(|a, b| (b.level, b.findings, &a.title).cmp(&(a.level, a.findings, &b.title)));
        let (findings, of_rules) = (self.entries.len(), rules.len());
        let counted = format!(
            "{findings} {} of {of_rules} {}",
            if findings == 1 { "finding" } else { "findings" },
            if of_rules == 1 { "rule" } else { "rules" },
        );
        let subject = visible::header(&format!("[digest] {}: {counted}", self.date), LONGEST_SUBJECT);
        let lead = format!("{counted} below the level that is mailed at once, on {} (UTC).", self.date);
        let left = rules.len().saturating_sub(RULES);
        rules.truncate(RULES);
        let (lead, rules, date) = (&*lead, &*rules, self.date);
        Ok(Written {
            html: DigestHtml { subject: &subject, lead, date, rules, left }.render()?,
            text: DigestText { lead, date, rules, left }.render()?,
            id: id_part("digest", &self.date.to_string()),
            thread: None,
            subject,
        })
    }
}

impl RuleDay {
    /// At least one entry.
    fn new(entries: &[&Entry]) -> Self {
        let mut groups: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in entries {
            *groups.entry(&entry.group).or_default() += entry.count;
        }
        let mut groups: Vec<(&str, u64)> = groups.into_iter().filter(|(group, _)| !group.is_empty()).collect();
        groups.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        let first = entries.iter().filter_map(|entry| entry.first_time).min();
        let last = entries.iter().filter_map(|entry| entry.last_time).max();
        let span = match (first, last) {
            (Some(first), Some(last)) if first != last => format!("{} to {}", time(first), time(last)),
            (Some(at), _) | (None, Some(at)) => time(at),
            (None, None) => "no time".to_owned(),
        };
        let level = entries.first().map_or(Level::Low, |entry| entry.level);
        Self {
            level,
            colour: colour(level),
            title: entries.first().map(|entry| visible::line(&entry.title, 160)).unwrap_or_default(),
            findings: entries.len(),
            occurrences: entries.iter().map(|entry| entry.count).sum(),
            span,
            groups_left: groups.len().saturating_sub(GROUPS),
            groups: groups
                .into_iter()
                .take(GROUPS)
                .map(|(group, count)| format!("{} ({})", visible::line(group, 120), occurrences(count)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hostile, message, only_own_markup};

    fn entries(count: usize) -> Vec<Entry> {
        let entry = |n: usize| Entry { id: format!("id-{n}-"), ..Entry::new(&message("f")) };
        (0..count).map(entry).collect()
    }

    #[test]
    fn a_summary_lists_fifty_and_counts_the_others() {
        let hour = "2026-11-22T07:00:00Z".parse().unwrap();
        let written = Summary { hour, entries: entries(120) }.write().unwrap();
        assert_eq!(written.subject, "[critical] 120 more findings: CloudTrail logging was stopped since 07:00 UTC");
        assert!(written.text.contains("id-49-") && !written.text.contains("id-50-"));
        assert!(
            written.html.contains("70 more findings are not listed")
                && written.text.contains("70 more findings are not listed")
        );
        let one = Summary { hour, entries: entries(1) }.write().unwrap();
        assert!(one.subject.contains("1 more finding:") && !one.html.contains("not listed"));
    }

    #[test]
    fn a_digest_groups_by_rule_the_worst_first() {
        let mut all = entries(5);
        for (n, entry) in all.iter_mut().enumerate() {
            entry.level = if n < 2 { Level::Medium } else { Level::Low };
            entry.rule = entry.level.to_string();
            entry.title = format!("Rule of {}", entry.level);
            entry.group = format!("host=web-{n}");
            entry.count = 10 + n as u64;
        }
        let written = Digest { date: "2026-11-22".parse().unwrap(), entries: all }.write().unwrap();
        assert_eq!(written.subject, "[digest] 2026-11-22: 5 findings of 2 rules");
        let at = |said: &str| written.text.find(said).unwrap_or_else(|| panic!("{said}\n{}", written.text));
        assert!(at("[medium] Rule of medium") < at("[low] Rule of low"));
        assert!(at("3 findings, 39 occurrences") < at("host=web-4 (14 occurrences)"));
    }

    #[test]
    fn hostile_entries_stay_text() {
        let entries: Vec<Entry> = (0..60).map(|_| Entry::new(&hostile())).collect();
        let summary = Summary { hour: Timestamp::UNIX_EPOCH, entries: entries.clone() }.write().unwrap();
        let digest = Digest { date: "2026-11-22".parse().unwrap(), entries }.write().unwrap();
        for written in [summary, digest] {
            only_own_markup(&written.html);
            assert!(!written.subject.contains(['\r', '\n', '\u{202e}']));
            assert!(!written.text.contains(['\r', '\u{202e}', '\u{1b}']));
        }
    }
}
