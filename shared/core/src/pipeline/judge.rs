//! What a thread that helps does with a section: judge it, or go on with the object where it begins.

use std::sync::Arc;

use super::Options;
use super::matcher::{Collected, Judged, Matcher, Place};
use super::reading::Reading;
use crate::detect::Catalogue;
use crate::formats::{Context, Format, Parser};
use crate::framing::{Boundary, Frame, FrameSink, Framer};

/// What is known of an object whose sections up to here were taken up.
pub(super) struct Known {
    pub reading: Reading,
    pub collected: Collected,
    /// How many sections were judged in vain, because they begin elsewhere than where they were taken to begin.
    pub misses: u32,
}

/// A part of an object that seems to begin and end between two frames.
pub(super) struct Section {
    /// The object's number, by [`super::Screening`].
    pub object: u64,
    pub format: &'static dyn Format,
    pub context: Context,
    pub bytes: Vec<u8>,
    /// Where it is taken to begin.
    pub start: Boundary,
    /// The header line that it is taken to be read by.
    pub header: Option<Arc<str>>,
}

/// What came of a section.
pub(super) struct SectionJudged {
    /// Where it ends; `None`: within a frame.
    end: Option<Boundary>,
    judged: Judged,
}

/// What a thread judges sections with.
pub(super) struct Judge<'c> {
    catalogue: &'c Catalogue,
    options: Options,
    /// It notes what the records of sections come to.
    matcher: Matcher<'c>,
    /// The parser of the last section, and the object that it was of: what it has learned of one, it knows of the next.
    parser: Option<(u64, Box<dyn Parser>)>,
}

impl<'c> Judge<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, options: Options) -> Self {
        let matcher = Matcher::new(catalogue, options.clone(), Collected::of_section());
        Self { catalogue, options, matcher, parser: None }
    }

    /// Forgets everything: it may be half done.
    pub(super) fn start_anew(&mut self) {
        *self = Self::new(self.catalogue, self.options.clone());
    }

    /// Judges a section by itself, whatever is before it.
    pub(super) fn judge(&mut self, section: &Section) -> SectionJudged {
        let Section { object, format, context, bytes, start, header } = section;
        let known = self.parser.take().filter(|(of, parser)| of == object && parser.header() == header.as_ref());
        let mut parser = known.map_or_else(|| new_parser(*format, context, header.as_deref()), |(_, parser)| parser);
        let mut framer = Framer::at(*start);
        let (header, matcher) = (parser.header().cloned(), &mut self.matcher);
        let mut sink = Noting { bytes, format: *format, parser: parser.as_mut(), matcher, header };
        framer.push(bytes, &mut sink);
        self.parser = Some((*object, parser));
        SectionJudged { end: framer.boundary(), judged: self.matcher.collected.judged(framer.number()) }
    }

    /// Goes on with the object from where the section begins. What came of it where it was judged by itself holds if it
    /// begins where it was taken to begin; returns whether that is so.
    pub(super) fn go_on(&mut self, known: &mut Known, section: &Section, judged: Option<SectionJudged>) -> bool {
        let Known { reading, collected, misses } = known;
        let Reading { format, framer, parser } = reading;
        let start = Some(section.start);
        let is_current = parser.header() == section.header.as_ref();
        let was_judged = judged.is_some();
        if let Some(SectionJudged { end, judged }) = judged
            && is_current
            && framer.boundary() == start
            && end == start
        {
            let numbers = judged.numbers;
            let before = framer.number();
            collected.take_up(self.catalogue, judged, &section.bytes, before, *format, parser.as_mut());
            framer.pass(numbers);
            return true;
        }
        *misses += u32::from(was_judged && is_current);
        std::mem::swap(&mut self.matcher.collected, collected);
        reading.push(&section.bytes, &mut self.matcher);
        std::mem::swap(&mut self.matcher.collected, collected);
        false
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

    /// How many frames were put aside, and how many places were noted.
    #[inline]
    fn marks(&self) -> (u64, usize) {
        (self.matcher.collected.stats.skipped, self.matcher.collected.noted())
    }
}

impl FrameSink for Noting<'_, '_> {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        let before = self.marks();
        self.matcher.frame(self.format, self.parser, number, frame, None);
        // Most lines come to nothing that is noted.
        let after = self.marks();
        if before != after
            && let Frame::Whole(text) = frame
        {
            let place = Place::of(text, self.bytes);
            if before.1 != after.1 {
                self.matcher.collected.record_is_at(place);
            } else if self.has_another_header() {
                // One that is put aside may be a header line.
                self.matcher.collected.header_is_at(place);
            }
        }
    }

    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        let before = self.marks();
        let length = self.matcher.object(self.format, self.parser, number, text, may_be_envelope)?;
        if before.1 != self.marks().1 {
            self.matcher.collected.record_is_at(Place::of(&text[..length], self.bytes));
        }
        Some(length)
    }
}
