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

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use self::header::Header;
use super::{Context, Format, Framing, Parsed, Parser, head};
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

/// Grouped by `src_ip`, which is null for the messages that name no address.
static SSHD: LogSource =
    LogSource { products: LINUX, services: &["sshd", "auth", "syslog"], categories: &[], group_by: &[SRC_IP] };
static SUDO: LogSource =
    LogSource { products: LINUX, services: &["sudo", "auth", "syslog"], categories: &[], group_by: &[HOST, USER] };
static AUTH: LogSource =
    LogSource { products: LINUX, services: &["auth", "syslog"], categories: &[], group_by: &[HOST, USER] };
static CRON: LogSource =
    LogSource { products: LINUX, services: &["cron", "syslog"], categories: &[], group_by: &[HOST, APPNAME] };
static CLAMAV: LogSource =
    LogSource { products: LINUX, services: &["clamav", "syslog"], categories: &[], group_by: &[HOST, APPNAME] };
static VSFTPD: LogSource =
    LogSource { products: LINUX, services: &["vsftpd", "syslog"], categories: &[], group_by: &[HOST, APPNAME] };
static GUACAMOLE: LogSource =
    LogSource { products: LINUX, services: &["guacamole", "syslog"], categories: &[], group_by: &[HOST, APPNAME] };
static SYSLOG: LogSource =
    LogSource { products: LINUX, services: &["syslog"], categories: &[], group_by: &[HOST, APPNAME] };

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
        Box::new(SyslogParser { timezone: context.timezone.clone(), limit })
    }

    fn facts(&self, record: &Record<'_>) -> Facts {
        let text = |name: &str| record.fields.get(name).and_then(Value::as_str).map(str::to_owned);
        Facts {
            actor: text(USER).filter(|user| !user.is_empty()),
            source_address: text(SRC_IP),
            resources: text(HOST).into_iter().collect(),
            ..Facts::default()
        }
    }
}

struct SyslogParser {
    timezone: TimeZone,
    /// The latest time that a stamp without a year can mean.
    limit: Timestamp,
}

impl Parser for SyslogParser {
    fn parse<'a>(&mut self, frame: &'a [u8]) -> Parsed<'a> {
        let raw = String::from_utf8_lossy(frame);
        let header = match Header::read(raw.trim_end_matches(['\r', '\n']), &self.timezone, self.limit) {
            Ok(header) => header,
            Err(reason) => return Parsed::Unparsed(reason),
        };
        let (message, occurrences) = unrepeated(header.message);
        let program = header.appname.map_or("", |name| name.rsplit('/').next().unwrap_or(name));
        let log_source = log_source(program, message);
        let mut fields = Fields(Map::new());
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
        if message.starts_with("pam_") || message.starts_with("PAM ") {
            sessions::pam(message, &mut fields);
        } else if std::ptr::eq(log_source, &raw const SSHD) {
            sshd::take_apart(message, &mut fields);
        } else if program == "sudo" {
            sessions::sudo(message, &mut fields);
        } else if program == "su" {
            sessions::su(message, &mut fields);
        }
        let (time, fields) = (header.time, Value::Object(fields.0));
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
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), Value::from(value));
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.0.insert(name.to_owned(), Value::from(value));
    }

    fn number_or_text(&mut self, name: &str, value: &str) {
        let number = value.parse::<u64>().ok().filter(|_| !value.starts_with('+'));
        self.0.insert(name.to_owned(), number.map_or_else(|| Value::from(value), Value::from));
    }
}

#[cfg(test)]
mod tests;
