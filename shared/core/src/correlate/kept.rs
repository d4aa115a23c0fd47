//! Log entries that are kept for findings to show: by the thousand, of which a handful are ever shown.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::contribution::RecordKey;
use super::fold::MAX_RESOURCES;
use crate::finding::Evidence;
use crate::record::{Facts, FactsOf};

/// The longest value of a finding's group and facts, in bytes. The longest ARN has 2,048 characters.
pub(crate) const MAX_VALUE: usize = 2048;
/// Stands for the length of a fact that is not known.
const UNKNOWN: u16 = u16::MAX;
/// What a finding shows and says of a record, in bounds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    time: Option<Timestamp>,
    source: Arc<str>,
    record: u64,
    /// The entry's text, and then the facts: account, region, actor, source address, resources.
    texts: Box<str>,
    /// How long the text is, and the facts but for the resources.
    lengths: [u16; 5],
    /// How long each resource is.
    resources: SmallVec<[u16; 4]>,
}

impl Told {
    /// What to tell of an entry, by its time, where and as the how manieth it was read, its text and what it says.
    pub fn new(time: Option<Timestamp>, source: &Arc<str>, record: u64, text: &str, facts: &FactsOf<'_>) -> Self {
        let one_by_one = [&facts.account, &facts.region, &facts.actor, &facts.source_address];
        let [account, region, actor, address] = one_by_one.map(|fact| fact.as_deref().map(|fact| cut(fact, MAX_VALUE)));
        let told = [Some(cut(text, Evidence::MAX_TEXT)), account, region, actor, address];
        let named = &facts.resources[..facts.resources.len().min(MAX_RESOURCES)];
        let room: usize = told.iter().flatten().map(|one| one.len()).sum();
        let mut texts = String::with_capacity(room + named.iter().map(|one| one.len().min(MAX_VALUE)).sum::<usize>());
        let mut lengths = [UNKNOWN; 5];
        for (length, one) in lengths.iter_mut().zip(told) {
            if let Some(one) = one {
                texts.push_str(one);
                *length = u16::try_from(one.len()).unwrap_or(UNKNOWN);
            }
        }
        let mut resources = SmallVec::new();
        for resource in named {
            let resource = cut(resource, MAX_VALUE);
            texts.push_str(resource);
            resources.push(u16::try_from(resource.len()).unwrap_or(UNKNOWN));
        }
        Self { time, source: Arc::clone(source), record, texts: texts.into_boxed_str(), lengths, resources }
    }

    fn text(&self) -> &str {
        &self.texts[..self.lengths[0].into()]
    }

    /// What is shown.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            time: self.time,
            source: self.source.as_ref().to_owned(),
            record: self.record,
            text: self.text().to_owned(),
            also_in: Vec::new(),
        }
    }

    /// Account, region, actor and source address, where they are known, and then the resources.
    pub fn said(&self) -> ([Option<&str>; 4], impl Iterator<Item = &str>) {
        let mut rest = &self.texts[self.text().len()..];
        let mut next = move |length: u16| {
            let (one, after) = rest.split_at_checked(length.into())?;
            rest = after;
            Some(one)
        };
        let [_, facts @ ..] = self.lengths;
        let facts = facts.map(|length| if length == UNKNOWN { None } else { next(length) });
        (facts, self.resources.iter().filter_map(move |length| next(*length)))
    }

    /// What is said.
    pub fn facts(&self) -> FactsOf<'_> {
        let (facts, resources) = self.said();
        let [account, region, actor, source_address] = facts.map(|fact| fact.map(Cow::Borrowed));
        Facts { account, region, actor, source_address, resources: resources.map(Cow::Borrowed).collect() }
    }

    /// See [`Evidence::sorts_before`].
    pub fn sorts_before(&self, other: &Self) -> bool {
        (&self.source, self.record, self.text()) < (&other.source, other.record, other.text())
    }
}

