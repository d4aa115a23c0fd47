//! Screening: sections of one large object, looked through by threads that have nothing else to do.
//!
//! Nearly every record is one that no rule can match. A section of an object is framed and validated by whichever thread
//! is free, which notes the few that a rule may match; those are then parsed and matched where the object is read, in
//! their order. So what comes of an object is the same, whoever looked through it.
//!
//! Where a section begins is a guess: whoever reads the object knows whether it was right as soon as the section before
//! it has been looked through, and reads it itself if it was not.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Pipeline;
use super::matcher::Selector;
use crate::formats::{Gate, Key, Parsed, Parser};
use crate::framing::{Boundary, Frame, FrameSink, Framer};
use crate::record::LogSource;

/// Sections that wait for a thread, or for whoever reads their object.
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
    closed: bool,
}

enum Stage {
    Waiting(Section),
    UnderWay,
    Done(Option<Screened>),
}

/// A part of an object that seems to begin and end between two frames.
pub(super) struct Section {
    pub bytes: Arc<Vec<u8>>,
    /// Where it is taken to begin.
    pub start: Boundary,
    /// As it is at the section's start.
    pub parser: Box<dyn Parser>,
}

/// A section that was looked through.
#[derive(Default)]
pub(super) struct Screened {
    /// Where it ends; `None`: within a frame.
    pub end: Option<Boundary>,
    /// How many numbers of frames it takes.
    pub count: u64,
    /// Records that no rule can match.
    pub parsed: u64,
    /// Records that are not of the format.
    pub unparsed: u64,
    /// What is to be looked at again, by its number in the section, from 1.
    pub noted: Vec<(u64, Noted)>,
}

/// A frame that is to be looked at again.
pub(super) enum Noted {
    /// It stands there in the section.
    At(Range<usize>),
    /// It does not stand in the section as it was handed over.
    Text(String),
}

/// How long sections usually are, in bytes.
const SECTION: usize = 1024 * 1024;

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
        let mut selector = pipeline.selector();
        let mut sections = self.lock();
        while !sections.closed {
            sections = self.work_or_wait(sections, &mut selector);
        }
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

    /// Takes up what is known of a section. While nothing is, the caller looks through sections, too. `None`: nothing is
    /// known, by a defect.
    pub(super) fn take(&self, number: u64, selector: &mut Selector<'_>) -> Option<Screened> {
        let mut sections = self.lock();
        loop {
            match sections.by_number.remove(&number)? {
                Stage::Done(screened) => return screened,
                stage => drop(sections.by_number.insert(number, stage)),
            }
            sections = self.work_or_wait(sections, selector);
        }
    }

    /// Whether a section was looked through, or nobody will.
    pub(super) fn is_done(&self, number: u64) -> bool {
        matches!(self.lock().by_number.get(&number), None | Some(Stage::Done(_)))
    }

    /// Forgets a section.
    pub(super) fn forget(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }

    #[cfg(test)]
    pub(super) fn sections_put(&self) -> u64 {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Sections> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks through a section that waits, or waits until something changes.
    fn work_or_wait<'s>(
        &'s self,
        mut sections: MutexGuard<'s, Sections>,
        selector: &mut Selector<'_>,
    ) -> MutexGuard<'s, Sections> {
        let Some((number, section)) = sections.take_waiting() else {
            return self.changed.wait(sections).unwrap_or_else(PoisonError::into_inner);
        };
        drop(sections);
        // A defect shows again, and is told, where the object is read.
        let screened = catch_unwind(AssertUnwindSafe(|| section.screen(selector))).ok();
        let mut sections = self.lock();
        // Unless nobody wants it any more.
        if let Some(stage) = sections.by_number.get_mut(&number) {
            *stage = Stage::Done(screened);
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

impl Section {
    /// Looks through it.
    fn screen(self, selector: &mut Selector<'_>) -> Screened {
        let Self { bytes, start, mut parser } = self;
        let mut framer = Framer::at(start);
        let mut screened = Screened::default();
        framer.push(&bytes, &mut Screen { bytes: &bytes, parser: parser.as_mut(), selector, screened: &mut screened });
        Screened { end: framer.boundary(), count: framer.number(), ..screened }
    }
}

/// Validates frames, and notes those that a rule may match.
struct Screen<'s, 'c> {
    bytes: &'s [u8],
    parser: &'s mut dyn Parser,
    selector: &'s mut Selector<'c>,
    screened: &'s mut Screened,
}

impl Screen<'_, '_> {
    fn note(&mut self, number: u64, frame: &str, parsed: &Parsed<'_>, admitted: bool) {
        match parsed {
            Parsed::Unparsed(_) => self.screened.unparsed += 1,
            Parsed::Unwatched | Parsed::Record(_) if !admitted => self.screened.parsed += 1,
            // A header may be among those that are skipped, which the next records are read by.
            Parsed::Unwatched | Parsed::Record(_) | Parsed::Skipped => {
                let start = (frame.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
                let place = start..start.wrapping_add(frame.len());
                let is_there = self.bytes.get(place.clone()).is_some();
                let noted = if is_there { Noted::At(place) } else { Noted::Text(frame.to_owned()) };
                self.screened.noted.push((number, noted));
            }
        }
    }
}

impl FrameSink for Screen<'_, '_> {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        let Frame::Whole(text) = frame else {
            self.screened.unparsed += 1;
            return;
        };
        let mut gate = Noting { selector: self.selector, admitted: false };
        let parsed = self.parser.parse_if(text, &mut gate);
        let admitted = gate.admitted;
        self.note(number, text, &parsed, admitted);
    }

    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        let mut gate = Noting { selector: self.selector, admitted: false };
        let (length, parsed) = self.parser.parse_object_if(text, may_be_envelope, &mut gate)?;
        let admitted = gate.admitted;
        self.note(number, &text[..length], &parsed, admitted);
        Some(length)
    }
}

/// Notes what the selector admits, and has nothing taken apart.
struct Noting<'s, 'c> {
    selector: &'s mut Selector<'c>,
    admitted: bool,
}

impl Gate for Noting<'_, '_> {
    fn admits(&mut self, source: &'static LogSource, keys: &[Key<'_>], text: &str) -> bool {
        self.admitted |= self.selector.admits(source, keys, text);
        false
    }
}
