//! System logs: RFC 3164 with or without a priority, RFC 5424, and the stamps that rsyslog writes.
//!
//! Specification: <https://www.rfc-editor.org/rfc/rfc3164>, <https://www.rfc-editor.org/rfc/rfc5424>,
//! rsyslog's file format: <https://www.rsyslog.com/doc/configuration/templates.html#reserved-template-names>.
//!
//! Every record has `host` and `message`, and where the line has them `appname`, `pid`, `facility` and `severity`
//! (the RFC's keywords). The messages of sshd, PAM and sudo are taken apart further: see [`sshd`] and [`sessions`].
//! `message repeated N times: [ ... ]` is the inner message, N occurrences of it.

mod header;
mod programs;
mod sessions;
mod sshd;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use self::header::{Header, LastStamp};
use self::programs::{Programs, Speech};
use super::bytes::first_of;
use super::stamp::Clock;
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, head};
use crate::fields::{Fields, Flat, Line, Part};
use crate::record::{FactsOf, LogSource, Record};

/// The host that wrote the line.
const HOST: &str = "host";
/// The program, RFC 5424's APP-NAME.
const APPNAME: &str = "appname";
/// The process, RFC 5424's PROCID: a number where it is one.
const PID: &str = "pid";
/// The message, without a byte order mark; of a repeated message the inner one.
const MESSAGE: &str = "message";
/// `auth`, `daemon`, ...; only where the line has a priority.
const FACILITY: &str = "facility";
/// `err`, `info`, ...; only where the line has a priority.
const SEVERITY: &str = "severity";
/// What happened, in one word of ours.
const EVENT: &str = "event";
/// The user that tried, logged in, or ran a command.
const USER: &str = "user";
/// The address that a connection came from.
const SRC_IP: &str = "src_ip";
/// Its port, a number.
const SRC_PORT: &str = "src_port";
/// sshd's method: `password`, `publickey`, ...
const AUTH_METHOD: &str = "auth_method";
/// Whether sshd said that the user does not exist.
const INVALID_USER: &str = "invalid_user";
/// As whom a command ran or a session was opened.
const TARGET_USER: &str = "target_user";
/// The same of sudo alone, by sudo's own name for it, which rules of the community use.
const SUDO_USER: &str = "USER";
/// The command that sudo ran, with its arguments.
const COMMAND: &str = "command";

/// Every field that a record may have.
pub(crate) const FIELDS: [&str; 15] = [
    HOST,
    APPNAME,
    PID,
    MESSAGE,
    FACILITY,
    SEVERITY,
    EVENT,
    USER,
    SRC_IP,
    SRC_PORT,
    AUTH_METHOD,
    INVALID_USER,
    TARGET_USER,
    SUDO_USER,
    COMMAND,
];

/// The longest repetition that is believed: the count is a text that anything able to write to the log can choose.
const MAX_REPEATED: u32 = 1000;

const LINUX: &[&str] = &["linux"];
const KEYS: &[&str] = &[EVENT];
const WORDS: &[&str] = &[EVENT, FACILITY, SEVERITY, INVALID_USER];

