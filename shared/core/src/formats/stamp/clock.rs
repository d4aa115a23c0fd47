//! The times of one stamp after the other.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Stamp, TIME, Zone, hour_minute_second, time_of_day};

/// The times of stamps. Neighbours in a log mostly have the same one, or at least one of the same day.
#[derive(Clone, Debug)]
pub(in crate::formats) struct Clock {
    zone: TimeZone,
    limit: Timestamp,
    /// The zone's offset in seconds, if it always has the same.
    offset: Option<i32>,
    /// The last text that was read whole, and its time.
    last: (Vec<u8>, Option<Timestamp>),
    /// A date, and when its day starts, in seconds and as if in UTC. Where the year was not written, all of the day is in
    /// the same one.
    day: Option<(Date, i64)>,
    /// When the day of that text starts, in seconds, if it is a stamp that ends with a time of day: hours, minutes and
    /// seconds.
    midnight: Option<i64>,
}

/// A date as it is written.
type Date = (Option<i16>, i8, i8);

const DAY: i64 = 24 * 60 * 60;

impl Clock {
    /// See [`Stamp::time`].
    pub(in crate::formats) fn new(zone: TimeZone, limit: Timestamp) -> Self {
        let offset = zone.to_fixed_offset().ok().map(jiff::tz::Offset::seconds);
        Self { zone, limit, offset, last: (Vec::new(), None), day: None, midnight: None }
    }

    /// The time of the stamp that `read` finds in a text.
    #[inline]
    pub(in crate::formats) fn time(
        &mut self,
        text: &[u8],
        read: impl FnOnce(&[u8]) -> Option<Stamp>,
    ) -> Option<Timestamp> {
        self.same_day(text).unwrap_or_else(|| self.other(text, read))
    }

    /// The same of a text that has to be read whole, if it is not the last one.
    fn other(&mut self, text: &[u8], read: impl FnOnce(&[u8]) -> Option<Stamp>) -> Option<Timestamp> {
        if self.last.0 != text {
            self.midnight = None;
            self.last.1 = read(text).and_then(|stamp| self.of(&stamp, text.len()));
            self.last.0.clear();
            self.last.0.extend_from_slice(text);
        }
        self.last.1
    }

    /// The time of a stamp that differs from the last one in the time of day alone.
    #[expect(clippy::option_option, reason = "whether it is one, and whether there is such a time")]
    fn same_day(&self, text: &[u8]) -> Option<Option<Timestamp>> {
        let midnight = self.midnight?;
        let (date, time) = text.split_last_chunk::<TIME>()?;
        let (known, _) = self.last.0.split_last_chunk::<TIME>()?;
        let [hour, minute, second] = hour_minute_second(*time).filter(|_| known == date)?;
        Some(time_of_day(hour, minute, second).and_then(|time| Timestamp::from_second(midnight + time).ok()))
    }

    /// The time of a stamp in a text of this length.
    fn of(&mut self, stamp: &Stamp, length: usize) -> Option<Timestamp> {
        let Stamp { written, year, offset, len } = stamp;
        let offset = match offset {
            Zone::Unnamed => self.offset,
            Zone::Seconds(seconds) => Some(*seconds),
            Zone::Invalid => return None,
        };
        let date = (*year, written.month, written.day);
        let start = match (offset, self.day) {
            (Some(_), Some((known, start))) if known == date => Some(start),
            (Some(_), _) => {
                self.day = self.start(date).map(|start| (date, start));
                self.day.map(|(_, start)| start)
            }
            (None, _) => None,
        };
        match (start, offset) {
            (Some(start), Some(offset)) => {
                let midnight = start - i64::from(offset);
                let ends_with_time = *len == length && !written.has_fraction && matches!(stamp.offset, Zone::Unnamed);
                self.midnight = ends_with_time.then_some(midnight);
                let time = time_of_day(written.hour, written.minute, written.second)?;
                Timestamp::new(midnight + time, written.nanosecond).ok()
            }
            _ => stamp.time(&self.zone, self.limit),
        }
    }

    /// When the day of a date starts, as [`Self::day`] has it; `None`: there is no such day, or not all of it is in the
    /// same year.
    fn start(&self, (year, month, day): Date) -> Option<i64> {
        let start = |year| {
            let midnight = DateTime::new(year, month, day, 0, 0, 0, 0).ok()?;
            jiff::tz::Offset::UTC.to_timestamp(midnight).ok().map(Timestamp::as_second)
        };
        let Some(year) = year.map_or_else(|| Some(self.limit.to_zoned(self.zone.clone()).year()), |_| None) else {
            return start(year?);
        };
        let limit = self.limit.as_second() + i64::from(self.offset?);
        match start(year) {
            Some(start) if start + DAY <= limit => Some(start),
            Some(start) if start <= limit => None,
            _ => start(year - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{bsd, iso};
    use super::*;

    #[test]
    fn a_clock_tells_the_same_times_in_whatever_order() {
        let mut number = 0_u64;
        let mut next = |below: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as usize % below
        };
        let limits = ["2026-03-02T10:30:00.5Z", "2024-02-29T12:00:00Z", "2025-02-28T23:59:59Z", "2026-01-01T00:30:00Z"];
        let zones = [
            TimeZone::UTC,
            TimeZone::fixed(jiff::tz::offset(9)),
            TimeZone::fixed(jiff::tz::offset(-3)),
            TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
        ];
        let dates = [
            "Mar  2",
            "Mar  1",
            "Mar  3",
            "Feb 29",
            "Feb 28",
            "Feb 30",
            "Jan  1",
            "Dec 31",
            "Mar 29",
            "Mar  2 2025",
            "2026-03-02T",
            "2026-03-02T",
            "9999-12-31T",
            "0000-01-01T",
            "2026-02-29T",
            "2026-03-29T",
            // No stamp at all.
            "then at",
        ];
        for (limit, zone) in limits.iter().flat_map(|limit| zones.iter().map(move |zone| (limit, zone))) {
            let limit = limit.parse().unwrap();
            let mut clock = Clock::new(zone.clone(), limit);
            let mut date = dates[0];
            for _ in 0..5000 {
                if next(3) == 0 {
                    date = dates[next(dates.len())];
                }
                let space = if date.ends_with('T') { "" } else { " " };
                let (hour, minute, second) = (next(26), [0, 29, 30, 31, 59, 61][next(6)], [0, 1, 59, 60, 61][next(5)]);
                let (fraction, named) = (["", "", ".5", ".6"][next(4)], ["", "Z", "+02:00", "-99:00"][next(4)]);
                let named = if date.ends_with('T') { named } else { "" };
                let text = format!("{date}{space}{hour:02}:{minute:02}:{second:02}{fraction}{named}");
                let read = |text: &[u8]| iso(text).or_else(|| bsd(text));
                let plain = read(text.as_bytes()).and_then(|stamp| stamp.time(zone, limit));
                assert_eq!(clock.time(text.as_bytes(), read), plain, "{text} until {limit} in {zone:?}");
            }
        }
    }
}
