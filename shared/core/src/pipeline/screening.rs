//! Sections of large objects, judged by threads that have nothing else to do.
//!
//! Whoever brings an object's bytes cuts them into sections. Their records are taken up in their order, so what comes of
//! an object is the same whoever does what. A free thread goes on with the object where it is, if nobody else does: it
//! reads the next section as if it had brought it itself. If somebody does, it judges a later section by itself, and notes
//! what the records contribute, to be taken up when all before it has been.
//!
//! Where such a section begins is a guess, and so is the header line that it is read by: whoever has taken up the section
//! before it knows whether both were right, and reads it once more if they were not.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Pipeline;
use super::judge::{Judge, Known, Section, SectionJudged};
use crate::formats::{Context, Format};
use crate::framing::Boundary;

/// How many sections may be under way for each thread that helps, and for the one that reads.
const AHEAD: usize = 4;
/// How many may be under way at all: one stream is decompressed no faster for more threads, and sections take memory.
const MOST_AHEAD: usize = 16;
/// How many sections wait before a thread is woken for them: waking one takes as long as reading a good part of one.
const WOKEN_FOR: usize = 3;
/// How long sections usually are, in bytes.
const SECTION: usize = 128 * 1024;
/// How many times that all that are under way may be together: a line may be as long as many of them.
const MOST_BYTES: usize = 2 * MOST_AHEAD;

/// Objects that are read in sections.
pub struct Screening {
    /// How long a section is, in bytes, if that is long enough for a frame.
    section: usize,
    /// Whether sections are read where the object is, too, and not only judged by themselves.
    in_order: bool,
    state: Mutex<State>,
    changed: Condvar,
    threads: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Those that are read in sections, by number.
    objects: BTreeMap<u64, Object>,
    /// How many objects there were.
    numbers: u64,
    counts: Counts,
    closed: bool,
}

/// What became of sections.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Those that were put up.
    pub put: u64,
    /// Those that were judged by themselves.
    pub judged: u64,
    /// Those of them of which it held what came of them.
    pub held: u64,
}

/// An object of which sections are under way.
struct Object {
    format: &'static dyn Format,
    context: Context,
    /// Where all sections begin.
    start: Boundary,
    /// The header line after the last section that was taken up.
    header: Option<Arc<str>>,
    misses: u32,
    /// `None`: somebody goes on with it just now.
    known: Option<Box<Known>>,
    /// What has not been taken up, in its order.
    sections: VecDeque<Stage>,
    /// The number of the first of them.
    first: u64,
    /// How many bytes there are of those that have not been taken up, and of those that just now are.
    bytes: usize,
    /// The room of sections that were taken up, for others.
    rooms: Vec<Vec<u8>>,
    /// A panic of whoever went on with it.
    panic: Option<Box<dyn Any + Send>>,
}

enum Stage {
    Waiting(Section),
    UnderWay,
    /// `None`: nothing came of it, by a defect.
    Judged(Section, Option<Box<SectionJudged>>),
}

/// What a thread can do.
enum Work {
    /// Go on with an object: with sections that were judged, or the next one, which was not.
    GoOn(u64, Box<Known>, Vec<(Section, Option<Box<SectionJudged>>)>),
    /// Judge a section of an object, by its number, by itself.
    Judge(u64, u64, Section),
}

