//! Bytes to records: one file a format, each opening with the address of its specification.
//!
//! A format is registered by its lines in [`FORMATS`] and `LOG_SOURCES`. A function that knows what it reads names the format,
//! and [`FORMATS`] nowhere: the others' parsers are then not linked. Cutting the bytes into frames (lines, JSON values) is
//! [`crate::framing`]'s work; a format sees one frame at a time, so that the same parser serves files, log events
//! and single events.

pub mod access;
pub mod application;
mod bytes;
pub mod cloudtrail;
pub mod eve;
mod head;
pub mod inventory;
mod json;
mod stamp;
pub mod syslog;
#[cfg(test)]
mod trial;
mod unrecognised;
pub mod vpcflow;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use json::members;

pub use unrecognised::Unrecognised;

use crate::framing;
use crate::record::{FactsOf, LogSource, Record};

/// How a format's bytes are cut into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A frame is a line, without its end.
    Lines,
    /// A frame is a JSON value, of a sequence of values, an array, or an envelope's array.
    Json,
}

/// What a frame turned out to be.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A record.
    Record(Record<'a>),
    /// A record that no rule can match, by what the [`Gate`] was told of it: validated, and not taken apart.
    Unwatched,
    /// Recognised and put aside: a header line, a digest file.
    Skipped,
    /// Not of this format, and why.
    Unparsed(&'static str),
}

/// What a parser must know besides the frame.
#[derive(Debug, Clone)]
pub struct Context {
    /// When the object was last modified: stamps without a year take the latest year that is not more than a day after it.
    pub modified: Timestamp,
    /// The zone of stamps without one.
    pub timezone: TimeZone,
}

/// What a parser knows of one of [`LogSource::keys`] before it takes an entry apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key<'k> {
    /// The field will not be there.
    Absent,
    /// The field will be this text.
    Text(&'k str),
    /// The field will be this number.
    Number(u64),
    /// It may be there, with whatever value.
    Any,
}

/// Decides, by its keys, whether a rule may match an entry.
pub trait Gate {
    /// Whether an entry of this log source must be taken apart. `keys` are those of [`LogSource::keys`], in their order;
    /// `text` is the entry as it stands. What is not admitted with [`Key::Any`] is not admitted with any key, and what is
    /// not admitted with a text or a number is not admitted without the field either.
    fn admits(&mut self, source: &'static LogSource, keys: &[Key<'_>], text: &str) -> bool;

    /// The same of an entry of a log source with one key, which is one of a few of ours: what was decided before can be found
    /// by where the key stands, without reading it.
    fn admits_word(&mut self, source: &'static LogSource, word: &'static Key<'static>, text: &str) -> bool {
        self.admits(source, std::slice::from_ref(word), text)
    }
}

/// Admits everything.
pub struct Open;

impl Gate for Open {
    fn admits(&mut self, _: &'static LogSource, _: &[Key<'_>], _: &str) -> bool {
        true
    }
}

/// Parses the frames of one object, in order. May keep what a header line said. What it keeps of a frame is lent to the
/// frame's record.
pub trait Parser: Send {
    /// Validates one frame, and takes it apart if the gate admits it. Never panics, whatever the text. A blank line
    /// never comes here. Whether a frame is a record does not depend on the gate.
    fn parse_if<'a>(&'a mut self, frame: &'a str, gate: &mut dyn Gate) -> Parsed<'a>;

    /// The same for the object at the start of some text, if it is there whole and well-formed and no envelope where
    /// one may open; and its length.
    fn parse_object_if<'a>(
        &'a mut self,
        text: &'a str,
        may_be_envelope: bool,
        gate: &mut dyn Gate,
    ) -> Option<(usize, Parsed<'a>)> {
        let length = framing::whole_object(text, may_be_envelope)?;
        Some((length, self.parse_if(&text[..length], gate)))
    }

    /// The header line that the next frames are read by: a new parser that is given it first reads them as this one
    /// would. `None`: it reads them as a new one does.
    fn header(&self) -> Option<&Arc<str>> {
        None
    }

    /// Takes one frame apart.
    fn parse<'a>(&'a mut self, frame: &'a str) -> Parsed<'a> {
        self.parse_if(frame, &mut Open)
    }
}

/// A log format.
pub trait Format: Sync {
    /// Its name for `--format`, and the name of its file.
    fn name(&self) -> &'static str;

    /// How it is cut.
    fn framing(&self) -> Framing;

    /// Whether the first bytes of an object (up to 64 KiB, perhaps cut within a record) look like it. Formats are
    /// asked in [`FORMATS`]'s order, the strictest first.
    fn recognises(&self, head: &[u8]) -> bool;

    /// A parser for one object.
    fn parser(&self, context: &Context) -> Box<dyn Parser>;

    /// What a finding says of a record of this format.
    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r>;
}

/// The tree of a JSON text, as rules see it.
#[cfg(test)]
pub(crate) fn tree_of(text: &str) -> serde_json::Value {
    json::tree(text)
}

/// Every format, the strictest first: the order in which [`recognise`] asks.
pub static FORMATS: &[&dyn Format] = &[
    &cloudtrail::CloudTrail,
    &eve::Eve,
    &inventory::Inventory,
    &vpcflow::VpcFlow,
    &access::Access,
    &syslog::Syslog,
    &application::Application,
];

/// The format of a name, as `--format` takes it.
pub fn by_name(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// Those of the formats, each's beside it in [`FORMATS`], that its records may have. Apart from them, since whoever loads
/// rules needs these, and not the parsers.
pub(crate) static LOG_SOURCES: [&[&LogSource]; 7] = [
    cloudtrail::LOG_SOURCES,
    eve::LOG_SOURCES,
    inventory::LOG_SOURCES,
    vpcflow::LOG_SOURCES,
    access::LOG_SOURCES,
    syslog::LOG_SOURCES,
    application::LOG_SOURCES,
];

/// Which of some formats the first bytes of an object look like.
pub fn recognise(formats: &[&'static dyn Format], head: &[u8]) -> Option<&'static dyn Format> {
    formats.iter().copied().find(|format| format.recognises(head))
}
