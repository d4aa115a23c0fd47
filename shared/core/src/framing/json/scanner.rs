//! The grammar of JSON, followed over a text without taking it apart.
//!
//! A value is well-formed here exactly where `serde_json` takes it for one that it ignores:
//! [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) at any depth, with numbers of any size and with escapes of halves of
//! surrogate pairs. It is done here because nearly all of a log's bytes are in strings that nobody asks for, and these
//! are looked at sixteen bytes at a time, which the compiler turns into the machine's vectors. Libraries are either
//! several times slower or let pass what is no JSON (an escape `\u` without its digits).

use std::borrow::Cow;
use std::ops::Range;

use crate::framing::block::{BLOCK, digits_end, text_end};

/// What is left of a text that is not well-formed: every value looked for is in an object, which then does not end.
const BROKEN: &[u8] = &[];

/// A place in a text. After a method has returned `None`, for the text is not well-formed, the place is of no use.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'t> {
    text: &'t str,
    rest: &'t [u8],
}

/// A string: where its contents, without the quotes, are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    start: usize,
    end: usize,
    has_escapes: bool,
}

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// `true`, `false`, `null`.
    Literal,
    Object,
    List,
}

/// Names, as a mark each: what tells nearly every other name from them without a comparison.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks(u64);

impl Marks {
    /// No name.
    pub(crate) const NONE: Self = Self(0);

    /// Any name.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// One more name.
    pub(crate) const fn and(self, name: &str) -> Self {
        match name.as_bytes() {
            [] => Self(u64::MAX),
            [first, .., last] => Self(self.0 | mark(name.len(), *first, *last)),
            [only] => Self(self.0 | mark(1, *only, *only)),
        }
    }

    /// One more name, of two with a dot between them.
    pub(crate) const fn and_within(self, outer: &str, inner: &str) -> Self {
        match (outer.as_bytes(), inner.as_bytes()) {
            ([first, ..], [.., last]) => Self(self.0 | mark(outer.len() + 1 + inner.len(), *first, *last)),
            _ => Self(u64::MAX),
        }
    }

    /// Whether a name may be among them.
    #[inline]
    fn may_hold(self, name: &[u8]) -> bool {
        match name {
            [first, ..] => self.0 & mark(name.len(), *first, name[name.len() - 1]) != 0,
            [] => self.0 == u64::MAX,
        }
    }
}

/// One bit of 64, by a name's length and its first and last byte.
#[inline]
const fn mark(length: usize, first: u8, last: u8) -> u64 {
    1 << ((7 * length + first as usize + last as usize) % 64)
}

impl Word {
    /// Whether it is not written as it reads.
    pub(crate) fn has_escapes(self) -> bool {
        self.has_escapes
    }

    /// Where its contents are in the text.
    pub(crate) fn place(self) -> Range<usize> {
        self.start..self.end
    }
}

impl<'t> Scanner<'t> {
    /// At the start of a text.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, rest: text.as_bytes() }
    }

    /// How much of the text was passed, in bytes.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Whether nothing but white space follows.
    pub(crate) fn is_at_end(&self) -> bool {
        token(self.rest).is_none()
    }

    /// The bytes of a string as they are written.
    #[inline]
    pub(crate) fn written(&self, word: Word) -> &'t [u8] {
        self.text.as_bytes().get(word.start..word.end).unwrap_or_default()
    }

    /// A string's text; `None` where its escapes make none: half a surrogate pair.
    #[inline]
    pub(crate) fn text(&self, word: Word) -> Option<Cow<'t, str>> {
        if word.has_escapes {
            return self.unescaped(word).map(Cow::Owned);
        }
        self.text.get(word.start..word.end).map(Cow::Borrowed)
    }

    #[inline(never)]
    fn unescaped(&self, word: Word) -> Option<String> {
        serde_json::from_str(self.text.get(word.start - 1..=word.end)?).ok()
    }

    /// Passes over an object and hands over the members that may have one of these names: the name of each, with the
    /// scanner before its value, which must then be passed over.
    #[inline]
    pub(crate) fn object(&mut self, names: Marks, mut member: impl FnMut(&mut Self, Word) -> Option<()>) -> Option<()> {
        let (b'{', rest) = token(self.rest)? else { return None };
        let (mut byte, mut rest) = token(rest)?;
        while byte != b'}' {
            if byte != b'"' {
                return None;
            }
            loop {
                let (name, after, has_escapes) = contents(rest);
                let after = after_colon(after)?;
                if has_escapes || names.may_hold(name) {
                    let start = self.text.len() - rest.len();
                    self.rest = after;
                    member(self, Word { start, end: start + name.len(), has_escapes })?;
                    rest = self.rest;
                } else {
                    let (first, after) = token(after)?;
                    rest = after_value(first, after)?;
                }
                let [b',', b'"', next @ ..] = rest else { break };
                rest = next;
            }
            (byte, rest) = token(rest)?;
            if byte == b',' {
                (byte, rest) = token(rest)?;
                // No member follows a comma that closes.
                if byte == b'}' {
                    return None;
                }
            } else if byte != b'}' {
                return None;
            }
        }
        self.rest = rest;
        Some(())
    }

    /// What the next value is, if one may begin here.
    #[inline]
    pub(crate) fn kind(&mut self) -> Option<Kind> {
        let (byte, rest) = token(self.rest)?;
        self.rest = &self.rest[self.rest.len() - rest.len() - 1..];
        Some(match byte {
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' | b'f' | b'n' => Kind::Literal,
            b'{' => Kind::Object,
            b'[' => Kind::List,
            _ => return None,
        })
    }

    /// Passes over a value.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<()> {
        let (byte, rest) = token(self.rest)?;
        self.rest = after_value(byte, rest)?;
        Some(())
    }

    /// Passes over a string; the scanner is before its first quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Word {
        let start = self.offset() + 1;
        let rest = self.rest.get(1..).unwrap_or(BROKEN);
        let (text, after, has_escapes) = contents(rest);
        self.rest = after;
        Word { start, end: start + text.len(), has_escapes }
    }

    /// Passes over a number; the scanner is before it.
    pub(crate) fn number(&mut self) -> &'t str {
        let start = self.offset();
        self.rest = self.rest.split_first().map_or(BROKEN, |(byte, rest)| after_number(*byte, rest));
        self.text.get(start..self.offset()).unwrap_or_default()
    }
}

