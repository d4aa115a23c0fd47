//! From what a rule needs to the rules: which of them a record can match at all.
//!
//! Of every rule of a log source, **paths** are read off its compiled condition: facts of which at least one holds
//! wherever the rule matches. A path is about a key, a field that parsers know before they take an entry apart
//! ([`LogSource::keys`]), or about a literal that must stand in the entry's text. A record that no path leads from is not
//! taken apart; the others are evaluated against the rules whose paths they are on. A rule without paths is evaluated on
//! every record of its log source.
//!
//! The index leaves rules out; whether one matches is for rsigma to say. So it may only err on the side of evaluating, and
//! every step here does: a case folded too far, a negation not looked into, a value not understood. The one exception are
//! rules that ask for nothing but whole values and bounds of keys ([`exact`]): the keys are all that rsigma would look at.

mod answers;
mod exact;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use foldhash::quality::RandomState;
use hashbrown::HashMap;

pub use self::answers::Answers;
use self::exact::Exact;
use self::paths::{About, DERIVED, Path, derived_fields, paths, words};
use super::Catalogue;
use crate::formats::Key;
use crate::record::LogSource;

/// Which of a log source's rules a record can match.
#[derive(Debug)]
pub struct Index {
    /// The rules that no path tells anything of.
    always: Vec<usize>,
    /// For each of the log source's keys, in their order, the rules with a path about it.
    keys: Vec<KeyPaths>,
    literals: Option<Literals>,
    /// Nothing but the keys tells which rules can match.
    by_keys_alone: bool,
    /// What must hold besides, of some of the rules that paths lead to.
    words: HashMap<usize, Words, RandomState>,
    /// Of the rules that keys decide, by their numbers, what they ask of the keys.
    exact: Vec<Option<Exact>>,
    /// The fields of [`crate::enrich`] that rules ask for, and these rules, ascending.
    derived: BTreeMap<String, Vec<usize>>,
    /// Of each rule, by its number, whether it is one of these; up to the last that is.
    asking: Vec<bool>,
}

/// The rules that a record can match.
#[derive(Debug, Default)]
pub struct Found {
    /// Those to evaluate, ascending, each once.
    pub candidates: Vec<usize>,
    /// Those that match, ascending, each once.
    pub decided: Vec<usize>,
    /// Room for a value in lower case.
    lower: String,
}

impl Found {
    /// Whether no rule can match.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.decided.is_empty()
    }
}

/// The rules with a path about one key.
#[derive(Debug, Default)]
struct KeyPaths {
    /// By the whole value, in lower case.
    values: HashMap<String, OfValue, RandomState>,
    /// The [`trait_of`] each of these values.
    traits: u64,
    /// By the value's beginning, in lower case.
    prefixes: Vec<(String, usize)>,
    /// By the range, bounds included, that the value must be in as a number.
    ranges: Vec<(f64, f64, usize)>,
    /// Wherever there is a value.
    present: Vec<usize>,
    /// All of these.
    any: Vec<usize>,
}

/// The rules with a path about one value.
#[derive(Debug, Default)]
struct OfValue {
    /// Those that ask for more than the value.
    ask_more: Vec<usize>,
    /// Those that it decides.
    ask_no_more: Vec<usize>,
}

/// One of 64 bits, by length, first and last letter: where there are few values, most texts have a bit that none of them
/// has. ASCII texts that differ in the case of letters have the same.
#[inline]
fn trait_of(text: &str) -> u64 {
    let [first, .., last] = text.as_bytes() else { return 1 };
    let letter = |byte: &u8| usize::from(byte | 0x20);
    1 << ((text.len() + letter(first) * 7 + letter(last) * 3) % 64)
}

/// As [`slice::is_ascii`], which takes longer with short texts.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    const HIGHEST: u128 = 0x80 * (u128::MAX / 0xff);
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if text.len() <= 32 => {
            (u128::from_le_bytes(*first) | u128::from_le_bytes(*last)) & HIGHEST == 0
        }
        _ => text.is_ascii(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "rsigma compares floats, too")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// A text in lower case, in this room where it is not so already.
