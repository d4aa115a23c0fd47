//! The commands, one file each.

mod demo;
mod findings;
#[cfg(feature = "inventory")]
mod inventory;
mod notify;
mod rules;
mod scan;
mod trail;

use anyhow::Result;

use crate::arguments::Command;
use crate::ending::Ending;

/// Runs a command. An error means that nothing was read.
pub fn run(command: Command) -> Result<Ending> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Findings(arguments) => findings::run(&arguments),
        #[cfg(feature = "inventory")]
        Command::Inventory(arguments) => inventory::run(&arguments),
        #[cfg(not(feature = "inventory"))]
        Command::Inventory(_) => anyhow::bail!(
            "this build cannot collect an inventory: build it with `cargo build --release -p cloudvigil --features inventory`"
        ),
        Command::Trail(arguments) => trail::run(&arguments),
        Command::Rules(arguments) => rules::run(arguments),
        Command::Notify(arguments) => notify::run(&arguments),
    }
}
