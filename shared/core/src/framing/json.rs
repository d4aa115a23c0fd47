//! JSON values: one after the other (NDJSON, pretty-printed or not), in an array, or in an envelope's array.
//!
//! The elements of an array are frames where the first value is an array. Among objects one after the other an array is
//! a value like any other, and one frame.
//!
//! Two envelopes are opened while they stream, so that their size does not matter: `{"Records": [...]}` (a `CloudTrail`
//! file) and `{"Events": [{"CloudTrailEvent": "..."}]}` (a `LookupEvents` answer). Every other object is one frame.
//!
//! Only the shape is followed here (strings, nesting, what may open where); whether a frame is well-formed JSON is for
//! its parser to say. Where the shape breaks, framing goes on at the next line that can start a value.
//!
//! An object that lies in the buffer whole and is well-formed, as nearly all are, is passed over at once; what is cut by
//! the buffer's end, opens an envelope or is broken is followed byte by byte.

mod scanner;
mod value;

use memchr::memchr;
use serde::de::IgnoredAny;
use simdutf8::compat;

pub(crate) use self::scanner::{Kind, Marks, Scanner, Word};
use self::value::{Step, Value};
use super::{Boundary, Frame, MAX_FRAME, Sink};

/// How much of a piece is at first put behind what the last one left over, in bytes.
const FIRST_STEP: usize = 8 * 1024;

/// Cuts bytes into JSON values.
#[derive(Debug, Default)]
pub struct JsonFramer {
    /// Bytes that were not handed over: the value under way, and what follows it in the last piece.
    buffer: Vec<u8>,
    /// How much of the buffer was looked at.
    at: usize,
    pub(super) number: u64,
    state: State,
    /// The array whose elements are frames, if one is open.
    array: Option<Array>,
    /// What the values are; `None`: none was seen yet.
    values: Option<Values>,
    /// Something was handed over or opened: a byte order mark may no longer come.
    started: bool,
}

/// What stands at the top, as the first value tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Arrays of records.
    Arrays,
    /// Records one after the other, and envelopes.
    Records,
}

#[derive(Debug, Default)]
enum State {
    /// No value is open.
    #[default]
    Between,
    /// A value is open; it starts at the buffer's first byte.
    Value(Box<Value>),
    /// An envelope's array has ended; the rest of the envelope is passed over.
    EnvelopeRest { rest: Box<Value>, at_line_start: bool },
    /// The shape broke: wait for a line that can start a value.
    Resync { at_line_start: bool },
}

/// An array whose elements are frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Array {
    enveloped: bool,
    /// A line has ended since it opened.
    spans_lines: bool,
}

impl JsonFramer {
    /// See [`super::Framer::at`].
    pub(super) fn at(values: Option<Values>, array: Option<Array>) -> Self {
        Self { values, array, started: true, ..Self::default() }
    }

    /// See [`super::Framer::boundary`].
    pub(super) fn boundary(&self) -> Option<Boundary> {
        let is_between = self.started && matches!(self.state, State::Between) && self.buffer.is_empty();
        is_between.then_some(Boundary::Json(self.values, self.array))
    }

