//! What the paths of a command line stand for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use cloudvigil_aws::{Clients, S3Objects};
use cloudvigil_core::ports::{ObjectId, ObjectStore};
use cloudvigil_local::Files;
use tokio::runtime::Handle;

/// The standard input.
pub const STANDARD_INPUT: &str = "-";

/// Something to analyse, known by its name.
pub struct Source {
    /// The name that outputs are sorted by.
    pub name: String,
    /// What is behind it.
    pub input: Input,
}

/// What is behind a name.
pub enum Input {
    /// An object that can be opened.
    Object(Arc<dyn ObjectStore>, ObjectId),
    /// Nothing that can be read, and why.
    Missing(Vec<String>),
}

/// Refuses paths that cannot be meant.
pub fn check(paths: &[String]) -> Result<()> {
    if paths.iter().filter(|path| *path == STANDARD_INPUT).count() > 1 {
        bail!("'-' is given twice: the standard input can be read once");
    }
    if paths.iter().any(String::is_empty) {
        bail!("an empty path is given");
    }
    if let Some(path) =
        paths.iter().find(|path| path.strip_prefix("s3://").is_some_and(|at| at.is_empty() || at.starts_with('/')))
    {
        bail!("{path} names no bucket: s3://bucket/prefix does");
    }
    Ok(())
}

/// Everything below the paths, sorted by name; what could not be listed is among it. `own` are files of this run's
/// own, which are no input.
pub fn list(paths: &[String], own: &OwnFiles, runtime: &Handle) -> Vec<Source> {
    let files: Arc<dyn ObjectStore> = Arc::new(Files);
    let mut s3: Option<Arc<dyn ObjectStore>> = None;
    let mut sources = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        let store = if path.starts_with("s3://") {
            s3.get_or_insert_with(|| Arc::new(S3Objects::new(Arc::new(Clients::new())))).clone()
        } else {
            files.clone()
        };
        let mut missing = Vec::new();
        match runtime.block_on(store.list(path)) {
            Ok((objects, errors)) => {
                missing.extend(errors.iter().map(ToString::to_string));
                let objects: Vec<ObjectId> = objects.into_iter().filter(|id| !own.contain(&id.key)).collect();
                if objects.is_empty() && missing.is_empty() {
                    missing.push("there is no log in it: no file at all".to_owned());
                }
                // The same file under the same name is the same source, however often it is given.
                let new = objects.into_iter().filter(|id| seen.insert(id.clone()));
                sources
                    .extend(new.map(|id| Source { name: id.source.clone(), input: Input::Object(store.clone(), id) }));
            }
            Err(error) => missing.push(error.source.to_string()),
        }
        if !missing.is_empty() {
            let name = Files::path(path).to_string_lossy().into_owned();
            sources.push(Source { name, input: Input::Missing(missing) });
        }
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    sources
}

/// Files that this run writes: they may lie in a folder that it reads.
#[derive(Debug, Default)]
pub struct OwnFiles(Vec<PathBuf>);

impl OwnFiles {
    /// Adds a file that exists.
    pub fn add(&mut self, path: &Path) {
        self.0.extend(path.canonicalize().ok());
    }

    /// Adds a database file, with those that `SQLite` keeps beside it.
    pub fn add_state(&mut self, path: &Path) {
        let Ok(path) = path.canonicalize() else { return };
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            self.0.push(name.into());
        }
    }

    fn contain(&self, key: &str) -> bool {
        let path = Files::path(key);
        self.0.contains(&path)
    }
}
