//! What the index has found before, by words of ours: a log has a handful of them.

use super::Found;
use crate::formats::Key;
use crate::record::LogSource;
use crate::spread::spread;

/// How many places answers have, a power of two. A log has tens of kinds of messages.
const PLACES: usize = 128;
/// In how many of them, one after the other, an answer may be.
const NEAR: usize = 8;

/// What was found for records whose one key is a word of ours, by that alone: near the place that the log source and the word
/// give it.
#[derive(Debug, Default)]
pub struct Answers(Vec<Option<Answer>>);

#[derive(Debug)]
struct Answer {
    source: &'static LogSource,
    /// It is told from others by where it stands.
    word: &'static Key<'static>,
    /// See [`Found::decided`].
    decided: Vec<usize>,
}

impl Answers {
    /// The rules that match a record of a log source with this key, if they are known and no other rule can match.
    #[inline]
    pub fn of(&self, source: &'static LogSource, word: &'static Key<'static>) -> Option<&[usize]> {
        let place = place(source, word);
        let mut near = self.0.get(place..place + NEAR)?.iter().map_while(Option::as_ref);
        let is_it = |answer: &&Answer| std::ptr::eq(answer.source, source) && std::ptr::eq(answer.word, word);
        Some(&near.find(is_it)?.decided)
    }

    /// Remembers what was found for this key, and by it alone, if there is room near its place.
    pub fn put(&mut self, source: &'static LogSource, word: &'static Key<'static>, found: &Found) {
        self.0.resize_with(PLACES + NEAR, || None);
        let place = place(source, word);
        if let Some(free) = self.0[place..place + NEAR].iter_mut().find(|answer| answer.is_none()) {
            *free = Some(Answer { source, word, decided: found.decided.clone() });
        }
    }
}

#[inline]
fn place(source: &'static LogSource, word: &'static Key<'static>) -> usize {
    let (source, word) = (std::ptr::from_ref(source).addr() as u64, std::ptr::from_ref(word).addr() as u64);
    spread(source ^ word.rotate_left(32), PLACES.ilog2())
}
