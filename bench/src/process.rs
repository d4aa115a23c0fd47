//! `cloudvigil` as a process of its own, and what it took: this program runs itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::processor_time::process_time;

#[derive(Args)]
pub struct Arguments {
    /// Write what it took into this file
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// The command line, from `cloudvigil`'s first argument on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// What a process took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Taken {
    /// Processor time of all threads.
    pub time: Duration,
    /// The most memory that it had at once, in bytes.
    pub peak: u64,
}

/// Is `cloudvigil`.
pub fn be(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let words = std::iter::once(OsString::from("cloudvigil")).chain(arguments.words.iter().cloned());
    let ending = cloudvigil::run(words);
    let taken = Taken { time: process_time()?, peak: peak()? };
    let report = &arguments.report;
    std::fs::write(report, serde_json::to_vec(&taken)?)
        .with_context(|| format!("cannot write {}", report.display()))?;
    Ok(ending)
}

/// Runs `cloudvigil` with these arguments and says what it took.
pub fn measured(words: &[&str], folder: &Path) -> anyhow::Result<Taken> {
    let report = NamedTempFile::new().context("cannot make a file for what a process took")?;
    let output = Command::new(std::env::current_exe().context("cannot find this program")?)
        .args(["process", "--report"])
        .arg(report.path())
        .args(words)
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start a process")?;
    ensure!(
        output.status.success(),
        "cloudvigil {} ended with {}: {}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    let text = std::fs::read(report.path()).context("cannot read what a process took")?;
    serde_json::from_slice(&text).context("cannot read what a process took")
}

/// The most memory that this process had so far, in bytes.
fn peak() -> anyhow::Result<u64> {
    const FILE: &str = "/proc/self/status";
    let text = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}; bench needs Linux"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
    Ok(kibibytes.with_context(|| format!("{FILE} does not tell the peak of memory"))? * 1024)
}
