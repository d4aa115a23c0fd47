//! Lists the built-in rules: the catalogue is the folder `rules`, so a rule needs no registration.
//!
//! Each is there twice: whole, and without its tests, which are more than half of the text and which nobody reads who
//! only wants to run it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?).join("rules");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let (mut list, mut without_tests) = (String::from("[\n"), String::from("[\n"));
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.display().to_string().replace('\\', "/");
        let path = file.display().to_string();
        list.extend(["(\"rules/", &name, "\", include_str!(", &format!("{path:?}"), ")),\n"]);
        let text = runnable(&fs::read_to_string(file)?);
        without_tests.extend(["(\"rules/", &name, "\", ", &format!("{text:?}"), "),\n"]);
    }
    list += "]\n";
    without_tests += "]\n";
    fs::write(out.join("catalogue.rs"), list)?;
    fs::write(out.join("catalogue_without_tests.rs"), without_tests)
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