/// Grouped by `src_ip`, which is null for the messages that name no address.
static SSHD: LogSource = LogSource {
    products: LINUX,
    services: &["sshd", "auth", "syslog"],
    categories: &[],
    group_by: &[SRC_IP],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static SUDO: LogSource = LogSource {
    products: LINUX,
    services: &["sudo", "auth", "syslog"],
    categories: &[],
    group_by: &[HOST, USER],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static AUTH: LogSource = LogSource {
    products: LINUX,
    services: &["auth", "syslog"],
    categories: &[],
    group_by: &[HOST, USER],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static CRON: LogSource = LogSource {
    products: LINUX,
    services: &["cron", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static CLAMAV: LogSource = LogSource {
    products: LINUX,
    services: &["clamav", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static VSFTPD: LogSource = LogSource {
    products: LINUX,
    services: &["vsftpd", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static GUACAMOLE: LogSource = LogSource {
    products: LINUX,
    services: &["guacamole", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};
static SYSLOG: LogSource = LogSource {
    products: LINUX,
    services: &["syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
    aliases: &[],
};

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&SSHD, &SUDO, &AUTH, &CRON, &CLAMAV, &VSFTPD, &GUACAMOLE, &SYSLOG];

/// The format `syslog`.
pub struct Syslog;

impl Format for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head::most_lines(head, |line| header::is_unmistakable(&String::from_utf8_lossy(line)))
    }

    fn parser(&self, context: &Context) -> Box<dyn Parser> {
        let limit = context.modified.checked_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
        let clock = Clock::new(context.timezone.clone(), limit);
        Box::new(SyslogParser {
            clock,
            last: LastStamp::default(),
            programs: Programs::default(),
            entry: Entry::default(),
        })
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf {
            actor: text(USER).filter(|user| !user.is_empty()),
            source_address: text(SRC_IP),
            resources: text(HOST).into_iter().collect(),
            ..FactsOf::default()
        }
    }
}

struct SyslogParser {
    /// A stamp without a year means no time after the limit.
    clock: Clock,
    last: LastStamp,
    programs: Programs,
    /// The line at hand.
    entry: Entry,
}

impl Parser for SyslogParser {
    fn parse_if<'a>(&'a mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let ends = raw.as_bytes().last().is_some_and(|last| *last <= b'\r');
        let line = if ends { raw.trim_end_matches(['\r', '\n']) } else { raw };
        let header = &mut self.entry.header;
        if let Err(reason) = header.read(line, &mut self.last) {
            return Parsed::Unparsed(reason);
        }
        let (text, occurrences) = match header.message(line) {
            text if text.as_bytes().first() == Some(&b'm') => unrepeated(text),
            text => (text, 1),
        };
        let program = self.programs.of(header.appname_bytes(line));
        let log_source = program.log_source(text);
        let outline = if text.starts_with("pam_") || text.starts_with("PAM ") {
            sessions::pam(text)
        } else {
            match program.speech {
                Speech::Sshd => sshd::outline(text),
                Speech::Sudo => (&sessions::SUDO, text),
                Speech::Su => (&sessions::SU, text),
                Speech::Other => (&NOTHING, text),
            }
        };
        // Most lines end here.
        if !gate.admits_word(log_source, &outline.0.event, raw) {
            return Parsed::Unwatched;
        }
        self.take_apart(raw, line, &Message { text, occurrences, log_source, outline }, gate)
    }
}

/// The message of a line, not yet taken apart.
struct Message<'l> {
    text: &'l str,
    occurrences: u32,
    log_source: &'static LogSource,
    outline: Outline<'l>,
}

impl SyslogParser {
    /// Takes a message apart, of the line whose header was read last.
    #[inline(never)]
    fn take_apart<'a>(
        &'a mut self,
        raw: &'a str,
        line: &'a str,
        message: &Message<'_>,
        gate: &mut dyn Gate,
    ) -> Parsed<'a> {
        let Message { text, occurrences, log_source, outline: (kind, known) } = *message;
        let Entry { header, message, said } = &mut self.entry;
        *said = Said { line: line.as_ptr().addr(), ..Said::default() };
        *message = said.part(text);
        let is_of_kind = kind.read(known, said).is_some();
        let is_as_asked = match kind.event {
            Key::Absent => true,
            Key::Text(_) => is_of_kind,
            Key::Any | Key::Number(_) => false,
        };
        if !is_as_asked && !gate.admits(log_source, &[said.event.map_or(Key::Absent, Key::Text)], raw) {
            return Parsed::Unwatched;
        }
        let time = header.stamp(line).and_then(|stamp| self.clock.time(stamp.as_bytes(), header::stamp_of));
        let (fields, raw) = (Fields::line(line, &self.entry), Cow::Borrowed(raw));
        Parsed::Record(Record { log_source, time, id: None, fields, derived: None, occurrences, raw })
    }
}

/// The message within `message repeated N times: [ ... ]`, and N; any other message as it stands, once.
fn unrepeated(message: &str) -> (&str, u32) {
    let inner = message.strip_prefix("message repeated ").and_then(|rest| {
        let (count, rest) = rest.split_once(" times: [")?;
        let inner = rest.trim_end().strip_suffix(']')?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // A number too long to read is a large one.
        let count = count.parse::<u32>().unwrap_or(MAX_REPEATED);
        Some((inner.strip_prefix(' ').unwrap_or(inner), count.clamp(1, MAX_REPEATED)))
    });
    inner.unwrap_or((message, 1))
}

/// The text before and after the first place where a part stands.
#[expect(clippy::inline_always, reason = "the part is compared in a step or two where it is known")]
#[inline(always)]
fn split<'l, const N: usize>(text: &'l str, part: &[u8; N]) -> Option<(&'l str, &'l str)> {
    let (first, bytes) = (*part.first()?, text.as_bytes());
    let mut start = 0;
    loop {
        start += first_of(&bytes[start..], [first])?;
        if bytes[start..].first_chunk() == Some(part) {
            return Some((&text[..start], &text[start + N..]));
        }
        start += 1;
    }
}

/// Messages that begin alike.
struct Kind {
    start: &'static str,
    /// What is known of [`EVENT`]: a text, if the rest can be read; any, if only who reads it knows. A rule that may look at
    /// the message with its event is among those that may with this.
    event: Key<'static>,
    /// Reads the rest of a message; `None`, with nothing read: it is another one.
    read: fn(&str, &mut Said) -> Option<()>,
}

/// Those without an event.
static NOTHING: Kind = Kind { start: "", event: Key::Absent, read: |_, _| None };

/// A message's kind, and the message from its start on: enough to tell that no rule looks at it.
type Outline<'l> = (&'static Kind, &'l str);

impl Kind {
    /// Those of an event.
    const fn of(start: &'static str, event: &'static str, read: fn(&str, &mut Said) -> Option<()>) -> Self {
        Self { start, event: Key::Text(event), read }
    }

    /// The first of these that a text begins like.
    #[expect(clippy::inline_always, reason = "a beginning is compared in a step or two where it is known")]
    #[inline(always)]
    fn among<const N: usize>(kinds: [&'static Self; N], text: &str) -> &'static Self {
        for kind in kinds {
            if text.starts_with(kind.start) {
                return kind;
            }
        }
        &NOTHING
    }

    /// Takes a message of it apart.
    fn read(&self, message: &str, said: &mut Said) -> Option<()> {
        (self.read)(message.get(self.start.len()..)?, said)?;
        if let Key::Text(event) = self.event {
            said.event = Some(event);
        }
        Some(())
    }
}

/// What a message says, as places in its line.
#[derive(Debug, Default)]
struct Said {
    /// The line's address.
    line: usize,
    /// Of [`EVENT`].
    event: Option<&'static str>,
    /// Of [`USER`].
    user: Part,
    /// Of [`SRC_IP`].
    src_ip: Part,
    /// Of [`SRC_PORT`].
    src_port: Part,
    /// Of [`AUTH_METHOD`].
    auth_method: Part,
    /// Of [`INVALID_USER`].
    invalid_user: Option<bool>,
    /// Of [`TARGET_USER`].
    target_user: Part,
    /// Of [`SUDO_USER`].
    sudo_user: Part,
    /// Of [`COMMAND`].
    command: Part,
}

impl Said {
    /// A part of the message.
    #[inline]
    fn part(&self, text: &str) -> Part {
        Part::of(text, self.line)
    }
}

/// A line, as far as it is taken apart.
#[derive(Debug, Default)]
struct Entry {
    header: Header,
    /// Of [`MESSAGE`].
    message: Part,
    said: Said,
}

impl Line for Entry {
    fn get<'l>(&'l self, line: &'l str, name: &str) -> Option<Flat<'l>> {
        let Self { header, message, said } = self;
        let text = |part: Part| part.within(line).map(Flat::Text);
        match name {
            EVENT => said.event.map(Flat::Text),
            SRC_IP => text(said.src_ip),
            USER => text(said.user),
            HOST => header.host(line).map(Flat::Text),
            AUTH_METHOD => text(said.auth_method),
            INVALID_USER => said.invalid_user.map(Flat::Flag),
            SRC_PORT => said.src_port.within(line).map(number_or_text),
            TARGET_USER => text(said.target_user),
            SUDO_USER => text(said.sudo_user),
            COMMAND => text(said.command),
            MESSAGE => text(*message),
            APPNAME => header.appname(line).map(Flat::Text),
            PID => header.pid(line).map(number_or_text),
            FACILITY => header.priority.map(header::facility).map(Flat::Text),
            SEVERITY => header.priority.map(header::severity).map(Flat::Text),
            _ => None,
        }
    }

    fn all(&self, line: &str) -> Map<String, Value> {
        FIELDS.iter().filter_map(|name| Some(((*name).to_owned(), self.get(line, name)?.into()))).collect()
    }
}

fn number_or_text(value: &str) -> Flat<'_> {
    match value.parse::<u64>() {
        Ok(number) if !value.starts_with('+') => Flat::Number(number),
        _ => Flat::Text(value),
    }
}

#[cfg(test)]
mod tests;
