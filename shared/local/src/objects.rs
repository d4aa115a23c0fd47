//! Files, folders and the standard input as an object store.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloudvigil_core::ports::{Chunks, Failure, Object, ObjectId, ObjectStore, PortError, PortResult};
use jiff::Timestamp;
use walkdir::{DirEntry, WalkDir};

use crate::digest::hex_prefix;
use crate::failure::{io_failure, shown, shown_path};

/// The root and the key that mean the standard input. A file of that name is `./-`.
const STANDARD_INPUT: &str = "-";

/// The most that one piece of content holds, in bytes.
const PIECE: usize = 256 * 1024;

/// How much of a content's beginning can tell it from another, in bytes.
const HEAD: usize = 1024;

/// What the bytes of a path that is not UTF-8 are written after, in hexadecimal. Other keys are absolute paths.
const RAW_PATH: &str = "raw:";

/// Files, in folders or alone, and the standard input.
///
/// Of a folder, every regular file is listed, hidden ones and those of hidden folders too: an attacker's file is not
/// overlooked for a dot. Symbolic links are followed, loops left. What is neither a file nor a folder (a socket, a pipe,
/// a device) is an error that names it, never opened, since that could wait forever; only `/dev/stdin` and `/dev/fd/N`,
/// by which a shell passes on the output of a command, are read like the standard input.
///
/// An object's source is the path as it was given, or, in a folder, relative to that with `/`; names that are not UTF-8
/// have U+FFFD there. Its key is the canonical path, so that a file has one identity, by whatever way it was reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Files {
    /// A path of this host as a root to list: as it is, if it is UTF-8.
    pub fn root(path: &OsStr) -> String {
        match path.to_str() {
            Some(path) if !path.starts_with(RAW_PATH) => path.to_owned(),
            _ => raw_key(Path::new(path)),
        }
    }

    /// The path that a root or a key stands for.
    pub fn path(root: &str) -> PathBuf {
        root.strip_prefix(RAW_PATH).and_then(raw_path).unwrap_or_else(|| PathBuf::from(root))
    }
}

#[async_trait]
impl ObjectStore for Files {
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        if root == STANDARD_INPUT {
            return Ok((vec![object_id(root.to_owned(), root.to_owned())], Vec::new()));
        }
        let path = &Self::path(root);
        let source = || path.to_string_lossy().into_owned();
        let what = || format!("read {}", shown_path(path));
        let metadata = fs::metadata(path).map_err(|error| io_failure(what(), error))?;
        if metadata.is_dir() {
            return Ok(list_folder(path));
        }
        if is_open_descriptor(path) {
            return Ok((vec![object_id(source(), root.to_owned())], Vec::new()));
        }
        if !metadata.is_file() {
            return Err(not_regular(what(), metadata.file_type()));
        }
        let key = key_of(path).map_err(|error| io_failure(what(), error))?;
        Ok((vec![object_id(source(), key)], Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        let what = format!("read {}", shown(&id.source));
        let path = Self::path(&id.key);
        if id.key == STANDARD_INPUT {
            return opened(what, Box::new(io::stdin()), None, id);
        }
        // Asked before opening: to open a pipe can wait forever.
        let metadata = fs::metadata(&path).map_err(|error| io_failure(&what, error))?;
        if metadata.is_dir() {
            return Err(PortError::new(Failure::Permanent, what, "it is a folder now"));
        }
        if !metadata.is_file() && !is_open_descriptor(&path) {
            return Err(not_regular(what, metadata.file_type()));
        }
        let file = File::open(&path).map_err(|error| io_failure(&what, error))?;
        let metadata = file.metadata().map_err(|error| io_failure(&what, error))?;
        let metadata = metadata.is_file().then_some(metadata);
        opened(what, Box::new(file), metadata.as_ref(), id)
    }
}

fn object_id(source: String, key: String) -> ObjectId {
    ObjectId { source, bucket: String::new(), key, version: None }
}

fn list_folder(root: &Path) -> (Vec<ObjectId>, Vec<PortError>) {
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    let mut folder = Folder::default();
    for entry in WalkDir::new(root).follow_links(true).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if entry.file_type().is_file() => match folder.key_of(&entry) {
                Ok(key) => objects.push(object_id(relative(entry.path(), root), key)),
                Err(error) => errors.push(io_failure(format!("read {}", shown_path(entry.path())), error)),
            },
            Ok(entry) => errors.push(not_regular(format!("read {}", shown_path(entry.path())), entry.file_type())),
            // The folder that the link leads back to is being walked already: nothing is left out.
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let what = format!("list {}", shown_path(error.path().unwrap_or(root)));
                errors.push(match error.into_io_error() {
                    Some(error) => io_failure(what, error),
                    None => PortError::new(Failure::Permanent, what, "it could not be walked"),
                });
            }
        }
    }
    objects.sort_unstable();
    (objects, errors)
}

/// The folder of the last file, and its canonical path, which those of its other files begin with: to ask the system for
/// that of every file takes longer than to read a small one.
#[derive(Default)]
struct Folder(Option<(PathBuf, PathBuf)>);

