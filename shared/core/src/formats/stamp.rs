//! Time stamps as logs write them, read from the start of a text.
//!
//! Two questions are kept apart: whether a text has the *shape* of a stamp (then its line is one of the format), and
//! whether the stamp names a time that exists (else the record has no time).

mod clock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(super) use clock::Clock;

/// The longest gap between two leap years.
const LEAP_GAP: i16 = 8;

/// A text that has a stamp's shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// How many bytes it takes.
    pub(super) len: usize,
    written: Written,
    /// `None`: the latest year that fits.
    year: Option<i16>,
    offset: Zone,
}

/// What a stamp says of its offset from UTC.
#[derive(Debug, Clone, Copy)]
enum Zone {
    /// Nothing.
    Unnamed,
    /// In seconds.
    Seconds(i32),
    /// One that does not exist.
    Invalid,
}

impl Stamp {
    /// The time that it names, if there is such a time: without an offset in this zone, without a year the latest one
    /// in which the time exists and is not after `limit`.
    pub(super) fn time(&self, zone: &TimeZone, limit: Timestamp) -> Option<Timestamp> {
        let offset = match self.offset {
            Zone::Unnamed => None,
            Zone::Seconds(seconds) => Some(seconds),
            Zone::Invalid => return None,
        };
        match self.year {
            Some(year) => self.written.at(year, offset, zone),
            None => latest(self.written, zone, limit),
        }
    }
}

/// The length of `hh:mm:ss`.
const TIME: usize = 8;

/// Date and time of day as they are written: not yet known to exist.
#[derive(Debug, Clone, Copy)]
struct Written {
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    has_fraction: bool,
}

/// The seconds since midnight, if there is such a time.
#[inline]
fn time_of_day(hour: i8, minute: i8, second: i8) -> Option<i64> {
    // A leap second counts with the second before it, as POSIX time does.
    let time = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
    (hour <= 23 && minute <= 59 && second <= 60).then_some(time)
}

impl Written {
    /// The time, in the given year and at an offset in seconds or in a zone.
    fn at(self, year: i16, offset: Option<i32>, zone: &TimeZone) -> Option<Timestamp> {
        // A leap second counts with the second before it, as POSIX time does.
        let second = if self.second == 60 { 59 } else { self.second };
        let civil = DateTime::new(year, self.month, self.day, self.hour, self.minute, second, self.nanosecond).ok()?;
        match offset {
            Some(seconds) => jiff::tz::Offset::from_seconds(seconds).ok()?.to_timestamp(civil).ok(),
            None => zone.to_ambiguous_timestamp(civil).compatible().ok(),
        }
    }
}

