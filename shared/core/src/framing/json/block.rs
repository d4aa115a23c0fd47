//! Sixteen bytes, looked at together.

/// How many they are.
pub(super) const BLOCK: usize = 16;

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

/// With the vectors that every such machine has.
#[cfg(target_arch = "x86_64")]
mod machine {
    use safe_arch::{
        add_i8_m128i, bitor_m128i, cmp_eq_mask_i8_m128i, load_unaligned_m128i, m128i, min_u8_m128i, move_mask_i8_m128i,
        set_splat_i8_m128i,
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
        let from_zero = add_i8_m128i(load_unaligned_m128i(block), each(b'0'.wrapping_neg()));
        first(!move_mask_i8_m128i(are_at_most(from_zero, 9)))
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
    use super::{BLOCK, digits_end, portable, text_end};

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
            }
        }
    }
}
