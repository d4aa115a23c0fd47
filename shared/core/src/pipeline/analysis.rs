//! One object on its way through decoding, recognition, framing and parsing; [`super::matcher`] does the rest.

use super::matcher::{Collected, Matcher};
use super::reading::Reading;
use super::screening::Screening;
use super::sections::Sections;
use super::{Damage, Entry, Options, Report};
use crate::decode::{DecodeError, Decoder};
use crate::detect::Catalogue;
use crate::formats::{self, Format, Framing, Unrecognised};
use crate::framing::Frame;

/// How much is looked at to recognise a format, in bytes.
const HEAD: usize = 64 * 1024;

/// An object whose bytes arrive piece by piece.
pub struct Analysis<'c> {
    decoder: Decoder,
    stage: Stage<'c>,
    damage: Vec<Damage>,
}

/// What follows decoding.
struct Stage<'c> {
    /// Bytes by which the format is recognised.
    head: Vec<u8>,
    reader: Reader<'c>,
    matcher: Matcher<'c>,
    /// Where others help.
    screening: Option<&'c Screening>,
    /// How many bytes have come, decompressed.
    bytes: u64,
    too_large: bool,
}

enum Reader<'c> {
    Undecided,
    Unknown(Unrecognised),
    Known(Reading),
    /// Known, where others help.
    InSections(Box<Sections<'c>>),
}

impl<'c> Analysis<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, options: Options, source: &str, object: String) -> Self {
        let matcher = Matcher::new(catalogue, options, Collected::of_object(source, object));
        let stage =
            Stage { head: Vec::new(), reader: Reader::Undecided, matcher, screening: None, bytes: 0, too_large: false };
        Self { decoder: Decoder::default(), stage, damage: Vec::new() }
    }

    pub(super) fn screened_by(mut self, screening: Option<&'c Screening>) -> Self {
        // What is kept whole is kept by whoever reads it.
        self.stage.screening = screening.filter(|_| self.stage.matcher.options.whole.is_none());
        self
    }

    /// Takes the next bytes, as they are stored. `false`: nothing more is wanted, for the object is damaged.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let stage = &mut self.stage;
        let decoded = self.decoder.push(bytes, &mut |bytes| stage.push(bytes));
        // Beyond the limit nothing was asked for, so it does not matter whether it is sound.
        if let Err(error) = decoded
            && !self.stage.too_large
        {
            self.damage.push(error.into());
        }
        self.damage.is_empty() && !self.stage.too_large
    }

    /// Notes what is wrong with the object.
    pub fn damaged(&mut self, damage: Damage) {
        self.damage.push(damage);
    }

    pub(super) fn entries<'e>(&mut self, entries: impl Iterator<Item = Entry<'e>> + Clone) {
        let stage = &mut self.stage;
        let mut head = Vec::new();
        let format = stage.matcher.options.format.or_else(|| {
            for entry in entries.clone() {
                head.extend_from_slice(entry.bytes.get(..HEAD).unwrap_or(entry.bytes));
                head.push(b'\n');
                if head.len() > HEAD {
                    break;
                }
            }
            formats::recognise(stage.matcher.options.formats, &head)
        });
        stage.decide(format, &head);
        let matcher = &mut stage.matcher;
        for (number, entry) in (1..).zip(entries) {
            stage.bytes += entry.bytes.len() as u64;
            if entry.bytes.trim_ascii().is_empty() {
                continue;
            }
            if let Reader::Known(Reading { format, parser, .. }) = &mut stage.reader {
                let frame = match format.framing() {
                    Framing::Lines => without_line_end(entry.bytes),
                    Framing::Json => entry.bytes,
                };
                let text = String::from_utf8_lossy(frame);
                matcher.frame(*format, parser.as_mut(), number, Frame::Whole(&text), Some(entry));
            } else {
                matcher.collected.stats.records_in += 1;
                matcher.collected.stats.unparsed += 1;
            }
        }
    }

    /// The input has ended.
    pub fn finish(self) -> Report {
        let Self { decoder, mut stage, mut damage } = self;
        if damage.is_empty()
            && !stage.too_large
            && let Err(error) = decoder.finish(&mut |bytes| stage.push(bytes))
        {
            damage.push(error.into());
        }
        if matches!(stage.reader, Reader::Undecided) && !stage.head.trim_ascii().is_empty() {
            stage.recognise();
        }
        let Stage { reader, mut matcher, bytes, too_large, .. } = stage;
        if too_large {
            damage.push(Damage::TooLarge(matcher.options.max_bytes.unwrap_or_default()));
        }
        let reading = match reader {
            Reader::Known(reading) => Some(reading),
            Reader::InSections(sections) => Some(sections.end(&mut matcher)),
            Reader::Unknown(seems) => {
                damage.push(Damage::UnknownFormat(seems));
                None
            }
            Reader::Undecided => None,
        };
        if let Some(reading) = reading {
            // What the end left over is a line without its end, or the start of one that was cut off: not to be matched then.
            let is_cut = damage.iter().any(|damage| !matches!(damage, Damage::Decode(DecodeError::Trailing)));
            reading.finish(is_cut, &mut matcher);
        }
        let stats = &mut matcher.collected.stats;
        stats.bytes = bytes;
        if stats.records_in == 0 && damage.is_empty() {
            damage.push(Damage::NoRecord);
        }
        matcher.report(damage)
    }
}

impl Stage<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.matcher.options.max_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.bytes));
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.too_large |= fits < bytes.len();
        let bytes = &bytes[..fits];
        self.bytes += bytes.len() as u64;
        let is_enough = |head: &[u8]| self.matcher.options.format.is_some() || head.len() >= HEAD;
        match &mut self.reader {
            Reader::Unknown(_) => {}
            Reader::Known(_) | Reader::InSections(_) => self.feed(bytes),
            // As it is: for a small object, a copy is no small part of the work.
            Reader::Undecided if self.head.is_empty() && is_enough(bytes) => {
                self.decide_by(bytes);
                self.feed(bytes);
            }
            Reader::Undecided => {
                self.head.extend_from_slice(bytes);
                if is_enough(&self.head) {
                    self.recognise();
                }
            }
        }
    }

    fn recognise(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.decide_by(&head);
        self.feed(&head);
    }

    /// Decides how an object that begins like this is read.
    fn decide_by(&mut self, beginning: &[u8]) {
        let head = &beginning[..beginning.len().min(HEAD)];
        let options = &self.matcher.options;
        let format = options.format.or_else(|| formats::recognise(options.formats, head));
        self.decide(format, head);
    }

    /// `head`: what it was recognised by.
    fn decide(&mut self, format: Option<&'static dyn Format>, head: &[u8]) {
        let format = format.or(self.matcher.options.fallback);
        self.matcher.collected.stats.format = format.map(Format::name);
        self.reader = match format {
            Some(format) => {
                let reading = Reading::new(format, &self.matcher.options.context());
                match self.screening {
                    Some(screening) => Reader::InSections(Box::new(Sections::new(screening, reading))),
                    None => Reader::Known(reading),
                }
            }
            None => Reader::Unknown(Unrecognised::of(head)),
        };
    }

    fn feed(&mut self, bytes: &[u8]) {
        match &mut self.reader {
            Reader::Known(reading) => reading.push(bytes, &mut self.matcher),
            Reader::InSections(sections) => sections.push(bytes, &mut self.matcher),
            Reader::Undecided | Reader::Unknown(_) => {}
        }
    }
}

/// A line as the framer would have cut it: log agents send the end of the line along.
fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