impl Folder {
    /// See [`key_of`].
    fn key_of(&mut self, file: &DirEntry) -> io::Result<String> {
        let Some(folder) = file.path().parent().filter(|_| !file.path_is_symlink()) else { return key_of(file.path()) };
        let canonical = match &self.0 {
            Some((known, canonical)) if known == folder => canonical,
            _ => &self.0.insert((folder.to_owned(), folder.canonicalize()?)).1,
        };
        Ok(key_of_canonical(&canonical.join(file.file_name())))
    }
}

fn relative(path: &Path, root: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let names: Vec<_> = inside.components().map(|component| component.as_os_str().to_string_lossy()).collect();
    names.join("/")
}

fn not_regular(what: String, kind: fs::FileType) -> PortError {
    PortError::new(Failure::Permanent, what, format!("it is {}, not a regular file", kind_of(kind)))
}

#[cfg(unix)]
fn kind_of(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;

    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "a special file"
    }
}

#[cfg(not(unix))]
fn kind_of(_: fs::FileType) -> &'static str {
    "a special file"
}

/// What a shell passes for `<(command)`: open at its other end already, so that reading it does end.
fn is_open_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.parent() == Some(Path::new("/dev/fd"))
}

/// The canonical path, as a string that leads back to it.
fn key_of(path: &Path) -> io::Result<String> {
    Ok(key_of_canonical(&path.canonicalize()?))
}

fn key_of_canonical(path: &Path) -> String {
    path.to_str().map_or_else(|| raw_key(path), str::to_owned)
}

#[cfg(unix)]
fn raw_key(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut key = RAW_PATH.to_owned();
    for byte in path.as_os_str().as_bytes() {
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(not(unix))]
fn raw_key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(unix)]
fn raw_path(hex: &str) -> Option<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then(|| PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn raw_path(_: &str) -> Option<PathBuf> {
    None
}

/// Reads the content's head, for its version. Without `file` it is a stream.
fn opened(
    what: String,
    reader: Box<dyn Read + Send>,
    file: Option<&fs::Metadata>,
    id: &ObjectId,
) -> PortResult<Object> {
    // Most files of a trail are small: a large buffer for each takes longer to make than the file to read.
    let room = file.and_then(|file| usize::try_from(file.len()).ok()).map_or(PIECE, |length| length.clamp(HEAD, PIECE));
    let mut pieces = Pieces { what, reader, buffer: BytesMut::zeroed(room), room, lent: Bytes::new(), head: None };
    let head = pieces.read_head()?;
    let version = if file.is_some() { fingerprint(&head) } else { format!("stdin-{}", fingerprint_whole(&head)) };
    if id.version.as_ref().is_some_and(|wanted| *wanted != version) {
        return Err(PortError::new(
            Failure::NotFound,
            pieces.what,
            "its content has been replaced since it was listed; list it again",
        ));
    }
    pieces.head = Some(head).filter(|head| !head.is_empty());
    Ok(Object {
        version,
        modified: file.and_then(|file| file.modified().ok()).and_then(|time| Timestamp::try_from(time).ok()),
        size: file.map(fs::Metadata::len),
        metadata: BTreeMap::new(),
        content: Box::new(pieces),
    })
}

/// Tells a file's content from what stood under its name before: the same while the file grows, another after it was
/// rotated. It covers the first line, and the `#` lines before it, which some formats begin every file with; of gzip,
/// which has no lines, and of longer lines the first [`HEAD`] bytes.
fn fingerprint(content: &[u8]) -> String {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let head = &content[..content.len().min(HEAD)];
    if head.starts_with(&GZIP) {
        return fingerprint_whole(head);
    }
    let mut end = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if !line.starts_with(b"#") {
            break;
        }
    }
    // Not the line's end itself: a line without it may be given it later.
    fingerprint_whole(head[..end].trim_ascii_end())
}

fn fingerprint_whole(content: &[u8]) -> String {
    hex_prefix(&[&content[..content.len().min(HEAD)]], 16)
}

/// A reader's content, piece by piece.
struct Pieces {
    what: String,
    reader: Box<dyn Read + Send>,
    /// Where the next piece is read into, while it is not lent.
    buffer: BytesMut,
    /// Its length.
    room: usize,
    /// The buffer with the last piece, which whoever has taken that up has mostly done with when the next one is read.
    lent: Bytes,
    head: Option<Bytes>,
}

impl Pieces {
    /// The first piece: at least [`HEAD`] bytes, if there are so many.
    fn read_head(&mut self) -> PortResult<Bytes> {
        let mut length = 0;
        while length < HEAD {
            match self.read_into(length)? {
                0 => break,
                read => length += read,
            }
        }
        Ok(self.lend(length))
    }

    /// Lends what was read into the buffer.
    fn lend(&mut self, length: usize) -> Bytes {
        self.lent = std::mem::take(&mut self.buffer).freeze();
        self.lent.slice(..length)
    }

    fn read_into(&mut self, start: usize) -> PortResult<usize> {
        loop {
            match self.reader.read(&mut self.buffer[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(|error| io_failure(&self.what, error)),
            }
        }
    }
}

#[async_trait]
impl Chunks for Pieces {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        if self.buffer.is_empty() {
            self.buffer = std::mem::take(&mut self.lent).try_into_mut().unwrap_or_default();
            self.buffer.resize(self.room, 0);
        }
        let length = self.read_into(0)?;
        if length == 0 {
            return Ok(None);
        }
        Ok(Some(self.lend(length)))
    }
}
