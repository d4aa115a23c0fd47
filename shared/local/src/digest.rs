//! Short digests, for names and versions that must stay the same from release to release.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The first `bytes` bytes of the SHA-256 of `parts`, one after the other, in hexadecimal.
pub(crate) fn hex_prefix(parts: &[&[u8]], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut hex = String::with_capacity(bytes * 2);
    for byte in hash.finalize().iter().take(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::hex_prefix;

    #[test]
    fn is_the_beginning_of_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex_prefix(&[b"a", b"bc"], 4), "ba7816bf");
    }
}