/// A text's beginning of at most so many bytes.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Tells of a record when it is first asked, and the same to everyone.
pub(crate) struct Teller<F> {
    /// The record's time.
    pub time: Option<Timestamp>,
    tell: F,
    told: OnceCell<Arc<Told>>,
}

impl<F: Fn() -> Told> Teller<F> {
    pub fn new(time: Option<Timestamp>, tell: F) -> Self {
        Self { time, tell, told: OnceCell::new() }
    }

    pub(super) fn told(&self) -> Arc<Told> {
        Arc::clone(self.told.get_or_init(|| Arc::new((self.tell)())))
    }
}

/// A kept entry's place in the order in which findings show them.
pub(super) type Order = (Option<Timestamp>, RecordKey);

/// A log entry kept for the finding, by its record's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptEvidence {
    pub key: RecordKey,
    pub told: Arc<Told>,
}

impl KeptEvidence {
    /// See [`Order`].
    pub fn order(&self) -> Order {
        (self.told.time, self.key)
    }
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'k> {
    key: RecordKey,
    evidence: Evidence,
    facts: FactsOf<'k>,
}

impl Serialize for KeptEvidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { key: self.key, evidence: self.told.evidence(), facts: self.told.facts() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeptEvidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored { key, evidence, facts } = Stored::deserialize(deserializer)?;
        let Evidence { time, source, record, text, .. } = evidence;
        Ok(Self { key, told: Arc::new(Told::new(time, &source.into(), record, &text, &facts)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'r>(actor: Option<&'r str>, resources: &[&'r str]) -> FactsOf<'r> {
        let resources = resources.iter().map(|one| Cow::Borrowed(*one)).collect();
        Facts { region: Some("eu-central-1".into()), actor: actor.map(Cow::Borrowed), resources, ..Facts::default() }
    }

    #[test]
    fn what_is_told_is_what_was_known_whatever_is_in_it() {
        for facts in [
            Facts::default(),
            facts(None, &[]),
            facts(Some(""), &["-", "", "7:x"]),
            facts(Some("-\u{101}a"), &["\u{fc}ber\0", "\u{100}"]),
        ] {
            let told = Told::new(None, &"7:source".into(), 7, "-text 3:x", &facts);
            let json = |facts: &FactsOf<'_>| serde_json::to_value(facts).unwrap();
            assert_eq!((json(&told.facts()), told.text()), (json(&facts), "-text 3:x"));
            let kept = KeptEvidence { key: RecordKey(5), told: Arc::new(told) };
            let stored = serde_json::to_string(&kept).unwrap();
            assert_eq!(serde_json::from_str::<KeptEvidence>(&stored).unwrap(), kept, "{stored}");
        }
    }

    #[test]
    fn what_is_stored_has_one_shape() {
        let time = "2026-03-01T10:00:00Z".parse().ok();
        let told = Told::new(time, &"a.log".into(), 3, "line", &facts(Some("alice"), &["web-1"]));
        let stored = serde_json::to_value(KeptEvidence { key: RecordKey(5), told: Arc::new(told) }).unwrap();
        let expected = serde_json::json!({
            "key": "00000000000000000000000000000005",
            "evidence": {"time": "2026-03-01T10:00:00Z", "source": "a.log", "record": 3, "text": "line", "also_in": []},
            "facts": {
                "account": null, "region": "eu-central-1", "actor": "alice", "source_address": null, "resources": ["web-1"]
            },
        });
        assert_eq!(stored, expected);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = "\u{e4}".repeat(5000);
        let many = vec![long.as_str(); 30];
        let told = Told::new(None, &"a.log".into(), 1, &long, &facts(Some(&long), &many));
        assert_eq!(told.text().len(), Evidence::MAX_TEXT);
        let facts = told.facts();
        assert_eq!(facts.actor.map(|actor| actor.len()), Some(MAX_VALUE));
        assert_eq!((facts.resources.len(), facts.resources[0].len()), (MAX_RESOURCES, MAX_VALUE));
    }
}
