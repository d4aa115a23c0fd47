//! What the index has found before, by words of ours: a log has a handful of them.

use hashbrown::HashTable;

use super::Found;
use crate::formats::Key;
use crate::record::LogSource;

/// What was found for records whose one key is a word of ours, by that alone. There are no more of them than there are words
/// and log sources.
#[derive(Debug, Default)]
pub struct Answers(HashTable<Answer>);

#[derive(Debug)]
struct Answer {
    source: &'static LogSource,
    word: Word,
    /// See [`Found::decided`].
    decided: Vec<usize>,
}

impl Answers {
    /// The rules that match a record of a log source with this key, if they are known and no other rule can match.
    #[inline]
    pub fn of(&self, source: &'static LogSource, key: &Key<'static>) -> Option<&[usize]> {
        let word = Word::of(key)?;
        let is_it = |answer: &Answer| std::ptr::eq(answer.source, source) && answer.word == word;
        Some(&self.0.find(word.hash(source), is_it)?.decided)
    }

    /// Remembers what was found for this key, and by it alone.
    pub fn put(&mut self, source: &'static LogSource, key: &Key<'static>, found: &Found) {
        let Some(word) = Word::of(key) else { return };
        let answer = Answer { source, word, decided: found.decided.clone() };
        self.0.insert_unique(word.hash(source), answer, |answer| answer.word.hash(answer.source));
    }
}

/// Where a word stands, and how long it is: it is the same for as long as the program runs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Word(usize, usize);

impl Word {
    /// `None`: it is not remembered.
    #[inline]
    fn of(key: &Key<'static>) -> Option<Self> {
        match key {
            Key::Absent => Some(Self(0, 0)),
            Key::Any => Some(Self(1, 0)),
            Key::Text(word) => Some(Self(word.as_ptr().addr(), word.len())),
            Key::Number(_) => None,
        }
    }

    #[inline]
    fn hash(self, source: &'static LogSource) -> u64 {
        const SPREADS: u64 = 0x9e37_79b9_7f4a_7c15;
        let addresses = std::ptr::from_ref(source).addr() ^ self.0.rotate_left(32) ^ self.1;
        let spread = (addresses as u64).wrapping_mul(SPREADS);
        // The table looks at either end of it.
        spread ^ spread >> 32
    }
}
