//! The mail for one finding.

use askama::Template;
use cloudvigil_core::finding::{Finding, Message};

use crate::Error;
use crate::prose;
use crate::view::{Extent, FindingView, short};
use crate::visible;

/// A subject is no longer than this, in characters.
pub const LONGEST_SUBJECT: usize = 150;

/// A message, written: what every channel that takes HTML or text can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// One line, at most [`LONGEST_SUBJECT`] characters, without control characters.
    pub subject: String,
    /// The whole message as text.
    pub text: String,
    /// The whole message as an HTML document that loads nothing.
    pub html: String,
    /// The same for the same message, letters, digits, `-`, `_` and `.` alone: the left part of a `Message-ID`.
    pub id: String,
    /// The same for messages of the same thing going on, in the same alphabet.
    pub thread: Option<String>,
}

#[derive(Template)]
#[template(path = "finding.html")]
struct FindingHtml<'a> {
    subject: &'a str,
    finding: &'a FindingView,
}

#[derive(Template)]
#[template(path = "finding.txt")]
struct FindingText<'a> {
    finding: &'a FindingView,
    description: String,
    runbook: String,
}

/// Writes the mail for a finding.
pub fn write(message: &Message) -> Result<Written, Error> {
    let view = FindingView::new(message, Extent::MAIL);
    let subject = subject(&message.finding);
    Ok(Written {
        html: FindingHtml { subject: &subject, finding: &view }.render()?,
        text: FindingText {
            finding: &view,
            description: prose::plain(&view.description),
            runbook: prose::plain(&view.runbook),
        }
        .render()?,
        id: id_part("finding", &message.finding.id),
        thread: Some(id_part("thread", &message.finding.dedup_key)),
        subject,
    })
}

/// What, where and how bad: `[critical] CloudTrail logging was stopped: trail/main in 123456789012 eu-central-1, by alice`.
fn subject(finding: &Finding) -> String {
    let count = if finding.count > 1 { format!(" ({}×)", finding.count) } else { String::new() };
    let named = |value: &Option<String>, limit| {
        value.as_deref().map(|v| visible::header(short(v), limit)).filter(|v| !v.is_empty())
    };
    let what = named(&finding.resources.first().cloned(), 40);
    let place: Vec<String> =
        [&finding.account, &finding.region].into_iter().filter_map(|part| named(part, 20)).collect();
    let place = if place.is_empty() { None } else { Some(format!("in {}", place.join(" "))) };
    let particular = finding.particulars().next().map(|value| visible::header(short(value), 50));
    let separator = if particular.is_some() || what.is_some() { ": " } else { " " };
    // What it was done to, and where that is, belong together.
    let target: Vec<String> = what.into_iter().chain(place).collect();
    let target = if target.is_empty() { None } else { Some(target.join(" ")) };
    let by = named(&finding.actor, 30).map(|actor| format!("by {actor}"));
    let from = named(&finding.source_address, 40).filter(|_| by.is_none()).map(|address| format!("from {address}"));
    let facts: Vec<String> = [particular, target, by.or(from)].into_iter().flatten().collect();
    let separator = if facts.is_empty() { "" } else { separator };
    let title = visible::header(&finding.title, 70);
    let subject = format!("[{}] {title}{count}{separator}{}", finding.level, facts.join(", "));
    visible::header(&subject, LONGEST_SUBJECT)
}

/// A part of a `Message-ID`, whatever the value.
pub(crate) fn id_part(kind: &str, value: &str) -> String {
    let plain = value.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    format!("cloudvigil.{kind}.{}", plain.take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hostile, message, only_own_markup};

    #[test]
    fn the_subject_says_what_where_and_how_bad() {
        let mut message = message("f1");
        assert_eq!(
            subject(&message.finding),
            "[critical] CloudTrail logging was stopped: trail/main in 123456789012 eu-central-1, by alice"
        );
        message.finding.count = 12;
        message.finding.resources.clear();
        message.finding.actor = None;
        message.finding.region = None;
        assert_eq!(
            subject(&message.finding),
            "[critical] CloudTrail logging was stopped (12×) in 123456789012, from 203.0.113.77"
        );
        message.finding.account = None;
        message.finding.source_address = None;
        message.finding.actor = Some("김철수".to_owned());
        assert_eq!(subject(&message.finding), "[critical] CloudTrail logging was stopped (12×) by 김철수");
        message.finding.actor = None;
        assert_eq!(subject(&message.finding), "[critical] CloudTrail logging was stopped (12×)");
    }

    #[test]
    fn a_hostile_finding_stays_text_within_bounds() {
        let written = write(&hostile()).unwrap();
        assert!(written.subject.chars().count() <= LONGEST_SUBJECT);
        assert!(!written.subject.chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", written.subject);
        only_own_markup(&written.html);
        assert!(written.text.contains("[U+202E]") && !written.text.contains(['\u{202e}', '\u{1b}', '\r', '\0']));
        assert!(written.text.contains("  | Bcc: victim@example.com"), "log lines cannot leave their margin");
        assert!(
            written.html.len() < 400_000 && written.text.len() < 200_000,
            "{} {}",
            written.html.len(),
            written.text.len()
        );
        assert!(
            written
                .id
                .bytes()
                .chain(written.thread.unwrap().bytes())
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        );
    }

    #[test]
    fn all_that_saw_it_are_named() {
        let mut message = message("f1");
        assert!(!write(&message).unwrap().text.contains("Seen by"));
        let entry = &mut message.finding.evidence[0];
        entry.source = "CloudTrail event history of eu-central-1".to_owned();
        entry.also_in = vec!["EventBridge of eu-central-1".to_owned(), "s3://trail/x.json.gz".to_owned()];
        let Written { text, html, .. } = write(&message).unwrap();
        let expected = "CloudTrail event history of eu-central-1, record 17\n\
                        Seen by: CloudTrail event history of eu-central-1\n         EventBridge of eu-central-1\n         \
                        s3://trail/x.json.gz\n  | {";
        assert!(text.contains(expected), "{text}");
        assert!(html.contains("<br><bdi>EventBridge of eu-central-1</bdi>"), "{html}");
    }

    #[test]
    fn text_and_html_say_the_same_to_the_reader() {
        let written = write(&message("f1")).unwrap();
        for part in [&written.html, &written.text] {
            for said in [
                "CloudTrail logging was stopped",
                "203.0.113.77",
                "What to check",
                "start-logging --name main",
                "StopLogging",
                "announced beforehand",
                "API_StopLogging.html",
                "/cloudtrailv2/home?region=eu-central-1",
                "f1",
            ] {
                assert!(part.contains(said), "{said}");
            }
        }
        assert!(written.text.lines().filter(|line| !line.starts_with("  | ")).all(|line| line.chars().count() <= 200));
    }
}
