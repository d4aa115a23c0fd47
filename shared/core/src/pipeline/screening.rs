//! Sections of one large object, judged by threads that have nothing else to do.
//!
//! A section is framed, parsed and matched by whichever thread is free, which notes what its records contribute. That is
//! taken up where the object is read, in the order of the sections: so what comes of an object is the same, whoever judged
//! it.
//!
//! Where a section begins is a guess, and so is the header line that it is read by: whoever reads the object knows whether
//! both were right as soon as the section before it has been taken up, and reads it itself if they were not.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::matcher::{Judged, Matcher, Place};
use super::{Options, Pipeline};
use crate::detect::Catalogue;
use crate::formats::{Context, Format, Parser};
use crate::framing::{Boundary, Frame, FrameSink, Framer};

/// Sections that wait for a thread, and what came of others, which waits for whoever reads their object.
pub struct Screening {
    /// How long a section is, in bytes, if that is long enough for a frame.
    section: usize,
    sections: Mutex<Sections>,
    changed: Condvar,
    threads: AtomicUsize,
}

#[derive(Default)]
struct Sections {
    by_number: BTreeMap<u64, Stage>,
    /// How many there were.
    count: u64,
    /// Of how many it holds what came of them.
    taken_up: u64,
    /// How many objects there were.
    objects: u64,
    closed: bool,
}

enum Stage {
    Waiting(Section),
    UnderWay,
    Done(Option<SectionJudged>),
}

/// A part of an object that seems to begin and end between two frames.
pub(super) struct Section {
    /// The object's number, by [`Screening::object`].
    pub object: u64,
    pub format: &'static dyn Format,
    pub context: Context,
    pub bytes: Arc<Vec<u8>>,
    /// Where it is taken to begin.
    pub start: Boundary,
    /// The header line that it is taken to be read by.
    pub header: Option<Arc<str>>,
}

/// A section that was judged.
pub(super) struct SectionJudged {
    /// Where it ends; `None`: within a frame.
    pub end: Option<Boundary>,
    pub judged: Judged,
}

/// How long sections usually are, in bytes.
const SECTION: usize = 256 * 1024;

impl Default for Screening {
    fn default() -> Self {
        Self::with_sections_of(SECTION)
    }
}

impl Screening {
    /// With sections of this many bytes, if that is long enough for a frame.
    pub fn with_sections_of(bytes: usize) -> Self {
        Self {
            section: bytes,
            sections: Mutex::default(),
            changed: Condvar::default(),
            threads: AtomicUsize::default(),
        }
    }

    /// How long a section is, in bytes.
    pub(super) fn section(&self) -> usize {
        self.section
    }

    /// Helps until [`Self::close`], with the rules and options of this pipeline.
    pub fn help(&self, pipeline: &Pipeline<'_>) {
        self.threads.fetch_add(1, Ordering::Relaxed);
        let mut judge = Judge::new(pipeline.catalogue, pipeline.options.clone());
        let mut sections = self.lock();
        while !sections.closed {
            sections = self.work_or_wait(sections, &mut judge);
        }
    }

    /// A number for an object.
    pub(super) fn object(&self) -> u64 {
        let mut sections = self.lock();
        sections.objects += 1;
        sections.objects
    }

    /// Sends the threads that help away: nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many threads help.
    pub fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    /// Puts a section up.
    pub(super) fn put(&self, section: Section) -> u64 {
        let mut sections = self.lock();
        sections.count += 1;
        let number = sections.count;
        sections.by_number.insert(number, Stage::Waiting(section));
        self.changed.notify_all();
        number
    }

    /// Takes what came of a section. While nothing has, the caller judges sections, too. `None`: nothing will, by a
    /// defect.
    pub(super) fn take(&self, number: u64, judge: &mut Judge<'_>) -> Option<SectionJudged> {
        let mut sections = self.lock();
        loop {
            match sections.by_number.remove(&number)? {
                Stage::Done(judged) => return judged,
                stage => drop(sections.by_number.insert(number, stage)),
            }
            sections = self.work_or_wait(sections, judge);
        }
    }

    /// Whether a section was judged, or nobody will.
    pub(super) fn is_done(&self, number: u64) -> bool {
        matches!(self.lock().by_number.get(&number), None | Some(Stage::Done(_)))
    }

    /// Forgets a section.
    pub(super) fn forget(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }

    /// Notes that what came of a section holds.
    pub(super) fn taken_up(&self) {
        self.lock().taken_up += 1;
    }

