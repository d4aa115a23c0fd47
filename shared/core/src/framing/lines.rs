//! Lines, ended by `\n` or `\r\n`; the last one may lack its end. Blank lines are numbered and not handed over.

use memchr::{memchr, memrchr};

use super::block::{BLOCK, marks};
use super::{Frame, MAX_FRAME, Sink};

const BOM: &[u8] = b"\xef\xbb\xbf";
/// The longest line before its byte order mark and its `\r` are taken off, which do not count.
const MAX_CARRY: usize = MAX_FRAME + BOM.len() + 1;
/// How many bytes of lines are known to be UTF-8 at once: they are still near when their lines are read.
const STRETCH: usize = 32 * 1024;

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub struct LineFramer {
    /// The start of a line whose end has not come.
    carry: Vec<u8>,
    /// The number of the last line that ended.
    pub(super) number: u64,
    /// A line has ended: a byte order mark may no longer come.
    started: bool,
    /// The line under way is too long: wait for its end.
    skipping: bool,
}

impl LineFramer {
    /// See [`super::Framer::at`].
    pub(super) fn after_a_line() -> Self {
        Self { started: true, ..Self::default() }
    }

    /// See [`super::Framer::boundary`].
    pub(super) fn is_after_a_line(&self) -> bool {
        self.started && self.carry.is_empty() && !self.skipping
    }

