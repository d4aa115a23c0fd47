//! An application's own log: lines of any shape, or one JSON object a line.
//!
//! There is no specification; what is read is what loggers have in common. A record has `message` (the line, or
//! JSON's `message` or `msg`), `level` in upper case where there is one, and for JSON the other top-level keys as they
//! stand. [`crate::enrich`] adds the kind of error.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use memchr::memmem;
use serde_json::{Map, Value};

use super::{Context, Format, Framing, Gate, Parsed, Parser, head, members, stamp};
use crate::record::{FactsOf, LogSource, Record};

pub(crate) const MESSAGE: &str = "message";
pub(crate) const LEVEL: &str = "level";

/// Where loggers put the message, the level and the time in JSON.
const MESSAGES: [&str; 2] = [MESSAGE, "msg"];
const LEVELS: [&str; 3] = [LEVEL, "severity", "levelname"];
const TIMES: [&str; 5] = ["timestamp", "time", "ts", "@timestamp", "asctime"];

/// A level's words, as loggers write them, and the one that stands for them.
const WORDS: [(&str, &str); 12] = [
    ("ERROR", "ERROR"),
    ("WARN", "WARN"),
    ("INFO", "INFO"),
    ("DEBUG", "DEBUG"),
    ("TRACE", "TRACE"),
    ("FATAL", "FATAL"),
    ("CRITICAL", "CRITICAL"),
    ("WARNING", "WARN"),
    ("ERR", "ERROR"),
    ("CRIT", "CRITICAL"),
    ("EMERG", "CRITICAL"),
    ("NOTICE", "INFO"),
];

/// How far into a line a level is looked for: beyond it, the word is part of the message.
const LEVEL_WITHIN: usize = 100;

/// Above it, a numeric time is in milliseconds: as seconds it would be the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// One in this many of the lines that are no continuation must look like a log's.
const RECOGNISED_SHARE: usize = 3;

/// What an application is made with does not show in its log, so rules for each of these are asked: all that the
/// [taxonomy](https://sigmahq.io/sigma-specification/specification/sigma-appendix-taxonomy.html) has in its folder
/// `application` for logs of errors, and web servers, whose error logs begin their lines as loggers do.
const PRODUCTS: &[&str] = &[
    "application",
    "apache",
    "django",
    "jvm",
    "nginx",
    "nodejs",
    "python",
    "ruby_on_rails",
    "spring",
    "sql",
    "velocity",
];

/// The taxonomy has the error logs of web servers as `product: apache, service: error`, and as `service: apache`.
const SERVICES: &[&str] = &["application", "apache", "error", "nginx"];

static LOG_SOURCE: LogSource = LogSource {
    products: PRODUCTS,
    services: SERVICES,
    categories: &["application"],
    group_by: &[crate::enrich::ERROR_KIND],
    keys: &[],
    rare: &[],
    words: &[LEVEL],
    aliases: &[],
};

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&LOG_SOURCE];

/// The format `application`.
pub struct Application;

impl Format for Application {
    fn name(&self) -> &'static str {
        "application"
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn recognises(&self, head: &[u8]) -> bool {
        if head.contains(&0) {
            return false;
        }
        let lines = head::lines(head);
        let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        if lines.iter().any(|line| is_crash(line)) {
            return true;
        }
        // Stack traces and wrapped messages are indented: they speak neither for nor against.
        let voters = lines.iter().filter(|line| !line.starts_with([' ', '\t'])).count();
        let accepted = lines.iter().filter(|line| is_log_line(line)).count();
        accepted > 0 && accepted * RECOGNISED_SHARE >= voters
    }

    fn parser(&self, context: &Context) -> Box<dyn Parser> {
        Box::new(ApplicationParser { timezone: context.timezone.clone() })
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf { actor: text("user"), resources: text("service").into_iter().collect(), ..FactsOf::default() }
    }
}

struct ApplicationParser {
    timezone: TimeZone,
}

