//! What follows framing: parse, enrich, match, contribute, and count every step.

mod journal;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memmem::{self, Finder};
use serde_json::json;

use super::{Damage, Entry, MAX_WHOLE, Match, Matches, Options, Report, SourceStats};
use crate::correlate::{
    BorrowedGroup, Contribution, Contributions, MAX_PARTITIONS, MAX_VALUE, Partition, RecordKey, Teller, Told,
    bucket_of, digest, is_failed_call,
};
use crate::detect::{Answers, Catalogue, Found, Index, Rule, field_text};
use crate::enrich::{enrich, is_about_own};
use crate::formats::inventory::{self, Inventory};
use crate::formats::{Format, Framing, Gate, Key, Parsed, Parser};
use crate::framing::Frame;
use crate::record::{LogSource, Record};

use journal::Journal;
pub(super) use journal::{Judged, Place};

/// Records, met by the rules.
pub(super) struct Matcher<'c> {
    catalogue: &'c Catalogue,
    pub(super) options: Options,
    pub(super) collected: Collected,
    whole: Whole,
    selector: Selector<'c>,
}

/// What came of the records of one object, or of a section of it, so far. Any matcher can go on with it.
pub(super) struct Collected {
    /// The object's name: see [`Report::object`].
    object: String,
    /// What the keys of records are counted from that have no id.
    positions: RecordKey,
    /// The source's name.
    source: Arc<str>,
    pub(super) stats: SourceStats,
    refused: u64,
    matches: Matches,
    contributed: Contributed,
}

/// What the records contribute.
enum Contributed {
    /// Those of an object.
    Object(Contributions),
    /// Those of a section, to be taken up with what is known of the object.
    Section(Journal),
}

/// Entries that are kept whole.
#[derive(Default)]
struct Whole {
    entries: Vec<(Partition, String)>,
    bytes: usize,
}

impl Whole {
    fn keep(&mut self, text: &str, partition: impl FnOnce() -> Partition) {
        if text.len() <= MAX_WHOLE - self.bytes {
            self.bytes += text.len();
            self.entries.push((partition(), text.to_owned()));
        }
    }
}

/// Decides which rules a record is evaluated against, before it is taken apart.
struct Selector<'c> {
    catalogue: &'c Catalogue,
    /// The indexes of the log sources met; a format has a handful of them.
    indexes: Vec<(&'static LogSource, Arc<Index>)>,
    /// What finds the ARNs of cloudvigil's own roles, whose records are counted.
    own: Vec<Finder<'static>>,
    /// Records are put aside by their time, which only one that is taken apart has.
    by_time: bool,
    /// A record may be asked for that no rule can match.
    may_admit_any: bool,
    answers: Answers,
    /// The rules that the last record can match that was admitted.
    found: Found,
}

impl<'c> Selector<'c> {
    fn new(catalogue: &'c Catalogue, options: &Options) -> Self {
        let own = options.own_roles.iter().map(|role| Finder::new(role).into_owned()).collect();
        let by_time = options.since.is_some() || options.until.is_some();
        let may_admit_any = by_time || !options.own_roles.is_empty();
        Self {
            catalogue,
            indexes: Vec::new(),
            own,
            by_time,
            may_admit_any,
            answers: Answers::default(),
            found: Found::default(),
        }
    }

    /// See [`Gate::admits_word`]; of a word whose answer is not remembered.
    #[inline(never)]
    fn admits_new(&mut self, source: &'static LogSource, word: &'static Key<'static>, text: &str) -> bool {
        let keys = std::slice::from_ref(word);
        let by_word = index(self.catalogue, &mut self.indexes, source).select(keys, text, &mut self.found);
        if by_word && !self.may_admit_any {
            self.answers.put(source, word, &self.found);
        }
        self.has_found(text)
    }

    /// Whether the record must be taken apart of which is found what is found.
    #[inline]
    fn has_found(&self, text: &str) -> bool {
        !self.found.is_empty() || self.by_time || !self.own.is_empty() && self.may_be_own(text)
    }