/// The next byte that is no white space, and what follows it.
#[inline]
fn token(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, after) = rest.split_first()?;
    if *byte > b' ' { Some((*byte, after)) } else { token_after_space(rest) }
}

/// The same where white space may come first. Logs hold hardly any.
#[inline(never)]
fn token_after_space(mut rest: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let (byte, after) = rest.split_first()?;
        if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            return Some((*byte, after));
        }
        rest = after;
    }
}

/// What follows a value that begins with this byte.
#[inline]
fn after_value(byte: u8, rest: &[u8]) -> Option<&[u8]> {
    match byte {
        b'"' => Some(after_string(rest)),
        b'{' | b'[' => after_nested(byte, rest),
        _ => Some(after_scalar(byte, rest)),
    }
}

/// What follows an object or a list that began with this bracket, however deep it is. Nothing here calls itself: the
/// depth is the input's to choose.
#[inline(never)]
fn after_nested(bracket: u8, mut rest: &[u8]) -> Option<&[u8]> {
    let mut nesting = Nesting::new(bracket);
    'opened: loop {
        // After an opening bracket.
        let mut byte;
        (byte, rest) = token(rest)?;
        let mut is_behind_value = byte == nesting.end;
        loop {
            if !is_behind_value && nesting.end == b'}' {
                if byte != b'"' {
                    return None;
                }
                (rest, is_behind_value) = after_texts(after_string(rest));
                if is_behind_value {
                    (byte, rest) = token(rest)?;
                } else {
                    (byte, rest) = token(after_colon(rest)?)?;
                }
            }
            if !is_behind_value {
                rest = match byte {
                    b'"' => after_string(rest),
                    b'{' | b'[' => {
                        nesting.enter(byte);
                        continue 'opened;
                    }
                    _ => after_scalar(byte, rest),
                };
                (byte, rest) = token(rest)?;
            }
            // Behind a value, or at the end of what is empty.
            while byte == nesting.end {
                if !nesting.leave() {
                    return Some(rest);
                }
                (byte, rest) = token(rest)?;
            }
            if byte != b',' {
                return None;
            }
            (byte, rest) = token(rest)?;
            is_behind_value = false;
        }
    }
}

/// What follows members with texts, written without white space as nearly all are, from behind a member's name on: either
/// behind such a value (`true`) or behind the name of a member that is another.
#[inline]
fn after_texts(mut rest: &[u8]) -> (&[u8], bool) {
    while let [b':', b'"', text @ ..] = rest {
        rest = after_string(text);
        let [b',', b'"', name @ ..] = rest else { return (rest, true) };
        rest = after_string(name);
    }
    (rest, false)
}

/// What follows a string whose first quote was just passed.
#[inline]
fn after_string(rest: &[u8]) -> &[u8] {
    contents(rest).1
}

/// A string's contents, what follows its last quote, and whether there are escapes. Without an end, nothing follows.
#[inline]
fn contents(rest: &[u8]) -> (&[u8], &[u8], bool) {
    let mut length = 0;
    if let Some(block) = rest.first_chunk() {
        length = text_end(block);
        if length < BLOCK && block[length] == b'"' {
            return (&rest[..length], &rest[length + 1..], false);
        }
    }
    long_contents(rest, length)
}

