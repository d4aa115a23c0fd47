//! The head of an object, as recognition sees it: perhaps cut within a record, with a byte order mark or blank lines.

use memchr::{memchr, memmem};
use serde_json::{Map, Value};

use super::{Framing, members};
use crate::framing::{Frame, Framer};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// How many records are looked at: enough for a vote in which a few odd ones do not matter.
const VOTERS: usize = 20;

/// The first lines that are not blank. The last line is left out where it may be cut, unless it is the only one.
pub(super) fn lines(head: &[u8]) -> Vec<&[u8]> {
    let mut rest = head.strip_prefix(BOM).unwrap_or(head);
    let mut lines = Vec::with_capacity(VOTERS);
    while lines.len() < VOTERS && !rest.is_empty() {
        let (line, after) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None if lines.is_empty() => (rest, &rest[..0]),
            None => break,
        };
        if !line.trim_ascii().is_empty() {
            lines.push(line.strip_suffix(b"\r").unwrap_or(line));
        }
        rest = after;
    }
    lines
}

/// Whether more than half of the first lines are as `is_record` wants them.
pub(super) fn most_lines(head: &[u8], is_record: impl Fn(&[u8]) -> bool) -> bool {
    let lines = lines(head);
    lines.iter().filter(|line| is_record(line)).count() * 2 > lines.len()
}

/// Whether more than half of the first JSON values are objects that `is_record` accepts. Where even the first value
/// is cut, the names of `keys` in what is there decide.
pub(super) fn most_objects(head: &[u8], keys: &[&str], is_record: impl Fn(&Map<String, Value>) -> bool) -> bool {
    // Everything else is cheaper than framing: most heads have no such key at all.
    if !keys.iter().all(|key| memmem::find(head, format!("\"{key}\"").as_bytes()).is_some()) {
        return false;
    }
    let (mut seen, mut accepted) = (0_usize, 0_usize);
    let mut framer = Framer::new(Framing::Json);
    framer.push(head, &mut |_: u64, frame: Frame<'_>| {
        if seen < VOTERS {
            seen += 1;
            if let Frame::Whole(text) = frame {
                accepted += usize::from(members(text).is_ok_and(|fields| is_record(&fields)));
            }
        }
    });
    if seen == 0 {
        let start = head.strip_prefix(BOM).unwrap_or(head).trim_ascii_start();
        return matches!(start.first(), Some(b'{' | b'['));
    }
    accepted * 2 > seen
}
