//! The build script of every function: links it without unwind tables, where a panic aborts. Tests unwind, and keep them.

use std::env;
use std::path::Path;

fn main() {
    let is = |name: &str, value: &str| env::var_os(name).is_some_and(|set| set == value);
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&manifest).with_file_name("discard_unwind_tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    if is("CARGO_CFG_PANIC", "abort") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}", script.display());
    }
}