impl Parser for ApplicationParser {
    fn parse_if<'a>(&'a mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        if raw.starts_with('{')
            && let Ok(mut fields) = members(raw)
        {
            if !gate.admits(&LOG_SOURCE, &[], raw) {
                return Parsed::Unwatched;
            }
            let time = TIMES.iter().find_map(|name| json_time(fields.get(*name)?, &self.timezone));
            let level = LEVELS.iter().find_map(|name| json_level(fields.get(*name)?));
            let message = MESSAGES.iter().find_map(|name| fields.get(*name)?.as_str()).unwrap_or(raw).to_owned();
            fields.insert(MESSAGE.to_owned(), Value::from(message));
            if let Some(level) = level {
                fields.insert(LEVEL.to_owned(), Value::from(level));
            }
            return Parsed::Record(record(time, fields, raw));
        }
        if !gate.admits(&LOG_SOURCE, &[], raw) {
            return Parsed::Unwatched;
        }
        let mut fields = Map::new();
        fields.insert(MESSAGE.to_owned(), Value::from(raw));
        if let Some(level) = line_level(raw) {
            fields.insert(LEVEL.to_owned(), Value::from(level));
        }
        let time = leading_stamp(raw).and_then(|stamp| stamp.time(&self.timezone, Timestamp::MAX));
        Parsed::Record(record(time, fields, raw))
    }
}

fn record(time: Option<Timestamp>, fields: Map<String, Value>, raw: &str) -> Record<'_> {
    let fields = fields.into();
    let raw = Cow::Borrowed(raw);
    Record { log_source: &LOG_SOURCE, time, id: None, fields, derived: None, occurrences: 1, raw }
}

/// Whether a word is a level, in upper case.
pub(super) fn is_level(word: &str) -> bool {
    known_level(word).is_some()
}

fn known_level(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, level)| *level)
}

/// A stamp at the start of a line, perhaps in a bracket.
fn leading_stamp(line: &str) -> Option<stamp::Stamp> {
    let text = line.strip_prefix('[');
    stamp::iso(text.unwrap_or(line).as_bytes()).or_else(|| stamp::error_log(text?.as_bytes()))
}

/// The first level that stands as a word near the start: in upper case, or in lower case as `[error]` or
/// `level=error`.
fn line_level(line: &str) -> Option<&'static str> {
    let end = (0..=LEVEL_WITHIN.min(line.len())).rev().find(|end| line.is_char_boundary(*end))?;
    let start = &line[..end];
    let words = start.split(|letter: char| !letter.is_ascii_alphabetic());
    words.filter(|word| word.len() >= 3).find_map(|word| {
        known_level(word).or_else(|| {
            let at = word.as_ptr() as usize - start.as_ptr() as usize;
            let before = &start[..at];
            let marked = before.ends_with('[') || before.ends_with("level=") || before.ends_with("level=\"");
            if marked { known_level(&word.to_ascii_uppercase()) } else { None }
        })
    })
}

fn json_level(value: &Value) -> Option<String> {
    match value {
        Value::String(word) => {
            let word = word.to_ascii_uppercase();
            Some(known_level(&word).map_or(word, str::to_owned))
        }
        // Bunyan and pino count in tens.
        Value::Number(number) => Some(
            match number.as_u64()? {
                0..=19 => "TRACE",
                20..=29 => "DEBUG",
                30..=39 => "INFO",
                40..=49 => "WARN",
                50..=59 => "ERROR",
                _ => "FATAL",
            }
            .to_owned(),
        ),
        _ => None,
    }
}

fn json_time(value: &Value, zone: &TimeZone) -> Option<Timestamp> {
    match value {
        Value::String(text) => stamp::iso_whole(text, zone),
        Value::Number(number) => {
            let number = number.as_f64()?;
            let seconds = if number >= MILLISECONDS_FROM { number / 1000.0 } else { number };
            Timestamp::from_duration(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
        }
        _ => None,
    }
}

/// The line with which a crash report begins.
fn is_crash(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last)")
        || line.starts_with("thread '") && memmem::find(line.as_bytes(), b"panicked at").is_some()
        || line.starts_with("Exception in thread ")
        || line.starts_with("panic: ")
}

/// Whether a line can hardly be anything but a log's: it begins with a stamp, its level stands at its start, or it is
/// a logger's JSON.
fn is_log_line(line: &str) -> bool {
    if line.starts_with('{') {
        return members(line).is_ok_and(|fields| {
            let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
            has(&LEVELS) && has(&MESSAGES)
        });
    }
    leading_stamp(line).is_some() || level_at_start(line)
}

/// `ERROR: x`, `[WARN] x`, `<INFO> x`, `INFO  x`, `ERROR:root:x`, `level=error x`: not a word within a sentence.
fn level_at_start(line: &str) -> bool {
    if line.starts_with("level=") {
        return true;
    }
    let text = line.trim_start_matches(['[', '<', '(']);
    let end = text.find(|letter: char| !letter.is_ascii_uppercase()).unwrap_or(text.len());
    is_level(&text[..end]) && text[end..].starts_with([':', ']', '>', ')', ' ', '\t', '/'])
}

#[cfg(test)]
mod tests;
