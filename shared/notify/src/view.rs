//! A finding as its readers see it: the shape that the templates of mails and report share. Every logged value in it
//! has been cut and made visible; the templates escape it.

use cloudvigil_core::finding::{Finding, Level, Message};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::prose::{self, Block, Span};
use crate::visible;

/// How much of a finding is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub evidence: usize,
    pub evidence_text: usize,
}

impl Extent {
    /// In a mail: mail clients cut at about 100 KB of HTML.
    pub const MAIL: Self = Self { evidence: 5, evidence_text: 1400 };
    /// In a page.
    pub const PAGE: Self = Self { evidence: 10, evidence_text: 2048 };
}

/// The longest single value shown, in characters.
const VALUE: usize = 300;
/// The most values of a list shown.
const VALUES: usize = 12;

pub(crate) struct FindingView {
    pub level: Level,
    pub colour: &'static str,
    pub title: String,
    pub lead: String,
    /// Who did it from where, in one line.
    pub who: Option<String>,
    pub facts: Vec<Fact>,
    pub description: Vec<Block>,
    pub runbook: Vec<Block>,
    pub evidence: Vec<EvidenceView>,
    pub evidence_note: Option<String>,
    pub false_positives: Vec<Vec<Span>>,
    pub references: Vec<Reference>,
    pub console: Option<String>,
    pub tags: String,
    pub id: String,
    pub rule: String,
}

/// A label and its values, one a line.
pub(crate) struct Fact {
    pub label: &'static str,
    pub values: Vec<String>,
}

pub(crate) struct EvidenceView {
    pub time: String,
    pub place: String,
    /// All that saw it, if that is more than one.
    pub seen_by: Vec<String>,
    pub text: String,
}

/// A reference of the rule. Only `https` addresses of plain characters become links.
pub(crate) struct Reference {
    pub text: String,
    pub link: bool,
}

impl FindingView {
    pub fn new(message: &Message, extent: Extent) -> Self {
        let (finding, guidance) = (&message.finding, &message.guidance);
        let mut facts = Vec::new();
        let mut fact = |label, values: Vec<String>| {
            if !values.is_empty() {
                facts.push(Fact { label, values });
            }
        };
        let one = |value: &Option<String>| value.iter().map(|value| visible::line(value, VALUE)).collect();
        fact("Who", one(&finding.actor));
        fact("From", one(&finding.source_address));
        fact("On", listed(&finding.resources));
        fact("Account", one(&finding.account));
        fact("Region", one(&finding.region));
        fact("First seen", finding.first_time.into_iter().map(time).collect());
        if finding.last_time != finding.first_time {
            fact("Last seen", finding.last_time.into_iter().map(time).collect());
        }
        fact("Occurrences", vec![finding.count.to_string()]);
        let group: Vec<String> = finding
            .group
            .iter()
            .map(|(field, value)| format!("{field} = {}", value.as_deref().unwrap_or("(none)")))
            .collect();
        fact("In common", listed(&group));

        let left = finding.evidence.len().saturating_sub(extent.evidence);
        let shown = finding.evidence.len() - left;
        let evidence_note = (finding.count > shown as u64)
            .then(|| format!("The first {shown} of {} occurrences; the others are in the log itself.", finding.count))
            .filter(|_| shown > 0);
        Self {
            level: finding.level,
            colour: colour(finding.level),
            title: visible::line(&finding.title, 200),
            lead: lead(finding.count, finding.first_time, finding.last_time),
            who: who(finding),
            facts,
            description: prose::blocks(&guidance.description),
            runbook: prose::blocks(&guidance.runbook),
            evidence: finding
                .evidence
                .iter()
                .take(extent.evidence)
                .map(|entry| EvidenceView {
                    time: entry.time.map_or_else(|| "no time".to_owned(), time),
                    place: format!("{}, record {}", visible::line(&entry.source, VALUE), entry.record),
                    seen_by: entry.seen_by().into_iter().flatten().map(|place| visible::line(place, VALUE)).collect(),
                    text: visible::lines(entry.text.trim_end(), extent.evidence_text),
                })
                .collect(),
            evidence_note,
            false_positives: guidance
                .false_positives
                .iter()
                .take(VALUES)
                .map(|text| prose::spans(&visible::line(text, 2 * VALUE)))
                .collect(),
            references: guidance.references.iter().take(VALUES).map(|text| Reference::new(text)).collect(),
            console: console(message),
            tags: visible::line(&guidance.tags.join(", "), VALUE),
            id: visible::line(&finding.id, 128),
            rule: visible::line(&finding.rule, 200),
        }
    }
}

impl Reference {
    fn new(text: &str) -> Self {
        let rest = text.strip_prefix("https://");
        let link = rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.len() <= VALUE
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/?#&=%+,:;!()".contains(&b))
        });
        Self { text: visible::line(text, VALUE), link }
    }
}

/// A level's colour, which carries white text at a contrast of at least 4.5.
pub(crate) fn colour(level: Level) -> &'static str {
    match level {
        Level::Critical => "#9f1239",
        Level::High => "#c2410c",
        Level::Medium => "#8a5a00",
        Level::Low => "#1d4ed8",
        Level::Informational => "#475569",
    }
}

