//! One large object, cut into sections for threads that have nothing else to do; see [`super::screening`].

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::{memchr, memmem, memrchr};

use super::analysis::Feed;
use super::screening::{Judge, Screening, Section, SectionJudged};
use crate::framing::{Boundary, Frame, FrameSink, Framer};

/// How many sections' length what waits to be cut may grow to.
const MAX_WAITING: usize = 32;
/// How many sections may be under way for each thread that helps, and for the one that reads.
const AHEAD: usize = 4;
/// How many sections may begin elsewhere than where they were taken to begin, before no more are made.
const MAX_MISSES: u32 = 3;
/// The longest start of a record by which others are found, in bytes.
const MAX_OPENING: usize = 64;

/// The sections of an object that are under way.
pub(super) struct Sections<'s> {
    screening: &'s Screening,
    /// In their order.
    under_way: VecDeque<UnderWay>,
    /// What follows them.
    waiting: Vec<u8>,
    /// Where all of them begin; `None`: there are none, and what comes goes to the framer.
    start: Option<Boundary>,
    /// How the first JSON object began, up to its first key.
    opening: Option<Vec<u8>>,
    misses: u32,
    /// The object's number.
    object: u64,
    /// What the thread that reads judges sections with, when it comes to that.
    judge: Option<Judge<'s>>,
    /// The room of sections that were taken up, for others.
    rooms: Vec<Vec<u8>>,
}

struct UnderWay {
    number: u64,
    bytes: Arc<Vec<u8>>,
    /// The header line that it is taken to be read by.
    header: Option<Arc<str>>,
}

impl<'s> Sections<'s> {
    pub(super) fn new(screening: &'s Screening) -> Self {
        Self {
            screening,
            under_way: VecDeque::new(),
            waiting: Vec::new(),
            start: None,
            opening: None,
            misses: 0,
            object: screening.object(),
            judge: None,
            rooms: Vec::new(),
        }
    }

    /// Takes the next bytes of the object.
    pub(super) fn push(&mut self, bytes: &[u8], framer: &mut Framer, feed: &mut Feed<'_, 's>) {
        if self.start.is_none() {
            let threads = self.screening.threads();
            let cut = if threads == 0 || self.misses >= MAX_MISSES { None } else { self.cut(bytes, framer) };
            let (before, after) = bytes.split_at(cut.unwrap_or(bytes.len()));
            if threads > 0 && self.opening.is_none() {
                framer.push(before, &mut Watched { feed, opening: &mut self.opening });
            } else {
                framer.push(before, feed);
            }
            self.start = cut.and_then(|_| framer.boundary());
            if self.start.is_none() {
                self.misses += u32::from(cut.is_some());
                return framer.push(after, feed);
            }
            self.waiting.extend_from_slice(after);
            return;
        }
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= self.screening.section() {
            match self.cut(&self.waiting, framer).filter(|cut| *cut > 0) {
                Some(cut) => self.put(cut, feed),
                None if self.waiting.len() > MAX_WAITING * self.screening.section() => return self.end(framer, feed),
                None => {}
            }
        }
        let ahead = AHEAD * (self.screening.threads() + 1);
        while let Some(first) = self.under_way.front()
            && (self.under_way.len() > ahead || self.screening.is_done(first.number))
        {
            self.take_up(framer, feed);
        }
        if self.misses >= MAX_MISSES {
            self.end(framer, feed);
        }
    }

    /// Takes up everything that is under way.
    pub(super) fn end(&mut self, framer: &mut Framer, feed: &mut Feed<'_, 's>) {
        while !self.under_way.is_empty() {
            self.take_up(framer, feed);
        }
        let waiting = std::mem::take(&mut self.waiting);
        framer.push(&waiting, feed);
        self.start = None;
    }

    /// The last place where a frame seems to begin.
    fn cut(&self, bytes: &[u8], framer: &Framer) -> Option<usize> {
        match framer {
            Framer::Lines(_) => memrchr(b'\n', bytes).map(|end| end + 1),
            Framer::Json(_) => memmem::rfind(bytes, self.opening.as_deref()?),
        }
    }

    fn put(&mut self, cut: usize, feed: &Feed<'_, '_>) {
        let Some(start) = self.start else { return };
        let mut next = self.rooms.pop().unwrap_or_else(|| Vec::with_capacity(2 * self.screening.section()));
        next.extend_from_slice(&self.waiting[cut..]);
        self.waiting.truncate(cut);
        let bytes = Arc::new(std::mem::replace(&mut self.waiting, next));
        let header = feed.parser.header().cloned();
        let number = self.screening.put(Section {
            object: self.object,
            format: feed.format,
            context: feed.matcher.options.context(),
            bytes: Arc::clone(&bytes),
            start,
            header: header.clone(),
        });
        self.under_way.push_back(UnderWay { number, bytes, header });
    }

    /// Takes up the first section that is under way.
    fn take_up(&mut self, framer: &mut Framer, feed: &mut Feed<'_, 's>) {
        let Some(UnderWay { number, bytes, header }) = self.under_way.pop_front() else { return };
        let judge =
            self.judge.get_or_insert_with(|| Judge::new(feed.matcher.catalogue(), feed.matcher.options.clone()));
        let judged = self.screening.take(number, judge);
        let is_current = feed.parser.header() == header.as_ref();
        let is_right = |judged: &SectionJudged| {
            is_current && self.start.is_some() && framer.boundary() == self.start && judged.end == self.start
        };
        if let Some(SectionJudged { judged, .. }) = judged.filter(is_right) {
            let numbers = judged.numbers;
            feed.take_up(judged, &bytes, framer.number());
            framer.pass(numbers);
            self.screening.taken_up();
        } else {
            self.misses += u32::from(is_current);
            framer.push(&bytes, feed);
        }
        if let Some(mut room) = Arc::into_inner(bytes) {
            room.clear();
            self.rooms.push(room);
        }
    }
}

impl Drop for Sections<'_> {
    fn drop(&mut self) {
        // A panic leaves some behind.
        self.under_way.iter().for_each(|section| self.screening.forget(section.number));
    }
}

/// Frames, on their way to the matcher, of which the first object's beginning is noted.
struct Watched<'w, 'f, 'c> {
    feed: &'w mut Feed<'f, 'c>,
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
