//! Built-in rules, read beforehand.
//!
//! Most of what it takes to load a rule is reading YAML and conditions, and most of what is read is words. So what comes
//! of the built-in files is kept in `rules/prepared.txt`: a file a line, with a fingerprint of what it was made of. The
//! files remain the only source: the build script embeds a line only if the fingerprint is the file's, and without it,
//! or where a filter changes the rule, the rule is made of the file as any other. A test compares the whole with what
//! the files come to; to write it, `CLOUDVIGIL_WRITE=1 cargo test -p cloudvigil-core --lib prepared`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::correlation::Definition;
use super::simple::Simple;

/// A rule that was read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::detect) enum Prepared<'p> {
    /// A simple rule.
    Simple {
        /// What is known of it.
        rule: Simple,
        /// How its records are matched.
        #[serde(borrow)]
        lowered: &'p RawValue,
    },
    /// A correlation.
    Correlation {
        /// What it says.
        rule: Definition,
    },
}

#[cfg(test)]
mod tests;
