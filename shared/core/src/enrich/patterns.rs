//! Sets of regular expressions that start fast.

use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

use regex::bytes::{RegexSet, RegexSetBuilder};
use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// Regular expressions of which one is looked for. They are in lower case, and what is not ASCII matters to them only by
/// its class: `\s`, `\d`, `\w` or none of these.
///
/// The tables of Unicode make up nearly all of the time that such expressions take to compile. So they are compiled for
/// ASCII, and a text that is not ASCII is looked at with a stand-in for each of its other characters, of the same class.
#[derive(Debug)]
pub(super) struct Patterns {
    texts: &'static [&'static str],
    set: OnceLock<Option<RegexSet>>,
}

impl Patterns {
    pub(super) const fn new(texts: &'static [&'static str]) -> Self {
        Self { texts, set: OnceLock::new() }
    }

    /// Whether one of them matches somewhere in a text, which is in lower case.
    pub(super) fn match_in(&self, text: &str) -> bool {
        let set = || RegexSetBuilder::new(self.texts).unicode(false).build().ok();
        self.set.get_or_init(set).as_ref().is_some_and(|set| set.is_match(in_ascii(text).as_bytes()))
    }
}

/// Each class of characters and its stand-in, which no expression asks for by itself: whatever is no space, no digit and
/// no letter has the last.
static CLASSES: LazyLock<[(Option<ClassUnicode>, char); 3]> =
    LazyLock::new(|| [(class(r"\s"), '\x0b'), (class(r"\d"), '7'), (class(r"\w"), 'Z')]);
const OTHER: char = '\x01';

fn class(expression: &str) -> Option<ClassUnicode> {
    match regex_syntax::parse(expression).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        _ => None,
    }
}

fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let is_in = |class: &ClassUnicode, letter: char| {
        let at = class.ranges().partition_point(|range| range.end() < letter);
        class.ranges().get(at).is_some_and(|range| range.start() <= letter)
    };
    let stand_in = |letter: char| {
        let known = CLASSES.iter().find(|(class, _)| class.as_ref().is_some_and(|class| is_in(class, letter)));
        known.map_or(OTHER, |(_, stand_in)| *stand_in)
    };
    Cow::Owned(text.chars().map(|letter| if letter.is_ascii() { letter } else { stand_in(letter) }).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy as _, any, prop_oneof};
    use proptest::sample::select;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;

    /// Compares them with what they are in Unicode, each of them by itself, on texts of these words and of any characters.
    pub(in crate::enrich) fn match_as_in_unicode(patterns: &Patterns, words: &'static [&'static str]) {
        const OTHERS: &[&str] = &[
            "\u{a0}",
            "\u{2003}",
            "\u{85}",
            "\u{3000}",
            "\u{e9}",
            "\u{df}",
            "\u{17f}",
            "\u{301}",
            "\u{660}",
            "\u{ff11}",
            "\u{b2}",
            "\u{203f}",
            "\u{200d}",
            "\u{201c}",
            "\u{20ac}",
            "\u{fffd}",
            "\u{1f600}",
            "\u{4e2d}",
        ];
        let ascii = RegexSetBuilder::new(patterns.texts).unicode(false).build().unwrap();
        let unicode = regex::RegexSet::new(patterns.texts).unwrap();
        let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]));
        let letter = any::<u8>().prop_map(|byte| char::from(byte & 0x7f).to_string());
        let any_letter = any::<char>().prop_map(String::from);
        let part = prop_oneof![
            2 => letter,
            1 => any_letter,
            8 => select(words).prop_map(str::to_owned),
            2 => select(OTHERS).prop_map(str::to_owned),
        ];
        let texts = vec(part, 0..12).prop_map(|parts| parts.concat().to_ascii_lowercase());
        runner
            .run(&texts, |text| {
                let as_ascii: Vec<usize> = ascii.matches(in_ascii(&text).as_bytes()).into_iter().collect();
                let expected: Vec<usize> = unicode.matches(&text).into_iter().collect();
                proptest::prop_assert_eq!(&as_ascii, &expected, "{:?}", text);
                Ok(())
            })
            .unwrap();
    }
}
