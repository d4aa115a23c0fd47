//! Log files that no digest names: added by somebody else, or delivered while nobody digested.

use cloudvigil_core::ports::ObjectId;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::chain::Chain;
use crate::name::LogFileName;
use crate::places::Places;
use crate::record::{self, Place};
use crate::summary::Summary;

/// How long after its name's time a log file may come into a digest, or before.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// How many names a line has.
const EXAMPLES: usize = 10;

/// Lines for the log files that no digest has named although there are digests of their time: one for each account and
/// region. To be asked when all chains have been walked; what is told is not wrong by itself, since a trail without
/// digests may deliver to the same bucket.
pub fn unlisted(places: &Places, walked: &[(&Chain, &Summary)]) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut regions: Vec<(&str, &str)> =
        walked.iter().map(|(chain, _)| (chain.account.as_str(), chain.region.as_str())).collect();
    regions.sort_unstable();
    regions.dedup();
    let unnamed: Vec<(LogFileName<'_>, &ObjectId)> =
        places.unnamed().filter_map(|id| Some((LogFileName::parse(&id.source)?, id))).collect();
    for (account, region) in regions {
        let of_region = |chain: &Chain| !chain.backfill && chain.account == account && chain.region == region;
        let walked: Vec<_> = walked.iter().filter(|(chain, _)| of_region(chain)).collect();
        let Some((chain, _)) = walked.first() else { continue };
        let mut files: Vec<_> = unnamed
            .iter()
            .filter(|(name, _)| name.account == account && name.region == region)
            .filter(|(name, _)| walked.iter().any(|(_, summary)| is_covered(summary, name.time)))
            .collect();
        files.sort_by_key(|(name, id)| (name.time, *id));
        let Some((first, at)) = files.first() else { continue };
        let examples: Vec<String> = files.iter().take(EXAMPLES).map(|(_, id)| id.source.clone()).collect();
        lines.push(record::unlisted(chain, &Place::of(at), first.time, files.len() as u64, &examples));
    }
    lines
}

/// Whether a chain has digests of a time, and of what is around it.
fn is_covered(summary: &Summary, time: Timestamp) -> bool {
    let (Some(from), Some(to)) = (summary.from, summary.to) else { return false };
    let before = |time: Timestamp| time.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN);
    let after = |time: Timestamp| time.saturating_add(MARGIN).unwrap_or(Timestamp::MAX);
    let in_gap = summary.gaps.iter().any(|gap| (before(gap.from)..=after(gap.to)).contains(&time));
    from <= time && time <= before(to) && !in_gap
}
