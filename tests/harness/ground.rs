//! What all stories share, each made once, by the first story that needs it: the binaries, the functions' zips and the
//! emulator's Python. What could not be made fails every story that needs it, with the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::binaries::{Build, COMMAND_LINE, FUNCTIONS, zipped};
use super::python;

/// Each function's zip, by the function's name.
pub type Zips = BTreeMap<&'static str, Arc<[u8]>>;

/// The Python that has the emulator.
pub fn emulator_python() -> Result<&'static PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&PYTHON, "the emulator", || python::environment(&Build::current()?.target.join("cloudvigil-tests")))
}

/// The functions, ready to be uploaded.
pub fn function_zips() -> Result<&'static Zips> {
    static ZIPS: OnceLock<Result<Zips, String>> = OnceLock::new();
    once(&ZIPS, "the functions", || {
        let binaries = binaries()?;
        FUNCTIONS.into_iter().map(|function| Ok((function, zipped(&binaries[function])?))).collect()
    })
}

/// The command line.
pub fn command_line() -> Result<&'static PathBuf> {
    Ok(&binaries()?[COMMAND_LINE])
}

fn binaries() -> Result<&'static BTreeMap<&'static str, PathBuf>> {
    static BINARIES: OnceLock<Result<BTreeMap<&'static str, PathBuf>, String>> = OnceLock::new();
    once(&BINARIES, "the binaries", || Build::current()?.binaries())
}

fn once<T>(cell: &'static OnceLock<Result<T, String>>, what: &str, make: fn() -> Result<T>) -> Result<&'static T> {
    let ready = cell.get_or_init(|| {
        let start = Instant::now();
        let outcome = make().map_err(|error| format!("{error:#}"));
        eprintln!("set-up of {what} took {:.1?}", start.elapsed());
        outcome
    });
    ready.as_ref().map_err(|reason| anyhow!("set-up of {what} failed: {reason}"))
}
