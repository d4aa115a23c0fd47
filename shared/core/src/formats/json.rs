//! What the formats whose frames are JSON objects share: a frame to its text, its heads and its fields.
//!
//! A frame is a record if it is well-formed JSON by the grammar of [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)
//! and an object. Deciding that takes one pass, in which the few members are read by which rules were indexed. Whatever
//! the grammar allows is matched: numbers beyond every range and values below the deepest level are kept as their text.

mod tree;

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};

pub(super) use self::tree::tree;
use super::Key;
use crate::fields::Fields;
use crate::framing::{self, Kind, Marks, Scanner, Word};

/// The fields of an object's text.
pub(super) fn fields(text: Cow<'_, str>) -> Fields<'_> {
    Fields::json(text, tree)
}

/// The members of a text that is a JSON object. Halves of surrogate pairs are replaced, which JSON's grammar allows and an
/// attacker may place in any field that he controls.
pub(super) fn members(text: &str) -> Result<Map<String, Value>, &'static str> {
    heads::<Nothing, 0>(text)?;
    match tree(text) {
        Value::Object(fields) => Ok(fields),
        _ => Err(NO_OBJECT),
    }
}

/// No members.
struct Nothing;

impl Names<0> for Nothing {
    const NAMES: [Name; 0] = [];
}

const NO_OBJECT: &str = "not a JSON object";
const MALFORMED: &str = "not well-formed JSON";

/// The name of a member to read: one of the object, or one of an object in it.
pub(super) type Name = (&'static str, Option<&'static str>);

/// The members that a format reads of every object. Those of the same object in it stand together.
pub(super) trait Names<const N: usize> {
    /// Their names.
    const NAMES: [Name; N];
    /// What tells nearly every other name from them; nothing to define.
    const MARKS: Marks = marks(&Self::NAMES);
}

/// The marks of names, those of a member within one as if written with a dot, too.
const fn marks(names: &[Name]) -> Marks {
    let mut marks = Marks::NONE;
    let mut number = 0;
    while number < names.len() {
        let (name, inner) = names[number];
        marks = marks.and(name);
        if let Some(inner) = inner {
            marks = marks.and_within(name, inner);
        }
        number += 1;
    }
    marks
}

/// What is known of an object's members, of each of the names asked for.
#[derive(Debug)]
pub(super) struct Heads<'t, const N: usize> {
    values: [Head<'t>; N],
    /// What is in the object only [`tree`] can tell: half a surrogate pair, a number beyond every range.
    pub(super) opaque: bool,
    /// A member is named as one within another would be, with a dot.
    dotted: bool,
}

/// A member.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Head<'t> {
    #[default]
    Absent,
    Text(Cow<'t, str>),
    Number(u64),
    /// Null, a list, an object, another number; or it is not known what, or whether it is there.
    Any,
}

impl<const N: usize> Default for Heads<'_, N> {
    fn default() -> Self {
        Self { values: [const { Head::Absent }; N], opaque: false, dotted: false }
    }
}

impl<'t, const N: usize> Heads<'t, N> {
    /// Passes over the value of a member, and reads it if it is one of these names.
    fn read(&mut self, names: &[Name; N], scanner: &mut Scanner<'t>, name: Word) -> Option<()> {
        let Some(name) = self.name(scanner, name) else { return scanner.value() };
        let name = &*name;
        // The length tells most names apart without a call.
        let found = names.iter().position(|(known, _)| known.len() == name.len() && known.as_bytes() == name);
        let Some(number) = found else {
            self.dotted |= names.iter().any(|(outer, inner)| inner.is_some_and(|inner| is_dotted(name, outer, inner)));
            return scanner.value();
        };
        match names[number].1 {
            None => self.values[number] = self.value(scanner)?,
            Some(_) => self.inner_values(names, number, scanner)?,
        }
        Some(())
    }

