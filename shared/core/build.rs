//! Embeds the built-in rules: the catalogue is the folder `rules`, so a rule needs no registration.
//!
//! Each is there whole, and without its tests, which are more than half of the text and which nobody reads who only wants
//! to run it. What `rules/prepared.txt` has of a file is embedded beside it, if it was made of the file as it stands: the
//! file alone says what its rules are. All of it is compressed, for a function starts the later the larger it is.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?).join("rules");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let prepared = fs::read_to_string(root.join("prepared.txt"))?;
    let prepared = by_file(&prepared);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut list = String::from("[\n");
    let (mut wholes, mut texts, mut all_prepared) = (String::new(), String::new(), String::new());
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.display().to_string().replace('\\', "/");
        let name = format!("rules/{name}");
        let whole = fs::read_to_string(file)?;
        let text = runnable(&whole);
        let fingerprint = fingerprint(&text);
        let prepared = prepared.get(name.as_str()).filter(|(of, _)| *of == fingerprint).map(|(_, rules)| *rules);
        let (whole, text) = (append(&mut wholes, &whole), append(&mut texts, &text));
        let prepared = prepared.map(|rules| append(&mut all_prepared, rules));
        writeln!(
            list,
            "Embedded {{ name: {name:?}, whole: {whole:?}, text: {text:?}, fingerprint: {fingerprint:?}, \
             prepared: {prepared:?} }},"
        )
        .map_err(io::Error::other)?;
    }
    list += "]\n";
    for (name, content) in [("whole", wholes), ("texts", texts), ("prepared", all_prepared)] {
        fs::write(out.join(name), compressed(&content)?)?;
    }
    fs::write(out.join("embedded.rs"), list)
}

/// Where the addition stands.
fn append(all: &mut String, addition: &str) -> Range<usize> {
    let start = all.len();
    all.push_str(addition);
    start..all.len()
}

/// The text's length in four bytes, the lowest first, and the text as DEFLATE, <https://www.rfc-editor.org/rfc/rfc1951>.
fn compressed(text: &str) -> io::Result<Vec<u8>> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut encoder = DeflateEncoder::new(length.to_le_bytes().to_vec(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// The lines of `prepared.txt` by file: the fingerprint of what it was made of, and the rules.
fn by_file(prepared: &str) -> HashMap<&str, (&str, &str)> {
    let lines = prepared.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ').and_then(|(file, rest)| Some((file, rest.split_once(' ')?)))).collect()
}

/// FNV-1a, <https://datatracker.ietf.org/doc/html/rfc9923>: it tells an edited file, and nobody gains by forging it.
fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// A rule file without the `tests` of its rules: from that key at the start of a line to the next key there, or to the
/// end of the document.
fn runnable(text: &str) -> String {
    let mut in_tests = false;
    let kept = text.lines().filter(|line| {
        if line.starts_with(|first: char| !first.is_whitespace() && first != '#' && first != '}' && first != ']') {
            in_tests = line.starts_with("tests:");
        }
        !in_tests
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}