    /// Whether one of cloudvigil's own roles may have made an entry.
    #[inline(never)]
    fn may_be_own(&self, text: &str) -> bool {
        let holds = |words: &[u8]| memmem::find(text.as_bytes(), words).is_some();
        // An ARN may be written with escapes.
        self.own.iter().any(|own| own.find(text.as_bytes()).is_some()) || holds(br"\/") || holds(br"\u")
    }
}

#[inline]
fn index<'i>(
    catalogue: &Catalogue,
    indexes: &'i mut Vec<(&'static LogSource, Arc<Index>)>,
    source: &'static LogSource,
) -> &'i Index {
    let at = indexes.iter().position(|(known, _)| std::ptr::eq(*known, source));
    let at = at.unwrap_or_else(|| {
        indexes.push((source, catalogue.index(source)));
        indexes.len() - 1
    });
    &indexes[at].1
}

impl Gate for Selector<'_> {
    fn admits(&mut self, source: &'static LogSource, keys: &[Key<'_>], text: &str) -> bool {
        let index = index(self.catalogue, &mut self.indexes, source);
        // Most entries end here, and what this takes is taken for each of them.
        if !self.may_admit_any && index.has_none_about(keys) {
            return false;
        }
        index.select(keys, text, &mut self.found);
        self.has_found(text)
    }

    fn admits_word(&mut self, source: &'static LogSource, word: &'static Key<'static>, text: &str) -> bool {
        if !self.may_admit_any
            && let Some(decided) = self.answers.of(source, word)
        {
            if !decided.is_empty() {
                self.found.candidates.clear();
                self.found.decided.clear();
                self.found.decided.extend_from_slice(decided);
            }
            return !decided.is_empty();
        }
        self.admits_new(source, word, text)
    }
}

impl Collected {
    pub(super) fn of_object(source: &str, object: String) -> Self {
        Self {
            positions: RecordKey::of(&["position", &object]),
            source: source.into(),
            object,
            stats: SourceStats { source: source.to_owned(), ..SourceStats::default() },
            refused: 0,
            matches: Matches::default(),
            contributed: Contributed::Object(Contributions::default()),
        }
    }

    /// What the records of a section come to is noted, to be taken up by what came of the object: see
    /// [`Collected::take_up`].
    pub(super) fn of_section() -> Self {
        Self { contributed: Contributed::Section(Journal::default()), ..Self::of_object("", String::new()) }
    }
}