fn folded<'t>(text: &'t str, room: &'t mut String) -> &'t str {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return text;
    }
    room.clear();
    if text.is_ascii() {
        room.push_str(text);
        room.make_ascii_lowercase();
    } else {
        room.push_str(&text.to_lowercase());
    }
    room
}

/// What must hold where a rule matches: something of a key, or a literal.
#[derive(Debug)]
struct Words {
    keys: Vec<(usize, About)>,
    literals: Vec<String>,
    /// Made when it is first asked for: few log sources have events that many rules ask about.
    finder: OnceLock<Option<AhoCorasick>>,
}

impl Words {
    fn new(paths: Vec<Path>) -> Self {
        let mut words = Self { keys: Vec::new(), literals: Vec::new(), finder: OnceLock::new() };
        for path in paths {
            match path {
                Path::Key(key, about) => words.keys.push((key, about)),
                Path::Literal(literal) => words.literals.push(literal),
            }
        }
        words
    }

    /// Whether something may hold. Where that is not sure, it may.
    fn may_hold(&self, keys: &[Key<'_>], text: &str) -> bool {
        let of_key = |(key, about): &(usize, About)| match (keys.get(*key), about) {
            (None | Some(Key::Absent), _) => false,
            (Some(Key::Text(text)), About::Equal(value)) => folded(text, &mut String::new()) == value,
            (Some(Key::Text(text)), About::Prefix(start)) => folded(text, &mut String::new()).starts_with(start),
            (Some(_), _) => true,
        };
        let finder = || AhoCorasick::builder().ascii_case_insensitive(true).build(&self.literals).ok();
        self.keys.iter().any(of_key)
            || spells_otherwise(text)
            || self.finder.get_or_init(finder).as_ref().is_none_or(|finder| finder.is_match(text))
    }
}

/// Whether escaped letters, or letters beyond ASCII that fold to ASCII ones, may spell a literal as well.
fn spells_otherwise(text: &str) -> bool {
    !text.is_ascii() || memchr::memmem::find(text.as_bytes(), b"\\u").is_some()
}

/// The rules that ask for a literal.
#[derive(Debug)]
struct Literals {
    finder: AhoCorasick,
    /// For each literal, the rules that ask for it.
    rules: Vec<Vec<usize>>,
    all: Vec<usize>,
}

impl Index {
    /// The index of the rules that ask for a log source.
    pub(super) fn new(catalogue: &Catalogue, source: &LogSource) -> Self {
        let mut index = Self {
            always: Vec::new(),
            keys: source.keys.iter().map(|_| KeyPaths::default()).collect(),
            literals: None,
            by_keys_alone: false,
            words: HashMap::default(),
            exact: Vec::new(),
            derived: BTreeMap::new(),
            asking: Vec::new(),
        };
        let mut literals: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for number in catalogue.candidates(source) {
            let Some(detection) = &catalogue.rule(number).detection else { continue };
            let compiled = detection.compiled.outline();
            // A rule that does not say what tells its findings apart goes by its log source.
            let by_default = if catalogue.rule(number).group_by.is_none() { source.group_by } else { &[] };
            let read = catalogue.grouped_by(number).chain(by_default.iter().copied());
            let mut derived: BTreeSet<String> =
                read.filter(|field| field.starts_with(DERIVED)).map(str::to_owned).collect();
            derived_fields(compiled, &mut derived);
            if !derived.is_empty() {
                index.asking.resize(number, false);
                index.asking.push(true);
            }
            for field in derived {
                index.derived.entry(field).or_default().push(number);
            }
            let exact = Exact::of(compiled, source);
            if let Some((key, values)) = exact.as_ref().and_then(Exact::values_alone) {
                let key = &mut index.keys[key];
                key.any.push(number);
                for value in values {
                    key.of_value(value.clone()).ask_no_more.push(number);
                }
                continue;
            }
            let is_exact = exact.is_some();
            if is_exact {
                index.exact.resize(number, None);
                index.exact.push(exact);
            }
            match paths(compiled, source) {
                Some(paths) => {
                    let besides = words(compiled, source).filter(|besides| !is_exact && *besides != paths);
                    index.words.extend(besides.map(|besides| (number, Words::new(besides))));
                    for path in paths {
                        index.put(number, path, &mut literals);
                    }
                }
                None => index.always.push(number),
            }
        }
        index.literals = Literals::new(literals, &mut index.always);
        index.by_keys_alone = index.literals.is_none() && index.always.is_empty();
        index
    }

