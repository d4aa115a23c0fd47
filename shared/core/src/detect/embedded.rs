//! The built-in rules as the build script found them.

use std::borrow::Cow;

use super::RuleFile;
use super::load::{self, Prepared};

/// A built-in file.
struct Embedded {
    name: &'static str,
    /// As it stands.
    whole: &'static str,
    /// Without the rules' tests.
    text: &'static str,
    /// Of `text`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the build script has compared it"))]
    fingerprint: &'static str,
    /// What was prepared of `text`.
    prepared: Option<&'static str>,
}

/// Sorted by name.
static EMBEDDED: &[Embedded] = &include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The files as they stand.
pub(super) fn whole() -> Vec<RuleFile> {
    EMBEDDED.iter().map(|own| file(own.name, own.whole)).collect()
}

/// The files without the rules' tests.
pub(super) fn without_tests() -> Vec<RuleFile> {
    EMBEDDED.iter().map(|own| file(own.name, own.text)).collect()
}

fn file(name: &str, text: &'static str) -> RuleFile {
    RuleFile { name: name.to_owned(), text: Cow::Borrowed(text) }
}

/// Whether a file is a built-in one, with or without the tests: of the name alone a user's file may be, too.
pub(super) fn has(file: &RuleFile) -> bool {
    find(&file.name).is_some_and(|own| file.text == own.text || file.text == own.whole)
}

/// The rules of a built-in file without its tests, where they were prepared, and how the simple ones are matched.
pub(super) fn prepared(file: &RuleFile) -> Option<Vec<(Prepared, &'static str)>> {
    let own = find(&file.name).filter(|own| file.text == own.text)?;
    // What cannot be read is made of the file again.
    load::read_prepared(own.prepared?)
}

fn find(name: &str) -> Option<&'static Embedded> {
    EMBEDDED.binary_search_by_key(&name, |own| own.name).ok().map(|at| &EMBEDDED[at])
}

#[cfg(test)]
pub(super) fn fingerprints() -> impl Iterator<Item = (RuleFile, &'static str, Option<&'static str>)> {
    EMBEDDED.iter().map(|own| (file(own.name, own.text), own.fingerprint, own.prepared))
}
