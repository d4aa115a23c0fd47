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
use memchr::{memmem, memrchr};
use serde_json::Map;

use self::header::Header;
use super::stamp::Clock;
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, by_line, head};
use crate::fields::{Fields, Flat, FlatFields};
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
/// The same of sudo alone, by sudo's own name for it, which rules of the community use.
const SUDO_USER: &str = "USER";
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
        Box::new(SyslogParser { clock: Clock::new(context.timezone.clone(), limit) })
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

#[derive(Clone)]
struct SyslogParser {
    /// Its limit is the latest time that a stamp without a year can mean.
    clock: Clock,
}

impl Parser for SyslogParser {
    fn fork(&self) -> Box<dyn Parser> {
        Box::new(self.clone())
    }

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
        let program = header.appname.map_or("", |name| match memrchr(b'/', name.as_bytes()) {
            Some(end) => &name[end + 1..],
            None => name,
        });
        let log_source = log_source(program, message);
        let mut said = Said::default();
        if message.starts_with("pam_") || message.starts_with("PAM ") {
            sessions::pam(message, &mut said);
        } else if std::ptr::eq(log_source, &raw const SSHD) {
            sshd::take_apart(message, &mut said);
        } else if program == "sudo" {
            sessions::sudo(message, &mut said);
        } else if program == "su" {
            sessions::su(message, &mut said);
        }
        if !gate.admits(log_source, &[said.event.map_or(Key::Absent, Key::Text)], raw) {
            return Parsed::Unwatched;
        }
        let fields = said.fields(&header, message);
        let clock = &mut self.clock;
        let time =
            header.stamp.and_then(|(stamp, text)| clock.time(text.as_bytes(), |zone, limit| stamp.time(zone, limit)));
        let (fields, raw) = (Fields::flat(fields), Cow::Borrowed(raw));
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
fn split<'l>(text: &'l str, at: &str) -> Option<(&'l str, &'l str)> {
    let start = memmem::find(text.as_bytes(), at.as_bytes())?;
    Some((&text[..start], &text[start + at.len()..]))
}

/// What a message says, as slices of it. Most lines are looked at by no rule: they never become fields.
#[derive(Default)]
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

impl<'l> Said<'l> {
    /// The fields of a record that says this in its message.
    fn fields(&self, header: &Header<'l>, message: &'l str) -> FlatFields<'l> {
        let text = |value: &'l str| Flat::Text(Cow::Borrowed(value));
        let number_or_text = |value: &'l str| match value.parse::<u64>() {
            Ok(number) if !value.starts_with('+') => Flat::Number(number),
            _ => text(value),
        };
        let fields = [
            (EVENT, self.event.map(text)),
            (AUTH_METHOD, self.auth_method.map(text)),
            (INVALID_USER, self.invalid_user.map(Flat::Flag)),
            (USER, self.user.map(text)),
            (SRC_IP, self.src_ip.map(text)),
            (SRC_PORT, self.src_port.map(number_or_text)),
            (TARGET_USER, self.target_user.map(text)),
            (SUDO_USER, self.sudo_user.map(text)),
            (COMMAND, self.command.map(text)),
            (HOST, Some(header.host).filter(|host| !host.is_empty()).map(text)),
            (MESSAGE, Some(text(message))),
            (APPNAME, header.appname.map(text)),
            (PID, header.pid.map(number_or_text)),
            (FACILITY, header.priority.map(header::facility).map(text)),
            (SEVERITY, header.priority.map(header::severity).map(text)),
        ];
        let mut found = FlatFields::with_capacity(fields.len());
        found.extend(fields.into_iter().filter_map(|(name, value)| Some((Cow::Borrowed(name), value?))));
        found
    }
}

#[cfg(test)]
mod tests;
