//! The tree of a JSON text, whatever the grammar allows in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// How deep a tree is built where the quick way failed. No log nests as deep.
const MAX_DEPTH: usize = 100;

/// The tree of a text that is well-formed.
pub(in crate::formats) fn tree(text: &str) -> Value {
    let quick = built(text).or_else(|| built(&lone_surrogates_replaced(text)?));
    quick.unwrap_or_else(|| kept_as_text(text, 0))
}

/// The tree of a text that cannot be held as it stands: numbers beyond every range, and what lies too deep, as text.
fn kept_as_text(text: &str, depth: usize) -> Value {
    if depth < MAX_DEPTH {
        if let Some(value) = built(text) {
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

/// The tree of a text that can be held as it stands.
fn built(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().map(|Tree(value)| value)
}

/// A tree whose members have whatever names. To `serde_json`'s own reading an object whose first member has a certain name
/// is the JSON that stands in that member's text: who may name a member could hide all others.
struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Builder;

        impl<'de> Visitor<'de> for Builder {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
                Ok(flag.into())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
                Ok(number.into())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
                Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(Tree(element)) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Value::Array(elements))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
                let mut members = Map::new();
                while let Some((name, Tree(value))) = object.next_entry::<String, Tree>()? {
                    members.insert(name, value);
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(Builder).map(Tree)
    }
}
