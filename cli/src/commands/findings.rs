//! `cloudvigil findings`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::{Result, bail};
use cloudvigil_core::correlate::{SETTLED, is_held_back, settled};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{self, Finding, Message};
use cloudvigil_core::ports::SystemClock;
use cloudvigil_local::EmbeddedState;

use crate::arguments::{Findings, FindingsOutput};
use crate::destination::{self, Destination};
use crate::ending::Ending;
use crate::{output, parallel, terminal};

/// What the keys of partitions begin with in which contributions and findings lie.
const PARTITIONS: &str = "c#";

/// Runs it.
pub fn run(arguments: &Findings) -> Result<Ending> {
    let path = &arguments.state;
    // Opening would make it.
    if !path.exists() {
        bail!("there is no state file {}", path.display());
    }
    destination::check(&[Some(path), arguments.file.as_deref()], &[])?;
    let state = EmbeddedState::open(path, Arc::new(SystemClock))?;
    let items = state.partitions(PARTITIONS, SETTLED)?;
    let mut to = Destination::open(arguments.file.as_deref())?;
    let mut by_id: BTreeMap<String, Finding> = BTreeMap::new();
    let mut ending = Ending::Done;
    let mut held_back = 0;
    for (partition, item) in items {
        if is_held_back(&item.body, &partition).unwrap_or(false) {
            held_back += 1;
            continue;
        }
        let found = match settled(&item.body, &partition) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                terminal::error(&error.to_string());
                ending = Ending::Incomplete;
                continue;
            }
        };
        // A rule whose logic changed has partitions of both; the one that knows more speaks.
        match by_id.entry(found.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(found);
            }
            Entry::Occupied(mut place) => {
                if (found.revision, found.count) > (place.get().revision, place.get().count) {
                    place.insert(found);
                }
            }
        }
    }
    if held_back > 0 {
        terminal::summary(&format!("Findings that were held back by suppressions: {held_back}"));
    }
    let (catalogue, _) = Catalogue::built_in();
    let messages = by_id.into_values().filter(|finding| finding.level >= arguments.min_level).map(|finding| {
        let guidance = catalogue.by_id(&finding.rule).map(|rule| rule.guidance().clone()).unwrap_or_default();
        Message { schema: finding::SCHEMA, finding, guidance }
    });
    let findings = crate::findings::Findings::of(&catalogue, messages);
    let kind = arguments.output.unwrap_or_else(|| {
        let people = to.is_shown() && std::io::stdout().is_terminal();
        if people { FindingsOutput::Table } else { FindingsOutput::Json }
    });
    if let Err(error) =
        output::findings(kind, &findings, ending == Ending::Done, &catalogue, parallel::processors(), &mut to)
    {
        terminal::error(&format!("{error:#}"));
        ending = Ending::Incomplete;
    }
    Ok(ending)
}
