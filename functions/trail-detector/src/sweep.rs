//! The event history, region by region: what happened since the last sweep, whoever delivered it or not.
//!
//! `LookupEvents` lists the newest first, so time is cut into slices of a day, the oldest first, each read to its last
//! page. A region's watermark moves by whole slices, and the place within a slice is kept beside it: a sweep that runs out
//! of time, fails or dies is continued by the next one, page by page, so that it comes to an end however much there is.
//! What a slice is asked for, and that a place is a time, is told in [`cloudvigil_aws::lookup::Reading`]. After a slice
//! with so many changes that it was read question by question, which costs the same for a day as for a week, the next one
//! may be a week long.
//!
//! Events are analysed as they are read, and never collected. They come late, so each sweep starts an hour before the
//! time when what was read last was begun; an event that comes twice counts once.
//!
//! One sweep at a time: it holds a lease. What one region lacks is told at the end, and keeps no other from being read.

mod place;
mod summary;

use cloudvigil_aws::lookup::{LookupEvent, Pace, Questions, Reading, Stopped, source_of};
use cloudvigil_aws::trails::Trail;
use cloudvigil_core::formats::cloudtrail::CloudTrail;
use cloudvigil_core::formats::inventory::Inventory;
use cloudvigil_core::pipeline::Entry;
use cloudvigil_lambda::Counters;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use self::place::{Place, Slice};
use self::summary::{Summary, Swept};
use crate::context::{Context, HISTORY_DAYS};
use crate::delivery::Expected;
use crate::handler::{Failed, conclude, pipeline};
use crate::lease::Lease;

/// What is leased.
const SWEEP: &str = "sweep";
/// How long the lease lasts beyond the sweep's deadline: longer than the invocation.
const LEASE_RESERVE: SignedDuration = SignedDuration::from_secs(60);
/// How far a sweep reaches back behind what was read. Events are in the history within about 15 minutes.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// The longest stretch that is read before the watermark moves.
const SLICE: SignedDuration = SignedDuration::from_hours(24);
/// The same where it is read question by question.
const LONG_SLICE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many regions are read at once: more than there are for most, since each has a pace of its own.
const REGIONS_AT_ONCE: usize = 20;
/// How far back the history goes: what lies before it cannot be looked up any more.
const HISTORY: SignedDuration = SignedDuration::from_hours(24 * HISTORY_DAYS as i64);
/// How much is read, in bytes, before it is analysed: what a region takes in memory, give or take a page.
const BATCH: usize = 512 * 1024;
/// After so many pages the place is kept, in case that the invocation dies.
const PAGES_UNKEPT: u64 = 30;

/// Sweeps the regions, until `deadline`. Returns what failed; the rest was done.
pub async fn sweep(
    regions: &[String],
    trails: &[Trail],
    deadline: Instant,
    context: &Context,
    counters: &mut Counters,
) -> Vec<String> {
    let left = SignedDuration::try_from(deadline.saturating_duration_since(Instant::now())).unwrap_or_default();
    let now = context.detector.clock.now();
    let lease_end = now.saturating_add(left.saturating_add(LEASE_RESERVE)).unwrap_or(Timestamp::MAX);
    let lease = match Lease::take(SWEEP, lease_end, context).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            counters.count("SweepsOverlapped", 1);
            tracing::info!("another sweep of the event history is under way; this one leaves it to that");
            return Vec::new();
        }
        Err(error) => return vec![error.to_string()],
    };
    let mut summary = Summary::default();
    let questions = Questions::of(context.detector.catalogue(), |_| true);
    let pace = Pace::default().interval(context.lookup_interval).deadline(deadline);
    let expected = Expected::load(trails, context).await;
    let expected = expected.map_err(|error| summary.fail(format!("what EventBridge should deliver: {error}"))).ok();
    let sweep = Sweep { context, questions, pace, expected };
    sweep.regions(regions, &mut summary, counters).await;
    if let Err(error) = lease.release(context).await {
        // It runs out by itself.
        summary.fail(format!("the lease on the sweep: {error}"));
    }
    summary.log();
    summary.count(counters);
    summary.failures()
}

/// What all regions share.
struct Sweep<'a> {
    context: &'a Context,
    questions: Questions,
    pace: Pace,
    expected: Option<Expected<'a>>,
}

/// How the reading of a slice ended, if not by a failure.
enum Ended {
    Done,
    CutShort,
}

