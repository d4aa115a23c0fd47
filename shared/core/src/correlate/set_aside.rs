//! Contributions to critical partitions for which an object has no room, until it ends and shows which are findings.
//!
//! A rule that looks for a login after many failures has a partition for each stranger who fails once, and a flood of
//! strangers has no end. What matters among them shows only later. So what there is no place for is kept here, packed and
//! without evidence, in some eighty bytes; and in the end all are ranked, and the first are stored:
//!
//! - those that are findings by what this object contributes alone, each rule's first before any rule's second, so that a
//!   flood of one rule's findings hides no other's;
//! - then those to which most was contributed, for another object may bring what is missing;
//! - and of what is alike, what came first.

use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::contributions::{Partition, shifted_bucket};
use super::fold::is_hot;
use super::packed::Packed;
use super::stored::StoredContributions;
use super::{Bucket, Group, group_text};
use crate::detect::Catalogue;

/// How many bytes are set aside of one object: the contributions of some 800,000 addresses.
pub(super) const MAX_SET_ASIDE: usize = 64 * 1024 * 1024;

/// What was set aside of one object, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    parts: Vec<Part>,
    /// Of each part, the group as JSON and the contributions.
    bytes: Vec<u8>,
}

/// What went to one partition until it was set aside; the same partition may come again.
#[derive(Debug, Clone, Copy)]
struct Part {
    rule: usize,
    bucket: Bucket,
    /// Where the group ends in the bytes, and where the contributions end.
    ends: [usize; 2],
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

/// A partition that may be stored.
#[derive(Debug)]
pub(super) struct Candidate {
    pub rule: usize,
    /// Where it is, if it has a place.
    pub place: Option<usize>,
    /// How much goes to it, set aside or in its place.
    pub contributions: usize,
    is_hot: bool,
    /// When the first of it came: what has a place, after all that was set aside.
    came: u32,
    /// How many of its rule came before it that are findings like it, or are none.
    before: usize,
    /// The [parts](Ranked::parts) that were set aside.
    parts: Range<usize>,
}

impl Ranked {
    /// The candidates and the parts of each.
    pub fn iter(&self) -> impl Iterator<Item = (&Candidate, &[u32])> {
        self.candidates.iter().map(|candidate| (candidate, &self.parts[candidate.parts.clone()]))
    }
}

/// What belongs to a group: a part, or a place's number beyond those of all parts.
#[derive(Clone, Copy)]
struct Member {
    hash: u64,
    number: u32,
}

impl SetAside {
    /// How many bytes there are.
    pub fn size(&self) -> usize {
        size_of_val(self.parts.as_slice()) + self.bytes.len()
    }

    /// Sets aside what went to a partition.
    pub fn push(&mut self, partition: &Partition, entries: &Packed) {
        self.bytes.extend_from_slice(group_text(&partition.group).as_bytes());
        let group = self.bytes.len();
        self.bytes.extend_from_slice(entries.as_bytes());
        self.parts.push(Part { rule: partition.rule, bucket: partition.bucket, ends: [group, self.bytes.len()] });
    }

    /// Where the bytes of a part begin.
    fn start(&self, part: usize) -> usize {
        part.checked_sub(1).map_or(0, |before| self.parts[before].ends[1])
    }

    fn group(&self, part: usize) -> &[u8] {
        &self.bytes[self.start(part)..self.parts[part].ends[0]]
    }

    /// All that some parts of one partition contribute.
    pub fn entries(&self, parts: &[u32]) -> Packed {
        let mut all = Packed::default();
        for part in parts {
            let [start, end] = self.parts[*part as usize].ends;
            all.append(&Packed::of_bytes(self.bytes[start..end].to_vec()).unwrap_or_default());
        }
        all
    }

    /// The partition that a part is of.
    pub fn partition(&self, part: u32) -> Partition {
        let Part { rule, bucket, .. } = self.parts[part as usize];
        let group: Group = serde_json::from_slice(self.group(part as usize)).unwrap_or_default();
        Partition { rule, group, bucket }
    }

    /// All of it and what has a place, by rank.
    pub fn ranked(&self, catalogue: &Catalogue, placed: &[Placed<'_>]) -> Ranked {
        let texts: Vec<String> = placed.iter().map(|(_, partition, _)| group_text(&partition.group)).collect();
        let whose = |number: u32| -> (usize, &[u8], Bucket) {
            let part = number as usize;
            match part.checked_sub(self.parts.len()) {
                None => (self.parts[part].rule, self.group(part), self.parts[part].bucket),
                Some(at) => (placed[at].1.rule, texts[at].as_bytes(), placed[at].1.bucket),
            }
        };
        let hashing = RandomState::default();
        let all = self.parts.len() + placed.len();
        let members = (0..u32::try_from(all).unwrap_or(u32::MAX)).map(|number| {
            let (rule, group, _) = whose(number);
            Member { hash: hashing.hash_one((rule, group)), number }
        });
        let mut members: Vec<Member> = members.collect();
        members.sort_unstable_by(|one, other| {
            let by_hash = one.hash.cmp(&other.hash);
            by_hash.then_with(|| (whose(one.number), one.number).cmp(&(whose(other.number), other.number)))
        });
        let is_part = |member: &&Member| (member.number as usize) < self.parts.len();
        let mut ranked = Ranked { candidates: Vec::new(), parts: Vec::with_capacity(self.parts.len()) };
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
                    place: place.map(|(number, ..)| *number),
                    is_hot: false,
                    contributions: entries.len(),
                    came,
                    before: 0,
                    parts: before..ranked.parts.len(),
                });
                stored.push((bucket, StoredContributions::of_entries(entries)));
            }
            mark_hot(catalogue, &stored, &mut ranked.candidates[first..]);
        }
        ranked.candidates.sort_unstable_by_key(|candidate| candidate.came);
        let mut of_rule: HashMap<(usize, bool), usize> = HashMap::new();
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
    pub fn keep_first(&mut self, ranked: &Ranked, size: usize) -> Vec<(usize, u64)> {
        let old = std::mem::take(self);
        let mut kept: Vec<u32> = Vec::new();
        let (mut left, mut given_up) = (size, Vec::new());
        for (candidate, parts) in ranked.iter() {
            let bytes = |part: &u32| old.parts[*part as usize].ends[1] - old.start(*part as usize) + size_of::<Part>();
            let bytes: usize = parts.iter().map(bytes).sum();
            if let Some(after) = left.checked_sub(bytes) {
                left = after;
                kept.extend(parts);
            } else {
                given_up.push((candidate.rule, old.entries(parts).len() as u64));
            }
        }
        kept.sort_unstable();
        for part in kept {
            let part = part as usize;
            let Part { rule, bucket, ends } = old.parts[part];
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&old.bytes[old.start(part)..ends[1]]);
            let ends = ends.map(|end| start + end - old.start(part));
            self.parts.push(Part { rule, bucket, ends });
        }
        given_up
    }
}

/// Marks those of one rule and group, by their buckets, that are findings, or what findings of the bucket before reach.
fn mark_hot(catalogue: &Catalogue, stored: &[(Bucket, StoredContributions)], candidates: &mut [Candidate]) {
    for (at, (bucket, own)) in stored.iter().enumerate() {
        let rule = candidates[at].rule;
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
