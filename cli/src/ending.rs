//! How a run ended, and its exit code.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything was read, and nothing reached `--fail-on`.
    Done,
    /// A finding reached `--fail-on`, or a rule's test failed.
    Reached,
    /// Wrong usage or configuration: nothing was read.
    Refused,
    /// Something could not be read, parsed, or written.
    Incomplete,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Done => 0,
            Ending::Reached => 1,
            Ending::Refused => 2,
            Ending::Incomplete => 3,
        })
    }
}
