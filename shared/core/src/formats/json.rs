//! What the formats whose frames are JSON objects share: a frame to its text, its heads and its fields.
//!
//! A frame is a record if it is well-formed JSON by the grammar of [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)
//! and an object. Deciding that takes one pass, in which the few members are read by which rules were indexed. Whatever
//! the grammar allows is matched: numbers beyond every range and values below the deepest level are kept as their text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Key;
use crate::fields::Fields;
use crate::framing;

/// How deep a tree is built where the quick way failed. No log nests as deep.
const MAX_DEPTH: usize = 100;

/// A frame's text. Invalid UTF-8 is replaced.
pub(super) fn text(frame: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(frame).map_or_else(|_| String::from_utf8_lossy(frame), Cow::Borrowed)
}

/// The fields of an object's text.
pub(super) fn fields(text: Cow<'_, str>) -> Fields<'_> {
    Fields::json(text, tree)
}

/// A JSON object's text and fields. Invalid UTF-8 is replaced, and so are halves of surrogate pairs, which JSON's
/// grammar allows and an attacker may place in any field that he controls.
pub(super) fn object_frame(frame: &[u8]) -> Result<(Cow<'_, str>, Map<String, Value>), &'static str> {
    let raw = text(frame);
    heads::<Nothing, 0>(&raw)?;
    match tree(&raw) {
        Value::Object(fields) => Ok((raw, fields)),
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

/// The members that a format reads of every object.
pub(super) trait Names<const N: usize> {
    /// Their names.
    const NAMES: [Name; N];
}

/// What is known of an object's members, of each of the names asked for.
#[derive(Debug)]
pub(super) struct Heads<'t, const N: usize> {
    values: [Head<'t>; N],
    /// The text is an object, and what is in it only [`tree`] can tell.
    pub(super) opaque: bool,
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
    serde_json::from_str::<Read<'_, F, N>>(text).map(|read| read.0).or_else(|_| {
        // Halves of surrogate pairs and numbers beyond every range are no fault of the grammar.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| MALFORMED)?;
        let is_object = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
        if is_object { Ok(Heads { values: std::array::from_fn(|_| Head::Any), opaque: true }) } else { Err(NO_OBJECT) }
    })
}

/// The object at the start of some text, if it is there whole and well-formed, no longer than a frame, and no envelope
/// where one may open: its own text and what is known of its members.
pub(super) fn first_object<F: Names<N>, const N: usize>(
    text: &str,
    may_be_envelope: bool,
) -> Option<(&str, Heads<'_, N>)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Read<'_, F, N>>();
    let heads = values.next()?.ok()?.0;
    let object = &text[..values.byte_offset()];
    let is_frame = object.len() <= framing::MAX_FRAME && !(may_be_envelope && framing::is_envelope(object.as_bytes()));
    is_frame.then_some((object, heads))
}

/// Heads, as a format reads them.
struct Read<'t, F, const N: usize>(Heads<'t, N>, PhantomData<F>);

impl<'t, F: Names<N>, const N: usize> Deserialize<'t> for Read<'t, F, N> {
    fn deserialize<D: serde::Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        ObjectSeed(&F::NAMES).deserialize(deserializer).map(|heads| Self(heads, PhantomData))
    }
}

struct ObjectSeed<'n, const N: usize>(&'n [Name; N]);

impl<'t, const N: usize> DeserializeSeed<'t> for ObjectSeed<'_, N> {
    type Value = Heads<'t, N>;

    fn deserialize<D: serde::Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'t, const N: usize> Visitor<'t> for ObjectSeed<'_, N> {
    type Value = Heads<'t, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = std::array::from_fn(|_| Head::Absent);
        // A rule's `a.b` means the member `a.b` before the member `b` of `a`.
        let mut dotted = false;
        while let Some(found) = map.next_key_seed(KeySeed(self.0))? {
            match found {
                Found::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
                Found::Dotted => {
                    dotted = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Found::Whole(number) => values[number] = map.next_value_seed(HeadSeed(None))?,
                Found::Outer(number) => values[number] = map.next_value_seed(HeadSeed(self.0[number].1))?,
            }
        }
        if dotted {
            for (value, (_, inner)) in values.iter_mut().zip(self.0) {
                if inner.is_some() {
                    *value = Head::Any;
                }
            }
        }
        Ok(Heads { values, opaque: false })
    }
}

