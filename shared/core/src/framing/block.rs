//! Sixteen bytes, looked at together.

/// How many they are.
pub(crate) const BLOCK: usize = 16;

/// Where the first byte is that ends a stretch of a string: a quote, an escape, or what may not stand in a string; the
/// block's length if there is none.
#[inline]
pub(super) fn text_end(block: &[u8; BLOCK]) -> usize {
    machine::text_end(block)
}

/// Where the first byte is that is no digit; the block's length if there is none.
#[inline]
pub(super) fn digits_end(block: &[u8; BLOCK]) -> usize {
    machine::digits_end(block)
}

/// How many digits stand at the end.
#[inline]
pub(crate) fn digits_at_end(block: &[u8; BLOCK]) -> usize {
    machine::digits_at_end(block)
}

/// Where the first of any of these bytes is; the block's length if there is none.
#[inline]
pub(crate) fn first_of<const N: usize>(block: &[u8; BLOCK], wanted: [u8; N]) -> usize {
    machine::first_of(block, wanted)
}

/// Where the last of this byte is, if there is one.
#[inline]
pub(crate) fn last_of(block: &[u8; BLOCK], wanted: u8) -> Option<usize> {
    let marks = machine::marks(block, [wanted]);
    (marks != 0).then(|| marks.ilog2() as usize)
}

/// Where any of these bytes is, among up to four blocks: a bit for each place.
#[inline]
pub(crate) fn marks<const LENGTH: usize, const N: usize>(blocks: &[u8; LENGTH], wanted: [u8; N]) -> u64 {
    const { assert!(LENGTH <= 4 * BLOCK && LENGTH.is_multiple_of(BLOCK)) };
    let (blocks, _) = blocks.as_chunks();
    blocks.iter().rev().fold(0, |marks, block| marks << BLOCK | u64::from(machine::marks(block, wanted)))
}

/// The block with a `0` for each digit.
#[inline]
pub(crate) fn without_digits(block: &[u8; BLOCK]) -> [u8; BLOCK] {
    machine::without_digits(block)
}

/// With the vectors that every such machine has.
#[cfg(target_arch = "x86_64")]
mod machine {
    use safe_arch::{
        add_i8_m128i, bitand_m128i, bitandnot_m128i, bitor_m128i, cmp_eq_mask_i8_m128i, load_unaligned_m128i, m128i,
        min_u8_m128i, move_mask_i8_m128i, set_splat_i8_m128i,
    };

    use super::BLOCK;

    #[inline]
    pub(super) fn text_end(block: &[u8; BLOCK]) -> usize {
        let bytes = load_unaligned_m128i(block);
        let is = |byte: u8| cmp_eq_mask_i8_m128i(bytes, each(byte));
        let ends = bitor_m128i(bitor_m128i(is(b'"'), is(b'\\')), are_at_most(bytes, 0x1f));
        first(move_mask_i8_m128i(ends))
    }

    #[inline]
    pub(super) fn digits_end(block: &[u8; BLOCK]) -> usize {
        first(!move_mask_i8_m128i(are_digits(load_unaligned_m128i(block))))
    }

    #[inline]
    pub(super) fn digits_at_end(block: &[u8; BLOCK]) -> usize {
        let digits = move_mask_i8_m128i(are_digits(load_unaligned_m128i(block)));
        (digits << BLOCK).leading_ones() as usize
    }

    #[inline]
    pub(super) fn first_of<const N: usize>(block: &[u8; BLOCK], wanted: [u8; N]) -> usize {
        first(marks(block, wanted).into())
    }

    #[inline]
    pub(super) fn marks<const N: usize>(block: &[u8; BLOCK], wanted: [u8; N]) -> u16 {
        let bytes = load_unaligned_m128i(block);
        let is = wanted.map(|byte| cmp_eq_mask_i8_m128i(bytes, each(byte)));
        let marks = is.into_iter().reduce(bitor_m128i).map_or(0, move_mask_i8_m128i);
        u16::try_from(marks).unwrap_or_default()
    }

    #[inline]
    pub(super) fn without_digits(block: &[u8; BLOCK]) -> [u8; BLOCK] {
        let bytes = load_unaligned_m128i(block);
        let digits = are_digits(bytes);
        bitor_m128i(bitandnot_m128i(digits, bytes), bitand_m128i(digits, each(b'0'))).into()
    }

    #[inline]
    fn are_digits(bytes: m128i) -> m128i {
        are_at_most(add_i8_m128i(bytes, each(b'0'.wrapping_neg())), 9)
    }

    #[inline]
    fn are_at_most(bytes: m128i, most: u8) -> m128i {
        cmp_eq_mask_i8_m128i(min_u8_m128i(bytes, each(most)), bytes)
    }

    #[inline]
    fn each(byte: u8) -> m128i {
        set_splat_i8_m128i(byte.cast_signed())
    }

    /// The number of the first mark.
    #[inline]
    fn first(marks: i32) -> usize {
        (marks | 1 << BLOCK).trailing_zeros() as usize
    }
}