/// ISO 8601 and [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6): `2026-03-01T10:00:00`, with `T`, `t` or
/// a space, perhaps a fraction after `.` or `,`, perhaps `Z` or an offset (`+01:00`, `+0100`, `+01`). `/` may stand
/// between year, month and day.
pub(super) fn iso(text: &[u8]) -> Option<Stamp> {
    let separator = *text.get(4).filter(|byte| matches!(byte, b'-' | b'/'))?;
    if text.get(7) != Some(&separator) || !matches!(text.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let year = i16::try_from(digits(text, 0, 4)?).ok()?;
    let (month, day) = (small(text, 5)?, small(text, 8)?);
    let (mut written, mut len) = clock(text, 11)?;
    (written.month, written.day) = (month, day);
    let offset = match text.get(len) {
        Some(b'Z' | b'z') => {
            len += 1;
            Zone::Seconds(0)
        }
        Some(b'+' | b'-') => offset(text, len).map_or(Zone::Unnamed, |(seconds, end)| {
            len = end;
            seconds.map_or(Zone::Invalid, Zone::Seconds)
        }),
        _ => Zone::Unnamed,
    };
    Some(Stamp { len, written, year: Some(year), offset })
}

/// A text that is one ISO stamp and nothing else.
pub(super) fn iso_whole(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    iso(text.as_bytes()).filter(|stamp| stamp.len == text.len())?.time(zone, Timestamp::MAX)
}

/// A text that is one stamp of the
/// [common log format](https://httpd.apache.org/docs/current/mod/mod_log_config.html#formats) and nothing else:
/// `17/May/2015:10:05:03 +0000`.
pub(super) fn common_log(text: &[u8]) -> Option<Stamp> {
    if text.get(2) != Some(&b'/') || text.get(6) != Some(&b'/') || text.get(11) != Some(&b':') {
        return None;
    }
    let (day, month) = (small(text, 0)?, month(text, 3)?);
    let year = i16::try_from(digits(text, 7, 4)?).ok()?;
    let (mut written, end) = clock(text, 12)?;
    (written.month, written.day) = (month, day);
    let offset = match text.get(end) {
        None => Zone::Unnamed,
        Some(b' ') => {
            let (seconds, end) = offset(text, end + 1)?;
            (end == text.len()).then_some(())?;
            seconds.map_or(Zone::Invalid, Zone::Seconds)
        }
        Some(_) => return None,
    };
    Some(Stamp { len: text.len(), written, year: Some(year), offset })
}

/// The traditional syslog stamp `Mar  1 10:00:00` ([RFC 3164](https://www.rfc-editor.org/rfc/rfc3164#section-4.1.2)),
/// perhaps with a year after the day or a fraction after the seconds.
pub(super) fn bsd(text: &[u8]) -> Option<Stamp> {
    let month = month(text, 0)?;
    if text.get(3) != Some(&b' ') {
        return None;
    }
    let (day, mut at) = match (text.get(4)?, text.get(5)?, text.get(6)?) {
        (b' ' | b'0'..=b'9', b'0'..=b'9', b' ') => {
            let tens = if text[4] == b' ' { b'0' } else { text[4] };
            (digit(tens)? * 10 + digit(text[5])?, 7)
        }
        (b'0'..=b'9', b' ', _) => (digit(text[4])?, 6),
        _ => return None,
    };
    let mut year = None;
    if text.get(at + 4) == Some(&b' ') && text.get(at + 2) != Some(&b':') {
        year = Some(i16::try_from(digits(text, at, 4)?).ok()?);
        at += 5;
    }
    let (mut written, len) = clock(text, at)?;
    (written.month, written.day) = (month, day);
    Some(Stamp { len, written, year, offset: Zone::Unnamed })
}

/// The [error log of Apache](https://httpd.apache.org/docs/current/mod/core.html#errorlogformat)'s
/// `Sun Mar 01 10:00:00.123456 2026`.
pub(super) fn error_log(text: &[u8]) -> Option<Stamp> {
    if !text.get(..3)?.iter().all(u8::is_ascii_alphabetic) || text[3..].first() != Some(&b' ') {
        return None;
    }
    let mut stamp = bsd(&text[4..]).filter(|stamp| stamp.year.is_none())?;
    let end = 4 + stamp.len;
    if text.get(end) != Some(&b' ') {
        return None;
    }
    stamp.year = Some(i16::try_from(digits(text, end + 1, 4)?).ok()?);
    stamp.len = end + 5;
    Some(stamp)
}

fn latest(written: Written, zone: &TimeZone, limit: Timestamp) -> Option<Timestamp> {
    let newest = limit.to_zoned(zone.clone()).year();
    (0..=LEAP_GAP).find_map(|back| written.at(newest - back, None, zone).filter(|time| *time <= limit))
}

/// `hh:mm:ss`.
#[inline]
fn hour_minute_second(text: [u8; TIME]) -> Option<[i8; 3]> {
    /// What the largest that each letter may be lacks of having the highest bit, less one.
    const ROOM: u64 = u64::from_le_bytes([0x76, 0x76, 0x7f, 0x76, 0x76, 0x7f, 0x76, 0x76]);
    // A byte for each letter, less what it is at least: digits become their numbers, and colons zero.
    let letters = u64::from_le_bytes(text) ^ u64::from_le_bytes(*b"00:00:00");
    if (letters.wrapping_add(ROOM) | letters) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let [hour, _, _, minute, _, _, second, _] = (letters * 10 + (letters >> 8)).to_le_bytes().map(u8::cast_signed);
    Some([hour, minute, second])
}

/// `hh:mm:ss` at a position, perhaps with a fraction; where it ends.
#[inline]
fn clock(text: &[u8], at: usize) -> Option<(Written, usize)> {
    let [hour, minute, second] = hour_minute_second(*text.get(at..)?.first_chunk()?)?;
    let mut end = at + TIME;
    let mut nanosecond = 0;
    if matches!(text.get(end), Some(b'.' | b',')) && text.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1;
        let mut scale = 100_000_000;
        while let Some(byte) = text.get(end).filter(|byte| byte.is_ascii_digit()) {
            nanosecond += i32::from(byte - b'0') * scale;
            scale /= 10;
            end += 1;
        }
    }
    let has_fraction = end > at + TIME;
    Some((Written { month: 1, day: 1, hour, minute, second, nanosecond, has_fraction }, end))
}

