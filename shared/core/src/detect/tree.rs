//! A JSON record's fields as rules ask for them, where that is more than rsigma's own reading of a tree.
//!
//! - A key may hold a dot anywhere, not only at the top: `a.b.c` is found in `{"a": {"b.c": 1}}`, too.
//! - What is looked for in a field that is an object is looked for in all values in it, as in a list's: rules of the
//!   community look for a word in `requestParameters`.
//! - A field that is null is there, by
//!   [`exists`](https://sigmahq.io/sigma-specification/specification/sigma-appendix-modifiers.html). To rsigma it is not;
//!   so [`super::dialect`] has it ask for a field's presence by a name of its own.

use rsigma_eval::{Event, EventValue, JsonEvent};
use serde_json::Value;

/// Before a field's name: whether it is there, with whatever value. No YAML can name such a field.
pub(super) const PRESENCE: &str = "\0present:";
/// Before a field's name: its value with objects as they are, for conditions on a list's members.
pub(super) const MEMBERS: &str = "\0members:";

/// A JSON tree as an event.
pub(super) struct Tree<'r> {
    json: JsonEvent<'r>,
    root: &'r Value,
    /// Fields that a parser knows beforehand, as text or not at all: an object in their place is no list of values.
    keys: &'static [&'static str],
}

impl<'r> Tree<'r> {
    pub(super) fn new(root: &'r Value, keys: &'static [&'static str]) -> Self {
        Self { json: JsonEvent::borrow(root), root, keys }
    }

    /// A field's value as it stands.
    pub(super) fn value(&self, path: &str) -> Option<EventValue<'_>> {
        let found = self.json.get_field(path);
        // With one dot there is nothing more to find; an index is of a list.
        if found.is_some() || path.bytes().filter(|byte| *byte == b'.').nth(1).is_none() || path.contains(['[', '\\']) {
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
        if let Some(name) = path.strip_prefix(MEMBERS) {
            return self.value(name);
        }
        let value = self.value(path)?;
        Some(if self.keys.contains(&path) { value } else { listed(value) })
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.json.any_string_value(predicate)
    }

    fn all_string_values(&self) -> Vec<std::borrow::Cow<'_, str>> {
        self.json.all_string_values()
    }

    fn to_json(&self) -> Value {
        self.root.clone()
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