    fn put(&mut self, rule: usize, path: Path, literals: &mut BTreeMap<String, Vec<usize>>) {
        let (key, about) = match path {
            Path::Literal(literal) => return literals.entry(literal).or_default().push(rule),
            Path::Key(key, about) => (&mut self.keys[key], about),
        };
        if key.any.last() != Some(&rule) {
            key.any.push(rule);
        }
        match about {
            About::Equal(value) => key.of_value(value).ask_more.push(rule),
            About::Prefix(start) => key.prefixes.push((start, rule)),
            About::Range(low, high) => key.ranges.push((low, high, rule)),
            About::Present => key.present.push(rule),
        }
    }

    /// Whether no rule can match a record with these keys, as a glance shows of most records.
    #[inline]
    pub fn has_none_about(&self, keys: &[Key<'_>]) -> bool {
        self.by_keys_alone && self.keys.iter().zip(keys).all(|(paths, key)| paths.has_none_about(*key))
    }

    /// Finds the rules that a record with these keys and this text can match. Returns whether the keys alone have told.
    pub fn select(&self, keys: &[Key<'_>], text: &str, found: &mut Found) -> bool {
        found.decided.clear();
        found.candidates.clear();
        found.candidates.extend_from_slice(&self.always);
        for (paths, key) in self.keys.iter().zip(keys) {
            if !matches!(key, Key::Absent) {
                paths.select(*key, found);
            }
        }
        if let Some(literals) = &self.literals {
            literals.select(text, &mut found.candidates);
        }
        let by_keys_alone = self.by_keys_alone && found.candidates.is_empty();
        if !found.candidates.is_empty() {
            self.look_again(keys, text, found);
        }
        if found.decided.len() > 1 {
            found.decided.sort_unstable();
            found.decided.dedup();
        }
        by_keys_alone
    }

    /// Decides what the keys decide, and leaves out rules of which a second look shows that they cannot match.
    #[inline(never)]
    fn look_again(&self, keys: &[Key<'_>], text: &str, found: &mut Found) {
        let Found { candidates, decided, lower } = found;
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|rule| match self.exact.get(*rule) {
            Some(Some(exact)) => {
                let holds = exact.holds(keys, lower);
                decided.extend((holds == Some(true)).then_some(*rule));
                holds.is_none()
            }
            _ => true,
        });
        // Beside a rule that is evaluated anyway, a search takes longer than it spares.
        if !self.words.is_empty() && candidates.iter().all(|rule| self.words.contains_key(rule)) {
            candidates.retain(|rule| self.words.get(rule).is_none_or(|words| words.may_hold(keys, text)));
        }
    }

    /// Whether one of these rules asks for a field of [`crate::enrich`].
    pub fn wants(&self, field: &str, rules: &[&[usize]]) -> bool {
        let asks = |asking: &Vec<usize>| rules.iter().copied().flatten().any(|rule| asking.binary_search(rule).is_ok());
        self.derived.get(field).is_some_and(asks)
    }

    /// Whether one of these rules asks for any field of [`crate::enrich`].
    #[inline]
    pub fn wants_any(&self, rules: &[&[usize]]) -> bool {
        let asks = |rule: &usize| self.asking.get(*rule) == Some(&true);
        !self.asking.is_empty() && rules.iter().any(|rules| rules.iter().any(asks))
    }
}

impl KeyPaths {
    /// The rules with a path about a value.
    fn of_value(&mut self, value: String) -> &mut OfValue {
        self.traits |= trait_of(&value);
        self.values.entry(value).or_default()
    }

    #[inline]
    fn select(&self, key: Key<'_>, found: &mut Found) {
        match key {
            Key::Absent => {}
            _ if self.any.is_empty() => {}
            Key::Any => found.candidates.extend_from_slice(&self.any),
            Key::Text(text) => {
                if !self.has_none_about(key) {
                    self.select_by_text(text, found);
                }
            }
            Key::Number(number) => self.select_by_number(number, found),
        }
    }

    /// Whether no rule has a path about a value. Of most texts their trait shows it.
    #[inline]
    fn has_none_about(&self, key: Key<'_>) -> bool {
        let of_texts = self.prefixes.is_empty() && self.present.is_empty();
        match key {
            Key::Absent => true,
            // Beyond ASCII, a text may have another length or other letters in lower case.
            Key::Text(text) if of_texts && self.ranges.is_empty() => {
                self.traits & trait_of(text) == 0 && is_ascii(text.as_bytes())
            }
            Key::Number(number) if of_texts && self.values.is_empty() => {
                !self.ranges.iter().any(|(low, high, _)| (*low..=*high).contains(&as_float(number)))
            }
            _ => self.any.is_empty(),
        }
    }

    #[inline(never)]
    fn select_by_text(&self, text: &str, found: &mut Found) {
        let mut room = std::mem::take(&mut found.lower);
        let (decided, candidates) = (&mut found.decided, &mut found.candidates);
        candidates.extend_from_slice(&self.present);
        // As rsigma folds it. Values are in lower case, and so is a text that is one of them.
        let values = self.values.get(text).or_else(|| self.values.get(folded(text, &mut room)));
        if let Some(OfValue { ask_more, ask_no_more }) = values {
            candidates.extend_from_slice(ask_more);
            // Beyond ASCII, folding is rsigma's to decide.
            let sure = if text.is_ascii() { decided } else { &mut *candidates };
            sure.extend_from_slice(ask_no_more);
        }
        if !self.prefixes.is_empty() {
            let lower = folded(text, &mut room);
            let begins = |(start, _): &&(String, usize)| lower.starts_with(start);
            candidates.extend(self.prefixes.iter().filter(begins).map(|(_, rule)| rule));
        }
        // A text may be read as a number.
        candidates.extend(self.ranges.iter().map(|(_, _, rule)| rule));
        found.lower = room;
    }

    #[inline(never)]
    fn select_by_number(&self, number: u64, found: &mut Found) {
        let found = &mut found.candidates;
        found.extend_from_slice(&self.present);
        if !self.values.is_empty() || !self.prefixes.is_empty() {
            let text = number.to_string();
            let whole = self.values.get(&text).into_iter();
            found.extend(whole.flat_map(|rules| rules.ask_more.iter().chain(&rules.ask_no_more)));
            found.extend(self.prefixes.iter().filter(|(start, _)| text.starts_with(start)).map(|(_, rule)| rule));
        }
        for (low, high, rule) in &self.ranges {
            if (*low..=*high).contains(&as_float(number)) {
                found.push(*rule);
            }
        }
    }
}

impl Literals {
    fn new(literals: BTreeMap<String, Vec<usize>>, always: &mut Vec<usize>) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        let all: Vec<usize> = literals.values().flatten().copied().collect();
        let Ok(finder) = AhoCorasick::builder().ascii_case_insensitive(true).build(literals.keys()) else {
            // Too many for an automaton: then nothing is left out.
            always.extend(all);
            return None;
        };
        Some(Self { finder, rules: literals.into_values().collect(), all })
    }

    #[inline(never)]
    fn select(&self, text: &str, found: &mut Vec<usize>) {
        if spells_otherwise(text) {
            found.extend_from_slice(&self.all);
            return;
        }
        for hit in self.finder.find_overlapping_iter(text) {
            found.extend_from_slice(&self.rules[hit.pattern().as_usize()]);
        }
    }
}
