//! Where output goes: the standard output, or a file that is made before anything is read.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// An open output.
pub struct Destination {
    writer: Box<dyn Write>,
    name: String,
    is_file: bool,
}

impl Destination {
    /// The file, or the standard output where there is none.
    pub fn open(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else {
            let writer = Box::new(BufWriter::new(io::stdout()));
            return Ok(Self { writer, name: "the standard output".to_owned(), is_file: false });
        };
        let file = create(path)?;
        Ok(Self { writer: Box::new(BufWriter::new(file)), name: path.display().to_string(), is_file: true })
    }

    /// Whether it may be a terminal.
    pub fn is_shown(&self) -> bool {
        !self.is_file
    }

    /// Writes. `false`: nobody reads any more, which is no error.
    pub fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<bool> {
        self.outcome(|writer| write(writer))
    }

    /// Writes out what is buffered. As [`Self::write`].
    pub fn flush(&mut self) -> Result<bool> {
        self.outcome(|writer| writer.flush())
    }

    fn outcome(&mut self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<bool> {
        match act(&mut *self.writer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", self.name)),
        }
    }
}

/// Makes a file to write into.
pub fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses outputs that would overwrite an input, or one another.
pub fn check(outputs: &[Option<&Path>], inputs: &[PathBuf]) -> Result<()> {
    let regular = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let mut taken: Vec<PathBuf> = Vec::new();
    for path in outputs.iter().copied().flatten() {
        // A file that is not there yet is no input, but it may be two outputs at once.
        let known = match path.canonicalize() {
            Ok(known) if regular(&known) => known,
            Ok(_) => continue,
            Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        if taken.contains(&known) {
            bail!("{} is named for two outputs", path.display());
        }
        if inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == known)) {
            bail!("{} is an input: writing into it would destroy it", path.display());
        }
        taken.push(known);
    }
    Ok(())
}
