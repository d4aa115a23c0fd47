//! Numbers in parts of seven bits, the lowest first; the highest bit of a byte says that more follow.

/// Some numbers, which take no more bytes than this.
pub struct Writer<const LONGEST: usize> {
    /// They, and what is left.
    pub bytes: [u8; LONGEST],
    /// Where they end.
    pub end: usize,
}

impl<const LONGEST: usize> Default for Writer<LONGEST> {
    #[inline]
    fn default() -> Self {
        Self { bytes: [0; LONGEST], end: 0 }
    }
}

impl<const LONGEST: usize> Writer<LONGEST> {
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.bytes[self.end] = byte;
        self.end += 1;
    }

    /// Writes a number in parts of seven bits, the lowest first; the highest bit of a byte says that more follow.
    #[inline]
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte((number & 0x7f) as u8);
    }

    /// Writes a longer one in the same way.
    pub fn long_number(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte((number & 0x7f) as u8);
    }
}

/// Small numbers of either sign as small ones without.
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

pub fn zigzag_long(number: i128) -> u128 {
    ((number << 1) ^ (number >> 127)).cast_unsigned()
}

pub fn unzigzag_long(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// A number, see [`Writer::number`], and what follows it.
#[inline]
pub fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    // Most are differences that fit into a byte; nearly all others, those of times, fit into eight. The parts of these are
    // put together all at once: by twos, by fours, by eights.
    if let Some((byte @ 0..0x80, rest)) = bytes.split_first() {
        return Some((u64::from(*byte), rest));
    }
    if let Some(word) = bytes.first_chunk() {
        let word = u64::from_le_bytes(*word);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            // All below the first highest bit that is not set.
            let parts = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
            let twos = parts & 0x007f_007f_007f_007f | (parts & 0x7f00_7f00_7f00_7f00) >> 1;
            let fours = twos & 0x0000_3fff_0000_3fff | (twos & 0x3fff_0000_3fff_0000) >> 2;
            let eights = fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4;
            return Some((eights, &bytes[ends.trailing_zeros() as usize / 8 + 1..]));
        }
    }
    let (number, rest) = long_number(bytes)?;
    Some((u64::try_from(number).ok()?, rest))
}

/// A longer one, see [`Writer::long_number`], and what follows it.
pub fn long_number(bytes: &[u8]) -> Option<(u128, &[u8])> {
    let (mut number, mut rest) = (0, bytes);
    for shift in (0..128).step_by(7) {
        let byte;
        (byte, rest) = rest.split_first()?;
        let part = u128::from(byte & 0x7f);
        number |= part << shift;
        if byte & 0x80 == 0 {
            return (part << shift >> shift == part).then_some((number, rest));
        }
    }
    None
}
