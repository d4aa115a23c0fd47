//! What was found out of texts that come again and again: clients send few user agents, and ask for the same pages.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// Remembers the last of the texts that share a place, each with what was found out of it.
///
/// Whoever sends texts that share one place has only made them slower.
#[derive(Debug, Clone)]
pub(crate) struct Memo<T> {
    /// A power of two, or none yet.
    places: Vec<(String, T)>,
    most: usize,
    /// How many texts lost their place to another since there are so many.
    lost: usize,
    hasher: FixedState,
}

impl<T: Copy + Default> Memo<T> {
    /// A longer text is not remembered, in bytes.
    const LONGEST: usize = 512;
    /// How many are remembered at first: most objects are small.
    const FIRST: usize = 64;

    /// Remembers up to this many texts, a power of two. Of the empty text, `T`'s default must be true.
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Vec::new(), most, lost: 0, hasher: FixedState::default() }
    }

    /// What `find` finds out of a text.
    pub(crate) fn of(&mut self, text: &str, find: impl FnOnce(&str) -> T) -> T {
        if text.len() > Self::LONGEST {
            return find(text);
        }
        if self.lost * 4 >= self.places.len() && self.places.len() < self.most {
            self.grow();
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
        let place = self.hasher.hash_one(text.as_bytes()) as usize & (self.places.len() - 1);
        let Some((known, found)) = self.places.get_mut(place) else { return find(text) };
        if known != text {
            *found = find(text);
            self.lost += usize::from(!known.is_empty());
            text.clone_into(known);
        }
        *found
    }

    /// Makes more places, and forgets.
    fn grow(&mut self) {
        let size = (self.places.len() * 4).max(Self::FIRST).min(self.most);
        self.places.clear();
        self.places.resize_with(size, Default::default);
        self.lost = 0;
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
        let mut memo = Memo::new(256);
        let numbers: Vec<String> = (0..300).map(|number: u32| number.to_string()).collect();
        for text in numbers.iter().cycle().take(3000) {
            assert_eq!(memo.of(text, str::len), text.len());
        }
        assert_eq!(memo.places.len(), 256);
        let mut memo = Memo::new(1);
        assert_eq!((memo.of("a", |_| 1), memo.of("a", |_| 2), memo.of("b", |_| 3), memo.of("a", |_| 4)), (1, 1, 3, 4));
    }
}
