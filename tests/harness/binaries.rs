//! The functions' and the command line's binaries, built by the `cargo` that runs the tests, and zips as Lambda takes them.

use std::collections::BTreeMap;
use std::env;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The functions, named as their packages, their binaries and their folders are.
pub const FUNCTIONS: [&str; 4] = ["inventory-scanner", "log-analyzer", "notifier", "trail-detector"];

/// The command line's binary.
pub const COMMAND_LINE: &str = "cloudvigil";

/// The build that this test binary is part of.
pub struct Build {
    /// The target folder.
    pub target: PathBuf,
    /// The profile.
    profile: String,
    /// The target triple, where the build names one.
    triple: Option<String>,
}

impl Build {
    /// Reads it from where this binary lies: `<target>/[<triple>/]<profile>/deps/stories-...`.
    pub fn current() -> Result<Self> {
        let exe = env::current_exe().context("find this test binary")?;
        let unexpected = || format!("{} does not lie in a cargo target folder", exe.display());
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let profile_folder = exe.ancestors().nth(2).with_context(unexpected)?;
        let parent = profile_folder.parent().with_context(unexpected)?;
        let profile = match name(profile_folder).with_context(unexpected)?.as_str() {
            "debug" => "dev".to_owned(),
            other => other.to_owned(),
        };
        // Cargo writes this file into the target folder itself, never into a triple's.
        let (target, triple) = if parent.join(".rustc_info.json").exists() {
            (parent, None)
        } else {
            (parent.parent().with_context(unexpected)?, name(parent))
        };
        Ok(Self { target: target.to_owned(), profile, triple })
    }

    /// Builds the functions and the command line: each one's path, by name.
    pub fn binaries(&self) -> Result<BTreeMap<&'static str, PathBuf>> {
        let mut built = self.build()?;
        let binaries = FUNCTIONS.into_iter().chain([COMMAND_LINE]).map(|binary| {
            Ok((binary, built.remove(binary).with_context(|| format!("cargo built no binary `{binary}`"))?))
        });
        binaries.collect()
    }

    fn build(&self) -> Result<BTreeMap<String, PathBuf>> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        // The whole workspace and a test target among what is built: the features of the dependencies are then
        // those of `cargo test --workspace`, and all but the binaries themselves has been built already.
        command.args(["build", "--workspace", "--test", "stories", "--message-format", "json-render-diagnostics"]);
        command.args(["--profile", &self.profile]).arg("--target-dir").arg(&self.target);
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        for binary in FUNCTIONS.into_iter().chain([COMMAND_LINE]) {
            command.args(["--bin", binary]);
        }
        // What cargo sets for a test that it runs is no part of a build: left in place, build scripts that look at
        // such a variable would run again, and all that depends on them would be compiled again.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|of| text.starts_with(of)) {
                command.env_remove(&name);
            }
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("start cargo")?;
        ensure!(output.status.success(), "cargo could not build the functions: see above");
        let messages = String::from_utf8_lossy(&output.stdout);
        Ok(messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|message| {
                let executable = message["executable"].as_str()?;
                let is_bin = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
                let name = message["target"]["name"].as_str()?;
                (is_bin && message["profile"]["test"] == false).then(|| (name.to_owned(), executable.into()))
            })
            .collect())
    }
}

/// A zip whose one entry, `bootstrap`, starts the binary at `path`: the emulator runs functions on this machine, and
/// the binaries of a debug build have 200 MB, which every emulator would be sent and every start would unpack.
pub fn zipped(path: &Path) -> Result<Arc<[u8]>> {
    let path = path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
    let script = format!("#!/bin/sh\nexec '{}'\n", path.replace('\'', r"'\''"));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", options).context("begin a zip")?;
    zip.write_all(script.as_bytes()).context("write a zip")?;
    Ok(zip.finish().context("finish a zip")?.into_inner().into())
}
