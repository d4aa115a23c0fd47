//! Contributions to critical partitions for which an object has no room, until it ends and shows which are findings.
//!
//! A rule that looks for a login after many failures has a partition for each stranger who fails once, and a flood of
//! strangers has no end. What matters among them shows only later. So what there is no place for is kept here, packed and
//! without evidence, in some forty-five bytes; and in the end all are ranked, and the first are stored:
//!
//! - those that are findings by what this object contributes alone, each rule's first before any rule's second, so that a
//!   flood of one rule's findings hides no other's;
//! - then those to which most was contributed, for another object may bring what is missing;
//! - and of what is alike, what came first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::contributions::{Partition, shifted_bucket};
use super::fold::is_hot;
use super::packed::{Base, Packed};
use super::stored::StoredContributions;
use super::{Bucket, Group, group_text};
use crate::detect::Catalogue;
use crate::varint::{Writer, number, unzigzag, zigzag};

/// How many bytes are set aside of one object: the contributions of some 270,000 addresses. Ranking them takes as much again.
pub(super) const MAX_SET_ASIDE: usize = 12 * 1024 * 1024;
/// The least bytes that a part takes: what is known of it, the shortest group, a bucket, one contribution.
const LEAST: usize = size_of::<Part>() + 2 + 1 + 3;
/// Stands for no bucket: none begins so early.
const NO_BUCKET: u64 = u64::MAX;

/// What was set aside of one object, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    parts: Vec<Part>,
    /// Of each part, the group as JSON, the bucket and the contributions.
    bytes: Vec<u8>,
    /// What came first: times and keys of all others are mostly near.
    base: Base,
}

/// What went to one partition until it was set aside; the same partition may come again.
#[derive(Debug, Clone, Copy)]
struct Part {
    rule: u32,
    /// Where the group ends in the bytes, and where the contributions end.
    ends: [u32; 2],
}

/// A number of something that is set aside, or of a rule or a place: there is no room for more than can be counted so.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A partition and what it has in a place of its own.
pub(super) type Placed<'p> = (usize, &'p Partition, &'p StoredContributions);

/// Partitions in the order in which they deserve a place.
#[derive(Debug)]
pub(super) struct Ranked {
    candidates: Vec<Candidate>,
    /// The numbers of all parts that were set aside, those of each candidate together.
    parts: Vec<u32>,
}

/// A partition that may be stored. There may be hundreds of thousands.
#[derive(Debug)]
pub(super) struct Candidate {
    rule: u32,
    place: Option<u32>,
    contributions: u32,
    is_hot: bool,
    /// When the first of it came: what has a place, after all that was set aside.
    came: u32,
    /// How many of its rule came before it that are findings like it, or are none.
    before: u32,
    /// The [parts](Ranked::parts) that were set aside.
    parts: Range<u32>,
}

impl Candidate {
    pub fn rule(&self) -> usize {
        self.rule as usize
    }

    /// Where it is, if it has a place.
    pub fn place(&self) -> Option<usize> {
        self.place.map(|place| place as usize)
    }

    /// How much goes to it, set aside or in its place.
    pub fn contributions(&self) -> u64 {
        self.contributions.into()
    }
}

impl Ranked {
    /// The candidates and the parts of each.
    pub fn iter(&self) -> impl Iterator<Item = (&Candidate, &[u32])> {
        let parts = |candidate: &Candidate| &self.parts[candidate.parts.start as usize..candidate.parts.end as usize];
        self.candidates.iter().map(move |candidate| (candidate, parts(candidate)))
    }
}

/// What belongs to a group: a part, or a place's number beyond those of all parts.
#[derive(Clone, Copy)]
struct Member {
    /// Of the rule and the group: half of the hash is enough to have those together that are of one.
    hash: u32,
    number: u32,
}

impl SetAside {
    /// How many bytes there are.
    pub fn size(&self) -> usize {
        size_of_val(self.parts.as_slice()) + self.bytes.len()
    }

