//! Built-in rules, read beforehand.
//!
//! Most of what it takes to load a rule is reading YAML and conditions, and most of what is read is words. So what comes
//! of the built-in files is kept in `rules/prepared.txt`: a file a line, with a fingerprint of what it was made of. The
//! files remain the only source: the build script embeds a line only if the fingerprint is the file's, and without it,
//! or where a filter changes the rule, the rule is made of the file as any other. A test compares the whole with what
//! the files come to; to write it, `CLOUDVIGIL_WRITE=1 cargo test -p cloudvigil-core --lib prepared`.

use serde::{Deserialize, Serialize};

use super::correlation::Definition;
use super::simple::Simple;

/// A rule that was read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::detect) enum Prepared {
    /// A simple rule; how its records are matched stands by itself.
    Simple(Simple),
    /// A correlation.
    Correlation(Definition),
}

/// What stands between a file's rules and, for each simple one, its [`Lowered`]; JSON has no such character.
///
/// [`Lowered`]: crate::detect::compiled::Lowered
const SEPARATOR: char = '\t';

/// The rules of a line of `prepared.txt`, each simple one with its [`Lowered`] in JSON.
///
/// [`Lowered`]: crate::detect::compiled::Lowered
pub(in crate::detect) fn read(line: &'static str) -> Option<Vec<(Prepared, &'static str)>> {
    let mut parts = line.split(SEPARATOR);
    let rules: Vec<Prepared> = serde_json::from_str(parts.next()?).ok()?;
    let with_lowered = |rule| match rule {
        Prepared::Simple(_) => Some((rule, parts.next()?)),
        Prepared::Correlation(_) => Some((rule, "")),
    };
    rules.into_iter().map(with_lowered).collect()
}

#[cfg(test)]
mod tests;
