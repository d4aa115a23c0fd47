//! Places for numbers that are alike.

/// A number below `2^bits` for each number, mostly different ones for numbers that differ in a few bits. For what is looked up
/// at that place and then compared: whoever chooses the numbers chooses it.
///
/// This is Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it has a few bits")]
pub(crate) fn spread(number: u64, bits: u32) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (number.wrapping_mul(GOLDEN) >> (u64::BITS - bits)) as usize
}
