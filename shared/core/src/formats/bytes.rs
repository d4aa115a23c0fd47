//! Finding bytes in short texts: a search that has to be set up takes longer than what stands before a word's end.

use crate::framing::block;

/// A byte in each place of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x80 * ONES;
const OTHERS: u64 = !HIGHEST;

/// Where the first of any of these bytes stands.
#[expect(clippy::inline_always, reason = "calling it would take as long")]
#[inline(always)]
pub(super) fn first_of<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    // Mostly it is near.
    match text.first_chunk() {
        Some(block) => match block::first_of(block, wanted) {
            block::BLOCK => first_beyond(text, wanted),
            place => Some(place),
        },
        None => first_of_few(text, wanted),
    }
}

/// The same of a text in whose first block none of them stands.
#[inline(never)]
fn first_beyond<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    let mut rest = text.get(block::BLOCK..)?;
    while let Some((block, after)) = rest.split_first_chunk() {
        let place = block::first_of(block, wanted);
        if place < block.len() {
            return Some(text.len() - rest.len() + place);
        }
        rest = after;
    }
    Some(text.len() - rest.len() + first_of_few(rest, wanted)?)
}

/// The same of a text that is no block long.
#[inline(never)]
fn first_of_few<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each byte that is one, and perhaps of some that follow one.
        let found = wanted.into_iter().fold(0, |found, byte| {
            let apart = word ^ (ONES * u64::from(byte));
            found | (apart.wrapping_sub(ONES) & !apart & HIGHEST)
        });
        if found != 0 {
            return Some(text.len() - rest.len() + found.trailing_zeros() as usize / 8);
        }
        rest = after;
    }
    let place = rest.iter().position(|byte| wanted.contains(byte))?;
    Some(text.len() - rest.len() + place)
}

/// Where the last of this byte stands.
#[inline]
pub(super) fn last_of(text: &[u8], wanted: u8) -> Option<usize> {
    // Mostly it is near.
    if let Some((before, block)) = text.split_last_chunk()
        && let Some(place) = block::last_of(block, wanted)
    {
        return Some(before.len() + place);
    }
    last_beyond(text, wanted)
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
    while let Some((before, word)) = rest.split_last_chunk() {
        let apart = u64::from_le_bytes(*word) ^ (ONES * u64::from(wanted));
        // The highest bit of each byte that is it, and of no other.
        let found = !(((apart & OTHERS) + OTHERS) | apart | OTHERS);
        if found != 0 {
            return Some(rest.len() - 1 - found.leading_zeros() as usize / 8);
        }
        rest = before;
    }
    rest.iter().rposition(|byte| *byte == wanted)
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
