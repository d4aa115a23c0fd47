//! What was found out of texts that come again and again: clients send few user agents, and ask for the same pages.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// Remembers the last of the texts that share a place, each with what was found out of it.
///
/// Whoever sends texts that share one place has only made them slower.
#[derive(Debug, Clone)]
pub(crate) struct Memo<T> {
    places: Vec<(String, T)>,
    size: usize,
    hasher: FixedState,
}

impl<T: Copy + Default> Memo<T> {
    /// A longer text is not remembered, in bytes.
    const LONGEST: usize = 512;

    /// Remembers up to this many texts, and at most twice as many. Of the empty text, `T`'s default must be true.
    pub(crate) fn new(texts: usize) -> Self {
        Self { places: Vec::new(), size: texts.next_power_of_two(), hasher: FixedState::default() }
    }

    /// What `find` finds out of a text.
    pub(crate) fn of(&mut self, text: &str, find: impl FnOnce(&str) -> T) -> T {
        if text.len() > Self::LONGEST {
            return find(text);
        }
        if self.places.is_empty() {
            self.places.resize_with(self.size, Default::default);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
        let place = self.hasher.hash_one(text.as_bytes()) as usize & (self.size - 1);
        let Some((known, found)) = self.places.get_mut(place) else { return find(text) };
        if known != text {
            *found = find(text);
            text.clone_into(known);
        }
        *found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_what_was_found_out_of_it_however_many_share_a_place() {
        let mut memo = Memo::new(4);
        let texts = ["", "a", "bc", "def", "g", "hij", "klmno"].map(str::to_owned);
        let long = "x".repeat(2 * Memo::<usize>::LONGEST);
        for text in texts.iter().chain([&long]).cycle().take(100) {
            assert_eq!(memo.of(text, str::len), text.len());
        }
        let mut memo = Memo::new(1);
        assert_eq!((memo.of("a", |_| 1), memo.of("a", |_| 2), memo.of("b", |_| 3), memo.of("a", |_| 4)), (1, 1, 3, 4));
    }
}
