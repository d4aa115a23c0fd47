//! The part of a line before its message.

use std::cell::OnceCell;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::bytes::first_of;
use super::super::stamp::{self, Stamp};

/// The highest priority: facility 23, severity 7.
const MAX_PRIORITY: u8 = 191;
/// RFC 5424's version.
const VERSION: &str = "1";
const NIL: &str = "-";
const BOM: char = '\u{feff}';

/// [RFC 5424, table 1](https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1), in the keywords of syslog.h.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// [RFC 5424, table 2](https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1), in the keywords of syslog.h.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

pub(super) fn facility(priority: u8) -> &'static str {
    FACILITIES.get(usize::from(priority / 8)).copied().unwrap_or("unknown")
}

pub(super) fn severity(priority: u8) -> &'static str {
    SEVERITIES[usize::from(priority % 8)]
}

/// A line, its header taken apart.
#[derive(Debug)]
pub(super) struct Header<'l> {
    pub(super) priority: Option<u8>,
    pub(super) stamp: Stamped,
    pub(super) host: &'l str,
    pub(super) appname: Option<&'l str>,
    pub(super) pid: Option<&'l str>,
    pub(super) message: &'l str,
}

/// The stamp of a line.
#[derive(Debug)]
pub(super) enum Stamped {
    /// There is none, or it cannot be read.
    Not,
    /// It is the [`LastStamp`].
    AsLast,
    /// It is RFC 5424's.
    Own(Stamp),
}

/// The stamp that the last line began with. Neighbours in a log mostly have the same one, which is not read again.
#[derive(Clone, Default)]
pub(super) struct LastStamp {
    /// Its text, and the space that ends it.
    text: String,
    /// What it says; `None` before the first.
    stamp: Option<Stamp>,
    /// When that is, if somebody has asked.
    time: OnceCell<Option<Timestamp>>,
}

impl LastStamp {
    /// What follows the stamp at the start of a text, and the space after it.
    fn opening<'l>(&mut self, text: &'l str) -> Result<&'l str, &'static str> {
        if !self.text.is_empty()
            && let Some(rest) = text.strip_prefix(self.text.as_str())
        {
            return Ok(rest);
        }
        let stamp = either_stamp(text).ok_or("no time stamp at the start")?;
        let rest =
            text.get(stamp.len..).and_then(|rest| rest.strip_prefix(' ')).ok_or("nothing after the time stamp")?;
        self.text.clear();
        self.text.push_str(&text[..=stamp.len]);
        (self.stamp, self.time) = (Some(stamp), OnceCell::new());
        Ok(rest)
    }

    /// The time of the last header's stamp.
    pub(super) fn time(&self, stamp: &Stamped, zone: &TimeZone, limit: Timestamp) -> Option<Timestamp> {
        match stamp {
            Stamped::Not => None,
            Stamped::AsLast => *self.time.get_or_init(|| self.stamp?.time(zone, limit)),
            Stamped::Own(stamp) => stamp.time(zone, limit),
        }
    }
}

