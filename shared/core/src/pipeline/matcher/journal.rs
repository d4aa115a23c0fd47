//! What the records of a section come to, noted by whichever thread had time for them, and taken up in the order of the
//! object: only then is it known which numbers the records have, what is left of the budget, and what is kept to be shown.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use jiff::Timestamp;

use super::Collected;
use crate::correlate::{BorrowedGroup, Bucket, Contribution, Teller, Told};
use crate::detect::Catalogue;
use crate::formats::{Format, Parsed, Parser};
use crate::pipeline::{Matches, SourceStats};
use crate::record::FactsOf;

/// What the records of a section come to, in their order.
#[derive(Default)]
pub(in crate::pipeline) struct Judged {
    /// How many numbers of frames they take.
    pub numbers: u64,
    /// Their counters, the source's name left out.
    pub stats: SourceStats,
    refused: u64,
    /// By number in the section.
    matches: Matches,
    journal: Journal,
}

/// What is contributed.
#[derive(Default)]
pub(in crate::pipeline) struct Journal {
    notes: Vec<Note>,
    contributed: Vec<Contributed>,
    /// Where each group's names and values are, one group after the other.
    named: Vec<Named>,
    texts: String,
}

/// What stands at one place of a section.
enum Note {
    /// A header line, by which those after it are read.
    Header(Place),
    /// A record that contributes.
    Record(Noted),
}

/// Where a frame is.
pub(in crate::pipeline) enum Place {
    /// There in the section.
    At(Range<usize>),
    /// Not in the section as it was handed over.
    Text(String),
}

impl Place {
    pub(in crate::pipeline) fn of(frame: &str, section: &[u8]) -> Self {
        let start = (frame.as_ptr() as usize).wrapping_sub(section.as_ptr() as usize);
        let place = start..start.wrapping_add(frame.len());
        // What is not UTF-8 was replaced elsewhere.
        if section.get(place.clone()).is_some() { Self::At(place) } else { Self::Text(frame.to_owned()) }
    }