enum Found {
    Other,
    Dotted,
    Whole(usize),
    Outer(usize),
}

struct KeySeed<'n, const N: usize>(&'n [Name; N]);

impl<'t, const N: usize> DeserializeSeed<'t> for KeySeed<'_, N> {
    type Value = Found;

    fn deserialize<D: serde::Deserializer<'t>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for KeySeed<'_, N> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Found, E> {
        // The first letter tells most names apart without a call.
        let first = name.as_bytes().first();
        let is_it = |known: &str| known.as_bytes().first() == first && known == name;
        Ok(match self.0.iter().position(|(known, _)| is_it(known)) {
            Some(number) if self.0[number].1.is_some() => Found::Outer(number),
            Some(number) => Found::Whole(number),
            None if memchr::memchr(b'.', name.as_bytes()).is_some() => Found::Dotted,
            None => Found::Other,
        })
    }
}

/// A member's value, or, of an object, the value of the member of this name.
struct HeadSeed(Option<&'static str>);

impl<'t> DeserializeSeed<'t> for HeadSeed {
    type Value = Head<'t>;

    fn deserialize<D: serde::Deserializer<'t>>(self, deserializer: D) -> Result<Head<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl HeadSeed {
    /// A value that has no members has none of that name.
    fn scalar<'t>(&self, head: Head<'t>) -> Head<'t> {
        if self.0.is_some() { Head::Absent } else { head }
    }
}

impl<'t> Visitor<'t> for HeadSeed {
    type Value = Head<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Number(number)))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Any))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Any))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Any))
    }

    fn visit_unit<E: Error>(self) -> Result<Head<'t>, E> {
        Ok(self.scalar(Head::Any))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut list: A) -> Result<Head<'t>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Head::Any)
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Head<'t>, A::Error> {
        let Some(inner) = self.0 else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Head::Any);
        };
        let mut head = Head::Absent;
        while let Some(found) = map.next_key_seed(KeySeed(&[(inner, None)]))? {
            match found {
                Found::Whole(_) => head = map.next_value_seed(Self(None))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(head)
    }
}

/// The tree of a text that is well-formed.
pub(super) fn tree(text: &str) -> Value {
    let quick = serde_json::from_str(text).ok();
    let quick = quick.or_else(|| serde_json::from_str(&lone_surrogates_replaced(text)?).ok());
    quick.unwrap_or_else(|| kept_as_text(text, 0))
}

/// The tree of a text that cannot be held as it stands: numbers beyond every range, and what lies too deep, as text.
fn kept_as_text(text: &str, depth: usize) -> Value {
    if depth < MAX_DEPTH {
        if let Ok(value) = serde_json::from_str(text) {
            return value;
        }
        if let Ok(members) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(text) {
            let members = members.into_iter();
            return members.map(|(name, value)| (name.into_owned(), kept_as_text(value.get(), depth + 1))).collect();
        }
        if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
            return elements.into_iter().map(|value| kept_as_text(value.get(), depth + 1)).collect();
        }
    }
    let mended = lone_surrogates_replaced(text);
    let mended = mended.as_deref().unwrap_or(text);
    serde_json::from_str::<String>(mended).map_or_else(|_| Value::from(mended), Value::from)
}

/// The text with every escape of half a surrogate pair as `\ufffd`; `None` where there is none.
fn lone_surrogates_replaced(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let escape = bytes.get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&text[kept..at]);
                mended.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            Some(_) => at += 6,
            None => at = (at + 2).min(bytes.len()),
        }
    }
    (kept > 0).then(|| mended + &text[kept..])
}
