//! The part of a line before its message.

use std::ops::Range;

use super::super::bytes::first_of;
use super::super::stamp::{self, Stamp};
use crate::framing::block::{BLOCK, marks, without_digits};

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

/// Where in a line the parts of its header are: of most lines hardly any of them is read. One is used for line after line,
/// and empty before the first.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) priority: Option<u8>,
    stamp: Place,
    /// Where the text starts that the other parts are of.
    start: usize,
    parts: Parts,
}

/// What follows a stamp: `host program[process]: message`.
#[derive(Debug, Default, PartialEq)]
struct Parts {
    host: Place,
    appname: Place,
    pid: Place,
    message: usize,
}

/// A place in a line; an empty one if the line has no such part.
type Place = Range<usize>;

/// The shape of the stamp that the last line began with: the stamps of a log are mostly alike but for their digits, and so
/// where a stamp ends is mostly known. What the digits say is read of records alone.
#[derive(Clone, Default)]
pub(super) struct LastStamp {
    /// How many bytes it takes, with the space that ends it; 0 before the first, and of one without a [`Shape`].
    len: usize,
    shape: Shape,
}

/// Three blocks of a text of at least one and at most three blocks, which together hold all of it, without its digits:
/// those at the start, after it, and at the end.
#[derive(Clone, Default)]
struct Shape([[u8; BLOCK]; 3]);

impl Shape {
    fn of(text: &[u8]) -> Option<Self> {
        let blocks = Self::blocks(text).filter(|_| text.len() <= 3 * BLOCK)?;
        Some(Self(blocks.map(without_digits)))
    }

    /// Whether a text as long as the one that this is of is the same but for its digits.
    #[inline]
    fn fits(&self, text: &[u8]) -> bool {
        let Some([start, middle, end]) = Self::blocks(text) else { return false };
        without_digits(start) == self.0[0]
            && (text.len() == BLOCK
                || without_digits(end) == self.0[2] && (text.len() <= 2 * BLOCK || without_digits(middle) == self.0[1]))
    }

    #[inline]
    fn blocks(text: &[u8]) -> Option<[&[u8; BLOCK]; 3]> {
        let (start, end) = (text.first_chunk()?, text.last_chunk()?);
        Some([start, text[BLOCK..].first_chunk().unwrap_or(end), end])
    }
}

impl LastStamp {
    /// Where a stamp and the space after it end that a line has from a place on.
    #[inline]
    fn end(&mut self, line: &str, start: usize) -> Result<usize, &'static str> {
        let end = start + self.len;
        match line.as_bytes().get(start..end) {
            Some(stamp) if self.shape.fits(stamp) => Ok(end),
            _ => self.other_end(line.get(start..).unwrap_or_default()).map(|len| start + len),
        }
    }

    /// The length of a stamp that may have another shape, with the space after it.
    #[inline(never)]
    fn other_end(&mut self, text: &str) -> Result<usize, &'static str> {
        let len = either_stamp(text).ok_or("no time stamp at the start")?.len;
        if text.as_bytes().get(len) != Some(&b' ') {
            return Err("nothing after the time stamp");
        }
        let shape = Shape::of(&text.as_bytes()[..=len]);
        self.len = if shape.is_some() { len + 1 } else { 0 };
        self.shape = shape.unwrap_or_default();
        Ok(len + 1)
    }
}

