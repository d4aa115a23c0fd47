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
use crate::fields::{Fields, Flat, Line};
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
const FIELDS: [&str; 15] = [
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
};
static SUDO: LogSource = LogSource {
    products: LINUX,
    services: &["sudo", "auth", "syslog"],
    categories: &[],
    group_by: &[HOST, USER],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static AUTH: LogSource = LogSource {
    products: LINUX,
    services: &["auth", "syslog"],
    categories: &[],
    group_by: &[HOST, USER],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static CRON: LogSource = LogSource {
    products: LINUX,
    services: &["cron", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static CLAMAV: LogSource = LogSource {
    products: LINUX,
    services: &["clamav", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static VSFTPD: LogSource = LogSource {
    products: LINUX,
    services: &["vsftpd", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static GUACAMOLE: LogSource = LogSource {
    products: LINUX,
    services: &["guacamole", "syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};
static SYSLOG: LogSource = LogSource {
    products: LINUX,
    services: &["syslog"],
    categories: &[],
    group_by: &[HOST, APPNAME],
    keys: KEYS,
    rare: &[],
    words: WORDS,
};

/// Those that a record may have.
pub(super) const LOG_SOURCES: &[&LogSource] = &[&SSHD, &SUDO, &AUTH, &CRON, &CLAMAV, &VSFTPD, &GUACAMOLE, &SYSLOG];

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
            header: Header::default(),
            last: LastStamp::default(),
            programs: Programs::default(),
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
    header: Header,
    last: LastStamp,
    programs: Programs,
}

impl Parser for SyslogParser {
    fn parse_if<'a>(&mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let ends = raw.as_bytes().last().is_some_and(|last| *last <= b'\r');
        let line = if ends { raw.trim_end_matches(['\r', '\n']) } else { raw };
        if let Err(reason) = self.header.read(line, &mut self.last) {
            return Parsed::Unparsed(reason);
        }
        let header = &self.header;
        let (message, occurrences) = match header.message(line) {
            message if message.as_bytes().first() == Some(&b'm') => unrepeated(message),
            message => (message, 1),
        };
        let program = self.programs.of(header.appname_bytes(line));
        let log_source = program.log_source(message);
        let outline = if message.starts_with("pam_") || message.starts_with("PAM ") {
            sessions::pam(message)
        } else {
            match program.speech {
                Speech::Sshd => sshd::outline(message),
                Speech::Sudo => Outline::Unknown(message, sessions::sudo),
                Speech::Su => Outline::Unknown(message, sessions::su),
                Speech::Other => Outline::Nothing,
            }
        };
        let likely = outline.key();
        if !gate.admits(log_source, &[likely], raw) {
            return Parsed::Unwatched;
        }
        let mut said = Said::default();
        let _ = outline.read(&mut said);
        let key = said.event.map_or(Key::Absent, Key::Text);
        if key != likely && !gate.admits(log_source, &[key], raw) {
            return Parsed::Unwatched;
        }
        let time = header.stamp(line).and_then(|stamp| self.clock.time(stamp.as_bytes(), header::stamp_of));
        let (fields, raw) = (Fields::line(Entry { line, header: header.clone(), message, said }), Cow::Borrowed(raw));
        Parsed::Record(Record { log_source, time, id: None, fields, derived: Map::new(), occurrences, raw })
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

/// Reads the rest of a message; `None`, with nothing read: it is another one.
type Read = for<'l> fn(&'l str, &mut Said<'l>) -> Option<()>;

/// How messages of an event begin, the event, and what reads the rest.
type Beginning = (&'static str, &'static str, Read);

/// What a message begins like: enough to tell that no rule looks at it.
#[derive(Clone, Copy)]
enum Outline<'l> {
    /// It has no event.
    Nothing,
    /// It is of this event, if the rest can be read.
    Event(&'static str, &'l str, Read),
    /// Only who reads it knows the event.
    Unknown(&'l str, Read),
}

impl<'l> Outline<'l> {
    /// That of a message which begins like this; nothing of another one.
    #[expect(clippy::inline_always, reason = "the beginning is compared in a step or two where it is known")]
    #[inline(always)]
    fn of(text: &'l str, (start, event, read): Beginning) -> Self {
        text.strip_prefix(start).map_or(Self::Nothing, |rest| Self::Event(event, rest, read))
    }

    /// This one, or else that of a message which begins like this.
    #[expect(clippy::inline_always, reason = "as of one")]
    #[inline(always)]
    fn or(self, text: &'l str, beginning: Beginning) -> Self {
        match self {
            Self::Nothing => Self::of(text, beginning),
            known => known,
        }
    }

    /// What is known of [`EVENT`]. A rule that may look at the message with its event is among those that may with this.
    fn key(self) -> Key<'static> {
        match self {
            Self::Nothing => Key::Absent,
            Self::Event(event, ..) => Key::Text(event),
            Self::Unknown(..) => Key::Any,
        }
    }

    /// Takes the message apart.
    fn read(self, said: &mut Said<'l>) -> Option<()> {
        match self {
            Self::Nothing => None,
            Self::Event(event, rest, read) => {
                read(rest, said)?;
                said.event = Some(event);
                Some(())
            }
            Self::Unknown(rest, read) => read(rest, said),
        }
    }
}

/// What a message says, as slices of it.
#[derive(Debug, Default)]
struct Said<'l> {
    /// Of [`EVENT`].
    event: Option<&'static str>,
    /// Of [`USER`].
    user: Option<&'l str>,
    /// Of [`SRC_IP`].
    src_ip: Option<&'l str>,
    /// Of [`SRC_PORT`].
    src_port: Option<&'l str>,
    /// Of [`AUTH_METHOD`].
    auth_method: Option<&'l str>,
    /// Of [`INVALID_USER`].
    invalid_user: Option<bool>,
    /// Of [`TARGET_USER`].
    target_user: Option<&'l str>,
    /// Of [`SUDO_USER`].
    sudo_user: Option<&'l str>,
    /// Of [`COMMAND`].
    command: Option<&'l str>,
}

/// A line, as far as it is taken apart.
#[derive(Debug)]
struct Entry<'l> {
    line: &'l str,
    header: Header,
    /// Of [`MESSAGE`].
    message: &'l str,
    said: Said<'l>,
}

impl Line for Entry<'_> {
    fn get(&self, name: &str) -> Option<Flat<'_>> {
        let Self { line, header, message, said } = self;
        match name {
            EVENT => said.event.map(Flat::Text),
            SRC_IP => said.src_ip.map(Flat::Text),
            USER => said.user.map(Flat::Text),
            HOST => header.host(line).map(Flat::Text),
            AUTH_METHOD => said.auth_method.map(Flat::Text),
            INVALID_USER => said.invalid_user.map(Flat::Flag),
            SRC_PORT => said.src_port.map(number_or_text),
            TARGET_USER => said.target_user.map(Flat::Text),
            SUDO_USER => said.sudo_user.map(Flat::Text),
            COMMAND => said.command.map(Flat::Text),
            MESSAGE => Some(Flat::Text(message)),
            APPNAME => header.appname(line).map(Flat::Text),
            PID => header.pid(line).map(number_or_text),
            FACILITY => header.priority.map(header::facility).map(Flat::Text),
            SEVERITY => header.priority.map(header::severity).map(Flat::Text),
            _ => None,
        }
    }

    fn all(&self) -> Map<String, Value> {
        FIELDS.iter().filter_map(|name| Some(((*name).to_owned(), self.get(name)?.into()))).collect()
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
