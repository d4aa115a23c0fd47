//! A record as rsigma sees it.

use std::borrow::Cow;

use rsigma_eval::{Event, EventValue, JsonEvent};
use serde_json::Value;

use crate::record::Record;

/// The fields that [`crate::enrich`] adds begin so.
const DERIVED: &str = "cloudvigil.";

pub(super) struct RecordEvent<'r> {
    record: &'r Record<'r>,
    fields: JsonEvent<'r>,
    plain: bool,
}

impl<'r> RecordEvent<'r> {
    pub(super) fn new(record: &'r Record<'r>, plain: bool) -> Self {
        Self { record, fields: JsonEvent::borrow(&record.fields), plain }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get_field(name)? {
            EventValue::Null => None,
            EventValue::Str(text) => Some(text.into_owned()),
            other => Some(other.to_json().to_string()),
        }
    }
}

impl Event for RecordEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if path.starts_with(DERIVED) {
            self.record.derived.get(path).map(EventValue::from)
        } else {
            self.fields.get_field(path)
        }
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        if self.plain { predicate(&self.record.raw) } else { self.fields.any_string_value(predicate) }
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        if self.plain { vec![Cow::Borrowed(&self.record.raw)] } else { self.fields.all_string_values() }
    }

    fn to_json(&self) -> Value {
        self.record.fields.clone()
    }
}
