//! A JSON record's fields as rules ask for them, where that is more than rsigma's own reading of a tree.
//!
//! - A key may hold a dot anywhere, not only at the top: `a.b.c` is found in `{"a": {"b.c": 1}}`, too.
//! - What is looked for anywhere in a field that is an object (`contains`, `*word*`, `re`) is looked for in all values in
//!   it, as in a list's: rules of the community look for words in `requestParameters`. To be equal to a value, to begin
//!   or to end with it, is said of texts; an object is none.
//! - Keywords are looked for in numbers and truth values too, since they stand in the entry.
//! - A field that is null is there, by
//!   [`exists`](https://sigmahq.io/sigma-specification/specification/sigma-appendix-modifiers.html). To rsigma it is not.
//! - Where a field is compared with another (`fieldref`), null is no value that could be equal to one.
//! - Where a field must not be something (`neq`), it may be absent, as pySigma's `not field=value` has it. rsigma does not
//!   ask a matcher about a field that is absent.
//!
//! What a rule wants of a field is told by names of its own, which [`super::dialect`] puts into the rule.

use memchr::memchr2;
use rsigma_eval::{Event, EventValue, JsonEvent};
use serde_json::{Number, Value};

use crate::fields::{Node, OnlyTree, Scalar};

/// A path with more may lead deeper than trees are built.
const MAX_DOTS: usize = 64;

/// Before a field's name: whether it is there, with whatever value. No YAML can name such a field.
pub(super) const PRESENCE: &str = "\0present:";
/// Before a field's name: its value, with all values in it where it is an object.
pub(super) const WITHIN: &str = "\0within:";
/// Before a field's name: its value, if it is not null.
pub(super) const COMPARED: &str = "\0compared:";

/// Before one of these, or a field's name: its value, and null where it is absent. What must not be equal to something
/// may well be absent.
pub(super) const NEGATED: &str = "\0negated:";

/// A field's name without what is put before it.
pub(super) fn name_of(path: &str) -> &str {
    if !path.starts_with('\0') {
        return path;
    }
    let path = path.strip_prefix(NEGATED).unwrap_or(path);
    [PRESENCE, WITHIN, COMPARED].into_iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path)
}

/// A JSON tree as an event.
pub(super) struct Tree<'r> {
    json: JsonEvent<'r>,
    root: &'r Value,
}

impl<'r> Tree<'r> {
    pub(super) fn new(root: &'r Value) -> Self {
        Self { json: JsonEvent::borrow(root), root }
    }

    /// A field's value as it stands.
    pub(super) fn value(&self, path: &str) -> Option<EventValue<'_>> {
        if memchr2(b'[', b'\\', path.as_bytes()).is_some() {
            return self.json.get_field(path);
        }
        let found = match member(self.root, path) {
            Ok(Some(whole)) => Ok(Some(whole)),
            Ok(None) => along(self.root, path, member),
            Err(OnlyTree) => Err(OnlyTree),
        };
        let found = found.map_or_else(|OnlyTree| self.json.get_field(path), |found| found.map(EventValue::from));
        // With one dot there is nothing more to find.
        if found.is_some() || path.bytes().filter(|byte| *byte == b'.').nth(1).is_none() {
            return found;
        }
        let mut values = Vec::new();
        collect(self.root, path, &mut values);
        match values.len() {
            0 | 1 => values.pop(),
            _ => Some(EventValue::Array(values)),
        }
    }
}

/// A field's value as [`Tree::value`] has it, read off the text.
pub(super) fn read<'f>(root: Node<'f>, path: &str) -> Result<Option<EventValue<'f>>, OnlyTree> {
    if let Some(whole) = root.member(path)? {
        return whole.scalar().map(scalar).map(Some);
    }
    let mut dots = 0;
    for byte in path.bytes() {
        match byte {
            b'[' | b'\\' => return Err(OnlyTree),
            b'.' => dots += 1,
            _ => {}
        }
    }
    if dots == 0 {
        return Ok(None);
    }
    if dots > MAX_DOTS {
        return Err(OnlyTree);
    }
    match along(root, path, Node::member)? {
        Some(found) => found.scalar().map(scalar).map(Some),
        None if dots > 1 && may_be_dotted(root, path)? => Err(OnlyTree),
        None => Ok(None),
    }
}

