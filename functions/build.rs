//! The build script of every function: where `functions/.cargo/config.toml` says so, the release is linked without unwind
//! tables. Cargo does not tell build scripts whether a panic aborts.

use std::env;
use std::path::Path;

/// Set beside `panic = "abort"`.
const SWITCH: &str = "CLOUDVIGIL_DISCARD_UNWIND_TABLES";

fn main() {
    let is = |name: &str, value: &str| env::var_os(name).is_some_and(|set| set == value);
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&manifest).with_file_name("discard_unwind_tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rerun-if-env-changed={SWITCH}");
    if is(SWITCH, "yes") && is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", script.display());
    }
}
