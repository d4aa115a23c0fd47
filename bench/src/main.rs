//! Measures what cloudvigil costs: throughput beside its floors, and the functions' start-up.
//!
//! Build it with `--release`; whatever it prints of a debug build says nothing about a release.

mod corpus;
mod floors;
mod process;
mod processor_time;
mod startup;
mod throughput;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Measures throughput (the default) and start-up, beside their floors",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    throughput: throughput::Arguments,
}

#[derive(Subcommand)]
enum Measurement {
    /// Bytes that `cloudvigil scan` analyses in a second of processor time, by kind of log
    Throughput(throughput::Arguments),
    /// Size of the functions' binaries, and the time until they ask for their first invocation
    Startup(startup::Arguments),
    /// Be `cloudvigil`, and write down what it took
    #[command(hide = true)]
    Process(process::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let measurement = arguments.measurement.unwrap_or(Measurement::Throughput(arguments.throughput));
    if let Measurement::Process(arguments) = &measurement {
        return process::be(arguments);
    }
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build of bench: its throughput is not that of a release. Use cargo run --release.");
    }
    match measurement {
        Measurement::Throughput(arguments) => throughput::run(&arguments)?,
        Measurement::Startup(arguments) => startup::run(&arguments)?,
        Measurement::Process(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