impl Sweep<'_> {
    async fn regions(&self, regions: &[String], summary: &mut Summary, counters: &mut Counters) {
        let mut places = Vec::new();
        for region in regions {
            match Place::load(region, self.context).await {
                Ok((place, damage)) => {
                    if let Some(damage) = damage {
                        summary.fail(damage);
                    }
                    places.push((place, region));
                }
                Err(error) => summary.add(region, &Swept::default(), Some(error.to_string())),
            }
        }
        // Who waits longest comes first, so that a sweep that is cut short leaves out another region each time.
        places.sort_unstable_by_key(|(place, _)| place.from);
        let swept = places.into_iter().map(|(place, region)| async move {
            let (mut swept, mut counters) = (Swept::default(), Counters::default());
            let result = self.region(region, place, &mut swept, &mut counters).await;
            (region, swept, counters, result.err().map(|error| error.to_string()))
        });
        let mut swept = futures::stream::iter(swept).buffer_unordered(REGIONS_AT_ONCE);
        while let Some((region, swept, counted, failure)) = swept.next().await {
            *counters += counted;
            summary.add(region, &swept, failure);
        }
    }

    async fn region(
        &self,
        region: &str,
        mut place: Place,
        swept: &mut Swept,
        counters: &mut Counters,
    ) -> Result<(), Failed> {
        // The history knows whole seconds only.
        let now = self.context.detector.clock.now();
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        while place.slice.is_some() || place.from < now {
            let mut slice = place.slice.take().unwrap_or_else(|| {
                let length = if place.busy { LONG_SLICE } else { SLICE };
                let to = place.from.saturating_add(length).unwrap_or(Timestamp::MAX).min(now);
                Slice { begun: now, reading: Reading::new(place.from, to, &self.questions) }
            });
            match self.slice(region, &mut place, &mut slice, swept, counters).await? {
                Ended::CutShort => {
                    swept.cut_short = true;
                    return Ok(());
                }
                Ended::Done => {}
            }
            swept.slices += 1;
            let to = slice.reading.to();
            place.busy = slice.reading.is_one_by_one();
            place.until = to;
            place.from = to.min(slice.begun.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN));
            if !place.keep(region, None, self.context).await? || to >= now {
                break;
            }
        }
        Ok(())
    }

    /// Reads a slice from where it stands, and keeps the place if that is not its end.
    async fn slice(
        &self,
        region: &str,
        place: &mut Place,
        slice: &mut Slice,
        swept: &mut Swept,
        counters: &mut Counters,
    ) -> Result<Ended, Failed> {
        let client = self.context.detector.clients.cloudtrail_in(region).await;
        let (mut events, mut bytes, mut kept_at) = (Vec::new(), 0, swept.tally.pages);
        loop {
            let page = slice.reading.next_page(&client, &self.questions, &self.pace, &mut swept.tally).await;
            let ended = match page {
                Ok(Some(page)) => {
                    bytes += page.iter().map(|event| event.event.len()).sum::<usize>();
                    events.extend(page);
                    None
                }
                Ok(None) => Some(Ok(Ended::Done)),
                Err(Stopped::CutShort(_)) => Some(Ok(Ended::CutShort)),
                Err(Stopped::Failed(error)) => Some(Err(error)),
            };
            let unkept = swept.tally.pages - kept_at;
            let is_to_keep = unkept >= PAGES_UNKEPT || unkept > 0 && !matches!(ended, None | Some(Ok(Ended::Done)));
            if bytes >= BATCH || is_to_keep || ended.is_some() {
                self.analyse(region, &std::mem::take(&mut events), swept, counters).await?;
                bytes = 0;
            }
            if is_to_keep {
                kept_at = swept.tally.pages;
                if !place.keep(region, Some(slice), self.context).await? {
                    return Ok(Ended::CutShort);
                }
            }
            if let Some(ended) = ended {
                return Ok(ended?);
            }
        }
    }

    async fn analyse(
        &self,
        region: &str,
        events: &[LookupEvent],
        swept: &mut Swept,
        counters: &mut Counters,
    ) -> Result<(), Failed> {
        if events.is_empty() {
            return Ok(());
        }
        let source = source_of(region);
        let pipeline = pipeline(self.context);
        let entries =
            events.iter().map(|event| Entry { key: Some(&event.id), time: None, bytes: event.event.as_bytes() });
        let report = pipeline.entries(&source, Some(&CloudTrail), entries);
        let matched: Vec<u64> = report.matches.records().collect();
        swept.matched += matched.len() as u64;
        conclude(report, self.context, counters).await?;
        let Some(expected) = &self.expected else { return Ok(()) };
        let matched = (1..).zip(events).filter(|(number, _)| matched.binary_search(number).is_ok());
        let absent = expected.absent(matched.map(|(_, event)| event), self.context).await?;
        if !absent.is_empty() {
            swept.seen_by_poll_alone += absent.len() as u64;
            let entries = absent.iter().map(|line| Entry { key: None, time: None, bytes: line.as_bytes() });
            let report = pipeline.entries(&source, Some(&Inventory), entries);
            conclude(report, self.context, counters).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