/// The same of a string that is long, holds escapes, or is near the text's end, and that is plain up to here.
#[inline(never)]
fn long_contents(rest: &[u8], mut at: usize) -> (&[u8], &[u8], bool) {
    let mut has_escapes = false;
    loop {
        at = end_from(rest, at, text_end);
        at = match rest.get(at..).unwrap_or_default() {
            [b'"', after @ ..] => return (&rest[..at], after, has_escapes),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at + 2,
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => at + 6,
            _ => return (rest, BROKEN, has_escapes),
        };
        has_escapes = true;
    }
}

#[inline]
fn after_colon(rest: &[u8]) -> Option<&[u8]> {
    let (byte, rest) = token(rest)?;
    (byte == b':').then_some(rest)
}

/// What follows a number or a word that begins with this byte.
#[inline]
fn after_scalar(byte: u8, rest: &[u8]) -> &[u8] {
    let after = match byte {
        b't' => rest.strip_prefix(b"rue"),
        b'f' => rest.strip_prefix(b"alse"),
        b'n' => rest.strip_prefix(b"ull"),
        _ => return after_number(byte, rest),
    };
    after.unwrap_or(BROKEN)
}

/// What follows a number that begins with this byte.
#[inline]
fn after_number(byte: u8, rest: &[u8]) -> &[u8] {
    // Nearly all are whole, without a sign.
    if let (b'1'..=b'9', Some(block)) = (byte, rest.first_chunk()) {
        let length = digits_end(block);
        if length < BLOCK && !matches!(block[length], b'.' | b'e' | b'E') {
            return &rest[length..];
        }
    }
    after_any_number(byte, rest)
}

#[inline(never)]
fn after_any_number(byte: u8, rest: &[u8]) -> &[u8] {
    let (byte, rest) = match (byte, rest) {
        (b'-', [byte, rest @ ..]) => (*byte, rest),
        _ => (byte, rest),
    };
    let mut rest = match (byte, rest) {
        (b'0', [b'0'..=b'9', ..]) => return BROKEN,
        (b'0', _) => rest,
        (b'1'..=b'9', _) => after_digits(rest),
        _ => return BROKEN,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = after_digits(fraction);
        if rest.len() == fraction.len() {
            return BROKEN;
        }
    }
    if let [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        rest = after_digits(exponent);
        if rest.len() == exponent.len() {
            return BROKEN;
        }
    }
    rest
}

fn after_digits(rest: &[u8]) -> &[u8] {
    rest.get(end_from(rest, 0, digits_end)..).unwrap_or(BROKEN)
}

/// Where such a stretch ends that begins here.
#[inline]
fn end_from(rest: &[u8], mut at: usize, end: impl Fn(&[u8; BLOCK]) -> usize) -> usize {
    let (blocks, last) = rest.get(at..).unwrap_or_default().as_chunks();
    for block in blocks {
        let length = end(block);
        at += length;
        if length < BLOCK {
            return at;
        }
    }
    // Zeros end everything that is looked for.
    let mut block = [0; BLOCK];
    block[..last.len()].copy_from_slice(last);
    at + end(&block)
}

/// The brackets that are open.
struct Nesting {
    /// What closes the innermost.
    end: u8,
    /// Whether those around it are objects' or lists', a bit each: the nearest last.
    around: u64,
    count: u32,
    /// Those further out, 64 in each.
    further: Further,
}

/// Hardly ever anything.
#[derive(Default)]
struct Further(Vec<u64>);

impl Further {
    #[cold]
    #[inline(never)]
    fn push(&mut self, around: u64) {
        self.0.push(around);
    }

    #[inline(never)]
    fn pop(&mut self) -> Option<u64> {
        self.0.pop()
    }
}

impl Nesting {
    fn new(bracket: u8) -> Self {
        Self { end: end_of(bracket), around: 0, count: 0, further: Further::default() }
    }

    #[inline]
    fn enter(&mut self, bracket: u8) {
        if self.count == u64::BITS {
            self.further.push(self.around);
            self.count = 0;
        }
        self.around = self.around << 1 | u64::from(self.end == b'}');
        self.count += 1;
        self.end = end_of(bracket);
    }

    /// `false`: it was the last.
    #[inline]
    fn leave(&mut self) -> bool {
        if self.count == 0 {
            let Some(around) = self.further.pop() else { return false };
            self.around = around;
            self.count = u64::BITS;
        }
        self.end = if self.around & 1 == 1 { b'}' } else { b']' };
        self.around >>= 1;
        self.count -= 1;
        true
    }
}

/// What closes a bracket.
fn end_of(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

#[cfg(test)]
mod tests;
