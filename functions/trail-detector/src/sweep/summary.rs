//! What a sweep did, in one line of the log.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_aws::lookup::Tally;
use cloudvigil_lambda::Counters;

/// What was done in one region.
#[derive(Debug, Default)]
pub struct Swept {
    /// Slices that were read to their end.
    pub slices: u64,
    /// What was asked.
    pub tally: Tally,
    /// Events that matched a rule.
    pub matched: u64,
    /// Those of them that should have come in real time and did not.
    pub seen_by_poll_alone: u64,
    /// Whether there was no time left for some of it. The next sweep goes on from there.
    pub cut_short: bool,
}

/// What was done in all regions.
#[derive(Debug, Default)]
pub struct Summary {
    /// Regions that were read to the present.
    read: BTreeSet<String>,
    cut_short: BTreeSet<String>,
    /// Regions that failed, and why.
    failed: BTreeMap<String, String>,
    /// What else failed.
    others: Vec<String>,
    slices: u64,
    tally: Tally,
    matched: u64,
    seen_by_poll_alone: u64,
}

impl Summary {
    /// Adds a region.
    pub fn add(&mut self, region: &str, swept: &Swept, failure: Option<String>) {
        let Swept { slices, tally, matched, seen_by_poll_alone, cut_short } = *swept;
        match failure {
            Some(reason) => drop(self.failed.insert(region.to_owned(), reason)),
            None if cut_short => drop(self.cut_short.insert(region.to_owned())),
            None => drop(self.read.insert(region.to_owned())),
        }
        self.slices += slices;
        self.tally += tally;
        self.matched += matched;
        self.seen_by_poll_alone += seen_by_poll_alone;
    }

    /// Adds a failure that is no region's.
    pub fn fail(&mut self, failure: String) {
        self.others.push(failure);
    }

    /// Everything that failed, for people.
    pub fn failures(&self) -> Vec<String> {
        let regions = self.failed.iter().map(|(region, reason)| format!("sweep of {region}: {reason}"));
        regions.chain(self.others.iter().cloned()).collect()
    }

    /// Writes the line.
    pub fn log(&self) {
        let list = |regions: &BTreeSet<String>| regions.iter().cloned().collect::<Vec<_>>().join(",");
        // A JSON object within the line's JSON: names and reasons are escaped, and can be taken apart.
        let failed = serde_json::to_string(&self.failed).unwrap_or_default();
        let Tally { pages, events, incomplete, retries, throttled } = self.tally;
        tracing::info!(
            regions_read = self.read.len(),
            regions_cut_short = list(&self.cut_short),
            regions_failed = failed,
            slices_completed = self.slices,
            pages,
            events_read = events,
            events_incomplete = incomplete,
            events_matched = self.matched,
            events_seen_by_poll_alone = self.seen_by_poll_alone,
            calls_repeated = retries,
            calls_throttled = throttled,
            "the event history was swept"
        );
    }

    /// Counts what somebody may want an alarm for; each is a metric that costs, so there is none that stays at zero.
    pub fn count(&self, counters: &mut Counters) {
        for (name, value) in [
            ("LookupPages", self.tally.pages),
            ("LookupRetries", self.tally.retries),
            ("LookupIncomplete", self.tally.incomplete),
            ("SweepsCutShort", self.cut_short.len() as u64),
            ("SweepsFailed", self.failed.len() as u64),
            ("SeenByPollAlone", self.seen_by_poll_alone),
        ] {
            if value > 0 {
                counters.count(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_cut_short_or_failed() {
        let mut summary = Summary::default();
        summary.add("eu-west-1", &Swept { slices: 7, matched: 2, ..Swept::default() }, None);
        summary.add("eu-west-2", &Swept { slices: 1, cut_short: true, ..Swept::default() }, None);
        summary.add("eu-west-3", &Swept::default(), Some("AccessDenied".to_owned()));
        summary.fail("the lease".to_owned());
        assert_eq!((summary.read.len(), summary.cut_short.len(), summary.slices, summary.matched), (1, 1, 8, 2));
        assert_eq!(summary.failures(), ["sweep of eu-west-3: AccessDenied", "the lease"]);
        let mut counters = Counters::default();
        summary.count(&mut counters);
        let counted: Vec<_> = counters.other.into_iter().collect();
        assert_eq!(counted, [("SweepsCutShort".to_owned(), 1), ("SweepsFailed".to_owned(), 1)]);
    }
}