    /// See [`super::Framer::push`].
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        if !self.buffer.is_empty() {
            // What the last piece left over is completed with as little of this one as that takes.
            let mut buffer = std::mem::take(&mut self.buffer);
            let carried = buffer.len();
            let (mut done, mut taken, mut step) = (0, 0, FIRST_STEP);
            while done < carried && taken < bytes.len() {
                let end = bytes.len().min(taken + step);
                buffer.extend_from_slice(&bytes[taken..end]);
                (taken, step) = (end, step * 2);
                self.follow(&buffer, &mut done, carried, sink);
            }
            self.moved(done);
            if done < carried {
                buffer.drain(..done);
                self.buffer = buffer;
                self.bound();
                return;
            }
            bytes = &bytes[done - carried..];
        }
        // Frames are cut from where they lie.
        let mut done = 0;
        self.follow(bytes, &mut done, usize::MAX, sink);
        self.moved(done);
        self.buffer.extend_from_slice(&bytes[done..]);
        self.bound();
    }

    /// Follows the bytes to their end, or until all before `enough` are done with: what is before `done` is.
    fn follow(&mut self, buffer: &[u8], done: &mut usize, enough: usize, sink: &mut Sink<'_>) {
        let mut text = Stretch::default();
        while self.at < buffer.len() && *done < enough {
            match &mut self.state {
                State::Between => self.between(buffer, &mut text, done, sink),
                State::Resync { .. } => self.resync(buffer, done),
                State::Value(_) => self.value(buffer, done, sink),
                State::EnvelopeRest { .. } => self.envelope_rest(buffer, done, sink),
            }
        }
    }

    /// The first `by` bytes went away.
    fn moved(&mut self, by: usize) {
        self.at -= by;
        if let State::Value(value) = &mut self.state {
            value.moved(by);
        }
    }

    /// Keeps no more than a frame.
    fn bound(&mut self) {
        let State::Value(value) = &mut self.state else { return };
        value.too_long |= self.buffer.len() > MAX_FRAME;
        if value.too_long {
            // The last byte stays: whether a line starts behind it matters where the shape breaks.
            self.buffer = self.buffer.last().copied().into_iter().collect();
            self.at = self.buffer.len();
        }
    }

    /// A line ended.
    fn line_ended(&mut self) {
        if let Some(array) = &mut self.array {
            array.spans_lines = true;
        }
    }

    /// See [`super::Framer::finish`].
    pub fn finish(mut self, sink: &mut Sink<'_>) {
        if let State::Value(value) = &self.state {
            let text = String::from_utf8_lossy(&self.buffer);
            let frame = if value.too_long {
                Frame::TooLong
            } else if value.scalar && self.array.is_none() && is_scalar(&self.buffer) {
                Frame::Whole(&text)
            } else {
                Frame::Broken
            };
            self.number += 1;
            sink.frame(self.number, frame);
        }
    }

    fn between<'b>(&mut self, buffer: &'b [u8], text: &mut Stretch<'b>, done: &mut usize, sink: &mut Sink<'_>) {
        let byte = buffer[self.at];
        let start = self.at;
        match byte {
            b'\n' => {
                self.line_ended();
                self.at += 1;
            }
            b' ' | b'\t' | b'\r' | b',' => self.at += 1,
            // A byte order mark, at the very start alone.
            0xef | 0xbb | 0xbf if !self.started => self.at += 1,
            b']' if self.array.is_some() => {
                self.at += 1;
                if self.array.take().is_some_and(|array| array.enveloped) {
                    let rest = Box::new(Value::envelope());
                    self.state = State::EnvelopeRest { rest, at_line_start: false };
                }
            }
            b'[' if self.array.is_none() && self.values != Some(Values::Records) => {
                self.started = true;
                self.values = Some(Values::Arrays);
                self.at += 1;
                self.array = Some(Array { enveloped: false, spans_lines: false });
            }
            b'{' if let Some(length) = sink.object(self.number + 1, text.from(buffer, start), self.array.is_none()) => {
                self.started = true;
                self.values.get_or_insert(Values::Records);
                self.number += 1;
                self.at += length;
                if let Some(array) = &mut self.array
                    && !array.spans_lines
                {
                    array.spans_lines = memchr(b'\n', &buffer[start..self.at]).is_some();
                }
            }
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.started = true;
                self.values.get_or_insert(Values::Records);
                self.state = State::Value(Box::default());
                *done = start;
                return;
            }
            _ => {
                self.started = true;
                self.at += 1;
                self.broken(sink);
            }
        }
        *done = self.at;
    }

    /// Counts what could not be framed, and waits for a line that can start a value.
    fn broken(&mut self, sink: &mut Sink<'_>) {
        self.number += 1;
        sink.frame(self.number, Frame::Broken);
        // An array that spans lines may go on at the next one; an array on one line is lost.
        if self.array.as_ref().is_some_and(|array| !array.spans_lines) {
            self.array = None;
        }
        self.state = State::Resync { at_line_start: false };
    }

    fn resync(&mut self, buffer: &[u8], done: &mut usize) {
        let State::Resync { at_line_start } = &mut self.state else { return };
        let byte = buffer[self.at];
        match byte {
            b'\n' => {
                *at_line_start = true;
                self.at += 1;
                self.line_ended();
            }
            // A line that is indented or that closes something belongs to what broke.
            b' ' | b'\t' | b'\r' | b'}' | b']' => {
                *at_line_start = false;
                self.at += 1;
            }
            _ if *at_line_start => self.state = State::Between,
            _ => self.at += 1,
        }
        *done = self.at;
    }

    fn envelope_rest(&mut self, buffer: &[u8], done: &mut usize, sink: &mut Sink<'_>) {
        let State::EnvelopeRest { rest, at_line_start } = &mut self.state else { return };
        let byte = buffer[self.at];
        match rest.step(byte, 0, &[]) {
            Step::Ends => {
                self.state = State::Between;
                self.at += 1;
            }
            Step::Breaks => {
                let opens = *at_line_start && matches!(byte, b'{' | b'[');
                self.broken(sink);
                if opens {
                    self.state = State::Between;
                }
            }
            _ => {
                *at_line_start = byte == b'\n';
                self.at += 1;
                if byte == b'\n' {
                    self.line_ended();
                }
            }
        }
        *done = self.at;
    }

    fn value(&mut self, buffer: &[u8], done: &mut usize, sink: &mut Sink<'_>) {
        let State::Value(value) = &mut self.state else { return };
        // At the top, keys are watched for the two envelopes.
        // Beyond the longest frame no more: how much of a longer value is still at hand depends on the cut.
        let watched = if self.array.is_none() && !value.too_long { *done + MAX_FRAME } else { 0 };
        while self.at < buffer.len() {
            let byte = buffer[self.at];
            let known: &[u8] = if self.at < watched { buffer } else { &[] };
            let step = value.step(byte, self.at, known);
            match step {
                Step::Goes => {
                    self.at += 1;
                    if byte == b'\n'
                        && let Some(array) = &mut self.array
                    {
                        array.spans_lines = true;
                    }
                }
                Step::Ends | Step::EndedBefore => {
                    self.at += usize::from(matches!(step, Step::Ends));
                    let bytes = &buffer[*done..self.at];
                    if value.too_long || bytes.len() > MAX_FRAME {
                        self.number += 1;
                        sink.frame(self.number, Frame::TooLong);
                    } else if value.scalar && !is_scalar(bytes) {
                        *done = self.at;
                        self.broken(sink);
                        return;
                    } else {
                        self.number += 1;
                        sink.frame(self.number, Frame::Whole(&String::from_utf8_lossy(bytes)));
                    }
                    *done = self.at;
                    self.state = State::Between;
                    return;
                }
                Step::Opens { element } => {
                    self.array = Some(Array { enveloped: true, spans_lines: false });
                    self.at = element;
                    *done = element;
                    self.state = State::Between;
                    return;
                }
                Step::Breaks => {
                    // An object that opens a line where none may open: the line before it was cut off.
                    let line_start = self.at > *done && buffer[self.at - 1] == b'\n';
                    self.broken(sink);
                    if line_start && matches!(byte, b'{' | b'[') {
                        self.state = State::Between;
                    }
                    *done = self.at;
                    return;
                }
            }
        }
    }
}