/// `+hhmm`, `+hh:mm` or `+hh` at a position: the seconds (`None`: no such offset), and where it ends.
fn offset(text: &[u8], at: usize) -> Option<(Option<i32>, usize)> {
    let sign = match text.get(at)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = i32::from(small(text, at + 1)?);
    let (minutes, end) = match text.get(at + 3) {
        Some(b':') => (i32::from(small(text, at + 4)?), at + 6),
        Some(byte) if byte.is_ascii_digit() => (i32::from(small(text, at + 3)?), at + 5),
        _ => (0, at + 3),
    };
    let valid = hours <= 23 && minutes <= 59;
    Some((valid.then_some(sign * (hours * 3600 + minutes * 60)), end))
}

#[inline]
fn month(text: &[u8], at: usize) -> Option<i8> {
    // Nothing but a letter becomes a letter by this bit, which tells lower case from upper.
    let name: [u8; 3] = *text.get(at..)?.first_chunk()?;
    Some(match &name.map(|byte| byte | 0x20) {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

#[inline]
fn digit(byte: u8) -> Option<i8> {
    byte.is_ascii_digit().then(|| (byte - b'0').cast_signed())
}

/// Two digits.
#[inline]
fn number([tens, ones]: [u8; 2]) -> Option<i8> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Two digits at a position.
#[inline]
fn small(text: &[u8], at: usize) -> Option<i8> {
    number(*text.get(at..)?.first_chunk()?)
}

fn digits(text: &[u8], at: usize, count: usize) -> Option<i32> {
    text.get(at..at + count)?.iter().try_fold(0, |number, byte| Some(number * 10 + i32::from(digit(*byte)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso_text(text: &str) -> Option<(usize, Option<String>)> {
        let time = |stamp: Stamp| stamp.time(&TimeZone::UTC, Timestamp::MAX).map(|time| time.to_string());
        iso(text.as_bytes()).map(|stamp| (stamp.len, time(stamp)))
    }

    // The outer option is the shape, the inner one the time.
    #[allow(clippy::option_option)]
    fn bsd_text(text: &str, limit: &str) -> Option<Option<String>> {
        let time = |stamp: Stamp| stamp.time(&TimeZone::UTC, limit.parse().unwrap()).map(|time| time.to_string());
        bsd(text.as_bytes()).map(time)
    }

    #[test]
    fn iso_stamps_of_every_shape() {
        let at_ten = Some("2026-03-01T10:00:00Z".to_owned());
        assert_eq!(iso_text("2026-03-01T10:00:00Z x"), Some((20, at_ten.clone())));
        assert_eq!(iso_text("2026-03-01 11:00:00+01:00"), Some((25, at_ten.clone())));
        assert_eq!(iso_text("2026-03-01T04:00:00-0600"), Some((24, at_ten.clone())));
        assert_eq!(iso_text("2026/03/01 10:00:00 [error]"), Some((19, at_ten)));
        assert_eq!(iso_text("2026-03-01 10:00:00,250 x"), Some((23, Some("2026-03-01T10:00:00.25Z".to_owned()))));
        assert_eq!(iso_text("2016-12-31T23:59:60Z"), Some((20, Some("2016-12-31T23:59:59Z".to_owned()))));
    }

    #[test]
    fn the_stamp_of_an_error_log_has_its_year_at_the_end() {
        let text = |text: &str| {
            let time = |stamp: Stamp| stamp.time(&TimeZone::UTC, Timestamp::MAX).map(|time| time.to_string());
            error_log(text.as_bytes()).map(|stamp| (stamp.len, time(stamp)))
        };
        let at = Some("2026-03-01T10:00:00.5Z".to_owned());
        assert_eq!(text("Sun Mar 01 10:00:00.500000 2026] [core:notice]"), Some((31, at)));
        assert_eq!(text("Sun Mar  1 10:00:00 2026"), Some((24, Some("2026-03-01T10:00:00Z".to_owned()))));
        for other in ["Sun Mar 01 10:00:00", "Sun Mar 01 10:00:00 x", "Mar 01 10:00:00 2026", "Sun", "", "Sun\u{e9}"] {
            assert_eq!(text(other), None, "{other}");
        }
    }

    #[test]
    fn a_stamp_shaped_text_without_a_time_is_still_a_stamp() {
        for text in ["2026-02-30T10:00:00Z", "2026-13-01T10:00:00", "2026-03-01T25:61:61Z", "2026-03-01T10:00:00+99:00"]
        {
            assert_eq!(iso_text(text).map(|stamp| stamp.1), Some(None), "{text}");
        }
        for text in ["", "2026-03-01", "2026-03-01Z10:00:00", "yyyy-mm-ddThh:mm:ss", "2026-03/01 10:00:00"] {
            assert_eq!(iso_text(text), None, "{text}");
        }
    }

    #[test]
    fn common_log_stamps() {
        let time = |text: &str| {
            let time = common_log(text.as_bytes())?.time(&TimeZone::UTC, Timestamp::MAX)?;
            Some(time.to_string())
        };
        assert_eq!(time("17/May/2015:10:05:03 +0200").as_deref(), Some("2015-05-17T08:05:03Z"));
        for text in ["31/Feb/2015:10:05:03 +0000", "17/Mai/2015:10:05:03 +0000", "17/May/2015:10:05:03 +0000x", "-", ""]
        {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_stamp_without_a_year_takes_the_latest_that_fits() {
        let limit = "2026-01-02T00:00:00Z";
        assert_eq!(bsd_text("Jan  1 23:59:59", limit), Some(Some("2026-01-01T23:59:59Z".to_owned())));
        assert_eq!(bsd_text("Jan  2 00:00:01", limit), Some(Some("2025-01-02T00:00:01Z".to_owned())));
        assert_eq!(bsd_text("Dec 31 10:00:00", limit), Some(Some("2025-12-31T10:00:00Z".to_owned())));
        assert_eq!(bsd_text("Feb 29 10:00:00", limit), Some(Some("2024-02-29T10:00:00Z".to_owned())));
        assert_eq!(bsd_text("Feb 29 10:00:00", "1903-06-01T00:00:00Z"), Some(Some("1896-02-29T10:00:00Z".to_owned())));
        assert_eq!(bsd_text("Mar 27 2017 13:06:56.5", limit), Some(Some("2017-03-27T13:06:56.5Z".to_owned())));
        assert_eq!(bsd_text("Feb 31 25:61:00", limit), Some(None));
        assert_eq!(bsd_text("Foo 31 10:00:00", limit), None);
        assert_eq!(bsd_text("Mar 27 13:06", limit), None);
    }

    #[test]
    fn naive_stamps_are_in_the_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let stamp = bsd(b"Jan  1 00:30:00").unwrap();
        let time = stamp.time(&zone, "2025-12-31T16:00:00Z".parse().unwrap());
        assert_eq!(time.unwrap().to_string(), "2025-12-31T15:30:00Z");
    }
}