    /// Sets aside what went to a partition.
    pub fn push(&mut self, partition: &Partition, entries: &Packed) {
        if self.parts.is_empty() {
            self.base = entries.base();
            // Nothing is copied while this grows, and no memory is taken by what is not used.
            self.bytes.reserve(MAX_SET_ASIDE);
            self.parts.reserve(MAX_SET_ASIDE / LEAST);
        }
        self.bytes.extend_from_slice(group_text(&partition.group).as_bytes());
        let group = small(self.bytes.len());
        let mut bucket = Writer::<10>::default();
        bucket.number(partition.bucket.map_or(NO_BUCKET, zigzag));
        self.bytes.extend_from_slice(&bucket.bytes[..bucket.end]);
        self.bytes.extend_from_slice(&entries.bytes_from(&self.base));
        let ends = [group, small(self.bytes.len())];
        self.parts.push(Part { rule: small(partition.rule), ends });
    }

    /// Where the bytes of a part begin.
    fn start(&self, part: usize) -> usize {
        part.checked_sub(1).map_or(0, |before| self.parts[before].ends[1] as usize)
    }

    /// Where a part is in the bytes, and where its group is.
    fn places(&self, part: usize) -> [Range<usize>; 2] {
        let (start, [group, end]) = (self.start(part), self.parts[part].ends.map(|end| end as usize));
        [start..end, start..group]
    }

    fn group(&self, part: usize) -> &[u8] {
        let [_, group] = self.places(part);
        &self.bytes[group]
    }

    /// The bucket and the contributions.
    fn bucket_and_entries(&self, part: usize) -> (Bucket, &[u8]) {
        let [whole, group] = self.places(part);
        let (bucket, entries) = number(&self.bytes[group.end..whole.end]).unwrap_or((NO_BUCKET, &[]));
        ((bucket != NO_BUCKET).then(|| unzigzag(bucket)), entries)
    }

    /// The bucket.
    fn bucket(&self, part: usize) -> Bucket {
        self.bucket_and_entries(part).0
    }

    /// All that some parts of one partition contribute.
    pub fn entries(&self, parts: &[u32]) -> Packed {
        let mut all = Packed::default();
        for part in parts {
            all.append_from(&self.base, self.bucket_and_entries(*part as usize).1);
        }
        all
    }

    /// The partition that a part is of.
    pub fn partition(&self, part: u32) -> Partition {
        let part = part as usize;
        let group: Group = serde_json::from_slice(self.group(part)).unwrap_or_default();
        Partition { rule: self.parts[part].rule as usize, group, bucket: self.bucket(part) }
    }

