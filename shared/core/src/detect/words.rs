//! A rule's words for people.

use std::sync::OnceLock;

use super::embedded::Embedded;
use super::load;
use crate::finding::Guidance;

/// A rule's words for people. Few rules ever find anything, so those of a prepared one are read when they are asked for.
#[derive(Debug, Clone)]
pub(super) enum Words {
    /// They were read with the rule.
    Read(Guidance),
    /// They stand in a built-in file, and here once they were read.
    Later(&'static Embedded, OnceLock<Guidance>),
}

impl Default for Words {
    fn default() -> Self {
        Self::Read(Guidance::default())
    }
}

impl Words {
    /// Those of a built-in file's rule.
    pub(super) fn later(file: &'static Embedded) -> Self {
        Self::Later(file, OnceLock::new())
    }

    /// Those of the rule with this id.
    pub(super) fn of(&self, id: &str) -> &Guidance {
        match self {
            Self::Read(words) => words,
            // A test compares them with those of the file: what was prepared of it stands in it.
            Self::Later(file, words) => {
                words.get_or_init(|| load::guidance(file.without_tests(), id).unwrap_or_default())
            }
        }
    }
}
