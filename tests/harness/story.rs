//! A story: one test with a folder and emulators of its own.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result};
use libtest_mimic::Trial;
use tempfile::TempDir;

/// How much of each emulator's log a failed story shows, in lines.
const TAIL: usize = 80;

/// A story's body.
pub type Body = fn(&Story) -> Result<()>;

/// What a story has of its own. All of it is gone when the story ends.
pub struct Story {
    folder: TempDir,
    logs: Mutex<Vec<PathBuf>>,
}

impl Story {
    /// The story's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file whose end is shown when the story fails.
    pub fn log(&self, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(path.clone());
        path
    }

    fn tails(&self) -> String {
        let logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tail = |path: &PathBuf| {
            let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("\n--- the end of {name} ---\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"))
        };
        logs.iter().map(tail).collect()
    }
}

/// The story as the harness runs it.
pub fn trial(name: &'static str, body: Body) -> Trial {
    Trial::test(name, move || {
        let start = Instant::now();
        let folder = TempDir::with_prefix("cloudvigil-").context("create the story's folder")?;
        let story = Story { folder, logs: Mutex::default() };
        // A panic is caught here, so that it too shows the logs.
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&story)));
        eprintln!("{name} took {:.1?}", start.elapsed());
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{error:#}\n{}", story.tails()).into()),
            Err(_) => Err(format!("panicked: see above\n{}", story.tails()).into()),
        }
    })
}
