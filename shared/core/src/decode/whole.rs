//! One gzip member, decompressed at once.

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor};
use memchr::memmem;

/// The longest compressed input that is kept to be decompressed at once, in bytes.
pub(super) const MAX_COMPRESSED: usize = 1024 * 1024;
/// The most that it may come to.
const MAX_PLAIN: usize = 8 * 1024 * 1024;
const MIN_PLAIN: usize = 256 * 1024;
/// How much is handed over at a time: what follows works on it while it is in the cache.
pub(super) const PIECE: usize = 256 * 1024;
/// A member's first three bytes: magic, and the one method that there is.
const MEMBER: &[u8] = b"\x1f\x8b\x08";
/// A member's last eight bytes: checksum and length of what it holds.
const TRAILER: usize = 8;

thread_local! {
    /// A decompressor and room for what it makes, for one object after the other.
    static ROOM: RefCell<(Decompressor, Vec<u8>)> = RefCell::new((Decompressor::new(), Vec::new()));
}

/// Decompresses one whole member and hands over what it holds. `false`: nothing was handed over, for it is not one whole
/// member, or holds too much.
pub(super) fn decompress(bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> bool {
    // Another member may begin here, of which libdeflate would say nothing.
    if !bytes.starts_with(MEMBER) || memmem::find(&bytes[MEMBER.len()..], MEMBER).is_some() {
        return false;
    }
    ROOM.with_borrow_mut(|(decompressor, room)| {
        let Some(length) = grown(decompressor, bytes, room) else { return false };
        let plain = &room[..length];
        // Nor would it speak of what follows the member.
        let trailer = [crc(plain).to_le_bytes(), u32::try_from(length).unwrap_or_default().to_le_bytes()].concat();
        if bytes[bytes.len().saturating_sub(TRAILER)..] != trailer {
            return false;
        }
        plain.chunks(PIECE).for_each(sink);
        true
    })
}

/// Decompresses into room that grows as far as it may; how much it came to.
fn grown(decompressor: &mut Decompressor, bytes: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    if room.len() < MIN_PLAIN {
        room.resize(MIN_PLAIN, 0);
    }
    loop {
        match decompressor.gzip_decompress(bytes, room) {
            Ok(length) => return Some(length),
            Err(DecompressionError::InsufficientSpace) if room.len() < MAX_PLAIN => room.resize(room.len() * 2, 0),
            Err(_) => return None,
        }
    }
}

fn crc(plain: &[u8]) -> u32 {
    let mut crc = libdeflater::Crc::new();
    crc.update(plain);
    crc.sum()
}
