//! A record as rsigma sees it.

use std::borrow::Cow;
use std::cell::OnceCell;

use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use super::tree::{self, Tree};
use crate::fields::{Flat, OnlyTree, Scalar};
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

    /// The fields as a tree.
    fn tree(&self) -> &Tree<'r> {
        self.tree.get_or_init(|| Tree::new(self.record.fields.tree()))
    }

    /// A field's value, by its own name or another.
    fn value(&self, name: &str) -> Option<EventValue<'_>> {
        self.own_value(name).or_else(|| {
            let mut others = self.record.log_source.other_paths(name).iter();
            others.find_map(|path| self.own_value(path)).map(tree::listed)
        })
    }

    /// A field's value as it stands.
    fn own_value(&self, name: &str) -> Option<EventValue<'_>> {
        read(self.record, name).unwrap_or_else(|OnlyTree| self.tree().value(name))
    }
}

/// A field's value as it stands, if it takes no tree.
fn read<'r>(record: &'r Record<'_>, name: &str) -> Result<Option<EventValue<'r>>, OnlyTree> {
    if name.starts_with(DERIVED) {
        return Ok(record.derived.as_ref().and_then(|derived| derived.get(name)).map(EventValue::from));
    }
    // A line's fields are not nested, and their names have no dots.
    if let Some(line) = record.fields.as_line() {
        return Ok(line.get(name).map(|value| tree::scalar(Scalar::from(value))));
    }
    tree::read(record.fields.as_json().ok_or(OnlyTree)?, name)
}

/// A field's value as text; `None` where it is absent or null.
pub(super) fn text<'r>(record: &'r Record<'_>, name: &str) -> Option<Cow<'r, str>> {
    // Mostly it is a part of a line.
    if let Some(line) = record.fields.as_line()
        && let Some(Flat::Text(text)) = line.get(name)
    {
        return Some(Cow::Borrowed(text));
    }
    own_text(record, name)
        .or_else(|| record.log_source.other_paths(name).iter().find_map(|path| own_text(record, path)))
}

fn own_text<'r>(record: &'r Record<'_>, name: &str) -> Option<Cow<'r, str>> {
    let of_tree = || {
        let tree = Tree::new(record.fields.tree());
        tree.value(name).and_then(as_text).map(|text| Cow::Owned(text.into_owned()))
    };
    read(record, name).map_or_else(|OnlyTree| of_tree(), |value| value.and_then(as_text))
}

fn as_text(value: EventValue<'_>) -> Option<Cow<'_, str>> {
    match value {
        EventValue::Null => None,
        EventValue::Str(text) => Some(text),
        other => Some(Cow::Owned(other.to_json().to_string())),
    }
}

impl Event for RecordEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        tree::asked(path, |name| self.value(name))
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