impl Header {
    /// Takes a line's header apart.
    #[expect(clippy::inline_always, reason = "it is done with every line")]
    #[inline(always)]
    pub(super) fn read(&mut self, line: &str, last: &mut LastStamp) -> Result<(), &'static str> {
        let (priority, start) = match line.as_bytes().first() {
            Some(b'<') => match opening(line)? {
                (priority, Kind::Structured, start) => return self.read_structured(line, priority, start),
                (priority, Kind::Traditional, start) => (Some(priority), start),
            },
            _ => (None, 0),
        };
        let end = last.end(line, start)?;
        let parts = match Parts::near(&line.as_bytes()[end..]) {
            Some(near) => near,
            None => Parts::anywhere(&line[end..])?,
        };
        *self = Self { priority, stamp: start..end - 1, start: end, parts };
        Ok(())
    }

    /// RFC 5424. `start`: after the version.
    #[inline(never)]
    fn read_structured(&mut self, line: &str, priority: u8, start: usize) -> Result<(), &'static str> {
        let mut rest = Some(start);
        let mut part = || {
            let start = rest?;
            let end = word_end(line.as_bytes(), start);
            rest = end.map(|end| end + 1);
            Some(start..end.unwrap_or(line.len())).filter(|part| !part.is_empty())
        };
        let given = |part: Place| if &line[part.clone()] == NIL { 0..0 } else { part };
        let mut stamp = given(part().ok_or("no time stamp")?);
        if !stamp.is_empty() && stamp::iso(&line.as_bytes()[stamp.clone()]).ok_or("no time stamp")?.len < stamp.len() {
            stamp = 0..0;
        }
        let header = "fewer parts than RFC 5424's header";
        let (host, appname) = (given(part().ok_or(header)?), given(part().ok_or(header)?));
        let (pid, _message_id) = (given(part().ok_or(header)?), part().ok_or(header)?);
        let message = after_structured_data(&line[rest.ok_or(header)?..]).ok_or("structured data that does not end")?;
        let parts = Parts { host, appname, pid, message: line.len() - message.len() };
        *self = Self { priority: Some(priority), stamp, start: 0, parts };
        Ok(())
    }

    /// What [`stamp_of`] reads in the line, if it may be a time.
    pub(super) fn stamp<'l>(&self, line: &'l str) -> Option<&'l str> {
        (!self.stamp.is_empty()).then(|| &line[self.stamp.clone()])
    }

    pub(super) fn host<'l>(&self, line: &'l str) -> Option<&'l str> {
        self.part(line, &self.parts.host)
    }

    pub(super) fn appname<'l>(&self, line: &'l str) -> Option<&'l str> {
        self.part(line, &self.parts.appname)
    }

    fn part<'l>(&self, line: &'l str, place: &Place) -> Option<&'l str> {
        (!place.is_empty()).then(|| &line[self.start + place.start..self.start + place.end])
    }

    /// The program as it stands there; nothing where there is none.
    #[inline]
    pub(super) fn appname_bytes<'l>(&self, line: &'l str) -> &'l [u8] {
        &line.as_bytes()[self.start..][self.parts.appname.clone()]
    }

    pub(super) fn pid<'l>(&self, line: &'l str) -> Option<&'l str> {
        self.part(line, &self.parts.pid)
    }

    /// Without the byte order marks that may stand before it.
    #[inline]
    pub(super) fn message<'l>(&self, line: &'l str) -> &'l str {
        let message = &line[self.start + self.parts.message..];
        if message.as_bytes().first() == Some(&0xef) { message.trim_start_matches(BOM) } else { message }
    }
}

/// Whether a line can be nothing but syslog. An application's line with an ISO stamp has its level or its module
/// where syslog has the host, and no `program:` after it.
pub(super) fn is_unmistakable(line: &str) -> bool {
    let mut header = Header::default();
    if header.read(line, &mut LastStamp::default()).is_err() {
        return false;
    }
    let host = header.host(line).unwrap_or_default();
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    let iso = line.starts_with(|first: char| first.is_ascii_digit());
    is_host && !super::super::application::is_level(host) && (!iso || header.appname(line).is_some())
}

/// Where a word ends that begins at a place, if a space follows it.
#[inline]
fn word_end(bytes: &[u8], start: usize) -> Option<usize> {
    Some(start + first_of(bytes.get(start..)?, [b' '])?)
}

/// What stands before the first space, and what after it.
#[inline]
pub(super) fn word(text: &str) -> Option<(&str, &str)> {
    let end = first_of(text.as_bytes(), [b' '])?;
    Some((&text[..end], &text[end + 1..]))
}

/// What a header's stamp says.
pub(super) fn stamp_of(text: &[u8]) -> Option<Stamp> {
    stamp::bsd(text).or_else(|| stamp::iso(text))
}

fn either_stamp(text: &str) -> Option<Stamp> {
    let bytes = text.as_bytes();
    if bytes.first()?.is_ascii_digit() {
        // With a space between date and time it would not be one word: rsyslog writes a `T`.
        return stamp::iso(bytes).filter(|_| bytes[10] != b' ' && bytes[4] == b'-');
    }
    stamp::bsd(bytes)
}