/// What whoever puts a section up learns of the object.
pub(super) struct Put {
    /// Room for another section.
    pub room: Vec<u8>,
    /// How many sections were judged in vain.
    pub misses: u32,
}

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
            in_order: true,
            state: Mutex::default(),
            changed: Condvar::default(),
            threads: AtomicUsize::default(),
        }
    }

    /// The same, but every section is judged by itself.
    #[cfg(test)]
    pub(super) fn judging_all(bytes: usize) -> Self {
        Self { in_order: false, ..Self::with_sections_of(bytes) }
    }

    /// How long a section is, in bytes.
    pub(super) fn section(&self) -> usize {
        self.section
    }

    /// Helps until [`Self::close`], with the rules and options of this pipeline.
    pub fn help(&self, pipeline: &Pipeline<'_>) {
        self.threads.fetch_add(1, Ordering::Relaxed);
        let mut judge = Judge::new(pipeline.catalogue, pipeline.options.clone());
        let mut state = self.lock();
        while !state.closed {
            state = self.work_or_wait(state, &mut judge);
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

    /// A number for an object.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.lock();
        state.numbers += 1;
        state.numbers
    }

    /// Lends an object, whose sections begin so, until [`Self::take_back`] or [`Self::forget`].
    pub(super) fn lend(&self, number: u64, known: Known, start: Boundary, context: Context) {
        let object = Object {
            format: known.reading.format,
            context,
            start,
            header: known.reading.parser.header().cloned(),
            misses: known.misses,
            known: Some(Box::new(known)),
            sections: VecDeque::new(),
            first: 0,
            bytes: 0,
            rooms: Vec::new(),
            panic: None,
        };
        self.lock().objects.insert(number, object);
    }

    /// Puts a section of an object up. While too many are under way, the caller helps.
    pub(super) fn put(&self, number: u64, bytes: Vec<u8>, judge: &mut Judge<'_>) -> Put {
        let mut state = self.lock();
        state.counts.put += 1;
        let object = state.object(number);
        let (format, context, start) = (object.format, object.context.clone(), object.start);
        let header = object.header.clone();
        object.bytes += bytes.len();
        object.sections.push_back(Stage::Waiting(Section { object: number, format, context, bytes, start, header }));
        if object.sections.len() >= WOKEN_FOR {
            self.changed.notify_all();
        }
        let ahead = MOST_AHEAD.min(AHEAD * (self.threads() + 1));
        let is_full = |object: &Object| object.sections.len() > ahead || object.bytes > MOST_BYTES * self.section;
        while is_full(state.object(number)) {
            state = self.work_or_wait(state, judge);
        }
        let object = state.object(number);
        Put { room: object.rooms.pop().unwrap_or_default(), misses: object.misses }
    }

    /// Takes an object back, with all of its sections taken up. Until they are, the caller helps.
    pub(super) fn take_back(&self, number: u64, judge: &mut Judge<'_>) -> Known {
        let mut state = self.lock();
        loop {
            let object = state.object(number);
            if object.sections.is_empty()
                && let Some(known) = object.known.take()
            {
                state.objects.remove(&number);
                return *known;
            }
            state = self.work_or_wait(state, judge);
        }
    }

    /// Forgets an object and its sections.
    pub(super) fn forget(&self, number: u64) {
        self.lock().objects.remove(&number);
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what there is to do, or waits until something changes.
    fn work_or_wait<'s>(&'s self, mut state: MutexGuard<'s, State>, judge: &mut Judge<'_>) -> MutexGuard<'s, State> {
        let Some(work) = state.work(self.in_order) else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let state = match work {
            Work::GoOn(number, known, sections) => self.go_on(number, known, sections, judge),
            Work::Judge(number, which, section) => {
                // A defect shows again, and is told, where the object is read.
                let judged = catch_unwind(AssertUnwindSafe(|| Box::new(judge.judge(&section)))).ok();
                if judged.is_none() {
                    judge.start_anew();
                }
                let mut state = self.lock();
                state.counts.judged += 1;
                // Unless nobody wants it any more.
                if let Some(object) = state.objects.get_mut(&number) {
                    object.judged(which, section, judged);
                }
                state
            }
        };
        self.changed.notify_all();
        state
    }

    fn go_on(
        &self,
        number: u64,
        mut known: Box<Known>,
        sections: Vec<(Section, Option<Box<SectionJudged>>)>,
        judge: &mut Judge<'_>,
    ) -> MutexGuard<'_, State> {
        let mut rooms = Vec::with_capacity(sections.len());
        let bytes: usize = sections.iter().map(|(section, _)| section.bytes.len()).sum();
        let mut held = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for (mut section, judged) in sections {
                held += u64::from(judge.go_on(&mut known, &section, judged.map(|judged| *judged)));
                section.bytes.clear();
                // What was made for a line that is longer than usual is given back.
                if section.bytes.capacity() <= 4 * self.section {
                    rooms.push(section.bytes);
                }
            }
        }));
        if outcome.is_err() {
            judge.start_anew();
        }
        let mut state = self.lock();
        state.counts.held += held;
        if let Some(object) = state.objects.get_mut(&number) {
            object.bytes -= bytes;
            object.rooms.append(&mut rooms);
            match outcome {
                Ok(()) => {
                    object.header = known.reading.parser.header().cloned();
                    object.misses = known.misses;
                    object.known = Some(known);
                }
                Err(panic) => object.panic = Some(panic),
            }
        }
        state
    }
}

impl State {
    /// An object that its reader has lent. A panic of whoever went on with it is the reader's.
    fn object(&mut self, number: u64) -> &mut Object {
        let Some(object) = self.objects.get_mut(&number) else { unreachable!("its reader alone takes it back") };
        if let Some(panic) = object.panic.take() {
            resume_unwind(panic);
        }
        object
    }

    /// What there is to do, what must come first before the rest.
    fn work(&mut self, in_order: bool) -> Option<Work> {
        let going_on = self.objects.iter_mut().find_map(|(number, object)| object.go_on(*number, in_order));
        going_on.or_else(|| self.objects.iter_mut().find_map(|(number, object)| object.judge(*number)))
    }
}

impl Object {
    fn go_on(&mut self, number: u64, in_order: bool) -> Option<Work> {
        self.known.as_ref()?;
        let mut next = Vec::new();
        while let Some(Stage::Judged(..)) = self.sections.front()
            && let Some(Stage::Judged(section, judged)) = self.sections.pop_front()
        {
            next.push((section, judged));
        }
        if next.is_empty()
            && in_order
            && let Some(Stage::Waiting(_)) = self.sections.front()
            && let Some(Stage::Waiting(section)) = self.sections.pop_front()
        {
            next.push((section, None));
        }
        if next.is_empty() {
            return None;
        }
        self.first += next.len() as u64;
        Some(Work::GoOn(number, self.known.take()?, next))
    }

    fn judge(&mut self, number: u64) -> Option<Work> {
        let (which, stage) =
            (self.first..).zip(&mut self.sections).find(|(_, stage)| matches!(stage, Stage::Waiting(_)))?;
        match std::mem::replace(stage, Stage::UnderWay) {
            Stage::Waiting(section) => Some(Work::Judge(number, which, section)),
            Stage::UnderWay | Stage::Judged(..) => None,
        }
    }

    fn judged(&mut self, which: u64, section: Section, judged: Option<Box<SectionJudged>>) {
        let place = which.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(stage) = place.and_then(|place| self.sections.get_mut(place)) {
            *stage = Stage::Judged(section, judged);
        }
    }
}