    #[cfg(test)]
    pub(super) fn sections_put_and_taken_up(&self) -> (u64, u64) {
        let sections = self.lock();
        (sections.count, sections.taken_up)
    }

    fn lock(&self) -> MutexGuard<'_, Sections> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a section that waits, or waits until something changes.
    fn work_or_wait<'s>(
        &'s self,
        mut sections: MutexGuard<'s, Sections>,
        judge: &mut Judge<'_>,
    ) -> MutexGuard<'s, Sections> {
        let Some((number, section)) = sections.take_waiting() else {
            return self.changed.wait(sections).unwrap_or_else(PoisonError::into_inner);
        };
        drop(sections);
        // A defect shows again, and is told, where the object is read.
        let judged = catch_unwind(AssertUnwindSafe(|| judge.section(section))).ok();
        if judged.is_none() {
            judge.start_anew();
        }
        let mut sections = self.lock();
        // Unless nobody wants it any more.
        if let Some(stage) = sections.by_number.get_mut(&number) {
            *stage = Stage::Done(judged);
        }
        self.changed.notify_all();
        sections
    }
}

impl Sections {
    fn take_waiting(&mut self) -> Option<(u64, Section)> {
        let (number, stage) = self.by_number.iter_mut().find(|(_, stage)| matches!(stage, Stage::Waiting(_)))?;
        match std::mem::replace(stage, Stage::UnderWay) {
            Stage::Waiting(section) => Some((*number, section)),
            Stage::UnderWay | Stage::Done(_) => None,
        }
    }
}

/// What a thread judges sections with.
pub(super) struct Judge<'c> {
    catalogue: &'c Catalogue,
    options: Options,
    matcher: Matcher<'c>,
    /// The parser of the last section, and the object that it was of: what it has learned of one, it knows of the next.
    parser: Option<(u64, Box<dyn Parser>)>,
}

impl<'c> Judge<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, options: Options) -> Self {
        let matcher = Matcher::of_sections(catalogue, options.clone());
        Self { catalogue, options, matcher, parser: None }
    }

    /// Forgets everything: it may be half done.
    fn start_anew(&mut self) {
        *self = Self::new(self.catalogue, self.options.clone());
    }

    fn section(&mut self, section: Section) -> SectionJudged {
        let Section { object, format, context, bytes, start, header } = section;
        let known = self.parser.take().filter(|(of, parser)| *of == object && parser.header() == header.as_ref());
        let mut parser = known.map_or_else(|| new_parser(format, &context, header.as_deref()), |(_, parser)| parser);
        let mut framer = Framer::at(start);
        let (header, matcher) = (parser.header().cloned(), &mut self.matcher);
        let mut sink = Noting { bytes: &bytes, format, parser: parser.as_mut(), matcher, header };
        framer.push(&bytes, &mut sink);
        self.parser = Some((object, parser));
        SectionJudged { end: framer.boundary(), judged: self.matcher.judged(framer.number()) }
    }
}

fn new_parser(format: &dyn Format, context: &Context, header: Option<&str>) -> Box<dyn Parser> {
    let mut parser = format.parser(context);
    if let Some(header) = header {
        parser.parse(header);
    }
    parser
}

/// Frames on their way to a matcher that is told where those are that matter later.
struct Noting<'s, 'c> {
    bytes: &'s [u8],
    format: &'static dyn Format,
    parser: &'s mut dyn Parser,
    matcher: &'s mut Matcher<'c>,
    header: Option<Arc<str>>,
}

impl Noting<'_, '_> {
    /// Whether the last frame set the header line that the next ones are read by.
    fn has_another_header(&mut self) -> bool {
        let before = std::mem::replace(&mut self.header, self.parser.header().cloned());
        match (&before, &self.header) {
            (Some(before), Some(now)) => !Arc::ptr_eq(before, now),
            (None, None) => false,
            _ => true,
        }
    }
}

impl FrameSink for Noting<'_, '_> {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        let (skipped, bytes) = (self.matcher.stats.skipped, self.bytes);
        self.matcher.frame(self.format, self.parser, number, frame, None);
        if let Frame::Whole(text) = frame {
            // One that is put aside may be a header line.
            if self.matcher.stats.skipped != skipped && self.has_another_header() {
                self.matcher.header_is_at(Place::of(text, bytes));
            } else {
                self.matcher.record_is_at(number, || Place::of(text, bytes));
            }
        }
    }

    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        let length = self.matcher.object(self.format, self.parser, number, text, may_be_envelope)?;
        let bytes = self.bytes;
        self.matcher.record_is_at(number, || Place::of(&text[..length], bytes));
        Some(length)
    }
}
