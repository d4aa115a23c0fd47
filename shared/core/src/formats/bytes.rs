//! Finding bytes in short texts: a search that has to be set up takes longer than what stands before a word's end.

/// A byte in each place of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = 0x80 * ONES;
const OTHERS: u64 = !HIGHEST;

/// Where the first of any of these bytes stands.
pub(super) fn first_of<const N: usize>(text: &[u8], wanted: [u8; N]) -> Option<usize> {
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
pub(super) fn last_of(text: &[u8], wanted: u8) -> Option<usize> {
    let mut rest = text;
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

/// How many words a text has, if a single space stands between each two and there is no other ASCII whitespace.
pub(super) fn count_if_even(text: &[u8]) -> Option<usize> {
    let (Some((first, rest)), Some(last)) = (text.split_first(), text.last()) else { return None };
    let mut spaces = usize::from(*first == b' ');
    let mut odd = spaces > 0 || *last == b' ' || *first < b' ';
    // What is counted in a byte is added up sixteen at a time.
    for (pair, before) in rest.chunks(128).zip(text.chunks(128)) {
        let (mut count, mut is_odd) = (0_u8, 0_u8);
        for (byte, before) in pair.iter().zip(before) {
            let is_space = u8::from(*byte == b' ');
            count += is_space;
            // A control character may be whitespace.
            is_odd |= (is_space & u8::from(*before == b' ')) | u8::from(*byte < b' ');
        }
        spaces += usize::from(count);
        odd |= is_odd > 0;
    }
    (!odd).then_some(spaces + 1)
}

/// The words of a text, those between ASCII whitespace, as where each starts and ends.
pub(super) fn words(text: &[u8], found: &mut Vec<(usize, usize)>) {
    /// What has to be added to a byte without its highest bit, so that it is set in those after a space.
    const TO_SPACE: u64 = 0x5f * ONES;
    found.clear();
    let mut start = 0;
    let mut end_at = |place: usize| {
        if !text[place].is_ascii_whitespace() {
            return;
        }
        if start < place {
            found.push((start, place));
        }
        start = place + 1;
    };
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each byte that is a space or comes before it, and of no other.
        let mut blank = !(((word & OTHERS) + TO_SPACE) | word | OTHERS);
        while blank != 0 {
            end_at(text.len() - rest.len() + blank.trailing_zeros() as usize / 8);
            blank &= blank - 1;
        }
        rest = after;
    }
    for place in text.len() - rest.len()..text.len() {
        end_at(place);
    }
    if start < text.len() {
        found.push((start, text.len()));
    }
}

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
    fn words_are_those_between_whitespace() {
        let mut found = Vec::new();
        for text in texts([b' ', b'\t', b'\x0c', b'\x0b', b' ', b'c', b'!', b'a']).chain(texts(*b" abcdefg")) {
            words(&text, &mut found);
            let is_even = !text.is_empty() && text.split(|byte| *byte == b' ').all(|word| !word.is_empty());
            let is_even = is_even && !text.iter().any(|byte| *byte < b' ');
            assert_eq!(count_if_even(&text), is_even.then_some(found.len()), "{text:?}");
            let text = String::from_utf8(text).unwrap();
            let found = found.iter().map(|(start, end)| &text[*start..*end]);
            assert!(found.eq(text.split_ascii_whitespace()), "{text:?}");
        }
    }

    /// Short texts of these bytes.
    fn texts(of: [u8; 8]) -> impl Iterator<Item = Vec<u8>> {
        let mut number = 0_u64;
        let mut next = move || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            of[(number >> 61) as usize]
        };
        (0..20).cycle().take(20_000).map(move |length| (0..length).map(|_| next()).collect())
    }
}
