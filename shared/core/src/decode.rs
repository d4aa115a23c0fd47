//! Stored bytes to plain ones: gzip, every member of it, or as they are.
//!
//! A small object of one member, as most objects are, is decompressed at once by libdeflate, which is twice as fast as a
//! stream and cannot be one. Everything else is a stream: what is large, what has several members, what is damaged.

mod whole;

use flate2::{Decompress, FlushDecompress, Status};

/// How much is decompressed at a time, in bytes.
const PIECE: usize = 128 * 1024;
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What was wrong with the compressed bytes. What came before it was decoded and handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended within a member.
    #[error("the gzip data is cut off")]
    CutOff,
    /// The deflate stream or a checksum is wrong.
    #[error("the gzip data is corrupt")]
    Corrupt,
    /// After the last member stands something that is no member.
    #[error("after the gzip data stands something else")]
    Trailing,
}

/// Decodes the bytes of one object, as they arrive. Whether they are compressed is seen from the first two.
#[derive(Default)]
pub struct Decoder {
    state: State,
    /// The first byte, until the second is there.
    first: Option<u8>,
}

#[derive(Default)]
enum State {
    #[default]
    Start,
    /// Compressed bytes that may be all there are.
    Small(Vec<u8>),
    Plain,
    Member(Box<Decompress>, Vec<u8>),
    /// A member has ended: the next one, zeros that pad to a block, or the end.
    Between(Vec<u8>),
    Failed,
}