fn is_scalar(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The length of the object at the start of some text, if it is there whole, well-formed and no longer than a frame;
/// `None` too for what may be an envelope where one may open. See [`Scanner::object`].
pub(crate) fn object<'t>(
    scanner: &mut Scanner<'t>,
    may_be_envelope: bool,
    names: Marks,
    mut member: impl FnMut(&mut Scanner<'t>, Word) -> Option<()>,
) -> Option<usize> {
    let mut is_frame = true;
    scanner.object(names.and("Records").and("Events"), |scanner, name| {
        is_frame &= !(may_be_envelope && matches!(scanner.written(name), b"Records" | b"Events"));
        member(scanner, name)
    })?;
    (is_frame && scanner.offset() <= MAX_FRAME).then_some(scanner.offset())
}

/// The same, with the members passed over.
pub(crate) fn whole_object(text: &str, may_be_envelope: bool) -> Option<usize> {
    object(&mut Scanner::new(text), may_be_envelope, Marks::NONE, |scanner, _| scanner.value())
}

/// A stretch of a buffer that is UTF-8: found where it is first asked for, so that no byte is looked at for every object.
#[derive(Default)]
struct Stretch<'b> {
    start: usize,
    text: &'b str,
}

impl<'b> Stretch<'b> {
    /// What is UTF-8 of a buffer from here on, as far as it is.
    fn from(&mut self, buffer: &'b [u8], at: usize) -> &'b str {
        let known = at.checked_sub(self.start).and_then(|offset| self.text.get(offset..));
        known.filter(|text| !text.is_empty()).unwrap_or_else(|| {
            let rest = &buffer[at..];
            let text = compat::from_utf8(rest).or_else(|error| compat::from_utf8(&rest[..error.valid_up_to()]));
            *self = Self { start: at, text: text.unwrap_or_default() };
            self.text
        })
    }
}

#[cfg(test)]
mod tests;
