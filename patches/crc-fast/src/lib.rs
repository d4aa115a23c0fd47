//! The three CRCs of S3's checksums, by the names that `crc-fast` has for them.
//!
//! S3's client reaches for them through `aws-smithy-checksums`, which names an algorithm by a value. `crc-fast` has a table
//! for each of some fifty, and because the value could be any of them, all come into the binary: 700 KB of each function,
//! of which these three are the tenth part. The sums themselves are those of [`crc32fast`] and [`crc`].
//!
//! Which there are: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>. Their
//! parameters: <https://reveng.sourceforge.io/crc-catalogue/all.htm>.

use crc::{CRC_32_ISCSI, CRC_64_NVME, Crc, Table};

/// 16 KiB. Sixteen bytes at a time, as the next one.
static ISCSI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// 32 KiB.
static NVME: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_NVME);

/// A checksum, by its name in the catalogue of parametrised CRC algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// CRC-32/ISO-HDLC: S3's CRC32.
    Crc32IsoHdlc,
    /// CRC-32/ISCSI: S3's CRC32C.
    Crc32Iscsi,
    /// CRC-64/NVME: S3's CRC64NVME.
    Crc64Nvme,
}

/// A checksum of bytes that come one piece after the other.
#[derive(Clone)]
pub struct Digest(State);

#[derive(Clone)]
enum State {
    IsoHdlc(crc32fast::Hasher),
    Iscsi(crc::Digest<'static, u32, Table<16>>),
    Nvme(crc::Digest<'static, u64, Table<16>>),
}

impl Digest {
    /// The checksum of nothing yet.
    pub fn new(algorithm: CrcAlgorithm) -> Self {
        Self(match algorithm {
            CrcAlgorithm::Crc32IsoHdlc => State::IsoHdlc(crc32fast::Hasher::new()),
            CrcAlgorithm::Crc32Iscsi => State::Iscsi(ISCSI.digest()),
            CrcAlgorithm::Crc64Nvme => State::Nvme(NVME.digest()),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::IsoHdlc(digest) => digest.update(bytes),
            State::Iscsi(digest) => digest.update(bytes),
            State::Nvme(digest) => digest.update(bytes),
        }
    }

    /// The checksum. One of 32 bits is in the lower half.
    pub fn finalize(self) -> u64 {
        match self.0 {
            State::IsoHdlc(digest) => digest.finalize().into(),
            State::Iscsi(digest) => digest.finalize().into(),
            State::Nvme(digest) => digest.finalize(),
        }
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithm = match &self.0 {
            State::IsoHdlc(_) => CrcAlgorithm::Crc32IsoHdlc,
            State::Iscsi(_) => CrcAlgorithm::Crc32Iscsi,
            State::Nvme(_) => CrcAlgorithm::Crc64Nvme,
        };
        formatter.debug_tuple("Digest").field(&algorithm).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the catalogue gives as `check`, the checksum of "123456789".
    const CHECKS: [(CrcAlgorithm, u64); 3] = [
        (CrcAlgorithm::Crc32IsoHdlc, 0xcbf4_3926),
        (CrcAlgorithm::Crc32Iscsi, 0xe306_9283),
        (CrcAlgorithm::Crc64Nvme, 0xae8b_1486_0a79_9888),
    ];

    #[test]
    fn the_checksums_are_those_of_the_catalogue_however_the_bytes_arrive() {
        for (algorithm, check) in CHECKS {
            for size in 1..=9 {
                let mut digest = Digest::new(algorithm);
                b"123456789".chunks(size).for_each(|piece| digest.update(piece));
                assert_eq!(digest.finalize(), check, "{algorithm:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_long_text_in_pieces_has_the_checksum_of_the_whole() {
        let text: Vec<u8> =
            (0..100_000_u32).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        for (algorithm, _) in CHECKS {
            let mut whole = Digest::new(algorithm);
            whole.update(&text);
            let mut pieces = Digest::new(algorithm);
            let mut rest = text.as_slice();
            for size in (0..).map(|round: usize| round * round % 4_099) {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                pieces.update(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            assert_eq!(pieces.finalize(), whole.finalize(), "{algorithm:?}");
        }
    }

    #[test]
    fn it_is_shown_by_its_name_alone() {
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        digest.update(b"secret");
        assert_eq!(format!("{digest:?}"), "Digest(Crc64Nvme)");
    }
}
