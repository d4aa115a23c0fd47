//! One large object, cut into sections for threads that have nothing else to do; see [`super::screening`].

use memchr::{memchr, memmem, memrchr};

use super::judge::{Judge, Known};
use super::matcher::{Collected, Matcher};
use super::reading::{Feed, Reading};
use super::screening::{Put, Screening};
use crate::formats::Framing;
use crate::framing::{Frame, FrameSink};

/// How many sections' length what waits to be cut may grow to.
const MAX_WAITING: usize = 32;
/// How many sections may begin elsewhere than where they were taken to begin, before no more are made.
const MAX_MISSES: u32 = 3;
/// The longest start of a record by which others are found, in bytes.
const MAX_OPENING: usize = 64;

/// An object that is read where its bytes come, or in sections, as soon as anybody is there to help.
pub(super) struct Sections<'s> {
    screening: &'s Screening,
    /// The object's number.
    object: u64,
    framing: Framing,
    /// How it is read here; `None`: it is read in sections.
    reading: Option<Reading>,
    /// How many sections, or what would have been the first, begin elsewhere than where they were taken to begin.
    misses: u32,
    /// What follows the sections.
    waiting: Vec<u8>,
    /// For what will follow the next.
    room: Vec<u8>,
    /// How the first JSON object began, up to its first key.
    opening: Option<Vec<u8>>,
    /// What this thread helps with, when too many sections are under way.
    judge: Option<Judge<'s>>,
}

impl<'s> Sections<'s> {
    pub(super) fn new(screening: &'s Screening, reading: Reading) -> Self {
        Self {
            screening,
            object: screening.number(),
            framing: reading.format.framing(),
            reading: Some(reading),
            misses: 0,
            waiting: Vec::new(),
            room: Vec::new(),
            opening: None,
            judge: None,
        }
    }

    /// Takes the next bytes of the object.
    pub(super) fn push(&mut self, bytes: &[u8], matcher: &mut Matcher<'s>) {
        if let Some(reading) = self.reading.take() {
            return self.read(reading, bytes, matcher);
        }
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() < self.screening.section() {
            return;
        }
        match self.cut(&self.waiting).filter(|cut| *cut > 0) {
            Some(cut) => self.put(cut, matcher),
            None if self.waiting.len() > MAX_WAITING * self.screening.section() => {
                self.reading = Some(self.take_back(matcher));
            }
            None => {}
        }
    }

    /// The input has ended.
    pub(super) fn end(mut self, matcher: &mut Matcher<'s>) -> Reading {
        self.reading.take().unwrap_or_else(|| self.take_back(matcher))
    }

    /// Reads the next bytes, or lends the object within them.
    fn read(&mut self, mut reading: Reading, bytes: &[u8], matcher: &mut Matcher<'s>) {
        let is_helped = self.screening.threads() > 0;
        let cut = if is_helped && self.misses < MAX_MISSES { self.cut(bytes) } else { None };
        let (before, after) = bytes.split_at(cut.unwrap_or(bytes.len()));
        if is_helped && self.opening.is_none() {
            let Reading { format, framer, parser } = &mut reading;
            let feed = Feed { format: *format, parser: parser.as_mut(), matcher };
            framer.push(before, &mut Watched { feed, opening: &mut self.opening });
        } else {
            reading.push(before, matcher);
        }
        if let Some(start) = cut.and_then(|_| reading.framer.boundary()) {
            let collected = std::mem::replace(&mut matcher.collected, Collected::of_section());
            let known = Known { reading, collected, misses: self.misses };
            self.screening.lend(self.object, known, start, matcher.options.context());
            self.waiting.extend_from_slice(after);
        } else {
            self.misses += u32::from(cut.is_some());
            reading.push(after, matcher);
            self.reading = Some(reading);
        }
    }

    /// The last place where a frame seems to begin.
    fn cut(&self, bytes: &[u8]) -> Option<usize> {
        match self.framing {
            Framing::Lines => memrchr(b'\n', bytes).map(|end| end + 1),
            Framing::Json => memmem::rfind(bytes, self.opening.as_deref()?),
        }
    }

    /// Puts up what waits, up to there.
    fn put(&mut self, cut: usize, matcher: &mut Matcher<'s>) {
        let mut next = std::mem::take(&mut self.room);
        next.reserve(2 * self.screening.section());
        next.extend_from_slice(&self.waiting[cut..]);
        self.waiting.truncate(cut);
        let section = std::mem::replace(&mut self.waiting, next);
        let Put { room, misses } = self.screening.put(self.object, section, judge(&mut self.judge, matcher));
        self.room = room;
        if misses >= MAX_MISSES {
            self.reading = Some(self.take_back(matcher));
        }
    }

    /// Reads from here on, with everything that was put up behind it.
    fn take_back(&mut self, matcher: &mut Matcher<'s>) -> Reading {
        let known = self.screening.take_back(self.object, judge(&mut self.judge, matcher));
        let Known { mut reading, collected, misses } = known;
        matcher.collected = collected;
        self.misses = misses;
        reading.push(&std::mem::take(&mut self.waiting), matcher);
        reading
    }
}

fn judge<'j, 's>(judge: &'j mut Option<Judge<'s>>, matcher: &Matcher<'s>) -> &'j mut Judge<'s> {
    judge.get_or_insert_with(|| Judge::new(matcher.catalogue(), matcher.options.clone()))
}

impl Drop for Sections<'_> {
    fn drop(&mut self) {
        // A panic leaves it lent.
        self.screening.forget(self.object);
    }
}

/// Frames, on their way to the matcher, of which the first object's beginning is noted.
struct Watched<'w, 'f, 'c> {
    feed: Feed<'f, 'c>,
    opening: &'w mut Option<Vec<u8>>,
}

impl FrameSink for Watched<'_, '_, '_> {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        self.feed.frame(number, frame);
    }

    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        let length = self.feed.object(number, text, may_be_envelope)?;
        if self.opening.is_none() {
            *self.opening = opening(text);
        }
        Some(length)
    }
}

/// How an object begins, up to its first key and the colon after it: others of its kind begin so, too.
fn opening(text: &str) -> Option<Vec<u8>> {
    let start = &text.as_bytes()[..text.len().min(MAX_OPENING)];
    memchr(b':', start).map(|colon| start[..=colon].to_vec())
}
