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
//!
//! What a rule wants of a field is told by names of its own, which [`super::dialect`] puts into the rule.

use memchr::memchr2;
use rsigma_eval::{Event, EventValue, JsonEvent};
use serde_json::{Number, Value};

/// Before a field's name: whether it is there, with whatever value. No YAML can name such a field.
pub(super) const PRESENCE: &str = "\0present:";
/// Before a field's name: its value, with all values in it where it is an object.
pub(super) const WITHIN: &str = "\0within:";
/// Before a field's name: its value, if it is not null.
pub(super) const COMPARED: &str = "\0compared:";

/// A field's name without what is put before it.
pub(super) fn name_of(path: &str) -> &str {
    if !path.starts_with('\0') {
        return path;
    }
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
            Ok(found) => found.map(EventValue::from),
            Err(InList) => self.json.get_field(path),
        };
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

impl Event for Tree<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if let Some(name) = path.strip_prefix(PRESENCE) {
            return self.value(name).map(|_| EventValue::Bool(true));
        }
        if let Some(name) = path.strip_prefix(WITHIN) {
            return self.value(name).map(listed);
        }
        if let Some(name) = path.strip_prefix(COMPARED) {
            return self.value(name).filter(|value| !value.is_null());
        }
        self.value(path)
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

/// A path leads through a list, of which every element counts.
struct InList;

/// The value at a path through objects alone, where rsigma finds the same and takes the path apart each time.
fn member<'r>(root: &'r Value, path: &str) -> Result<Option<&'r Value>, InList> {
    if let Some(whole) = root.as_object().and_then(|members| members.get(path)) {
        return Ok(Some(whole));
    }
    let mut value = root;
    for name in path.split('.') {
        match value {
            Value::Object(members) => match members.get(name) {
                Some(member) => value = member,
                None => return Ok(None),
            },
            Value::Array(_) => return Err(InList),
            _ => return Ok(None),
        }
    }
    Ok(Some(value))
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
fn listed(value: EventValue<'_>) -> EventValue<'_> {
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_rsigma_finds_at_a_path_is_found() {
        let root = json!({
            "a": {"b": {"c": 1, "": 2}, "b.c": 3, "d": [{"e": 1}, {"e": [2, {"f": 3}]}, 4], "": {"": 5}, "g": null},
            "a.g": "whole", "h": "text", "": {"i": 6}, "j[0]": 7, "k": [[{"l": 8}], 9], "m": {}, "n": [],
        });
        let (tree, rsigma) = (Tree::new(&root), JsonEvent::borrow(&root));
        let names = [
            "a", "b", "c", "d", "e", "f", "g", "h", "", "i", "j[0]", "k", "k[0]", "l", "m", "n", "x", "d[1]", r"j\[0\]",
        ];
        let mut found = 0;
        for first in names {
            for second in names.map(Some).into_iter().chain([None]) {
                for third in names.map(Some).into_iter().chain([None]) {
                    let path = [Some(first), second, third].into_iter().flatten().collect::<Vec<_>>().join(".");
                    let (ours, theirs) = (tree.value(&path), rsigma.get_field(&path));
                    // With two dots, names that hold one are looked for too.
                    if theirs.is_some() || path.bytes().filter(|byte| *byte == b'.').count() < 2 {
                        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{path}");
                    }
                    found += usize::from(theirs.is_some());
                }
            }
        }
        assert!(found > 20, "{found}");
    }
}