impl<'c> Matcher<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, options: Options, collected: Collected) -> Self {
        let selector = Selector::new(catalogue, &options);
        Self { catalogue, options, collected, whole: Whole::default(), selector }
    }

    /// The rules.
    pub(super) fn catalogue(&self) -> &'c Catalogue {
        self.catalogue
    }

    pub(super) fn report(mut self, damage: Vec<Damage>) -> Report {
        if let Contributed::Object(contributions) = &mut self.collected.contributed {
            contributions.take_back(self.catalogue);
        }
        self.tell_what_was_given_up();
        let Collected { object, mut stats, refused, matches, contributed, .. } = self.collected;
        stats.errors = damage.iter().map(ToString::to_string).collect();
        Report {
            // Less than the whole never takes the place of what the whole has contributed.
            object: if damage.is_empty() { object } else { format!("{object}-damaged") },
            stats,
            refused,
            damage,
            matches,
            whole: self.whole.entries,
            contributions: match contributed {
                Contributed::Object(contributions) => contributions,
                Contributed::Section(_) => Contributions::default(),
            },
        }
    }

    /// What the object contributed beyond its budget is a record like any other, so that a rule can say so.
    fn tell_what_was_given_up(&mut self) {
        let Contributed::Object(contributions) = &mut self.collected.contributed else { return };
        let given_up: Vec<_> = contributions.given_up().collect();
        if given_up.is_empty() {
            return;
        }
        contributions.allow_beyond(self.catalogue.rules().len());
        let rules: Vec<_> = given_up.iter().map(|(rule, _)| self.catalogue.rule(*rule).title.as_str()).collect();
        let line = inventory::line(&inventory::Seen {
            service: "cloudvigil",
            kind: "state_saturated",
            resource: &self.collected.stats.source,
            since: self.options.modified,
            more: json!({
                "given_up": given_up.iter().map(|(_, count)| count).sum::<u64>(),
                "rules": rules,
                "kept": MAX_PARTITIONS,
            }),
        });
        self.options.matches = false;
        if let Parsed::Record(mut record) =
            Inventory.parser(&self.options.context()).parse_if(&line, &mut self.selector)
        {
            self.record(&Inventory, &mut record, 0, None);
        }
    }

    #[inline]
    pub(super) fn frame(
        &mut self,
        format: &dyn Format,
        parser: &mut dyn Parser,
        number: u64,
        frame: Frame<'_>,
        entry: Option<Entry<'_>>,
    ) {
        let parsed = match frame {
            Frame::Whole(text) => parser.parse_if(text, &mut self.selector),
            Frame::TooLong => Parsed::Unparsed("too long"),
            Frame::Broken => Parsed::Unparsed("broken"),
        };
        self.parsed(format, parsed, number, entry);
    }

    /// See [`crate::framing::FrameSink::object`].
    pub(super) fn object(
        &mut self,
        format: &dyn Format,
        parser: &mut dyn Parser,
        number: u64,
        text: &str,
        may_be_envelope: bool,
    ) -> Option<usize> {
        let (length, parsed) = parser.parse_object_if(text, may_be_envelope, &mut self.selector)?;
        self.parsed(format, parsed, number, None);
        Some(length)
    }

    #[inline]
    fn parsed(&mut self, format: &dyn Format, parsed: Parsed<'_>, number: u64, entry: Option<Entry<'_>>) {
        self.collected.stats.records_in += 1;
        match parsed {
            Parsed::Unwatched => self.collected.stats.parsed += 1,
            Parsed::Record(record) => self.watched(format, record, number, entry),
            Parsed::Skipped => self.collected.stats.skipped += 1,
            Parsed::Unparsed(_) => self.collected.stats.unparsed += 1,
        }
    }

    #[inline(never)]
    fn watched(&mut self, format: &dyn Format, mut record: Record<'_>, number: u64, entry: Option<Entry<'_>>) {
        record.time = record.time.or(entry.and_then(|entry| entry.time));
        let outside = |time: Timestamp| {
            self.options.since.is_some_and(|since| time < since)
                || self.options.until.is_some_and(|until| time >= until)
        };
        if record.time.is_some_and(outside) {
            self.collected.stats.skipped += 1;
        } else {
            self.collected.stats.parsed += 1;
            self.record(format, &mut record, number, entry.and_then(|entry| entry.key));
        }
    }

    fn record(&mut self, format: &dyn Format, record: &mut Record<'_>, number: u64, entry_key: Option<&str>) {
        let own = is_by(record, &self.options.own_roles);
        self.collected.refused += u64::from(own);
        let Selector { found, indexes, .. } = &mut self.selector;
        if own {
            let about_tampering = |rule: &usize| self.catalogue.rule(*rule).is_about_tampering();
            found.candidates.retain(about_tampering);
            found.decided.retain(about_tampering);
        }
        let index = index(self.catalogue, indexes, record.log_source);
        let mut hits = std::mem::take(&mut found.decided);
        let rules: [&[usize]; 2] = [&found.candidates, &hits];
        if index.wants_any(&rules) {
            enrich(record, &self.options.own_resources, |field| index.wants(field, &rules));
        }
        if !found.candidates.is_empty() {
            let plain = format.framing() == Framing::Lines;
            hits.extend(self.catalogue.matches(&found.candidates, record, plain));
            hits.sort_unstable();
        }
        if self.options.matches {
            hits.sort_by(|one, other| self.catalogue.rule(*one).id.cmp(&self.catalogue.rule(*other).id));
            let time = record.time;
            for rule in &hits {
                self.collected.matches.push(Match { record: number, rule: *rule, time });
            }
        }
        if self.options.contributions && !hits.is_empty() {
            self.contribute(format, record, number, entry_key, &hits);
        }
        // Its room serves the next record.
        self.selector.found.decided = hits;
    }

    fn contribute(
        &mut self,
        format: &dyn Format,
        record: &Record<'_>,
        number: u64,
        entry_key: Option<&str>,
        hits: &[usize],
    ) {
        let (key, is_position) = match (&record.id, entry_key) {
            (Some(id), _) => (RecordKey::of(&["id", id]), false),
            (None, Some(key)) => (RecordKey::of(&["entry", key]), false),
            (None, None) => (self.collected.positions.at(number), true),
        };
        let source = &self.collected.source;
        let teller =
            Teller::new(record.time, || Told::new(record.time, source, number, &record.raw, &format.facts(record)));
        let catalogue = self.catalogue;
        // Whose resource it is, and who did it, matters to rules about tampering alone.
        let tampers = || hits.iter().any(|hit| catalogue.rule(*hit).is_about_tampering());
        let own = is_about_own(record, &self.options.own_resources) && tampers();
        let deploying = is_by(record, &self.options.deploying_roles) && tampers();
        let (contributed, place) = (&mut self.collected.contributed, (number, record.time, is_position));
        let time = record.time.map(Timestamp::as_microsecond);
        let (weight, failed) = (record.occurrences, is_failed_call(record));
        let mut new = Contribution { time, key, leaf: 0, weight, failed, own, deploying, value: None };
        let mut contribute = |of: usize, leaf: usize, group: &BorrowedGroup<'_>, value: Option<i128>| {
            let rule = catalogue.rule(of);
            let bucket = bucket_of(time, rule.plan.timespan());
            (new.leaf, new.value) = (leaf, value);
            match contributed {
                Contributed::Object(contributions) => contributions.add(catalogue, of, group, bucket, &new, &teller),
                Contributed::Section(journal) => journal.add(place, of, group, bucket, &new),
            }
        };
        for hit in hits {
            let rule = catalogue.rule(*hit);
            if rule.reports {
                let group = group_of(rule, record);
                contribute(*hit, 0, &group, None);
                if self.options.whole.is_some_and(|is_asked_for| is_asked_for(&rule.id)) {
                    self.whole.keep(&record.raw, || {
                        let bucket = bucket_of(time, rule.plan.timespan());
                        Partition { rule: *hit, group: group.to_group(), bucket }
                    });
                }
            }
            // Correlations that count the same rule mostly have the same group.
            let mut group = None;
            for used in catalogue.uses(*hit) {
                let correlation = catalogue.rule(used.correlation);
                let leaf = &correlation.leaves[used.leaf];
                if !used.same_group {
                    group = None;
                }
                let Some(value) = leaf.value(record) else { continue };
                let group = group.get_or_insert_with(|| {
                    let names = correlation.group_by.as_deref().unwrap_or_default().iter().zip(&leaf.fields);
                    BorrowedGroup::new(names.map(|(name, field)| (name.as_str(), group_value(record, field))))
                });
                contribute(used.correlation, used.leaf, group, value);
            }
        }
    }
}

