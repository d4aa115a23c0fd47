//! The emulator's virtual environment: made once for each `requirements.txt`, kept below the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::sigv4::hex;

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// What to do about a Python that is missing or incomplete.
const INSTALL: &str = "the emulator needs Python 3.10 or later with its venv module \
                       (Debian and Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3)";

/// The Python of an environment that has the emulator; sets it up where it is missing. Safe for several processes
/// at once: the first one works, the others wait.
pub fn environment(below: &Path) -> Result<PathBuf> {
    fs::create_dir_all(below).with_context(|| format!("create {}", below.display()))?;
    let name = format!("venv-{}", &hex(&Sha256::digest(REQUIREMENTS))[..12]);
    let folder = below.join(&name);
    let python = folder.join("bin/python");
    // Written last: a folder without it was left half made.
    let complete = folder.join("complete");
    let lock_path = below.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
    if complete.exists() && works(&python) {
        return Ok(python);
    }
    check_python()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove the unfinished {}", folder.display()))?;
    }
    eprintln!("setting up the emulator in {} (once)", folder.display());
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).context(INSTALL)?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).with_context(|| format!("write {}", requirements.display()))?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "-r"])
        .arg(&requirements))
    .context("install the emulator: is a Python package index within reach?")?;
    fs::write(&complete, "").with_context(|| format!("write {}", complete.display()))?;
    Ok(python)
}

/// Whether the environment's Python starts: it does not once the system's Python is gone.
fn works(python: &Path) -> bool {
    Command::new(python).args(["-c", "import ministack"]).output().is_ok_and(|output| output.status.success())
}

fn check_python() -> Result<()> {
    let probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    match Command::new("python3").args(["-c", probe]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("python3 does not do: {} {INSTALL}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => bail!("python3 was not found ({error}): {INSTALL}"),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
