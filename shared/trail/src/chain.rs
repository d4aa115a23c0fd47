//! Which digests there are: a chain for each trail, account and region, and one more for backfill digests.

use std::collections::BTreeMap;

use cloudvigil_core::ports::ObjectId;
use serde_json::{Value, json};

use crate::name::DigestName;
use crate::places::{Places, SIDECAR};
use crate::record::{self, DigestStatus, Place};

/// The folder of digests, in every bucket.
const FOLDER: &str = "CloudTrail-Digest";
const SUFFIX: &str = ".json.gz";

/// Digests that follow upon one another.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The account that the digests speak of.
    pub account: String,
    /// The region that they speak of.
    pub region: String,
    /// The trail's name.
    pub trail: String,
    /// The trail's home region.
    pub home_region: String,
    /// Whether they are backfill digests, which do not come every hour.
    pub backfill: bool,
    /// Each with what its name says, by end.
    pub(crate) digests: Vec<(DigestName, ObjectId)>,
}

/// What a listing holds of digests.
#[derive(Debug, Default)]
pub struct Listing {
    /// The chains, by account, trail and region.
    pub chains: Vec<Chain>,
    /// Files that lie among the digests, and have no digest's name.
    pub strays: Vec<ObjectId>,
    /// Metadata files whose digest is gone.
    pub orphans: Vec<ObjectId>,
}

impl Listing {
    /// Inventory lines for digests of which only the metadata file is left. Those before another digest are missed by
    /// that one.
    pub fn missing(&self) -> Vec<Value> {
        let lines = self.orphans.iter().filter_map(|id| {
            let source = id.source.strip_suffix(SIDECAR)?;
            let name = DigestName::parse(source)?;
            let is_later = |chain: &Chain| {
                let digests = chain.digests.iter().filter(|(_, other)| tree(&other.source) == tree(source));
                let mut named = digests.filter(|(other, _)| DigestName { end: name.end, ..other.clone() } == name);
                named.any(|(other, _)| other.end > name.end)
            };
            if self.chains.iter().any(is_later) {
                return None;
            }
            let end = name.end;
            let DigestName { account, region, trail, home_region, backfill, .. } = name;
            let chain = Chain { account, region, trail, home_region, backfill, digests: Vec::new() };
            let place = Place { bucket: None, key: source };
            let more = json!({"reason": "only the file with its metadata is left"});
            Some(record::digest(&chain, DigestStatus::Missing, &place, end, more))
        });
        lines.collect()
    }
}

/// Finds the digests among objects.
pub fn listing(places: &Places) -> Listing {
    let mut chains: BTreeMap<_, Vec<(DigestName, ObjectId)>> = BTreeMap::new();
    let mut listing = Listing::default();
    for id in places.objects() {
        if let Some(name) = DigestName::parse(&id.source) {
            let DigestName { account, region, trail, home_region, backfill, .. } = name.clone();
            // Two copies of a bucket in one folder are two chains.
            let tree = tree(&id.source).to_owned();
            let chain = chains.entry((account, trail, home_region, region, backfill, tree)).or_default();
            chain.push((name, id.clone()));
        } else if id.source.ends_with(SUFFIX) && id.source.split('/').any(|part| part == FOLDER) {
            listing.strays.push(id.clone());
        } else if let Some(digest) = id.source.strip_suffix(SIDECAR)
            && DigestName::parse(digest).is_some()
            && !places.has(digest)
        {
            listing.orphans.push(id.clone());
        }
    }
    for ((account, trail, home_region, region, backfill, _), mut digests) in chains {
        digests.sort_by(|(one, at), (other, there)| (one.end, at).cmp(&(other.end, there)));
        listing.chains.push(Chain { account, region, trail, home_region, backfill, digests });
    }
    listing
}

/// The folder of a digest, without the folders of its date.
fn tree(source: &str) -> &str {
    let is_date = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut tree = source.rsplit_once('/').map_or("", |(folder, _)| folder);
    for _ in 0..3 {
        match tree.rsplit_once('/') {
            Some((parent, last)) if is_date(last) => tree = parent,
            None if is_date(tree) => tree = "",
            _ => break,
        }
    }
    tree
}
