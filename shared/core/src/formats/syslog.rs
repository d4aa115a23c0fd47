//! System logs: RFC 3164 with or without a priority, RFC 5424, and the stamps that rsyslog writes.
//!
//! Specification: <https://www.rfc-editor.org/rfc/rfc3164>, <https://www.rfc-editor.org/rfc/rfc5424>,
//! rsyslog's file format: <https://www.rsyslog.com/doc/configuration/templates.html#reserved-template-names>.
//!
//! Every record has `host` and `message`, and where the line has them `appname`, `pid`, `facility` and `severity`
//! (the RFC's keywords). The messages of sshd, PAM and sudo are taken apart further: see [`sshd`] and [`sessions`].
//! `message repeated N times: [ ... ]` is the inner message, N occurrences of it.

mod header;
mod sessions;
mod sshd;

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde_json::Map;

use self::header::Header;
use super::stamp::Clock;
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, by_line, head};
use crate::fields::{self, Flat, FlatFields};
use crate::record::{Facts, LogSource, Record};

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
/// The command that sudo ran, with its arguments.
const COMMAND: &str = "command";

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

/// The log source of a program, known by its name without a path.
fn log_source(appname: &str, message: &str) -> &'static LogSource {
    match appname {
        "sshd" | "sshd-session" | "sshd-auth" => &SSHD,
        "sudo" => &SUDO,
        "cron" | "CRON" | "crond" | "anacron" | "crontab" => &CRON,
        "su" | "login" | "passwd" | "useradd" | "userdel" | "usermod" | "groupadd" | "groupdel" | "groupmod"
        | "gpasswd" | "chpasswd" | "chage" | "chfn" | "chsh" | "newusers" | "systemd-logind" | "polkitd" | "pkexec"
        | "doas" | "dropbear" | "gdm-password" => &AUTH,
        "clamd" | "freshclam" | "clamav" | "clamscan" => &CLAMAV,
        "vsftpd" => &VSFTPD,
        "guacd" | "guacamole" => &GUACAMOLE,
        _ if message.starts_with("pam_") => &AUTH,
        _ => &SYSLOG,
    }
}

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
        Box::new(SyslogParser { clock: Clock::new(context.timezone.clone(), limit), room: Vec::new() })
    }

    fn facts(&self, record: &Record<'_>) -> Facts {
        let text = |name: &str| record.fields.text(name).map(str::to_owned);
        Facts {
            actor: text(USER).filter(|user| !user.is_empty()),
            source_address: text(SRC_IP),
            resources: text(HOST).into_iter().collect(),
            ..Facts::default()
        }
    }
}

struct SyslogParser {
    /// Its limit is the latest time that a stamp without a year can mean.
    clock: Clock,
    /// Room for the fields of a line.
    room: FlatFields<'static>,
}

impl Parser for SyslogParser {
    fn parse_if<'a>(&mut self, frame: &'a [u8], gate: &mut dyn Gate) -> Parsed<'a> {
        by_line(frame, |line| self.line(line, gate))
    }
}

impl SyslogParser {
    fn line<'a>(&mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let header = match Header::read(raw.trim_end_matches(['\r', '\n'])) {
            Ok(header) => header,
            Err(reason) => return Parsed::Unparsed(reason),
        };
        let (message, occurrences) = unrepeated(header.message);
        let program = header.appname.map_or("", |name| name.rsplit('/').next().unwrap_or(name));
        let log_source = log_source(program, message);
        let mut fields = Fields(fields::emptied(std::mem::take(&mut self.room)));
        let is_sshd = std::ptr::eq(log_source, &raw const SSHD);
        if message.starts_with("pam_") || message.starts_with("PAM ") {
            sessions::pam(message, &mut fields);
        } else if is_sshd {
            sshd::take_apart(message, &mut fields);
        } else if program == "sudo" {
            sessions::sudo(message, &mut fields);
        } else if program == "su" {
            sessions::su(message, &mut fields);
        }
        if !gate.admits(log_source, &[fields.key(EVENT)], raw) {
            self.room = fields::emptied(fields.0);
            return Parsed::Unwatched;
        }
        if !header.host.is_empty() {
            fields.text(HOST, header.host);
        }
        fields.text(MESSAGE, message);
        if let Some(appname) = header.appname {
            fields.text(APPNAME, appname);
        }
        if let Some(pid) = header.pid {
            fields.number_or_text(PID, pid);
        }
        if let Some(priority) = header.priority {
            fields.text(FACILITY, header::facility(priority));
            fields.text(SEVERITY, header::severity(priority));
        }
        let clock = &mut self.clock;
        let time =
            header.stamp.and_then(|(stamp, text)| clock.time(text.as_bytes(), |zone, limit| stamp.time(zone, limit)));
        let (fields, raw) = (fields::Fields::flat(fields.0), Cow::Borrowed(raw));
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

/// A record's fields, being filled.
struct Fields<'l>(FlatFields<'l>);

impl<'l> Fields<'l> {
    fn text(&mut self, name: &'static str, value: &'l str) {
        self.0.push((Cow::Borrowed(name), Flat::Text(Cow::Borrowed(value))));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.0.push((Cow::Borrowed(name), Flat::Flag(value)));
    }

    fn number_or_text(&mut self, name: &'static str, value: &'l str) {
        match value.parse::<u64>() {
            Ok(number) if !value.starts_with('+') => self.0.push((Cow::Borrowed(name), Flat::Number(number))),
            _ => self.text(name, value),
        }
    }

    fn key(&self, name: &str) -> Key<'_> {
        match fields::find(&self.0, name) {
            None => Key::Absent,
            Some(Flat::Text(text)) => Key::Text(text),
            Some(_) => Key::Any,
        }
    }
}

#[cfg(test)]
mod tests;
