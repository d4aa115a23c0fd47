//! The built-in rules as the build script found them, compressed: what is read of them is decompressed first.

use std::ops::Range;
use std::sync::LazyLock;

use libdeflater::Decompressor;

use super::RuleFile;
use super::load::{self, Prepared};

/// A built-in file: its name, and where its parts stand in what is kept of all files.
#[derive(Debug)]
pub(super) struct Embedded {
    name: &'static str,
    /// In [`WHOLE`].
    whole: Range<usize>,
    /// In [`TEXTS`].
    text: Range<usize>,
    /// Of the text.
    #[cfg_attr(not(test), expect(dead_code, reason = "the build script has compared it"))]
    fingerprint: &'static str,
    /// In [`PREPARED`], what was prepared of the text.
    prepared: Option<Range<usize>>,
}

/// Sorted by name.
#[allow(clippy::unreadable_literal, reason = "nobody reads what the build script writes")]
static EMBEDDED: &[Embedded] = &include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The files as they stand.
static WHOLE: LazyLock<String> = LazyLock::new(|| decompressed(include_bytes!(concat!(env!("OUT_DIR"), "/whole"))));

/// The files without the rules' tests.
static TEXTS: LazyLock<String> = LazyLock::new(|| decompressed(include_bytes!(concat!(env!("OUT_DIR"), "/texts"))));

/// What was prepared of the files.
static PREPARED: LazyLock<String> =
    LazyLock::new(|| decompressed(include_bytes!(concat!(env!("OUT_DIR"), "/prepared"))));

/// The text of four bytes with its length, the lowest first, and its compressed form.
#[expect(clippy::expect_used, reason = "it is the program's own; every test that opens the catalogue reads it")]
fn decompressed(embedded: &[u8]) -> String {
    let (length, compressed) = embedded.split_first_chunk().expect("the build script puts the length first");
    let mut text = vec![0; u32::from_le_bytes(*length) as usize];
    Decompressor::new().deflate_decompress(compressed, &mut text).expect("the build script compressed it");
    String::from_utf8(text).expect("rules are text")
}

impl Embedded {
    /// The file as it stands.
    fn whole(&self) -> &'static str {
        &WHOLE[self.whole.clone()]
    }

    /// The file without the rules' tests.
    pub(super) fn without_tests(&self) -> &'static str {
        &TEXTS[self.text.clone()]
    }

    /// Its rules without their tests, where they were prepared, and how the simple ones are matched.
    pub(super) fn prepared(&self) -> Option<Vec<(Prepared, &'static str)>> {
        // What cannot be read is made of the file again.
        load::read_prepared(&PREPARED[self.prepared.clone()?])
    }
}

/// The files as they stand.
pub(super) fn whole() -> Vec<RuleFile> {
    EMBEDDED.iter().map(|own| RuleFile::whole(own.name, own.whole())).collect()
}

/// The files without the rules' tests.
pub(super) fn without_tests() -> Vec<RuleFile> {
    EMBEDDED.iter().map(|own| RuleFile::without_tests(own.name, own)).collect()
}

#[cfg(test)]
pub(super) fn fingerprints() -> impl Iterator<Item = (RuleFile, &'static str, bool)> {
    let files = EMBEDDED.iter().map(|own| (own, RuleFile::without_tests(own.name, own)));
    files.map(|(own, file)| (file, own.fingerprint, own.prepared.is_some()))
}
