//! Short texts as numbers: names and words that come again and again are compared in a step or two.

/// A text of at most [`Short::LONGEST`] bytes: its length, and two numbers that each of its bytes is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    length: usize,
    start: u128,
    end: u128,
}

impl Short {
    /// How many bytes a text may have.
    pub(crate) const LONGEST: usize = 32;
    /// Stands for no text, and is no text's.
    pub(crate) const NONE: Self = Self { length: usize::MAX, start: 0, end: 0 };
    /// Stands for any text, and is none's.
    pub(crate) const ANY: Self = Self { length: usize::MAX - 1, start: 0, end: 0 };

    /// `None`: it is too long.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let length = text.len();
        if let (Some(start), Some(end)) = (text.first_chunk(), text.last_chunk()) {
            let (start, end) = (u64::from_le_bytes(*start).into(), u64::from_le_bytes(*end).into());
            return match (text.first_chunk(), text.last_chunk()) {
                (Some(start), Some(end)) => {
                    let (start, end) = (u128::from_le_bytes(*start), u128::from_le_bytes(*end));
                    (length <= Self::LONGEST).then_some(Self { length, start, end })
                }
                _ => Some(Self { length, start, end }),
            };
        }
        if let (Some(start), Some(end)) = (text.first_chunk(), text.last_chunk()) {
            let (start, end) = (u32::from_le_bytes(*start).into(), u32::from_le_bytes(*end).into());
            return Some(Self { length, start, end });
        }
        Some(Self { length, start: text.iter().fold(0, |all, byte| all << 8 | u128::from(*byte)), end: 0 })
    }

    /// A place for it among so many, a power of two and at most 256: mostly another one than those of other texts.
    #[inline]
    pub(crate) fn place(self, places: usize) -> usize {
        const SPREADS: u64 = 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_possible_truncation, reason = "what is cut off mostly stands in the other number, too")]
        let (start, end) = (self.start as u64, self.end as u64);
        let spread = (start ^ end.rotate_left(32) ^ self.length as u64).wrapping_mul(SPREADS);
        (spread >> 56) as usize & (places - 1)
    }
}

/// Whether two texts are the same, which mostly are short: comparing them in general is a call that goes by their length.
#[inline]
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        8..=16 => ends(one).map(u64::from_ne_bytes) == ends(other).map(u64::from_ne_bytes),
        4..8 => ends(one).map(u32::from_ne_bytes) == ends(other).map(u32::from_ne_bytes),
        _ => one == other,
    }
}

/// The first bytes of a text, and the last.
#[inline]
fn ends<const N: usize>(text: &[u8]) -> [[u8; N]; 2] {
    [text.first_chunk(), text.last_chunk()].map(|bytes| *bytes.unwrap_or(&[0; N]))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn two_texts_are_equal_exactly_if_their_numbers_are() {
        let mut number = 0_u64;
        let mut next = |below: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as usize % below
        };
        let mut known: HashMap<Vec<u8>, Short> = HashMap::new();
        for _ in 0..20_000 {
            let length = next(Short::LONGEST + 3);
            let odd = next(length.max(1));
            // Mostly the same text but for a byte.
            let text: Vec<u8> = (0..length).map(|at| if at == odd { b"\0ab\xff"[next(4)] } else { b'a' }).collect();
            let Some(short) = Short::of(&text) else {
                assert!(length > Short::LONGEST);
                continue;
            };
            assert!(length <= Short::LONGEST && short.place(16) < 16);
            known.insert(text, short);
        }
        for (one, short) in &known {
            assert!(known.iter().all(|(other, number)| (one == other) == (short == number)), "{one:?}");
        }
        let known: Vec<_> = known.keys().filter_map(|text| std::str::from_utf8(text).ok()).collect();
        for one in &known {
            assert!(known.iter().all(|other| (one == other) == is_same(one, other)), "{one:?}");
        }
        assert!(known.len() > 100);
    }
}