    /// See [`super::Framer::push`].
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        if (self.skipping || !self.carry.is_empty())
            && let Some(end) = memchr(b'\n', bytes)
        {
            self.extend(&bytes[..end]);
            self.end_carried(sink);
            bytes = &bytes[end + 1..];
        }
        while let Some(end) = last_end(bytes) {
            let (lines, rest) = bytes.split_at(end + 1);
            bytes = rest;
            match simdutf8::basic::from_utf8(lines) {
                Ok(lines) if lines.len() <= STRETCH => self.stretch(lines, sink),
                _ => lines.split_inclusive(|byte| *byte == b'\n').for_each(|line| self.end(line, sink)),
            }
        }
        self.extend(bytes);
    }

    /// Takes lines, all of which have an end, and none of which is too long.
    fn stretch(&mut self, lines: &str, sink: &mut Sink<'_>) {
        let lines = if self.started { lines } else { lines.strip_prefix('\u{feff}').unwrap_or(lines) };
        self.started = true;
        let (blocks, rest) = lines.as_bytes().as_chunks();
        let rest = (!rest.is_empty()).then(|| padded(rest));
        let (mut start, mut at) = (0, 0);
        // To search from each line's start for its end would take longer: lines are short.
        for block in blocks.iter().chain(&rest) {
            let mut ends = marks(block, [b'\n']);
            while ends != 0 {
                let end = at + ends.trailing_zeros() as usize;
                self.hand_over(&lines[start..end], sink);
                start = end + 1;
                ends &= ends - 1;
            }
            at += block.len();
        }
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
        if self.carry.len() + bytes.len() > MAX_CARRY {
            self.carry = Vec::new();
            self.skipping = true;
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }

    fn end_carried(&mut self, sink: &mut Sink<'_>) {
        if std::mem::take(&mut self.skipping) {
            self.number += 1;
            self.started = true;
            sink.frame(self.number, Frame::TooLong);
        } else {
            let mut line = std::mem::take(&mut self.carry);
            self.end(&line, sink);
            line.clear();
            self.carry = line;
        }
    }

    /// Takes a line of any length and of whatever bytes, perhaps with its `\n`.
    fn end(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = if self.started { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        self.started = true;
        if line.len() - usize::from(line.ends_with(b"\r")) > MAX_FRAME {
            self.number += 1;
            sink.frame(self.number, Frame::TooLong);
        } else {
            self.hand_over(&String::from_utf8_lossy(line), sink);
        }
    }

    /// Takes a line without its `\n` and a byte order mark.
    #[inline]
    fn hand_over(&mut self, line: &str, sink: &mut Sink<'_>) {
        self.number += 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        // Mostly the first letter shows that a line is not blank.
        let is_blank = line.as_bytes().first().is_none_or(|first| *first <= b' ') && line.trim_ascii().is_empty();
        if !is_blank {
            sink.frame(self.number, Frame::Whole(line));
        }
    }
}

/// Bytes, and zeros behind them.
#[cold]
fn padded(bytes: &[u8]) -> [u8; 4 * BLOCK] {
    let mut padded = [0; 4 * BLOCK];
    padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    padded
}

/// Where the last line ends that does so within a stretch, or else the first one.
fn last_end(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', &bytes[..bytes.len().min(STRETCH)]).or_else(|| memchr(b'\n', bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::framing::in_pieces;

    /// Lines by their numbers; `None` for one that was too long.
    fn lines_in_pieces<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut framer = LineFramer::default();
        let mut found = Vec::new();
        let mut sink = |number: u64, frame: Frame<'_>| match frame {
            Frame::Whole(line) => found.push((number, Some(line.as_bytes().to_vec()))),
            Frame::TooLong => found.push((number, None)),
            Frame::Broken => panic!("a line is never broken"),
        };
        for piece in pieces {
            framer.push(piece, &mut sink);
        }
        framer.finish(&mut sink);
        found
    }

    fn lines(text: &[u8]) -> Vec<(u64, String)> {
        let line = |line: Option<Vec<u8>>| line.map_or("~".to_owned(), |line| String::from_utf8(line).unwrap());
        lines_in_pieces([text]).into_iter().map(|(number, text)| (number, line(text))).collect()
    }

    fn numbered(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(number, line)| (*number, (*line).to_owned())).collect()
    }

    #[test]
    fn blank_lines_are_numbered_and_not_handed_over() {
        assert_eq!(lines(b"a\n\n \t\r\nb"), numbered(&[(1, "a"), (4, "b")]));
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n\n"), []);
    }

    #[test]
    fn a_byte_order_mark_and_either_line_end_are_taken_off() {
        assert_eq!(lines(b"\xef\xbb\xbfa\r\nb\rc\n"), numbered(&[(1, "a"), (2, "b\rc")]));
        assert_eq!(lines(b"\xef\xbb\xbf\r\na"), numbered(&[(2, "a")]));
        assert_eq!(lines("a\n\u{feff}b".as_bytes()), numbered(&[(1, "a"), (2, "\u{feff}b")]));
    }

    #[test]
    fn what_is_not_utf8_is_replaced_in_its_line_alone() {
        let around = "caf\u{e9} ".repeat(9000);
        for end in ["", "\n"] {
            let text = [around.as_bytes(), b"\nlatin caf\xe9\r\n", around.as_bytes(), end.as_bytes()].concat();
            let expected = numbered(&[(1, &around), (2, "latin caf\u{fffd}"), (3, &around)]);
            assert_eq!(lines(&text), expected);
        }
    }

    #[test]
    fn the_longest_line_is_as_long_in_one_piece_as_in_many() {
        for (length, fits) in [(MAX_FRAME, true), (MAX_FRAME + 1, false)] {
            for end in [b"\n".as_slice(), b"\r\n", b""] {
                let mut text = BOM.to_vec();
                text.resize(text.len() + length, b'x');
                text.extend_from_slice(end);
                for size in [text.len(), 1_000_003] {
                    let found = lines_in_pieces(text.chunks(size));
                    let [(1, line)] = found.as_slice() else { panic!("{} lines", found.len()) };
                    assert_eq!(line.as_ref().map(Vec::len), fits.then_some(length), "{end:?} in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_in_constant_memory_and_the_next_is_read() {
        let mut framer = LineFramer::default();
        let mut found = Vec::new();
        let mut sink = |number: u64, frame: Frame<'_>| found.push((number, matches!(frame, Frame::TooLong)));
        framer.push(b"a\n", &mut sink);
        for _ in 0..64 {
            framer.push(&vec![b'x'; 1024 * 1024], &mut sink);
            assert!(framer.carry.capacity() <= 2 * MAX_CARRY);
        }
        framer.push(b"\nb\n", &mut sink);
        framer.finish(&mut sink);
        assert_eq!(found, [(1, false), (2, true), (3, false)]);
    }

    #[test]
    fn the_cut_of_the_input_does_not_change_the_lines() {
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]));
        let token = prop::sample::select(vec!["\n", "\r", "\r\n", "\u{feff}", " ", "\t", "a", "\0", "some words"]);
        let input = (prop::collection::vec(token, 0..30), prop::collection::vec(1_usize..8, 1..20));
        runner
            .run(&input, |(tokens, sizes)| {
                let text = tokens.concat();
                let pieces = in_pieces(text.as_bytes(), &sizes);
                prop_assert_eq!(lines_in_pieces(pieces), lines_in_pieces([text.as_bytes()]));
                Ok(())
            })
            .unwrap();
    }
}
