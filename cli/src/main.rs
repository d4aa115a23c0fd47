//! The program `cloudvigil`; what it does is in the library of the same name, which `bench` measures too.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloudvigil::run(std::env::args_os())
}
