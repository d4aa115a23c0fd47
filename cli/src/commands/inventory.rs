//! `cloudvigil inventory`: what does the account have, and which of it is exposed?

use std::sync::Arc;

use anyhow::{Context as _, Result};
use cloudvigil_aws::Clients;
use cloudvigil_aws::regions::{Regions, enabled_regions};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline};
use cloudvigil_core::ports::{Clock, SystemClock};
use cloudvigil_inventory::collect;
use cloudvigil_local::EmbeddedState;

use crate::analysis::{self, Run};
use crate::arguments::Inventory;
use crate::destination::{self, Destination};
use crate::ending::Ending;
use crate::{output, parallel, rules};

/// Runs it.
pub fn run(arguments: &Inventory) -> Result<Ending> {
    let rules = rules::load(&arguments.rules)?;
    let catalogue = &rules.catalogue;
    let format = formats::by_name("inventory").context("this build does not know the format 'inventory'")?;
    let (file, state_file) = (arguments.file.as_deref(), arguments.state.as_deref());
    destination::check(&[file, state_file], &[])?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = match state_file {
        Some(path) => EmbeddedState::open(path, Arc::clone(&clock))?,
        None => EmbeddedState::in_memory(Arc::clone(&clock))?,
    };
    let records_to = file.map(|path| Destination::open(Some(path))).transpose()?;
    let mut to = Destination::open(None)?;
    let runtime = analysis::runtime()?;
    let clients = Clients::new();
    let account = runtime.block_on(clients.account_id())?;
    let regions = match arguments.region.as_slice() {
        [] => runtime.block_on(enabled_regions(&clients))?,
        given => Regions { names: given.to_vec(), error: None },
    };

    let inventory = runtime.block_on(collect(&clients, &regions, &account, &state, clock.as_ref()));
    let mut run = Run::new(catalogue, Some(&state), clock.as_ref(), runtime.handle())
        .suppressing(rules.suppressions(clock.as_ref()));
    for error in &inventory.state_errors {
        run.failed(error);
    }
    for failure in &inventory.summary.failures {
        run.failed(&format!("{}: could not look: {}: {}", failure.region, failure.why(), failure.detail));
    }
    let options = rules.options(Options { modified: clock.now(), ..Options::default() });
    let pipeline = Pipeline::new(catalogue, options);
    let source = format!("inventory/{account}");
    let lines: Vec<(String, String)> = inventory
        .records
        .iter()
        .map(|record| {
            let key = format!("{}@{}", record["resource"].as_str().unwrap_or_default(), record["since"]);
            (key, record.to_string())
        })
        .collect();
    let entries = lines.iter().map(|(key, line)| Entry { key: Some(key), time: None, bytes: line.as_bytes() });
    run.take(Ok(pipeline.entries(&source, Some(format), entries)));

    let mut finished = run.finish(arguments.min_level);
    if let Some(mut file) = records_to {
        let written = file.write(|writer| writer.write_all(&inventory.ndjson())).and_then(|_| file.flush());
        written.map_or_else(|error| finished.fail(&error), drop);
    }
    let written = output::findings(
        arguments.output,
        &finished.findings,
        finished.is_complete(),
        catalogue,
        parallel::processors(),
        &mut to,
    );
    written.map_or_else(|error| finished.fail(&error), drop);
    finished.tell();
    Ok(finished.ending(arguments.fail_on))
}