/// A time as people read it.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `1 occurrence`, `512 occurrences`.
pub(crate) fn occurrences(count: u64) -> String {
    if count == 1 { "1 occurrence".to_owned() } else { format!("{count} occurrences") }
}

fn lead(count: u64, first: Option<Timestamp>, last: Option<Timestamp>) -> String {
    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
    match (first, last) {
        (Some(first), Some(last)) if first != last => {
            format!("Seen {times} between {} and {}.", time(first), time(last))
        }
        (Some(at), _) | (None, Some(at)) => format!("Seen {times}, at {}.", time(at)),
        (None, None) => format!("Seen {times}, at a time that the log does not tell."),
    }
}

fn who(finding: &Finding) -> Option<String> {
    let shown = |value: &Option<String>| value.as_deref().map(|value| visible::line(short(value), 80));
    match (shown(&finding.actor), shown(&finding.source_address)) {
        (Some(actor), Some(address)) => Some(format!("By {actor} from {address}.")),
        (Some(actor), None) => Some(format!("By {actor}.")),
        (None, Some(address)) => Some(format!("From {address}.")),
        (None, None) => finding.resources.first().map(|resource| format!("On {}.", visible::line(short(resource), 80))),
    }
}

fn listed(values: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = values.iter().take(VALUES).map(|value| visible::line(value, VALUE)).collect();
    if values.len() > VALUES {
        shown.push(format!("and {} more", values.len() - VALUES));
    }
    shown
}

/// What an ARN names, without where: `trail/main` of `arn:aws:cloudtrail:eu-central-1:123456789012:trail/main`, and
/// `alice` of `arn:aws:iam::123456789012:user/alice`. Anything else as it is.
pub(crate) fn short(name: &str) -> &str {
    if !name.starts_with("arn:") {
        return name;
    }
    let mut parts = name.splitn(6, ':');
    let service = parts.nth(2).unwrap_or_default();
    let resource = parts.nth(2).unwrap_or_default();
    let resource = match service {
        "iam" | "sts" => {
            ["user/", "assumed-role/"].iter().find_map(|kind| resource.strip_prefix(kind)).unwrap_or(resource)
        }
        _ => resource,
    };
    if resource.is_empty() { name } else { resource }
}

/// The console's page of the event, where the finding is one CloudTrail event. Built of nothing logged but an id and a
/// region that look exactly as they must.
fn console(message: &Message) -> Option<String> {
    let finding = &message.finding;
    let event = finding.group.get("eventID")?.as_deref()?;
    let is_uuid = event.len() == 36
        && event.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let region = finding.region.as_deref()?;
    let is_region = region.len() <= 24
        && region.split('-').count() >= 3
        && region
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if !is_uuid || !is_region {
        return None;
    }
    let domain = match region.split('-').next()? {
        "cn" => "amazonaws.cn",
        "us" if region.starts_with("us-gov-") => "amazonaws-us-gov.com",
        // The isolated partitions have consoles elsewhere.
        "us" if region.starts_with("us-iso") => return None,
        "eu" if region.starts_with("eu-iso") => return None,
        _ => "aws.amazon.com",
    };
    Some(format!("https://{region}.console.{domain}/cloudtrailv2/home?region={region}#/events/{event}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn arns_are_shortened_to_what_they_name() {
        assert_eq!(short("arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"), "trail/main");
        assert_eq!(short("arn:aws:iam::123456789012:user/alice"), "alice");
        assert_eq!(short("arn:aws:sts::123456789012:assumed-role/Admin/bob"), "Admin/bob");
        assert_eq!(short("arn:aws:iam::123456789012:root"), "root");
        assert_eq!(short("arn:aws:s3:::logs"), "logs");
        assert_eq!(short("arn:"), "arn:");
        assert_eq!(short("web-1"), "web-1");
    }

    #[test]
    fn only_an_event_with_a_true_id_and_region_gets_a_console_link() {
        let mut message = message("a1");
        message.finding.region = Some("eu-central-1".to_owned());
        let event = "2ee1fc2e-56a2-4bd4-9e1f-9c57a6e41a44";
        message.finding.group = [("eventID".to_owned(), Some(event.to_owned()))].into_iter().collect();
        let link = console(&message).unwrap();
        assert!(link.starts_with("https://eu-central-1.console.aws.amazon.com/cloudtrailv2/"), "{link}");
        assert!(link.ends_with(event));
        for region in ["evil.example/", "eu-central-1.evil.example", "", "eu", "EU-central-1"] {
            message.finding.region = Some(region.to_owned());
            assert_eq!(console(&message), None, "{region}");
        }
        message.finding.region = Some("us-gov-west-1".to_owned());
        assert!(console(&message).unwrap().contains(".console.amazonaws-us-gov.com/"));
        message.finding.group = [("eventID".to_owned(), Some("x".repeat(36)))].into_iter().collect();
        assert_eq!(console(&message), None);
    }

    #[test]
    fn only_plain_https_references_are_links() {
        assert!(Reference::new("https://docs.aws.amazon.com/a/b.html#c-d").link);
        for odd in [
            "javascript:alert(1)",
            "http://a.example",
            "https://a.example/\"onclick=",
            "https://@b",
            "https://",
            "see the wiki",
        ] {
            assert!(!Reference::new(odd).link, "{odd}");
        }
    }
}
