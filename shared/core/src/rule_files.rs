//! Rules and the configuration as they lie in an object store: in a folder, or below a prefix of S3.

use futures::{StreamExt, stream};

use crate::detect::{Problem, RuleFile};
use crate::ports::{Failure, ObjectId, ObjectStore, PortError, PortResult};

/// The longest rule file that is read, and the longest configuration, in bytes.
pub(crate) const MAX_FILE: usize = 1024 * 1024;
/// How many rule files are read at most, and how many bytes of them. SigmaHQ has some 3,500 of 2 KB each.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How many are read at once.
const AT_ONCE: usize = 16;

/// Rule files, as far as they could be read.
#[derive(Debug, Default)]
pub struct RuleFiles {
    /// The files, by name.
    pub files: Vec<RuleFile>,
    /// Those that are no text, or beyond a limit: they will not be other the next time.
    pub problems: Vec<Problem>,
    /// What the store did not give: it may the next time.
    pub errors: Vec<PortError>,
}

impl RuleFiles {
    /// Reads every `*.yml` and `*.yaml` below `root`, or the one file that it is.
    pub async fn read(store: &dyn ObjectStore, root: &str) -> PortResult<Self> {
        let (objects, errors) = store.list(root).await?;
        let mut read = Self { errors, ..Self::default() };
        let named = objects.into_iter().map(|id| (name_of(root, &id), id));
        let mut wanted: Vec<_> = named.filter(|(_, id)| id.source == root || is_rule_file(&id.source)).collect();
        for (file, _) in wanted.drain(wanted.len().min(MAX_FILES)..) {
            let reason = format!("it is not read: {MAX_FILES} rule files were before it");
            read.problems.push(Problem { file, reason, ..Problem::default() });
        }
        let texts = wanted.into_iter().map(|(name, id)| async move { (name, text_of(store, &id).await) });
        let mut texts = stream::iter(texts).buffered(AT_ONCE);
        let mut left = MAX_BYTES;
        while let Some((name, text)) = texts.next().await {
            let mut problem = |line: Option<usize>, reason: String| {
                read.problems.push(Problem { file: name.clone(), line, reason, ..Problem::default() });
            };
            match text {
                Ok(text) if text.len() > left => {
                    problem(None, format!("it is not read: the rule files before it have {MAX_BYTES} bytes"));
                }
                Ok(text) => {
                    left -= text.len();
                    read.files.push(RuleFile::new(name, text));
                }
                Err(Unread::Never(line, reason)) => problem(Some(line), reason),
                Err(Unread::Now(error)) => read.errors.push(error),
            }
        }
        Ok(read)
    }
}

/// Reads a configuration.
pub async fn configuration(store: &dyn ObjectStore, id: &ObjectId) -> PortResult<String> {
    text_of(store, id).await.map_err(|unread| match unread {
        Unread::Now(error) => error,
        Unread::Never(_, reason) => PortError::new(Failure::Permanent, format!("read {}", id.source), reason),
    })
}

/// Why a file was not read.
enum Unread {
    /// It is none that could be: from which line on, and why.
    Never(usize, String),
    /// The store failed.
    Now(PortError),
}

async fn text_of(store: &dyn ObjectStore, id: &ObjectId) -> Result<String, Unread> {
    let mut object = store.open(id).await.map_err(Unread::Now)?;
    let mut bytes = Vec::new();
    while let Some(piece) = object.content.next().await.map_err(Unread::Now)? {
        bytes.extend_from_slice(&piece);
        if let Some((line, reason)) = too_long(&bytes) {
            return Err(Unread::Never(line, reason));
        }
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = line_at(error.as_bytes(), error.utf8_error().valid_up_to());
        Unread::Never(line, "it is not UTF-8".to_owned())
    })
}

/// Why a file of these bytes is not read, and from which line on, if it is too long.
pub(crate) fn too_long(bytes: &[u8]) -> Option<(usize, String)> {
    let reason = || format!("it has more than {MAX_FILE} bytes, the most that is read");
    (bytes.len() > MAX_FILE).then(|| (line_at(bytes, MAX_FILE), reason()))
}

/// The line of the byte at a place, from 1.
fn line_at(bytes: &[u8], at: usize) -> usize {
    1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// What people call a file: with the folder that they named.
fn name_of(root: &str, id: &ObjectId) -> String {
    if !id.bucket.is_empty() || id.source == root {
        return id.source.clone();
    }
    format!("{}/{}", root.trim_end_matches('/'), id.source)
}

fn is_rule_file(name: &str) -> bool {
    [".yml", ".yaml"].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests;
