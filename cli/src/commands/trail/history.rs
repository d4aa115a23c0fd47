//! Who tampered with logging: the event history of each region, asked for all that rules about tampering look for.

use std::collections::BTreeMap;
use std::sync::Arc;

use cloudvigil_aws::Clients;
use cloudvigil_aws::lookup::{Pace, Questions, Reading, Tally, is_source, source_of};
use cloudvigil_core::detect::{Catalogue, Rule};
use cloudvigil_core::finding::Message;
use jiff::Timestamp;

use crate::terminal;

/// What a region's history has.
pub struct History {
    /// A name for it, as a source.
    pub source: String,
    /// Ids and events, each once.
    pub events: Vec<(String, String)>,
    /// What could not be read of it.
    pub errors: Vec<String>,
}

/// The histories of `regions`, by name.
pub async fn histories(
    clients: &Arc<Clients>,
    regions: &[String],
    catalogue: &Catalogue,
    between: (Timestamp, Timestamp),
) -> Vec<History> {
    // Regions have histories and quotas of their own: none waits for another.
    let mut tasks = tokio::task::JoinSet::new();
    let pace = Arc::new(Pace::default());
    let questions = Arc::new(Questions::of(catalogue, Rule::is_about_tampering));
    // CloudTrail is asked once a second in each region.
    let bar = terminal::progress(regions.len(), "event histories");
    for region in regions {
        let (clients, pace, questions) = (Arc::clone(clients), Arc::clone(&pace), Arc::clone(&questions));
        let (region, bar) = (region.clone(), bar.clone());
        tasks.spawn(async move {
            let history = history(&clients, &region, &questions, between, &pace).await;
            bar.inc(1);
            history
        });
    }
    let mut found = tasks.join_all().await;
    bar.finish_and_clear();
    found.sort_by(|one, other| one.source.cmp(&other.source));
    found
}

/// Whether a finding tells of events, not of the trails' state.
pub fn tells_of_events(message: &Message) -> bool {
    message.finding.evidence.iter().any(|entry| is_source(&entry.source))
}

async fn history(
    clients: &Clients,
    region: &str,
    questions: &Questions,
    (from, to): (Timestamp, Timestamp),
    pace: &Pace,
) -> History {
    let client = clients.cloudtrail_in(region).await;
    let mut reading = Reading::new(from, to, questions);
    let mut tally = Tally::default();
    let mut events = BTreeMap::new();
    let mut errors = Vec::new();
    loop {
        match reading.next_page(&client, questions, pace, &mut tally).await {
            Ok(Some(more)) => events.extend(more.into_iter().map(|event| (event.id, event.event))),
            Ok(None) => break,
            Err(stopped) => {
                errors.push(stopped.to_string());
                break;
            }
        }
    }
    if tally.incomplete > 0 {
        errors.push(format!("{} events came without an id or a record", tally.incomplete));
    }
    History { source: source_of(region), events: events.into_iter().collect(), errors }
}