    fn text<'p>(&'p self, section: &'p [u8]) -> Cow<'p, str> {
        match self {
            Self::At(place) => {
                let frame = section.get(place.clone()).unwrap_or_default();
                simdutf8::basic::from_utf8(frame).map_or_else(|_| String::from_utf8_lossy(frame), Cow::Borrowed)
            }
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

struct Noted {
    /// Its number in the section, from 1.
    number: u64,
    /// Where its frame is, once that is known.
    frame: Option<Place>,
    time: Option<Timestamp>,
    /// What all of its contributions have in common. A key that is a position counts from the section's start.
    new: Contribution,
    is_position: bool,
    /// How many of [`Journal::contributed`] there are before the next record's.
    end: usize,
}

/// What a record contributes to one partition, but for what it contributes to all of them.
struct Contributed {
    rule: usize,
    leaf: usize,
    bucket: Bucket,
    /// Its names and values, among [`Journal::named`].
    group: Range<usize>,
    value: Option<i128>,
}

/// A name and its value, in [`Journal::texts`].
struct Named {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

impl Journal {
    /// Another one, with room for as much: sections of an object are alike.
    fn empty(&self) -> Self {
        Self {
            notes: Vec::with_capacity(self.notes.len()),
            contributed: Vec::with_capacity(self.contributed.len()),
            named: Vec::with_capacity(self.named.len()),
            texts: String::with_capacity(self.texts.len()),
        }
    }

    /// Notes what a record, of this number in the section, contributes to the partition of a rule. `is_position`: its key is
    /// that number.
    pub(super) fn add(
        &mut self,
        (number, time, is_position): (u64, Option<Timestamp>, bool),
        rule: usize,
        group: &BorrowedGroup<'_>,
        bucket: Bucket,
        new: &Contribution,
    ) {
        let group = self.group(group);
        self.contributed.push(Contributed { rule, leaf: new.leaf, bucket, group, value: new.value });
        let end = self.contributed.len();
        match self.notes.last_mut() {
            Some(Note::Record(noted)) if noted.number == number => noted.end = end,
            _ => self.notes.push(Note::Record(Noted { number, frame: None, time, new: *new, is_position, end })),
        }
    }

    /// Puts a group down, unless it is the one that was put down last: a record's are mostly the same.
    fn group(&mut self, group: &BorrowedGroup<'_>) -> Range<usize> {
        let values = group.values();
        if let Some(Contributed { group: last, .. }) = self.contributed.last()
            && last.len() == values.len()
            && self.named[last.clone()].iter().zip(values).all(|(known, (name, value))| {
                self.texts[known.name.clone()] == **name
                    && known.value.as_ref().map(|value| &self.texts[value.clone()]) == value.as_deref()
            })
        {
            return last.clone();
        }
        let start = self.named.len();
        for (name, value) in values {
            let name = self.put(name);
            let value = value.as_deref().map(|value| self.put(value));
            self.named.push(Named { name, value });
        }
        start..self.named.len()
    }

    fn put(&mut self, text: &str) -> Range<usize> {
        let start = self.texts.len();
        self.texts.push_str(text);
        start..self.texts.len()
    }

    fn borrowed(&self, group: &Range<usize>) -> BorrowedGroup<'_> {
        let text = |range: &Range<usize>| &self.texts[range.clone()];
        BorrowedGroup::of_sorted(self.named[group.clone()].iter().map(|Named { name, value }| {
            let value = value.as_ref().map(|value| Cow::Borrowed(text(value)));
            (text(name), value)
        }))
    }
}

impl Collected {
    /// How many places of the section have been noted.
    #[inline]
    pub(in crate::pipeline) fn noted(&self) -> usize {
        match &self.contributed {
            super::Contributed::Section(journal) => journal.notes.len(),
            super::Contributed::Object(_) => 0,
        }
    }

    /// Notes where the last record is that was noted.
    pub(in crate::pipeline) fn record_is_at(&mut self, place: Place) {
        if let super::Contributed::Section(journal) = &mut self.contributed
            && let Some(Note::Record(noted)) = journal.notes.last_mut()
        {
            noted.frame = Some(place);
        }
    }

    /// Notes where a header line is.
    pub(in crate::pipeline) fn header_is_at(&mut self, place: Place) {
        if let super::Contributed::Section(journal) = &mut self.contributed {
            journal.notes.push(Note::Header(place));
        }
    }

    /// What the records since the last time came to, whose frames took so many numbers.
    pub(in crate::pipeline) fn judged(&mut self, numbers: u64) -> Judged {
        Judged {
            numbers,
            stats: std::mem::take(&mut self.stats),
            refused: std::mem::take(&mut self.refused),
            matches: std::mem::take(&mut self.matches),
            journal: match &mut self.contributed {
                super::Contributed::Section(journal) => {
                    let next = journal.empty();
                    std::mem::replace(journal, next)
                }
                super::Contributed::Object(_) => Journal::default(),
            },
        }
    }

    /// Takes up what the records of a section came to, the frame before which has the number `before`.
    pub(in crate::pipeline) fn take_up(
        &mut self,
        catalogue: &Catalogue,
        judged: Judged,
        section: &[u8],
        before: u64,
        format: &dyn Format,
        parser: &mut dyn Parser,
    ) {
        let Judged { stats, refused, matches, journal, .. } = judged;
        let super::Contributed::Object(contributions) = &mut self.contributed else { return };
        self.stats.records_in += stats.records_in;
        self.stats.parsed += stats.parsed;
        self.stats.unparsed += stats.unparsed;
        self.stats.skipped += stats.skipped;
        self.refused += refused;
        self.matches.append(&matches, before);
        let (source, positions) = (&self.source, self.positions);
        let parser = RefCell::new(parser);
        let mut contributed = journal.contributed.iter();
        // The last one, which is mostly the next one, too.
        let (mut taken, mut group) = (0, None);
        for note in &journal.notes {
            let noted = match note {
                Note::Record(noted) => noted,
                Note::Header(place) => {
                    parser.borrow_mut().parse(&place.text(section));
                    continue;
                }
            };
            let number = before + noted.number;
            let key = if noted.is_position { positions.at(number) } else { noted.new.key };
            let teller = Teller::new(noted.time, || {
                // What is told of a record is asked for of the fewest: these are read once more.
                let frame = noted.frame.as_ref().map(|place| place.text(section)).unwrap_or_default();
                match parser.borrow_mut().parse(&frame) {
                    Parsed::Record(record) => {
                        Told::new(noted.time, source, number, &record.raw, &format.facts(&record))
                    }
                    Parsed::Unwatched | Parsed::Skipped | Parsed::Unparsed(_) => {
                        Told::new(noted.time, source, number, &frame, &FactsOf::default())
                    }
                }
            });
            let mut new = noted.new;
            new.key = key;
            for one in contributed.by_ref().take(noted.end - taken) {
                let Contributed { rule, leaf, bucket, group: place, value } = one;
                if group.as_ref().is_none_or(|(known, _)| *known != place) {
                    group = Some((place, journal.borrowed(place)));
                }
                (new.leaf, new.value) = (*leaf, *value);
                if let Some((_, group)) = &group {
                    contributions.add(catalogue, *rule, group, *bucket, &new, &teller);
                }
            }
            taken = noted.end;
        }
    }
}