    /// A member's name as it reads; `None` where only the tree can tell.
    #[inline]
    fn name(&mut self, scanner: &Scanner<'t>, name: Word) -> Option<Cow<'t, [u8]>> {
        if !name.has_escapes() {
            return Some(Cow::Borrowed(scanner.written(name)));
        }
        let text = scanner.text(name);
        self.opaque |= text.is_none();
        text.map(|text| Cow::Owned(text.into_owned().into_bytes()))
    }

    /// Reads a value.
    #[inline]
    fn value(&mut self, scanner: &mut Scanner<'t>) -> Option<Head<'t>> {
        match scanner.kind()? {
            Kind::Text => {
                let word = scanner.string();
                let text = scanner.text(word);
                self.opaque |= text.is_none();
                return Some(text.map_or(Head::Any, Head::Text));
            }
            Kind::Number => {
                let number = serde_json::from_str::<Number>(scanner.number());
                self.opaque |= number.is_err();
                return Some(number.ok().and_then(|number| number.as_u64()).map_or(Head::Any, Head::Number));
            }
            Kind::Literal | Kind::Object | Kind::List => scanner.value()?,
        }
        Some(Head::Any)
    }

    /// Reads the members of a value that are asked for of the one with this number; one that has no members has none of
    /// those names.
    fn inner_values(&mut self, names: &[Name; N], number: usize, scanner: &mut Scanner<'t>) -> Option<()> {
        let of_same = names[number..].iter().take_while(|(outer, _)| *outer == names[number].0);
        let wanted = number..number + of_same.count();
        let is_object = match scanner.kind()? {
            Kind::Object => true,
            Kind::List => {
                self.values[wanted].fill(Head::Any);
                return scanner.value();
            }
            Kind::Text | Kind::Number | Kind::Literal => false,
        };
        self.values[wanted.clone()].fill(Head::Absent);
        if !is_object {
            return scanner.value();
        }
        let marks = wanted.clone().filter_map(|number| names[number].1).fold(Marks::NONE, Marks::and);
        scanner.object(marks, |scanner, name| {
            let Some(name) = self.name(scanner, name) else { return scanner.value() };
            match wanted.clone().find(|number| names[*number].1.is_some_and(|inner| inner.as_bytes() == &*name)) {
                Some(number) => {
                    self.values[number] = self.value(scanner)?;
                    Some(())
                }
                None => scanner.value(),
            }
        })
    }

    /// A rule's `a.b` means the member `a.b` before the member `b` of `a`.
    fn settle(mut self, names: &[Name; N]) -> Self {
        if self.dotted || self.opaque {
            for (value, (_, inner)) in self.values.iter_mut().zip(names) {
                if self.opaque || inner.is_some() {
                    *value = Head::Any;
                }
            }
        }
        self
    }
}

/// Whether a name is that of a member within another, with a dot.
fn is_dotted(name: &[u8], outer: &str, inner: &str) -> bool {
    let rest = name.strip_prefix(outer.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    rest == Some(inner.as_bytes())
}

impl<const N: usize> Heads<'_, N> {
    /// The text of a name, by its number; `None` for anything else.
    pub(super) fn text(&self, number: usize) -> Option<&str> {
        match &self.values[number] {
            Head::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether there may be such a member.
    pub(super) fn has(&self, number: usize) -> bool {
        self.values[number] != Head::Absent
    }

    /// The member as an index takes it.
    pub(super) fn key(&self, number: usize) -> Key<'_> {
        match &self.values[number] {
            Head::Absent => Key::Absent,
            Head::Text(text) => Key::Text(text),
            Head::Number(number) => Key::Number(*number),
            Head::Any => Key::Any,
        }
    }
}

/// Validates a text as one JSON object and reads the members of these names.
pub(super) fn heads<F: Names<N>, const N: usize>(text: &str) -> Result<Heads<'_, N>, &'static str> {
    let mut scanner = Scanner::new(text);
    let mut heads = Heads::default();
    let read = scanner.object(F::MARKS, |scanner, name| heads.read(&F::NAMES, scanner, name));
    if read.is_some() && scanner.is_at_end() {
        return Ok(heads.settle(&F::NAMES));
    }
    Err(if serde_json::from_str::<IgnoredAny>(text).is_ok() { NO_OBJECT } else { MALFORMED })
}

/// The object at the start of some text, if it is there whole and well-formed, no longer than a frame, and no envelope
/// where one may open: its own text and what is known of its members.
pub(super) fn first_object<F: Names<N>, const N: usize>(
    text: &str,
    may_be_envelope: bool,
) -> Option<(&str, Heads<'_, N>)> {
    let mut heads = Heads::default();
    let length = framing::object(&mut Scanner::new(text), may_be_envelope, F::MARKS, |scanner, name| {
        heads.read(&F::NAMES, scanner, name)
    })?;
    Some((&text[..length], heads.settle(&F::NAMES)))
}

#[cfg(test)]
mod tests;
