//! Where rsigma takes a rule otherwise than the specification, the rule is put into words that mean the same to both.
//!
//! - A value with wildcards and `startswith` or `endswith` is anchored at the wrong end: the modifier becomes a `*`.
//! - `*` and `?` stop at the end of a line: what has them elsewhere than at its ends becomes a regular expression that
//!   does not.
//! - `null` among several values matches no absent field: it becomes an alternative of its own.
//! - `'|all'` over keywords is taken for a comparison: each keyword becomes a selection.
//! - `exists` does not hold of a field that is null, and to `fieldref` null is equal to null; what `contains` looks for in
//!   an object it does not find. These ask for the field by names of their own, see [`super::tree`]. Within a list's
//!   members they are left as they are.
//!
//! `shared/core/tests/sigma_semantics.rs` shows each.

use rsigma_parser::{
    Detection, DetectionItem, Detections, FieldSpec, Modifier, SigmaString, SigmaValue, SpecialChar, StringPart,
};

use super::event::DERIVED;
use super::tree::{COMPARED, PRESENCE, WITHIN};

/// Puts a rule's selections into words that rsigma takes as they are meant.
pub(super) fn translate(detections: &mut Detections) {
    for detection in detections.named.values_mut() {
        translate_names(detection);
        translate_detection(detection, Of::Record);
    }
}

/// Whose fields a selection speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A record's.
    Record,
    /// Those of a list's members, of which nothing but their value is told.
    Member,
}

/// Gives the fields of a record, not those of a list's members, the names by which more than their value is told.
fn translate_names(detection: &mut Detection) {
    match detection {
        Detection::AllOf(items) => items.iter_mut().for_each(translate_names_of),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter_mut().for_each(translate_names),
        Detection::ArrayMatch { .. } | Detection::Conditional { .. } | Detection::Keywords(_) => {}
    }
}

fn translate_names_of(item: &mut DetectionItem) {
    let has = |modifier| item.field.has_modifier(modifier);
    if has(Modifier::Exists) {
        item.field = asked(PRESENCE, &item.field);
    } else if has(Modifier::FieldRef) {
        item.field = asked(COMPARED, &item.field);
        for value in &mut item.values {
            if let SigmaValue::String(other) = value
                && !other.original.starts_with(DERIVED)
            {
                other.parts.insert(0, StringPart::Plain(COMPARED.to_owned()));
            }
        }
    }
}

/// The field by the name by which this is asked of it. What is derived is never null and no object.
fn asked(prefix: &str, field: &FieldSpec) -> FieldSpec {
    let name = field.name.as_ref().map(|name| match name.starts_with(DERIVED) {
        true => name.clone(),
        false => format!("{prefix}{name}"),
    });
    FieldSpec { name, ..field.clone() }
}

fn translate_detection(detection: &mut Detection, of: Of) {
    match detection {
        Detection::AllOf(items) => {
            let parts: Vec<Detection> = items.iter().map(|item| translated(item, of)).collect();
            let same = parts.iter().zip(items.iter()).all(|(part, item)| *part == alone(item.clone()));
            if !same {
                *detection = joined(parts);
            }
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter_mut().for_each(|part| translate_detection(part, of));
        }
        Detection::ArrayMatch { body, .. } => translate_detection(body, Of::Member),
        Detection::Conditional { named, .. } => named.values_mut().for_each(|part| translate_detection(part, of)),
        Detection::Keywords(_) => {}
    }
}

fn alone(item: DetectionItem) -> Detection {
    Detection::AllOf(vec![item])
}

/// All parts at once, as flat as they can be.
fn joined(parts: Vec<Detection>) -> Detection {
    let mut items = Vec::new();
    let mut others = Vec::new();
    for part in parts {
        match part {
            Detection::AllOf(mut more) => items.append(&mut more),
            other => others.push(other),
        }
    }
    if !items.is_empty() {
        others.insert(0, Detection::AllOf(items));
    }
    match others.len() {
        1 => others.remove(0),
        _ => Detection::And(others),
    }
}

fn translated(item: &DetectionItem, of: Of) -> Detection {
    let has = |modifier| item.field.has_modifier(modifier);
    let items: Vec<DetectionItem> = match item.field.name {
        None if has(Modifier::All) => {
            let each = |value: &SigmaValue| Detection::Keywords(vec![value.clone()]);
            // With another modifier it is no plain keyword.
            if item.field.modifiers.len() == 1 {
                return joined(item.values.iter().map(each).collect());
            }
            vec![item.clone()]
        }
        Some(_) if is_about_text(&item.field.modifiers) => by_form(item, of),
        Some(_) if has(Modifier::Contains) && !has(Modifier::FieldRef) && of == Of::Record => {
            vec![DetectionItem { field: asked(WITHIN, &item.field), ..item.clone() }]
        }
        _ => vec![item.clone()],
    };
    if items.len() == 1 {
        return joined(items.into_iter().map(alone).collect());
    }
    // None of several is each of them not.
    if has(Modifier::All) || has(Modifier::Neq) {
        joined(items.into_iter().map(alone).collect())
    } else {
        Detection::AnyOf(items.into_iter().map(alone).collect())
    }
}

