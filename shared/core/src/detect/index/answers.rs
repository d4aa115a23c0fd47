//! What the index has found before: the keys of a log's records are few.

use super::Found;
use crate::formats::Key;
use crate::record::LogSource;
use crate::short::Short;

/// How many are remembered, a power of two. A log has tens of kinds of messages.
const REMEMBERED: usize = 64;

/// What was found for records of which one key is known, and no more of it than a text, by that alone: each in one of the
/// two places that the log source and the text give it.
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
        let text = text_of(keys)?;
        let at = place(source, text);
        let is_it = |answer: &&Answer| std::ptr::eq(answer.source, source) && answer.text == text;
        let answer = |at: usize| self.0.get(at)?.as_ref().filter(is_it);
        Some(&answer(at).or_else(|| answer(at ^ 1))?.decided)
    }

    /// Remembers what was found for these keys, and by them alone.
    pub fn put(&mut self, source: &'static LogSource, keys: &[Key<'_>], found: &Found) {
        let Some(text) = text_of(keys) else { return };
        self.0.resize_with(REMEMBERED, || None);
        let at = place(source, text);
        let at = if self.0[at].is_some() && self.0[at ^ 1].is_none() { at ^ 1 } else { at };
        self.0[at] = Some(Answer { source, text, decided: found.decided.clone() });
    }
}

/// The text that is the one key, or what stands for it.
#[inline]
fn text_of(keys: &[Key<'_>]) -> Option<Short> {
    match keys {
        [Key::Absent] => Some(Short::NONE),
        [Key::Any] => Some(Short::ANY),
        [Key::Text(text)] => Short::of(text.as_bytes()),
        _ => None,
    }
}

#[inline]
fn place(source: &'static LogSource, text: Short) -> usize {
    let source = std::ptr::from_ref(source).addr() / size_of::<LogSource>();
    (source ^ text.place(REMEMBERED)) % REMEMBERED
}
