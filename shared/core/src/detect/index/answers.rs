//! What the index has found before: the keys of a log's records are few.

use super::Found;
use crate::formats::Key;
use crate::record::LogSource;
use crate::short::Short;

/// How many are remembered. A log has tens of kinds of messages.
const REMEMBERED: usize = 64;

/// What was found for texts that are a record's one key, and by that key alone: each in the one place that the text gives it.
#[derive(Debug, Default)]
pub struct Answers(Vec<Option<Answer>>);

#[derive(Debug)]
struct Answer {
    source: &'static LogSource,
    text: Short,
    /// See [`Found::decided`].
    decided: Vec<usize>,
}

impl Answers {
    /// The rules that match a record of a log source that has these keys, if they are known and no other rule can match.
    #[inline]
    pub fn of(&self, source: &'static LogSource, keys: &[Key<'_>]) -> Option<&[usize]> {
        let [Key::Text(text)] = keys else { return None };
        let text = Short::of(text.as_bytes())?;
        let answer = self.0.get(text.place(REMEMBERED))?.as_ref()?;
        (std::ptr::eq(answer.source, source) && answer.text == text).then_some(&answer.decided)
    }

    /// Remembers what was found for these keys, and by them alone.
    pub fn put(&mut self, source: &'static LogSource, keys: &[Key<'_>], found: &Found) {
        let [Key::Text(text)] = keys else { return };
        let Some(text) = Short::of(text.as_bytes()) else { return };
        self.0.resize_with(REMEMBERED, || None);
        self.0[text.place(REMEMBERED)] = Some(Answer { source, text, decided: found.decided.clone() });
    }
}