/// Whether values are compared as texts that may have wildcards.
fn is_about_text(modifiers: &[Modifier]) -> bool {
    use Modifier::{All, Cased, Contains, EndsWith, Neq, StartsWith};
    modifiers.iter().all(|modifier| matches!(modifier, All | Cased | Contains | EndsWith | Neq | StartsWith))
}

/// The values of an item by the form in which each is looked for; every form is an item.
fn by_form(item: &DetectionItem, of: Of) -> Vec<DetectionItem> {
    let mut items: Vec<DetectionItem> = Vec::new();
    for value in &item.values {
        let (modifiers, value, is_anywhere) = form(&item.field.modifiers, value, item.values.len() == 1);
        let field = FieldSpec { modifiers, ..item.field.clone() };
        let field = if is_anywhere && of == Of::Record { asked(WITHIN, &field) } else { field };
        match items.iter_mut().find(|other| other.field == field) {
            Some(other) => other.values.push(value),
            None => items.push(DetectionItem { field, values: vec![value] }),
        }
    }
    // `all` wants several values; of a single one it says nothing.
    for item in items.iter_mut().filter(|item| item.values.len() == 1) {
        item.field.modifiers.retain(|modifier| *modifier != Modifier::All);
    }
    if items.is_empty() { vec![item.clone()] } else { items }
}

/// How a value is looked for: with which modifiers, written how, and whether anywhere in the field.
fn form(modifiers: &[Modifier], value: &SigmaValue, is_alone: bool) -> (Vec<Modifier>, SigmaValue, bool) {
    use Modifier::{All, Cased, Contains, DotAll, EndsWith, IgnoreCase, Neq, Re, StartsWith};
    let has = |modifier| modifiers.contains(&modifier);
    let with = |mut form: Vec<Modifier>| {
        form.extend(modifiers.iter().filter(|modifier| matches!(modifier, All | Neq)));
        form
    };
    let text = match value {
        // An item of its own: it is put apart by a modifier list that no other value has.
        SigmaValue::Null if !is_alone && modifiers.is_empty() => return (vec![All], SigmaValue::Null, false),
        SigmaValue::String(text) if text.contains_wildcards() => text,
        _ => return (modifiers.to_vec(), value.clone(), has(Contains)),
    };
    let wildcard = StringPart::Special(SpecialChar::WildcardMulti);
    let mut parts = text.parts.clone();
    if has(Contains) || has(EndsWith) {
        parts.insert(0, wildcard.clone());
    }
    if has(Contains) || has(StartsWith) {
        parts.push(wildcard.clone());
    }
    let starts = parts.iter().take_while(|part| **part == wildcard).count();
    let ends = parts.iter().rev().take_while(|part| **part == wildcard).count();
    let cased = has(Cased);
    let core = parts.get(starts..parts.len().saturating_sub(ends)).unwrap_or_default();
    match core {
        // Nothing but wildcards: any value there is.
        [] => (modifiers.to_vec(), value.clone(), true),
        [StringPart::Plain(plain)] => {
            let mut form = match (starts > 0, ends > 0) {
                (true, true) => vec![Contains],
                (true, false) => vec![EndsWith],
                (false, true) => vec![StartsWith],
                (false, false) => Vec::new(),
            };
            form.extend(cased.then_some(Cased));
            (with(form), SigmaValue::String(SigmaString::from_raw(plain)), starts > 0 && ends > 0)
        }
        core => {
            let mut pattern = String::new();
            pattern.push_str(if starts > 0 { "" } else { "^" });
            for part in core {
                match part {
                    StringPart::Plain(text) => pattern.push_str(&regex::escape(text)),
                    StringPart::Special(SpecialChar::WildcardMulti) => pattern.push_str(".*"),
                    StringPart::Special(SpecialChar::WildcardSingle) => pattern.push('.'),
                }
            }
            pattern.push_str(if ends > 0 { "" } else { "$" });
            let form = if cased { vec![Re, DotAll] } else { vec![Re, IgnoreCase, DotAll] };
            (with(form), SigmaValue::String(SigmaString::from_raw(&pattern)), starts > 0 && ends > 0)
        }
    }
}
