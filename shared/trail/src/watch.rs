//! What has come into a bucket since the last look: digests are verified once, soon after they were delivered, and the
//! chain goes on from the last one that was seen.
//!
//! The mark of how far a chain was verified is moved by [`Found::commit`], when its findings are safe: a look that dies is
//! repeated. The mark makes the removal of any digest visible that came after it, even if all before it have expired.

use cloudvigil_core::ports::{Clock, ObjectStore, PortError, PortResult, PublicKeys, StateStore};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chain::listing;
use crate::places::Places;
use crate::summary::{DigestCounts, LogFileCounts};
use crate::walk::{Anchor, Scope, Walk};

/// The state's partition of how far chains were verified; the sort key is [`Delivery::name`].
const MARKS: &str = "trail#verified";
const SCHEMA: u32 = 1;
/// How long a mark is kept after the chain was last looked at.
const LIFETIME: SignedDuration = SignedDuration::from_hours(100 * 24);
/// How far back a chain is listed at most. A trail that was silent for longer is looked at as if for the first time.
const FARTHEST: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often there is a digest: before that nobody has to look for the next.
const INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// How long a backfill digest may come after the end of its time. They have no mark: each is looked at every time.
const BACKFILL: SignedDuration = SignedDuration::from_hours(48);

/// Where one trail delivers what happens in one region of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The trail's name.
    pub trail: String,
    /// The trail's home region.
    pub home_region: String,
    /// The bucket that it delivers to.
    pub bucket: String,
    /// What stands before `AWSLogs/` in its keys, without a slash at the end; empty for nothing.
    pub prefix: String,
}

impl Delivery {
    /// A name for it, for people and for the state.
    pub fn name(&self) -> String {
        let Self { account, region, trail, home_region, bucket, prefix } = self;
        format!("{account}/{region}/{home_region}/{trail}/{bucket}/{prefix}")
    }

    /// Where the digests of a day lie.
    fn folder(&self, day: Timestamp) -> String {
        let Self { account, region, bucket, prefix, .. } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        let day = day.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d");
        format!("s3://{bucket}/{prefix}{slash}AWSLogs/{account}/CloudTrail-Digest/{region}/{day}/")
    }
}

/// What a look needs of the world.
pub struct Watch<'a> {
    /// The buckets.
    pub store: &'a dyn ObjectStore,
    /// `CloudTrail`'s keys.
    pub keys: &'a dyn PublicKeys,
    /// Where marks are kept.
    pub state: &'a dyn StateStore,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How far the first look at a chain goes back.
    pub first_look: SignedDuration,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Found {
    /// Inventory lines: one for each digest, one for each break.
    pub records: Vec<Value>,
    /// What could not be looked at.
    pub errors: Vec<String>,
    /// The digests that were looked at.
    pub digests: DigestCounts,
    /// The log files that were looked at.
    pub log_files: LogFileCounts,
    /// Whether there was no time left for some of it. The next look goes on from there.
    pub cut_short: bool,
    name: String,
    mark: Option<Mark>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    schema: u32,
    /// The digest that was verified last.
    key: String,
    end: Timestamp,
}

impl Found {
    /// Moves the mark: what was found is safe.
    pub async fn commit(&self, state: &dyn StateStore, clock: &dyn Clock) -> PortResult<()> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let expires = clock.now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        // Serialising texts and times does not fail; an empty body would read as one that was never written.
        let body = serde_json::to_vec(mark).unwrap_or_default();
        state.put(MARKS, &self.name, body, expires).await
    }
}

impl Watch<'_> {
    /// Verifies what was delivered since the last look, while `goes_on` says that there is time.
    ///
    /// What cannot be read for now (throttling, a broken connection) ends the look before it, and is looked at again;
    /// what cannot be read at all is told, and passed over.
    pub async fn look(&self, delivery: &Delivery, goes_on: &(dyn Fn() -> bool + Sync)) -> PortResult<Found> {
        if !goes_on() {
            return Ok(Found { cut_short: true, ..Found::default() });
        }
        let now = self.clock.now();
        let ago = |span: SignedDuration| now.saturating_sub(span).unwrap_or(Timestamp::MIN);
        let mut found = Found { name: delivery.name(), ..Found::default() };
        let item = self.state.get(MARKS, &found.name).await?;
        let mark: Option<Mark> = item.and_then(|item| serde_json::from_slice(&item.body).ok());
        let mark = mark.filter(|mark| mark.schema == SCHEMA && mark.end >= ago(FARTHEST));
        let anchor = mark.map(|mark| Anchor { key: mark.key, end: mark.end });
        if anchor.as_ref().is_some_and(|anchor| anchor.end > ago(INTERVAL)) {
            return Ok(found);
        }
        let since = anchor.as_ref().map_or(ago(self.first_look), |anchor| anchor.end);
        let listed_from = midnight(since.min(ago(BACKFILL)));
        let (objects, errors) = self.list(delivery, listed_from, now).await?;
        if !errors.is_empty() {
            // What is not listed is not gone.
            found.errors.extend(errors.iter().map(ToString::to_string));
            return Ok(found);
        }
        let places = Places::bucket(objects);
        let listing = listing(&places);
        let of_trail =
            |chain: &&crate::chain::Chain| chain.trail == delivery.trail && chain.home_region == delivery.home_region;
        for chain in listing.chains.iter().filter(of_trail) {
            let scope = if chain.backfill {
                Scope { since: Some(ago(BACKFILL)), listed_from: Some(listed_from), ..Scope::default() }
            } else {
                Scope { since: Some(since), listed_from: Some(listed_from), anchor: anchor.clone(), until: None }
            };
            let mut walk = Walk::new(self.store, self.keys, &places, chain, scope);
            while walk.left() > 0 {
                if !goes_on() {
                    found.cut_short = true;
                    break;
                }
                let Some(step) = walk.step().await else { break };
                found.errors.extend(step.errors);
                if step.transient {
                    break;
                }
                found.records.extend(step.records);
                if let Some(Anchor { key, end }) = step.anchor.filter(|_| !chain.backfill) {
                    found.mark = Some(Mark { schema: SCHEMA, key, end });
                }
            }
            add(&mut found, walk.summary().digests, walk.summary().log_files);
        }
        Ok(found)
    }

    /// The digests of each day.
    async fn list(
        &self,
        delivery: &Delivery,
        from: Timestamp,
        to: Timestamp,
    ) -> PortResult<(Vec<cloudvigil_core::ports::ObjectId>, Vec<PortError>)> {
        let (mut objects, mut errors) = (Vec::new(), Vec::new());
        let mut day = from;
        while day <= to {
            let (listed, failed) = self.store.list(&delivery.folder(day)).await?;
            objects.extend(listed);
            errors.extend(failed);
            day = day.checked_add(24.hours()).unwrap_or(Timestamp::MAX);
        }
        Ok((objects, errors))
    }
}

fn add(found: &mut Found, digests: DigestCounts, log_files: LogFileCounts) {
    let (all, new) = (&mut found.digests, digests);
    all.valid += new.valid;
    all.unverified += new.unverified;
    all.invalid += new.invalid;
    all.missing += new.missing;
    all.unreadable += new.unreadable;
    let (all, new) = (&mut found.log_files, log_files);
    all.valid += new.valid;
    all.changed += new.changed;
    all.missing += new.missing;
    all.unreadable += new.unreadable;
    all.unchecked += new.unchecked;
}

/// The beginning of a day in UTC.
fn midnight(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(24 * 3600)).unwrap_or(Timestamp::MIN)
}
