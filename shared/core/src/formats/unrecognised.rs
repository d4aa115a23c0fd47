//! What an object seems to be that no format recognises, as far as that tells its owner what to do.
//!
//! Compressed files begin with a few bytes of their own: [zstd](https://www.rfc-editor.org/rfc/rfc8878#name-zstandard-frames),
//! [xz](https://tukaani.org/xz/xz-file-format.txt), bzip2, [gzip](https://www.rfc-editor.org/rfc/rfc1952),
//! [lz4](https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md) and
//! [zip](https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).

use memchr::memchr;

/// What an object seems to be that no format recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrecognised {
    /// Compressed, by something else than one gzip.
    #[error("it is {0}, and only gzip is opened, once: decompress it first")]
    Compressed(&'static str),
    /// Text in UTF-16.
    #[error("it is text in UTF-16: convert it to UTF-8 first")]
    Utf16,
    /// Not text.
    #[error("it is not text")]
    Binary,
    /// Text.
    #[error("it begins like none of those that are read")]
    Text,
}

impl Unrecognised {
    /// By the first bytes, decompressed.
    pub fn of(head: &[u8]) -> Self {
        let compressed: [(&[u8], &str); 6] = [
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\xfd7zXZ\0", "xz"),
            (b"BZh", "bzip2"),
            (b"\x1f\x8b", "gzip within gzip"),
            (b"\x04\x22\x4d\x18", "lz4"),
            (b"PK\x03\x04", "zip"),
        ];
        if let Some((_, name)) = compressed.into_iter().find(|(magic, _)| head.starts_with(magic)) {
            return Self::Compressed(name);
        }
        if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            return Self::Utf16;
        }
        if memchr(0, head).is_some() { Self::Binary } else { Self::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_seems_to_be_says_what_to_do() {
        for (head, says) in [
            (&b"\xfd7zXZ\0\0\x04"[..], "it is xz, and only gzip is opened, once: decompress it first"),
            (b"\x1f\x8b\x08\0", "it is gzip within gzip, and only gzip is opened, once: decompress it first"),
            (b"\xff\xfeM\0a\0r\0", "it is text in UTF-16: convert it to UTF-8 first"),
            (b"\x7fELF\x02\x01\0", "it is not text"),
            (b"# Notes\n", "it begins like none of those that are read"),
            (b"", "it begins like none of those that are read"),
        ] {
            assert_eq!(Unrecognised::of(head).to_string(), says);
        }
    }
}
