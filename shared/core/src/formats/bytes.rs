//! Finding bytes in short texts: a search that has to be set up takes longer than what stands before a word's end.

use crate::framing::block::{self, BLOCK};

/// Where the first of any of these bytes stands.
#[expect(clippy::inline_always, reason = "calling it would take as long")]
#[inline(always)]
pub(super) fn first_of<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    Some(end_of(text, wanted)).filter(|end| *end < text.len())
}

/// Where the first of any of these bytes stands; the text's length if none does.
#[expect(clippy::inline_always, reason = "calling it would take as long")]
#[inline(always)]
fn end_of<const N: usize>(text: &[u8], wanted: [u8; N]) -> usize {
    // Mostly it is near.
    match text.first_chunk() {
        Some(block) => match block::first_of(block, wanted) {
            BLOCK => end_beyond(text, wanted),
            place => place,
        },
        None => text.iter().position(|byte| wanted.contains(byte)).unwrap_or(text.len()),
    }
}

/// The same of a text in whose first block none of them stands.
#[inline(never)]
fn end_beyond<const N: usize>(text: &[u8], wanted: [u8; N]) -> usize {
    let (blocks, _) = text.as_chunks();
    let places = blocks.iter().map(|block| block::first_of(block, wanted)).enumerate().skip(1);
    let found = places.filter(|(_, place)| *place < BLOCK).map(|(number, place)| number * BLOCK + place).next();
    // The last block, together with some of the one before it.
    let last = || Some(text.len() - BLOCK + block::first_of(text.last_chunk()?, wanted));
    found.or_else(last).unwrap_or(text.len())
}

/// Where the last of this byte stands.
#[inline]
pub(super) fn last_of(text: &[u8], wanted: u8) -> Option<usize> {
    // Mostly it is near.
    match text.split_last_chunk() {
        Some((before, block)) => match block::last_of(block, wanted) {
            Some(place) => Some(before.len() + place),
            None => last_beyond(before, wanted),
        },
        None => text.iter().rposition(|byte| *byte == wanted),
    }
}

#[inline(never)]
fn last_beyond(text: &[u8], wanted: u8) -> Option<usize> {
    let mut rest = text;
    while let Some((before, block)) = rest.split_last_chunk() {
        if let Some(place) = block::last_of(block, wanted) {
            return Some(before.len() + place);
        }
        rest = before;
    }
    rest.iter().rposition(|byte| *byte == wanted)
}

/// How many digits stand at the end of a text, as far as its last block shows.
#[inline]
pub(super) fn digits_at_end(text: &[u8]) -> usize {
    match text.last_chunk() {
        Some(block) => block::digits_at_end(block),
        None => text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count(),
    }
}

/// How many bytes [`count_if_even`] compares at once.
const WIDE: usize = 32;

/// How many words a text has, if a single space stands between each two and there is no other ASCII whitespace. Not known
/// of texts that are very short or very long.
pub(super) fn count_if_even(text: &[u8]) -> Option<usize> {
    /// Up to this length a byte counts the spaces in each of the places.
    const LONGEST: usize = WIDE * 255;
    let (first, rest) = text.split_first().filter(|_| text.len() <= LONGEST)?;
    if *first <= b' ' || rest.last() == Some(&b' ') {
        return None;
    }
    let (mut spaces, mut odd) = ([0_u8; WIDE], [0_u8; WIDE]);
    // `new`: all bits of the places that are compared for the first time.
    let mut compare = |bytes: &[u8; WIDE], before: &[u8; WIDE], new: &[u8; WIDE]| {
        for place in 0..WIDE {
            let is_space = u8::from(bytes[place] == b' ');
            spaces[place] += is_space & new[place];
            // A control character may be whitespace.
            odd[place] |= (is_space & u8::from(before[place] == b' ')) | u8::from(bytes[place] < b' ');
        }
    };
    let ((whole, left), (whole_before, _)) = (rest.as_chunks(), text.as_chunks());
    for (bytes, before) in whole.iter().zip(whole_before) {
        compare(bytes, before, &[0xff; WIDE]);
    }
    // What is left, together with some of what was compared.
    let new = NEW.get(left.len()..)?.first_chunk()?;
    compare(rest.last_chunk()?, text[..rest.len()].last_chunk()?, new);
    let spaces = spaces.iter().map(|count| u16::from(*count)).sum::<u16>();
    (odd == [0; WIDE]).then_some(usize::from(spaces) + 1)
}

/// From a number of bytes on, the bits of as many places from the end.
static NEW: [u8; 2 * WIDE] = {
    let mut bits = [0; 2 * WIDE];
    let mut place = WIDE;
    while place < 2 * WIDE {
        bits[place] = 0xff;
        place += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_found_as_by_looking_at_each() {
        // Neighbours of what is looked for, and bytes with the highest bit, in every order.
        for text in texts([b' ', b'!', b'\x1f', b'[', b'\xa0', b'\xff', b'\0', b'a']) {
            let first = text.iter().position(|byte| matches!(byte, b' ' | b'['));
            assert_eq!(first_of(&text, [b' ', b'[']), first, "{text:?}");
            assert_eq!(last_of(&text, b' '), text.iter().rposition(|byte| *byte == b' '), "{text:?}");
        }
    }

    #[test]
    fn the_digits_at_the_end_are_counted_as_far_as_a_block_shows() {
        for text in texts(*b"0123459/") {
            let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            assert_eq!(digits_at_end(&text), digits.min(BLOCK), "{text:?}");
        }
    }

    #[test]
    fn words_are_counted_where_single_spaces_stand_between_them() {
        let long =
            |text: Vec<u8>| [b"eleven more", text.as_slice(), b"and eleven", text.as_slice(), b"of them"].join(&b' ');
        let short = texts([b' ', b'\t', b'\x0c', b'\x0b', b' ', b'c', b'!', b'a']).chain(texts(*b" abcdefg"));
        for text in short.flat_map(|text| [text.clone(), long(text)]) {
            let text = String::from_utf8(text).unwrap();
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let is_even = text.len() > WIDE && words.join(" ") == text && !text.bytes().any(|byte| byte < b' ');
            assert_eq!(count_if_even(text.as_bytes()), is_even.then_some(words.len()), "{text:?}");
        }
        let longest = "a b ".repeat(5000);
        assert_eq!(count_if_even(longest.trim_end().as_bytes()), None);
        assert_eq!(count_if_even(&longest.as_bytes()[..8159]), Some(4080));
    }

    /// Short texts of these bytes.
    fn texts(of: [u8; 8]) -> impl Iterator<Item = Vec<u8>> {
        let mut number = 0_u64;
        let mut next = move || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            of[(number >> 61) as usize]
        };
        (0..50).cycle().take(20_000).map(move |length| (0..length).map(|_| next()).collect())
    }
}