impl Decoder {
    /// Takes the next bytes and hands over what they decode to, at most 256 KiB at a time. After an error nothing
    /// more is handed over.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        let joined;
        let bytes = if let Some(first) = self.first.take() {
            joined = [&[first], bytes].concat();
            &joined
        } else {
            bytes
        };
        self.take(bytes, sink).inspect_err(|_| self.state = State::Failed)
    }

    /// The input has ended.
    pub fn finish(mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        if let State::Small(bytes) = &mut self.state {
            let bytes = std::mem::take(bytes);
            if whole::decompress(&bytes, sink) {
                return Ok(());
            }
            self.stream(&bytes, sink)?;
        }
        match (&self.state, self.first.take()) {
            (State::Start, Some(first)) => sink(&[first]),
            (State::Between(_), Some(_)) => return Err(DecodeError::Trailing),
            (State::Member(..), _) => return Err(DecodeError::CutOff),
            _ => {}
        }
        Ok(())
    }

    /// Takes bytes that turned out to be a stream.
    fn stream(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        self.state = State::Member(Box::new(Decompress::new_gzip(15)), vec![0; PIECE]);
        self.take(bytes, sink).inspect_err(|_| self.state = State::Failed)
    }

    fn take(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Failed => return Ok(()),
                State::Plain => {
                    sink(bytes);
                    return Ok(());
                }
                State::Start if bytes.len() == 1 => {
                    self.first = Some(bytes[0]);
                    return Ok(());
                }
                State::Start if bytes.starts_with(&MAGIC) => self.state = State::Small(Vec::new()),
                State::Small(small) if small.len() + bytes.len() <= whole::MAX_COMPRESSED => {
                    small.extend_from_slice(bytes);
                    return Ok(());
                }
                State::Small(small) => {
                    let small = std::mem::take(small);
                    self.stream(&small, sink)?;
                }
                State::Start => self.state = State::Plain,
                State::Between(_) if bytes[0] == 0 => bytes = &bytes[1..],
                State::Between(_) if bytes.len() == 1 => {
                    self.first = Some(bytes[0]);
                    return Ok(());
                }
                State::Between(piece) if bytes.starts_with(&MAGIC) => {
                    let piece = std::mem::take(piece);
                    self.state = State::Member(Box::new(Decompress::new_gzip(15)), piece);
                }
                State::Between(_) => return Err(DecodeError::Trailing),
                State::Member(member, piece) => {
                    let (read, written) = (member.total_in(), member.total_out());
                    let status = member.decompress(bytes, piece, FlushDecompress::None);
                    let read = delta(read, member.total_in());
                    let written = delta(written, member.total_out());
                    bytes = &bytes[read..];
                    // Before the damage too: how much there is of it must not depend on how the bytes arrived.
                    if written > 0 {
                        sink(&piece[..written]);
                    }
                    match status.map_err(|_| DecodeError::Corrupt)? {
                        Status::StreamEnd => self.state = State::Between(std::mem::take(piece)),
                        Status::BufError if read == 0 && written == 0 => return Err(DecodeError::Corrupt),
                        Status::Ok | Status::BufError => {}
                    }
                }
            }
        }
        // Output may be waiting for room although the input is used up.
        if let State::Member(member, piece) = &mut self.state {
            loop {
                let written = member.total_out();
                let status = member.decompress(&[], piece, FlushDecompress::None);
                let written = delta(written, member.total_out());
                if written > 0 {
                    sink(&piece[..written]);
                }
                if status.map_err(|_| DecodeError::Corrupt)? == Status::StreamEnd {
                    self.state = State::Between(std::mem::take(piece));
                    break;
                }
                if written == 0 {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn delta(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), DecodeError>) {
        let mut decoder = Decoder::default();
        let mut text = Vec::new();
        let mut result = Ok(());
        for piece in bytes.chunks(size) {
            result = result.and(decoder.push(piece, &mut |bytes| text.extend_from_slice(bytes)));
        }
        let end = decoder.finish(&mut |bytes| text.extend_from_slice(bytes));
        (text, result.and(end))
    }

    #[test]
    fn every_member_is_read_however_the_bytes_arrive() {
        let mut bytes = member(b"one\n");
        bytes.extend(member(b""));
        bytes.extend(member(&b"two\n".repeat(100_000)));
        bytes.extend([0; 512]);
        let expected = [b"one\n".as_slice(), &b"two\n".repeat(100_000)].concat();
        for size in [1, 2, 3, 100, bytes.len()] {
            assert_eq!(decode(&bytes, size), (expected.clone(), Ok(())), "in pieces of {size}");
        }
    }

    #[test]
    fn a_small_member_is_decoded_as_its_stream_is() {
        let text = b"{\"a\": 1}\n".repeat(30_000);
        let one = member(&text);
        let two = [one.as_slice(), &one].concat();
        let padded = [one.as_slice(), &[0; 7]].concat();
        let trailing = [one.as_slice(), b"x"].concat();
        let empty = member(b"");
        let mut wrong = one.clone();
        let end = wrong.len() - 1;
        wrong[end] ^= 1;
        for bytes in [&one, &two, &padded, &trailing, &empty, &wrong, &one[..one.len() - 3].to_vec()] {
            let mut streamed = (Vec::new(), Ok(()));
            let mut decoder =
                Decoder { state: State::Member(Box::new(Decompress::new_gzip(15)), vec![0; PIECE]), first: None };
            streamed.1 = decoder.push(bytes, &mut |plain| streamed.0.extend_from_slice(plain));
            let end = decoder.finish(&mut |plain| streamed.0.extend_from_slice(plain));
            streamed.1 = streamed.1.and(end);
            assert_eq!(decode(bytes, 64 * 1024), streamed);
        }
    }

    #[test]
    fn plain_bytes_stay_as_they_are() {
        for text in [b"".as_slice(), b"x", b"\x1f", b"\x1fx", b"GET / HTTP/1.1\n"] {
            assert_eq!(decode(text, 1), (text.to_vec(), Ok(())));
        }
    }

    #[test]
    fn what_came_before_the_damage_is_kept_and_the_damage_is_named() {
        let text = b"line\n".repeat(50_000);
        let whole = member(&text);
        let (kept, result) = decode(&whole[..whole.len() / 2], 64);
        assert!(!kept.is_empty() && text.starts_with(&kept));
        assert_eq!(result, Err(DecodeError::CutOff));

        let mut trailing = whole.clone();
        trailing.extend(b"garbage");
        assert_eq!(decode(&trailing, 64), (text.clone(), Err(DecodeError::Trailing)));

        let mut corrupt = whole;
        let end = corrupt.len() - 6;
        corrupt[end] ^= 0xff;
        for size in [1, 64, corrupt.len()] {
            assert_eq!(decode(&corrupt, size), (text.clone(), Err(DecodeError::Corrupt)), "in pieces of {size}");
        }
    }

    #[test]
    fn a_bomb_comes_out_in_small_pieces() {
        let bomb = member(&vec![0; 50_000_000]);
        let mut decoder = Decoder::default();
        let (mut total, mut longest) = (0, 0);
        let mut take = |bytes: &[u8]| {
            total += bytes.len();
            longest = longest.max(bytes.len());
        };
        decoder.push(&bomb, &mut take).unwrap();
        decoder.finish(&mut take).unwrap();
        assert_eq!(total, 50_000_000);
        assert!(longest <= whole::PIECE);
    }
}
