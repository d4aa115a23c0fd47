//! End to end: the template and the binaries as they are, on an emulated AWS, one story a module.
//!
//! `cargo test -p cloudvigil-tests` runs every story, `cargo test -p cloudvigil-tests -- trail` those whose names
//! contain `trail`. The first run needs `python3` with its `venv` module and a package index; see
//! [`harness::ground`] for what is set up.

use std::process::ExitCode;

mod harness;
mod stories;

/// Each story has an emulator and up to four functions of its own.
const STORIES_AT_A_TIME: usize = 2;

fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(STORIES_AT_A_TIME);
    let trials = stories::ALL.iter().map(|&(name, story)| harness::story::trial(name, story)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