impl<'l> Header<'l> {
    pub(super) fn read(line: &'l str, last: &mut LastStamp) -> Result<Self, &'static str> {
        let (priority, rest) = match line.strip_prefix('<') {
            Some(rest) => priority(rest).map(|(priority, rest)| (Some(priority), rest)).ok_or("no valid priority")?,
            None => (None, line),
        };
        if priority.is_some() && rest.starts_with(|first: char| first.is_ascii_digit()) {
            let (version, after) = rest.split_once(' ').ok_or("no header")?;
            if version == VERSION {
                return Self::structured(priority, after);
            }
            if version.len() <= 3 {
                return Err("unknown version of RFC 5424");
            }
        }
        Self::traditional(priority, rest, last)
    }

    /// RFC 3164, and rsyslog's file format: the same with an ISO stamp.
    fn traditional(priority: Option<u8>, text: &'l str, last: &mut LastStamp) -> Result<Self, &'static str> {
        let rest = last.opening(text)?;
        let rest = if rest.starts_with(' ') { rest.trim_start_matches(' ') } else { rest };
        let (host, rest) = word(rest).ok_or("no message")?;
        if matches!(host.as_bytes().last(), None | Some(b':')) {
            return Err("no host");
        }
        let (appname, pid, message) = tag(rest);
        if appname.is_none() && message.trim().is_empty() {
            return Err("no message");
        }
        Ok(Self { priority, stamp: Stamped::AsLast, host, appname, pid, message: without_mark(message) })
    }

    /// RFC 5424, from after the version.
    fn structured(priority: Option<u8>, rest: &'l str) -> Result<Self, &'static str> {
        let mut rest = Some(rest);
        let mut part = || {
            let (part, after) = match rest?.split_once(' ') {
                Some((part, after)) => (part, Some(after)),
                None => (rest?, None),
            };
            rest = after;
            Some(part).filter(|part| !part.is_empty())
        };
        let stamp = part().ok_or("no time stamp")?;
        let stamp = if stamp == NIL {
            Stamped::Not
        } else {
            let read = stamp::iso(stamp.as_bytes()).ok_or("no time stamp")?;
            if read.len == stamp.len() { Stamped::Own(read) } else { Stamped::Not }
        };
        let header = "fewer parts than RFC 5424's header";
        let (host, appname) = (part().ok_or(header)?, part().ok_or(header)?);
        let (pid, _message_id) = (part().ok_or(header)?, part().ok_or(header)?);
        let message = after_structured_data(rest.ok_or(header)?).ok_or("structured data that does not end")?;
        let given = |part: &'l str| (part != NIL).then_some(part);
        Ok(Self {
            priority,
            stamp,
            host: given(host).unwrap_or(""),
            appname: given(appname),
            pid: given(pid),
            message: without_mark(message),
        })
    }
}

/// Whether a line can be nothing but syslog. An application's line with an ISO stamp has its level or its module
/// where syslog has the host, and no `program:` after it.
pub(super) fn is_unmistakable(line: &str) -> bool {
    let Ok(header) = Header::read(line, &mut LastStamp::default()) else { return false };
    let is_host =
        header.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    let iso = line.starts_with(|first: char| first.is_ascii_digit());
    is_host && !super::super::application::is_level(header.host) && (!iso || header.appname.is_some())
}

/// A message without the byte order marks before it.
fn without_mark(message: &str) -> &str {
    match message.as_bytes().first() {
        Some(0xef) => message.trim_start_matches(BOM),
        _ => message,
    }
}

/// What stands before the first space, and what after it.
#[inline]
pub(super) fn word(text: &str) -> Option<(&str, &str)> {
    let end = first_of(text.as_bytes(), [b' '])?;
    Some((&text[..end], &text[end + 1..]))
}

fn either_stamp(text: &str) -> Option<Stamp> {
    let bytes = text.as_bytes();
    if bytes.first()?.is_ascii_digit() {
        // With a space between date and time it would not be one word: rsyslog writes a `T`.
        return stamp::iso(bytes).filter(|_| bytes[10] != b' ' && bytes[4] == b'-');
    }
    stamp::bsd(bytes)
}

/// The number before `>`, and what follows.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.split_once('>')?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok().filter(|priority| *priority <= MAX_PRIORITY)?, rest))
}

/// `program[process]: ` at the start of a message.
#[inline]
fn tag(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let none = (None, None, text);
    let Some(end) = first_of(text.as_bytes(), [b'[', b':', b' ']) else { return none };
    let (name, rest) = (&text[..end], &text[end..]);
    if name.is_empty() {
        return none;
    }
    let (pid, rest) = match rest.strip_prefix('[') {
        Some(inner) => match first_of(inner.as_bytes(), [b']', b' ']) {
            Some(end) if inner.as_bytes()[end] == b']' => (Some(&inner[..end]), &inner[end + 1..]),
            _ => return none,
        },
        None => (None, rest),
    };
    let message = match rest.as_bytes() {
        [b':'] => "",
        [b':', b' ', ..] => &rest[2..],
        _ => return none,
    };
    (Some(name), pid.filter(|pid| !pid.is_empty()), message)
}

/// What follows RFC 5424's structured data, `-` or `[id name="value"]...`.
fn after_structured_data(text: &str) -> Option<&str> {
    let rest = if let Some(rest) = text.strip_prefix(NIL) {
        rest
    } else {
        let mut rest = text;
        while rest.starts_with('[') {
            let bytes = rest.as_bytes();
            let (mut at, mut quoted) = (1, false);
            loop {
                match bytes.get(at)? {
                    b'\\' if quoted => at += 1,
                    b'"' => quoted = !quoted,
                    b']' if !quoted => break,
                    _ => {}
                }
                at += 1;
            }
            rest = &rest[at + 1..];
        }
        (rest.len() < text.len()).then_some(rest)?
    };
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}