/// What tells a simple rule's findings apart.
fn group_of<'r>(rule: &'r Rule, record: &'r Record<'_>) -> BorrowedGroup<'r> {
    let value_of = |name: &'r str| (name, group_value(record, name));
    match &rule.group_by {
        Some(names) => BorrowedGroup::new(names.iter().map(|name| value_of(name))),
        None if record.log_source.group_by.is_empty() => {
            // Each record is its own, by its id or by its content: never by its place.
            let own = match &record.id {
                Some(id) => ("eventID", Some(Cow::Borrowed(id.as_str()))),
                None => ("record", Some(Cow::Owned(digest(&[&record.raw])))),
            };
            BorrowedGroup::new(std::iter::once(own))
        }
        None => BorrowedGroup::new(record.log_source.group_by.iter().map(|name| value_of(name))),
    }
}

/// A field by which findings are grouped. Its value may be an attacker's and of any length: a long one is cut, and
/// told apart by its hash.
fn group_value<'r>(record: &'r Record<'_>, name: &str) -> Option<Cow<'r, str>> {
    let text = field_text(record, name)?;
    if text.len() <= MAX_VALUE {
        return Some(text);
    }
    let hash = digest(&[&text]);
    Some(Cow::Owned(format!("{}... ({hash})", &text[..text.floor_char_boundary(MAX_VALUE)])))
}

/// Whether one of these roles did it.
fn is_by(record: &Record<'_>, roles: &[String]) -> bool {
    if roles.is_empty() {
        return false;
    }
    let role = record.fields.text_at(&["userIdentity", "sessionContext", "sessionIssuer", "arn"]);
    role.is_some_and(|role| roles.iter().any(|one| one == role))
}