#[cfg(not(target_arch = "x86_64"))]
use portable as machine;

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::BLOCK;

    #[inline]
    pub(super) fn text_end(block: &[u8; BLOCK]) -> usize {
        first(block, |byte| byte < b' ' || byte == b'"' || byte == b'\\')
    }

    #[inline]
    pub(super) fn digits_end(block: &[u8; BLOCK]) -> usize {
        first(block, |byte| !byte.is_ascii_digit())
    }

    #[inline]
    pub(super) fn digits_at_end(block: &[u8; BLOCK]) -> usize {
        block.iter().rev().take_while(|byte| byte.is_ascii_digit()).count()
    }

    #[inline]
    pub(super) fn first_of<const N: usize>(block: &[u8; BLOCK], wanted: [u8; N]) -> usize {
        first(block, |byte| wanted.contains(&byte))
    }

    #[inline]
    pub(super) fn marks<const N: usize>(block: &[u8; BLOCK], wanted: [u8; N]) -> u16 {
        /// A byte in each place of a word.
        const ONES: u64 = 0x0101_0101_0101_0101;
        /// Moves the lowest bit of each byte to the highest byte, one beside the other.
        const TOGETHER: u64 = 0x0102_0408_1020_4080;
        let (words, _) = block.as_chunks();
        let marks = |word: &[u8; 8]| {
            let others = ONES * 0x7f;
            let found = wanted.into_iter().fold(0, |found, byte| {
                let apart = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
                // The highest bit of each byte that is it, and of no other.
                found | !(((apart & others) + others) | apart | others)
            });
            (found >> 7).wrapping_mul(TOGETHER).to_be_bytes()[0]
        };
        words.iter().rev().fold(0, |all, word| all << 8 | u16::from(marks(word)))
    }

    #[inline]
    pub(super) fn without_digits(block: &[u8; BLOCK]) -> [u8; BLOCK] {
        block.map(|byte| if byte.is_ascii_digit() { b'0' } else { byte })
    }

    /// Where the first such byte is. Written so that a compiler makes vectors of it.
    #[inline]
    fn first(block: &[u8; BLOCK], is_it: impl Fn(u8) -> bool) -> usize {
        let mut marks = [0; BLOCK];
        for (mark, byte) in marks.iter_mut().zip(block) {
            *mark = if is_it(*byte) { u8::MAX } else { 0 };
        }
        u128::from_le_bytes(marks).trailing_zeros() as usize / 8
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BLOCK, digits_at_end, digits_end, first_of, last_of, machine, marks, portable, text_end, without_digits,
    };

    #[test]
    fn every_byte_at_every_place_ends_what_it_ends_on_every_machine() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let (mut text, mut digits) = ([b'x'; BLOCK], [b'7'; BLOCK]);
                (text[at], digits[at]) = (byte, byte);
                // What comes behind it does not matter.
                if let (Some(text), Some(digits)) = (text.get_mut(at + 1), digits.get_mut(at + 1)) {
                    (*text, *digits) = (b'"', b'"');
                }
                let end_if = |ends: bool| if ends { at } else { (at + 1).min(BLOCK) };
                let ends = end_if(byte < 0x20 || byte == b'"' || byte == b'\\');
                assert_eq!((text_end(&text), portable::text_end(&text)), (ends, ends), "{byte} at {at}");
                let ends = end_if(!byte.is_ascii_digit());
                assert_eq!((digits_end(&digits), portable::digits_end(&digits)), (ends, ends), "{byte} at {at}");
                digits[at + 1..].fill(b'7');
                let count = if byte.is_ascii_digit() { BLOCK } else { BLOCK - at - 1 };
                let counts = (digits_at_end(&digits), portable::digits_at_end(&digits));
                assert_eq!(counts, (count, count), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_is_on_every_machine() {
        // Neighbours of what is looked for, and bytes with the highest bit, in every order.
        let mut number = 0_u64;
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b" !\x1f\n\xa0\xff/09:\x0b\x8a\xb0\0xy"[(number >> 60) as usize]
        };
        for _ in 0..20_000 {
            let blocks: [u8; 4 * BLOCK] = std::array::from_fn(|_| next());
            let mut block = [b'x'; BLOCK];
            let length = (blocks[0] % 17) as usize;
            block[..length].copy_from_slice(&blocks[..length]);
            let first = block.iter().position(|byte| matches!(byte, b' ' | b'\n')).unwrap_or(BLOCK);
            assert_eq!((first_of(&block, *b" \n"), portable::first_of(&block, *b" \n")), (first, first), "{block:?}");
            assert_eq!(last_of(&block, b' '), block.iter().rposition(|byte| *byte == b' '), "{block:?}");
            assert_eq!(machine::marks(&block, *b"\n 0"), portable::marks(&block, *b"\n 0"), "{block:?}");
            let found = marks(&blocks, [b'\n']);
            assert!((0..64).all(|at| (found >> at & 1 == 1) == (blocks[at] == b'\n')), "{blocks:?} {found:b}");
            let plain = block.map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
            assert_eq!((without_digits(&block), portable::without_digits(&block)), (plain, plain), "{block:?}");
        }
    }
}
