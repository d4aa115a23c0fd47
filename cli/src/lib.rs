//! `cloudvigil`: the detection pipeline on a laptop or a host.

mod analysis;
mod arguments;
mod commands;
mod destination;
mod ending;
mod findings;
mod output;
mod parallel;
mod rules;
mod sources;
mod terminal;
mod times;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::ending::Ending;

/// Does what a command line asks for; its first word is the program's name. A word that it does not know, or a plea for
/// help, ends the process.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(words);
    if arguments.verbose {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing_level()).init();
    }
    match commands::run(arguments.command) {
        Ok(ending) => ending.into(),
        Err(error) => {
            terminal::error(&terminal::causes(&error));
            Ending::Refused.into()
        }
    }
}

fn tracing_level() -> tracing_subscriber::filter::LevelFilter {
    tracing_subscriber::filter::LevelFilter::DEBUG
}
