//! The fields that rules name, and those that records have.

use std::collections::BTreeSet;

use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaValue};

/// The fields that a rule's selections name.
pub(super) fn named(detections: &Detections) -> BTreeSet<String> {
    detections.named.values().flat_map(of).collect()
}

/// The fields that a selection names.
pub(super) fn of(detection: &Detection) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    add(detection, &mut names);
    names
}

fn add(detection: &Detection, names: &mut BTreeSet<String>) {
    let add_item = |item: &DetectionItem| {
        names.extend(item.field.name.clone());
        if item.field.has_modifier(Modifier::FieldRef) {
            names.extend(item.values.iter().filter_map(|value| match value {
                SigmaValue::String(name) => Some(name.original.clone()),
                _ => None,
            }));
        }
    };
    match detection {
        Detection::AllOf(items) => items.iter().for_each(add_item),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| add(part, names)),
        Detection::ArrayMatch { field, .. } => {
            names.insert(field.clone());
        }
        Detection::Conditional { named, .. } => named.values().for_each(|part| add(part, names)),
        Detection::Keywords(_) => {}
    }
}
