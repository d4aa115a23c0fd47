//! Rules that never run.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::detect::Rule;

/// How many log sources are named.
const SHOWN: usize = 5;

/// How many of some rules never run, because no record is of what they ask for: all in one line, since a collection of the
/// community's has thousands of them. `None`: all can run.
pub fn idle<'r>(rules: impl Iterator<Item = &'r Rule>) -> Option<String> {
    let mut by_log_source: BTreeMap<String, usize> = BTreeMap::new();
    let mut of = 0;
    for rule in rules {
        of += 1;
        if let Some(detection) = &rule.detection
            && !detection.log_source.is_known()
        {
            *by_log_source.entry(detection.log_source.to_string()).or_default() += 1;
        }
    }
    let all: usize = by_log_source.values().sum();
    let mut most: Vec<(String, usize)> = by_log_source.into_iter().collect();
    most.sort_by_key(|(_, count)| Reverse(*count));
    let mut named: Vec<String> = most.iter().take(SHOWN).map(|(name, count)| format!("{name} ({count})")).collect();
    if most.len() > SHOWN {
        named.push(format!("{} more", most.len() - SHOWN));
    }
    let named = named.join(", ");
    (all > 0).then(|| format!("{all} of {of} rules never run, because no record is of their log source: {named}"))
}