/// What a line is that begins with a priority.
enum Kind {
    /// RFC 3164, and rsyslog's file format: the same with an ISO stamp.
    Traditional,
    /// RFC 5424.
    Structured,
}

/// The priority of a line, and what follows from where on.
#[inline(never)]
fn opening(line: &str) -> Result<(u8, Kind, usize), &'static str> {
    let (priority, rest) = priority(&line[1..]).ok_or("no valid priority")?;
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        let (version, after) = rest.split_once(' ').ok_or("no header")?;
        if version == VERSION {
            return Ok((priority, Kind::Structured, line.len() - after.len()));
        }
        if version.len() <= 3 {
            return Err("unknown version of RFC 5424");
        }
    }
    Ok((priority, Kind::Traditional, line.len() - rest.len()))
}

/// The number before `>`, and what follows.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.split_once('>')?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok().filter(|priority| *priority <= MAX_PRIORITY)?, rest))
}

impl Parts {
    /// Of a text that begins with a host and a tag which is whole within two blocks, as most do: those are searched once.
    /// `None`: of this one, more must be looked at.
    #[expect(clippy::inline_always, reason = "it is done with every line")]
    #[inline(always)]
    fn near(text: &[u8]) -> Option<Self> {
        let near: &[u8; 2 * BLOCK] = text.first_chunk()?;
        let first = |marks: u64, from: usize| (marks & u64::MAX << from).trailing_zeros() as usize;
        let host = first(marks(near, [b' ']), 0);
        if *near.get(host.checked_sub(1)?)? == b':' {
            return None;
        }
        let appname = host + 1..first(marks(near, [b'[', b':', b' ']), host + 1);
        let (mut pid, mut end) = (0..0, appname.end);
        if *near.get(end)? == b'[' {
            pid = end + 1..first(marks(near, [b']', b' ']), end);
            end = pid.end + 1;
        }
        let is_tag = !appname.is_empty() && near.get(end..end + 2)? == b": " && (pid.end == 0 || near[pid.end] == b']');
        is_tag.then_some(Self { host: 0..host, appname, pid, message: end + 2 })
    }

    #[inline(never)]
    fn anywhere(line: &str) -> Result<Self, &'static str> {
        let text = line.as_bytes();
        let spaces = text.iter().take_while(|byte| **byte == b' ').count();
        let host = spaces..word_end(text, spaces).ok_or("no message")?;
        if text[host.end - 1] == b':' {
            return Err("no host");
        }
        let start = host.end + 1;
        let (appname, pid, message) = tag(text, start).unwrap_or((0..0, 0..0, start));
        if appname.is_empty() && line[start..].trim().is_empty() {
            return Err("no message");
        }
        Ok(Self { host, appname, pid, message })
    }
}

/// `program[process]: ` from a place on, and where the message begins.
fn tag(bytes: &[u8], start: usize) -> Option<(Place, Place, usize)> {
    let name = start..start + first_of(bytes.get(start..)?, [b'[', b':', b' '])?;
    let mut end = name.end;
    let mut pid = 0..0;
    if bytes[end] == b'[' {
        let start = end + 1;
        pid = start..start + first_of(bytes.get(start..)?, [b']', b' '])?;
        if bytes[pid.end] != b']' {
            return None;
        }
        end = pid.end + 1;
    }
    let message = match bytes.get(end..)? {
        [b':'] => end + 1,
        [b':', b' ', ..] => end + 2,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, pid, message))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_tag_are_the_same_near_and_anywhere() {
        let parts =
            ["web-1 ", "a.example ", " ", "sshd", "su", "[", "]", "7", "12345", ": ", ":", "pam_unix", "caf\u{e9} "];
        let mut number = 0_u64;
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as usize
        };
        let mut seen = 0;
        for _ in 0..200_000 {
            let usual = ["", "web-1 sshd[7]: ", "web-1 sshd["][next() % 3];
            let text = (0..next() % 12).fold(usual.to_owned(), |text, _| text + parts[next() % parts.len()]);
            if let Some(near) = Parts::near(text.as_bytes()) {
                assert_eq!(Parts::anywhere(&text), Ok(near), "{text:?}");
                seen += 1;
            }
        }
        assert!(seen > 10_000, "{seen}");
    }
}
