//! Bytes, as they arrive, cut into frames: lines, or JSON values. A frame is what one record is parsed from.
//!
//! Framers are fed pieces of any size and keep at most one unfinished frame, of at most [`MAX_FRAME`] bytes: a longer
//! one is passed over in constant memory. Frames are numbered from 1 and everything counts: the line number (blank
//! lines too), or the position of the JSON value, whether it can be parsed or not.

pub(crate) mod block;
mod json;
mod lines;

pub use json::JsonFramer;
pub(crate) use json::{Kind, Marks, Scanner, Word, object, whole_object};
pub use lines::LineFramer;

use crate::formats::Framing;

/// The longest frame in bytes. A longer one is [`Frame::TooLong`].
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// A piece of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole line or JSON value; U+FFFD stands for what is not UTF-8.
    Whole(&'a str),
    /// A line or value of more than [`MAX_FRAME`] bytes, passed over.
    TooLong,
    /// What could not be framed: garbage between values, or a tail that was cut off.
    Broken,
}

/// A place between two frames, from which a framer can go on without what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// After the end of a line.
    Lines,
    /// Between two JSON values of this kind, in the array whose elements are frames, if one is open.
    Json(Option<json::Values>, Option<json::Array>),
}

/// Takes frames.
pub trait FrameSink {
    /// Takes a frame and its number.
    fn frame(&mut self, number: u64, frame: Frame<'_>);

    /// Takes the object at the start of some text as the frame of this number, if it is there whole and well-formed and
    /// no envelope where one may open: returns its length. `None`: nothing was taken. Whoever reads the object anyway
    /// can find its end while reading.
    fn object(&mut self, number: u64, text: &str, may_be_envelope: bool) -> Option<usize> {
        let length = whole_object(text, may_be_envelope)?;
        self.frame(number, Frame::Whole(&text[..length]));
        Some(length)
    }
}

impl<F: FnMut(u64, Frame<'_>)> FrameSink for F {
    fn frame(&mut self, number: u64, frame: Frame<'_>) {
        self(number, frame);
    }
}

/// The bytes in pieces of these lengths, over and over: as they may arrive.
#[cfg(test)]
pub(crate) fn in_pieces<'b>(mut bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Takes frames, whoever it is.
pub type Sink<'s> = dyn FrameSink + 's;

/// Cuts bytes into frames.
pub enum Framer {
    /// Lines.
    Lines(LineFramer),
    /// JSON values.
    Json(JsonFramer),
}

impl Framer {
    /// A framer at the start of an object.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Lines => Self::Lines(LineFramer::default()),
            Framing::Json => Self::Json(JsonFramer::default()),
        }
    }

    /// Takes the next bytes and hands over the frames that they complete.
    pub fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        match self {
            Self::Lines(framer) => framer.push(bytes, sink),
            Self::Json(framer) => framer.push(bytes, sink),
        }
    }

    /// A framer that stands there, as if nothing had been handed over yet.
    pub(crate) fn at(boundary: Boundary) -> Self {
        match boundary {
            Boundary::Lines => Self::Lines(LineFramer::after_a_line()),
            Boundary::Json(values, array) => Self::Json(JsonFramer::at(values, array)),
        }
    }

    /// Where it stands, if that is between two frames, with nothing of the next one taken.
    pub(crate) fn boundary(&self) -> Option<Boundary> {
        match self {
            Self::Lines(framer) => framer.is_after_a_line().then_some(Boundary::Lines),
            Self::Json(framer) => framer.boundary(),
        }
    }

    /// The number of the last frame.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Lines(framer) => framer.number,
            Self::Json(framer) => framer.number,
        }
    }

    /// Passes over frames that another framer has handed over from where this one stands to an equal boundary.
    pub(crate) fn pass(&mut self, count: u64) {
        match self {
            Self::Lines(framer) => framer.number += count,
            Self::Json(framer) => framer.number += count,
        }
    }

    /// The input has ended: hands over what is left.
    pub fn finish(self, sink: &mut Sink<'_>) {
        match self {
            Self::Lines(framer) => framer.finish(sink),
            Self::Json(framer) => framer.finish(sink),
        }
    }
}
