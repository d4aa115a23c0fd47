//! A record as rsigma sees it.

use std::borrow::Cow;
use std::cell::OnceCell;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use super::tree::{PRESENCE, Tree, name_of};
use crate::fields::Flat;
use crate::record::Record;

/// The fields that [`crate::enrich`] adds begin so.
pub(super) const DERIVED: &str = "cloudvigil.";

pub(super) struct RecordEvent<'r> {
    record: &'r Record<'r>,
    tree: OnceCell<Tree<'r>>,
    plain: bool,
}

impl<'r> RecordEvent<'r> {
    pub(super) fn new(record: &'r Record<'r>, plain: bool) -> Self {
        Self { record, tree: OnceCell::new(), plain }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            EventValue::Null => None,
            EventValue::Str(text) => Some(text.into_owned()),
            other => Some(other.to_json().to_string()),
        }
    }

    /// The fields as a tree.
    fn tree(&self) -> &Tree<'r> {
        self.tree.get_or_init(|| Tree::new(self.record.fields.tree()))
    }

    /// A field's value as it stands.
    fn value(&self, name: &str) -> Option<EventValue<'_>> {
        if name.starts_with(DERIVED) {
            return self.record.derived.get(name).map(EventValue::from);
        }
        // A line's fields are not nested, and their names have no dots.
        match self.record.fields.as_line() {
            Some(line) => line.get(name).map(|value| match value {
                Flat::Text(text) => EventValue::Str(Cow::Borrowed(text)),
                Flat::Number(number) => i64::try_from(number).map_or_else(|_| large(number), EventValue::Int),
                Flat::Flag(flag) => EventValue::Bool(flag),
            }),
            None => self.tree().value(name),
        }
    }
}

impl Event for RecordEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if self.record.fields.as_line().is_none() && !path.starts_with(DERIVED) {
            return self.tree().get_field(path);
        }
        // A line's fields are never null, and none is a list or an object.
        if let Some(name) = path.strip_prefix(PRESENCE) {
            return self.value(name).map(|_| EventValue::Bool(true));
        }
        self.value(name_of(path))
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        if self.plain { predicate(&self.record.raw) } else { self.tree().any_string_value(predicate) }
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        if self.plain {
            return vec![Cow::Borrowed(&self.record.raw)];
        }
        self.tree().all_string_values()
    }

    fn to_json(&self) -> Value {
        self.record.fields.tree().clone()
    }
}

/// A number beyond `i64`, as rsigma reads it from JSON.
#[expect(clippy::cast_precision_loss, reason = "a float is what rsigma has for it")]
fn large(number: u64) -> EventValue<'static> {
    EventValue::Float(number as f64)
}