    /// All of it and what has a place, by rank.
    pub fn ranked(&self, catalogue: &Catalogue, placed: &[Placed<'_>]) -> Ranked {
        let texts: Vec<String> = placed.iter().map(|(_, partition, _)| group_text(&partition.group)).collect();
        let whose = |number: u32| -> (u32, &[u8], Bucket) {
            let part = number as usize;
            match part.checked_sub(self.parts.len()) {
                None => (self.parts[part].rule, self.group(part), self.bucket(part)),
                Some(at) => (small(placed[at].1.rule), texts[at].as_bytes(), placed[at].1.bucket),
            }
        };
        let hashing = RandomState::default();
        let all = self.parts.len() + placed.len();
        let members = (0..small(all)).map(|number| {
            let (rule, group, _) = whose(number);
            #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
            let hash = hashing.hash_one((rule, group)) as u32;
            Member { hash, number }
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_unstable_by(|one, other| {
            let by_hash = one.hash.cmp(&other.hash);
            by_hash.then_with(|| (whose(one.number), one.number).cmp(&(whose(other.number), other.number)))
        });
        let is_part = |member: &&Member| (member.number as usize) < self.parts.len();
        let mut ranked = Ranked { candidates: Vec::with_capacity(all), parts: Vec::with_capacity(self.parts.len()) };
        let same_group = |one: &Member, other: &Member| {
            let [one, other] = [one, other].map(|member| whose(member.number));
            (one.0, one.1) == (other.0, other.1)
        };
        for group in members.chunk_by(|one, other| one.hash == other.hash && same_group(one, other)) {
            let first = ranked.candidates.len();
            let mut stored: Vec<(Bucket, StoredContributions)> = Vec::new();
            for members in group.chunk_by(|one, other| whose(one.number).2 == whose(other.number).2) {
                let before = ranked.parts.len();
                ranked.parts.extend(members.iter().filter(is_part).map(|part| part.number));
                let came = members.iter().map(|member| member.number).min().unwrap_or_default();
                let place = members.iter().find(|member| !is_part(member));
                let place = place.map(|member| &placed[member.number as usize - self.parts.len()]);
                let mut entries = self.entries(&ranked.parts[before..]);
                if let Some((.., placed)) = place {
                    entries.append(&placed.entries);
                }
                let (rule, _, bucket) = whose(came);
                ranked.candidates.push(Candidate {
                    rule,
                    place: place.map(|(number, ..)| small(*number)),
                    is_hot: false,
                    contributions: small(entries.len()),
                    came,
                    before: 0,
                    parts: small(before)..small(ranked.parts.len()),
                });
                stored.push((bucket, StoredContributions::of_entries(entries)));
            }
            mark_hot(catalogue, &stored, &mut ranked.candidates[first..]);
        }
        drop(members);
        ranked.candidates.sort_unstable_by_key(|candidate| candidate.came);
        let mut of_rule: HashMap<(u32, bool), u32> = HashMap::new();
        for candidate in &mut ranked.candidates {
            let before = of_rule.entry((candidate.rule, candidate.is_hot)).or_default();
            candidate.before = *before;
            *before += 1;
        }
        ranked.candidates.sort_unstable_by_key(|candidate| {
            let contributions = if candidate.is_hot { 0 } else { candidate.contributions };
            (Reverse(candidate.is_hot), Reverse(contributions), candidate.before, candidate.came)
        });
        ranked
    }

    /// Keeps what is first in rank and fits into so many bytes; says by rule how many contributions are given up.
    pub fn keep_first(&mut self, ranked: &Ranked, size: usize) -> BTreeMap<usize, u64> {
        let mut kept: Vec<u32> = Vec::new();
        let (mut left, mut given_up) = (size, BTreeMap::new());
        for (candidate, parts) in ranked.iter() {
            let bytes = |part: &u32| self.places(*part as usize)[0].len() + size_of::<Part>();
            let bytes: usize = parts.iter().map(bytes).sum();
            if let Some(after) = left.checked_sub(bytes) {
                left = after;
                kept.extend(parts);
            } else {
                *given_up.entry(candidate.rule()).or_default() += self.entries(parts).len() as u64;
            }
        }
        kept.sort_unstable();
        let mut end = 0;
        for (to, part) in kept.iter().map(|part| *part as usize).enumerate() {
            // Where it begins says the part before it, which has not been moved, or only to where it was.
            let [whole, group] = self.places(part);
            let ends = [group.end, whole.end].map(|at| small(end + at - whole.start));
            self.parts[to] = Part { ends, ..self.parts[part] };
            self.bytes.copy_within(whole.clone(), end);
            end += whole.len();
        }
        self.parts.truncate(kept.len());
        self.bytes.truncate(end);
        given_up
    }
}

/// Marks those of one rule and group, by their buckets, that are findings, or what findings of the bucket before reach.
fn mark_hot(catalogue: &Catalogue, stored: &[(Bucket, StoredContributions)], candidates: &mut [Candidate]) {
    for (at, (bucket, own)) in stored.iter().enumerate() {
        let rule = candidates[at].rule();
        let next = shifted_bucket(&catalogue.rule(rule).plan, *bucket, 1);
        let next = stored.get(at + 1).filter(|(following, _)| next.is_some() && *following == next);
        let both: Vec<&StoredContributions> = [own].into_iter().chain(next.map(|(_, next)| next)).collect();
        if is_hot(catalogue, rule, *bucket, &both) {
            candidates[at].is_hot = true;
            if next.is_some() {
                candidates[at + 1].is_hot = true;
            }
        }
    }
}