/// A single value as rsigma reads it.
pub(super) fn scalar(value: Scalar<'_>) -> EventValue<'_> {
    match value {
        Scalar::Text(text) => EventValue::Str(text),
        Scalar::Number(number) => match number.as_i64() {
            Some(number) => EventValue::Int(number),
            None => EventValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Scalar::Flag(flag) => EventValue::Bool(flag),
        Scalar::Null => EventValue::Null,
    }
}

/// What a rule asks of a field by this path, which may begin with one of the words above.
pub(super) fn asked<'v>(path: &str, value: impl FnOnce(&str) -> Option<EventValue<'v>>) -> Option<EventValue<'v>> {
    if !path.starts_with('\0') {
        return value(path);
    }
    if let Some(path) = path.strip_prefix(NEGATED) {
        return Some(asked(path, value).unwrap_or(EventValue::Null));
    }
    if let Some(name) = path.strip_prefix(PRESENCE) {
        return value(name).map(|_| EventValue::Bool(true));
    }
    if let Some(name) = path.strip_prefix(WITHIN) {
        return value(name).map(listed);
    }
    if let Some(name) = path.strip_prefix(COMPARED) {
        return value(name).filter(|value| !value.is_null());
    }
    value(path)
}

/// Whether an object on the way along a path has a name with a dot, which may be a part of the path.
fn may_be_dotted(mut node: Node<'_>, path: &str) -> Result<bool, OnlyTree> {
    for name in path.split('.') {
        if node.has_dots()? {
            return Ok(true);
        }
        match node.member(name)? {
            Some(member) => node = member,
            None => break,
        }
    }
    Ok(false)
}

impl Event for Tree<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        asked(path, |name| self.value(name))
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        any_text(self.root, predicate)
    }

    fn all_string_values(&self) -> Vec<std::borrow::Cow<'_, str>> {
        self.json.all_string_values()
    }

    fn to_json(&self) -> Value {
        self.root.clone()
    }
}

/// The value at a path through objects alone, where rsigma finds the same and takes the path apart each time. Through a
/// list it is for the tree to say, of which every element counts.
fn along<V: Copy>(
    root: V,
    path: &str,
    member: impl Fn(V, &str) -> Result<Option<V>, OnlyTree>,
) -> Result<Option<V>, OnlyTree> {
    let (mut value, mut rest) = (root, path);
    // Names are short: this is cheaper than a search.
    while let Some(dot) = rest.bytes().position(|byte| byte == b'.') {
        match member(value, &rest[..dot])? {
            Some(member) => value = member,
            None => return Ok(None),
        }
        rest = &rest[dot + 1..];
    }
    member(value, rest)
}

fn member<'r>(value: &'r Value, name: &str) -> Result<Option<&'r Value>, OnlyTree> {
    match value {
        Value::Object(members) => Ok(members.get(name)),
        Value::Array(_) => Err(OnlyTree),
        _ => Ok(None),
    }
}

/// The values at a path of which any part may be one key.
fn collect<'r>(value: &'r Value, path: &str, values: &mut Vec<EventValue<'r>>) {
    match value {
        Value::Object(members) => {
            if let Some(member) = members.get(path) {
                values.push(EventValue::from(member));
            }
            for (dot, _) in path.match_indices('.') {
                if let Some(member) = members.get(&path[..dot]) {
                    collect(member, &path[dot + 1..], values);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, values)),
        _ => {}
    }
}

/// Whether any text in a value is one of these; numbers and truth values stand in an entry as text, too.
fn any_text(value: &Value, is_one: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => is_one(if *flag { "true" } else { "false" }),
        Value::Number(number) => is_one(&digits(number)),
        Value::String(text) => is_one(text),
        Value::Array(items) => items.iter().any(|item| any_text(item, is_one)),
        Value::Object(members) => members.values().any(|member| any_text(member, is_one)),
    }
}

/// A number without an exponent.
fn digits(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

/// A value in which each object is a list of its values.
pub(super) fn listed(value: EventValue<'_>) -> EventValue<'_> {
    match value {
        EventValue::Map(members) => EventValue::Array(members.into_iter().map(|(_, value)| listed(value)).collect()),
        EventValue::Array(items)
            if items.iter().any(|item| matches!(item, EventValue::Map(_) | EventValue::Array(_))) =>
        {
            EventValue::Array(items.into_iter().map(listed).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
