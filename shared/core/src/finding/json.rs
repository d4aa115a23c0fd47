//! Findings as JSON that people are shown: the text that `serde_json` makes of them, safe for terminals, in a fraction of
//! the time. A scan writes two thousand bytes for each, nearly all of which are evidence.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::{Evidence, Finding};

impl Finding {
    /// Writes it as JSON, on one line. Its strings hold no character that [`acts_on_terminals`].
    pub fn write_json(&self, to: &mut String) {
        let Self { id, revision, rule, title, level, count, first_time, last_time, group, .. } = self;
        let Self { account, region, actor, source_address, resources, evidence, dedup_key, .. } = self;
        to.push_str(r#"{"id":"#);
        text(to, id);
        to.push_str(r#","revision":"#);
        number(to, *revision);
        to.push_str(r#","rule":"#);
        text(to, rule);
        to.push_str(r#","title":"#);
        text(to, title);
        to.push_str(r#","level":"#);
        text(to, level.as_str());
        to.push_str(r#","count":"#);
        number(to, *count);
        to.push_str(r#","first_time":"#);
        known(to, first_time.as_ref(), time);
        to.push_str(r#","last_time":"#);
        known(to, last_time.as_ref(), time);
        to.push_str(r#","group":{"#);
        list(to, group, |to, (name, value)| {
            text(to, name);
            to.push(':');
            known(to, value.as_deref(), text);
        });
        to.push_str(r#"},"account":"#);
        known(to, account.as_deref(), text);
        to.push_str(r#","region":"#);
        known(to, region.as_deref(), text);
        to.push_str(r#","actor":"#);
        known(to, actor.as_deref(), text);
        to.push_str(r#","source_address":"#);
        known(to, source_address.as_deref(), text);
        to.push_str(r#","resources":["#);
        list(to, resources, |to, resource| text(to, resource));
        to.push_str(r#"],"evidence":["#);
        list(to, evidence, |to, entry| entry.write_json(to));
        to.push_str(r#"],"dedup_key":"#);
        text(to, dedup_key);
        to.push('}');
    }
}

impl Evidence {
    fn write_json(&self, to: &mut String) {
        let Self { time: happened, source, record, text: entry, also_in } = self;
        to.push_str(r#"{"time":"#);
        known(to, happened.as_ref(), time);
        to.push_str(r#","source":"#);
        text(to, source);
        to.push_str(r#","record":"#);
        number(to, *record);
        to.push_str(r#","text":"#);
        text(to, entry);
        to.push_str(r#","also_in":["#);
        list(to, also_in, |to, place| text(to, place));
        to.push_str("]}");
    }
}

fn known<T>(to: &mut String, value: Option<T>, write: impl FnOnce(&mut String, T)) {
    match value {
        Some(value) => write(to, value),
        None => to.push_str("null"),
    }
}

fn list<T>(to: &mut String, values: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
    for (number, value) in values.into_iter().enumerate() {
        if number > 0 {
            to.push(',');
        }
        write(to, value);
    }
}

fn number(to: &mut String, number: u64) {
    // Writing to a string does not fail.
    let _ = write!(to, "{number}");
}

fn time(to: &mut String, time: &Timestamp) {
    to.push('"');
    // Nor does this.
    let _ = DateTimePrinter::new().print_timestamp(time, &mut *to);
    to.push('"');
}

fn text(to: &mut String, text: &str) {
    to.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain(rest.as_bytes()));
        to.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            None => break,
            Some('"') => to.push_str("\\\""),
            Some('\\') => to.push_str("\\\\"),
            Some('\u{8}') => to.push_str("\\b"),
            Some('\t') => to.push_str("\\t"),
            Some('\n') => to.push_str("\\n"),
            Some('\u{c}') => to.push_str("\\f"),
            Some('\r') => to.push_str("\\r"),
            Some(other) if other < ' ' || acts_on_terminals(other) => {
                let _ = write!(to, "\\u{:04x}", u32::from(other));
            }
            Some(other) => to.push(other),
        }
        rest = characters.as_str();
    }
    to.push('"');
}

/// Whether a terminal acts on a character that JSON does not escape by itself: DEL, the C1 controls, bidirectional controls.
pub fn acts_on_terminals(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many of the first bytes are visible ASCII that JSON writes as it is.
fn plain(bytes: &[u8]) -> usize {
    /// Of so many it is told at once.
    const BLOCK: usize = 16;
    let is_plain = |byte: &u8| (b' '..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    // Without a branch for each byte, this is a handful of instructions for all of them.
    let all_plain = |block: &&[u8; BLOCK]| block.iter().fold(true, |plain, byte| plain & is_plain(byte));
    let before = bytes.as_chunks().0.iter().take_while(all_plain).count() * BLOCK;
    before + bytes[before..].iter().take_while(|byte| is_plain(byte)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::finding::Level;

    fn words() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z /.:-]{0,60}", "[\\x00-\u{ff}\u{2020}-\u{2070}]{0,40}", any::<String>()]
    }

    #[test]
    fn it_is_what_serde_json_writes_but_for_what_acts_on_terminals() {
        let time = || {
            prop::option::of(
                (0..2_000_000_000_000_000_i64).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap()),
            )
        };
        let evidence = (time(), words(), any::<u64>(), words(), prop::collection::vec(words(), 0..3))
            .prop_map(|(time, source, record, text, also_in)| Evidence { time, source, record, text, also_in });
        let evidence = prop::collection::vec(evidence, 0..4);
        let group = prop::collection::btree_map(words(), prop::option::of(words()), 0..3);
        let facts = prop::collection::vec(prop::option::of(words()), 4);
        let level = (0..Level::ALL.len()).prop_map(|number| Level::ALL[number]);
        let told = (words(), words(), prop::collection::vec(words(), 0..3), level);
        let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]));
        runner
            .run(
                &(evidence, group, facts, told, time(), any::<u64>()),
                |(evidence, group, facts, told, time, count)| {
                    let (id, title, resources, level) = told;
                    let finding = Finding {
                        rule: id.clone(),
                        dedup_key: title.clone(),
                        id,
                        revision: count % 10,
                        title,
                        level,
                        count,
                        first_time: time,
                        last_time: time,
                        group,
                        account: facts[0].clone(),
                        region: facts[1].clone(),
                        actor: facts[2].clone(),
                        source_address: facts[3].clone(),
                        resources,
                        evidence,
                    };
                    let mut written = String::new();
                    finding.write_json(&mut written);
                    let escaped = |character: char| {
                        let acts = acts_on_terminals(character).then(|| format!("\\u{:04x}", u32::from(character)));
                        acts.unwrap_or_else(|| character.to_string())
                    };
                    let expected: String = serde_json::to_string(&finding).unwrap().chars().map(escaped).collect();
                    prop_assert_eq!(written, expected);
                    Ok(())
                },
            )
            .unwrap();
    }
}
