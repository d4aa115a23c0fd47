//! Measures what cloudvigil costs: throughput beside its floors, and the functions' start-up.
//!
//! Build it with `--release`; whatever it prints of a debug build says nothing about a release.

mod corpus;
mod processor_time;
mod startup;
mod throughput;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures throughput and start-up, beside their floors")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// Bytes that the pipeline analyses in a second of processor time, by kind of log
    Throughput(throughput::Arguments),
    /// Size of the functions' binaries, and the time until they ask for their first invocation
    Startup(startup::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        eprintln!("This is a debug build of bench: its throughput is not that of a release. Use cargo run --release.");
    }
    match arguments.measurement {
        Measurement::Throughput(arguments) => throughput::run(&arguments),
        Measurement::Startup(arguments) => startup::run(&arguments),
    }
}
