//! Times and time zones as the command line takes them.

use anyhow::{Context as _, Result, bail};
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A zone by its IANA name (`Europe/Berlin`) or its offset (`+09:00`, `UTC`).
pub fn zone(text: &str) -> Result<TimeZone> {
    // No list of all zones is made for the one that is asked for by default.
    if matches!(text, "Z" | "z" | "utc" | "UTC") {
        return Ok(TimeZone::UTC);
    }
    let zone = DateTimeParser::new().parse_time_zone(text).ok();
    zone.with_context(|| format!("--timezone {text}: use an IANA name (Asia/Seoul), an offset (+09:00) or UTC"))
}

/// A time: RFC 3339, a date or a date and time in `zone`, or an age such as `24h` before `now`.
pub fn time(option: &str, text: &str, zone: &TimeZone, now: Timestamp) -> Result<Timestamp> {
    if let Some(age) = age(text) {
        return now.checked_sub(age).with_context(|| format!("{option} {text}: that is before all times"));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // A bare date is its midnight.
    let civil = text.parse::<Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight()));
    let civil = if text.len() > "2026-03-01".len() { text.parse::<DateTime>() } else { civil };
    if let Ok(time) = civil.and_then(|civil| zone.to_timestamp(civil)) {
        return Ok(time);
    }
    bail!("{option} {text}: use a time (2026-03-01T10:00:00Z), a date (2026-03-01) or an age (90m, 24h, 7d, 2w)")
}

fn age(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return None,
    };
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = plain.then(|| number.parse().ok())??;
    Some(SignedDuration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, in_zone: &str) -> Result<String> {
        let now = "2026-03-08T12:00:00Z".parse().unwrap();
        time("--since", text, &zone(in_zone).unwrap(), now).map(|time| time.to_string())
    }

    #[test]
    fn times_come_in_several_forms() {
        for (text, in_zone, expected) in [
            ("2026-03-01T10:00:00Z", "UTC", "2026-03-01T10:00:00Z"),
            ("2026-03-01T10:00:00+09:00", "UTC", "2026-03-01T01:00:00Z"),
            ("2026-03-01", "UTC", "2026-03-01T00:00:00Z"),
            ("2026-03-01", "Asia/Seoul", "2026-02-28T15:00:00Z"),
            ("2026-03-01T10:00:00", "+09:00", "2026-03-01T01:00:00Z"),
            ("2026-03-01 10:00", "UTC", "2026-03-01T10:00:00Z"),
            ("7d", "UTC", "2026-03-01T12:00:00Z"),
            ("24h", "UTC", "2026-03-07T12:00:00Z"),
            ("90m", "UTC", "2026-03-08T10:30:00Z"),
        ] {
            assert_eq!(read(text, in_zone).unwrap(), expected, "{text} {in_zone}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms() {
        for text in ["yesterday", "", "d", "-7d", "7y", "2026-13-01", "99999999999999999999d", "2026-03-01T25:00"] {
            let error = read(text, "UTC").unwrap_err().to_string();
            assert!(error.contains("--since") && error.contains("7d"), "{text}: {error}");
        }
        assert!(zone("Mars/Olympus").unwrap_err().to_string().contains("Asia/Seoul"));
    }
}
