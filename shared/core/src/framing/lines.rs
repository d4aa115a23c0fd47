//! Lines, ended by `\n` or `\r\n`; the last one may lack its end. Blank lines are numbered and not handed over.

use memchr::memchr;

use super::{Frame, MAX_FRAME, Sink};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub struct LineFramer {
    /// The start of a line whose end has not come.
    carry: Vec<u8>,
    /// The number of the last line that ended.
    number: u64,
    /// The line under way is too long: wait for its end.
    skipping: bool,
}

impl LineFramer {
    /// See [`super::Framer::push`].
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.carry.is_empty() && !self.skipping {
                self.hand_over(line, sink);
            } else {
                self.extend(line);
                self.end_carried(sink);
            }
        }
        self.extend(bytes);
    }

    /// See [`super::Framer::finish`].
    pub fn finish(mut self, sink: &mut Sink<'_>) {
        if self.skipping || !self.carry.is_empty() {
            self.end_carried(sink);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        if self.carry.len() + bytes.len() > MAX_FRAME {
            self.carry = Vec::new();
            self.skipping = true;
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    fn end_carried(&mut self, sink: &mut Sink<'_>) {
        if std::mem::take(&mut self.skipping) {
            self.number += 1;
            sink(self.number, Frame::TooLong);
        } else {
            let mut line = std::mem::take(&mut self.carry);
            self.hand_over(&line, sink);
            line.clear();
            self.carry = line;
        }
    }

    fn hand_over(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        self.number += 1;
        let line = if self.number == 1 { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_FRAME {
            sink(self.number, Frame::TooLong);
        } else if !line.trim_ascii().is_empty() {
            sink(self.number, Frame::Whole(line));
        }
    }
}
