//! Bytes to records: one file a format, each opening with the address of its specification.
//!
//! A format is registered by its line in [`FORMATS`]. Cutting the bytes into frames (lines, JSON values) is
//! [`crate::framing`]'s work; a format sees one frame at a time, so that the same parser serves files, log events
//! and single events.

pub mod access;
pub mod application;
pub mod cloudtrail;
pub mod eve;
mod head;
pub mod inventory;
mod json;
mod stamp;
pub mod syslog;
#[cfg(test)]
mod trial;
pub mod vpcflow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use json::object_frame;

use crate::record::{Facts, Record};

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

/// Parses the frames of one object, in order. May keep what a header line said.
pub trait Parser: Send {
    /// Takes one frame apart. Never panics, whatever the bytes. A blank line never comes here.
    fn parse<'a>(&mut self, frame: &'a [u8]) -> Parsed<'a>;
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
    fn facts(&self, record: &Record<'_>) -> Facts;
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

/// The format that the first bytes of an object look like.
pub fn recognise(head: &[u8]) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.recognises(head))
}
