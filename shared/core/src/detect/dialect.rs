//! Where rsigma takes a rule otherwise than the specification, the rule is put into words that mean the same to both.
//!
//! - A value with wildcards and `startswith` or `endswith` is anchored at the wrong end: the modifier becomes a `*`.
//! - `*` and `?` stop at the end of a line: what has them elsewhere than at its ends becomes a regular expression that
//!   does not.
//! - `null` among several values matches no absent field: it becomes an alternative of its own.
//! - `'|all'` over keywords is taken for a comparison, or asks for all of them in one value: each keyword becomes a
//!   selection.
//! - A keyword that is a number is found nowhere, and one with `cased` or a coding is compared with whole values: it
//!   becomes a text that is looked for anywhere.
//! - `windash` and the codings are worked in one order, and Base64 keeps letters that depend on what follows: the values
//!   are written so before ([`written`]).
//! - `neq` is never true of an absent field: it asks for the field by a name of its own, and gets null.
//! - `cidr` refuses an address without a mask: it gets one.
//! - `true` is also `yes` and `1`, and large numbers are equal to their neighbours: these become texts. No value at all
//!   matches nothing: it becomes `null`, which pySigma makes of it.
//! - `exists` takes any value for true and forgets `neq`: it is told true or false.
//! - `1 of` takes one `*` in a name, and selections that begin with `_` and are nobody's but their condition's: a pattern
//!   with more, or with such a selection, is spelt out.
//! - `exists` does not hold of a field that is null, and to `fieldref` null is equal to null; what `contains` or `re` looks
//!   for in an object it does not find. These ask for the field by names of their own, see [`super::tree`]. Within a list's
//!   members they are left as they are.
//!
//! `shared/core/tests/sigma_semantics` shows each.

mod written;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, FieldSpec, Modifier, Quantifier, SelectorPattern, SigmaString,
    SigmaValue, SpecialChar, StringPart,
};

use super::event::DERIVED;
use super::tree::{COMPARED, NEGATED, PRESENCE, WITHIN};
use crate::wildcards;

/// Puts a rule's selections into words that rsigma takes as they are meant. An error: what is said has no meaning.
pub(super) fn translate(detections: &mut Detections) -> Result<(), String> {
    for detection in detections.named.values_mut() {
        translate_names(detection);
        translate_detection(detection, Of::Record)?;
    }
    Ok(())
}

/// Writes where a value stands in a text as wildcards of the value, and keywords as items, as pySigma has them when
/// processing pipelines see them. Values in code stay as they are.
pub(super) fn write_out(detections: &mut Detections) {
    detections.named.values_mut().for_each(write_out_detection);
}

fn write_out_detection(detection: &mut Detection) {
    match detection {
        Detection::AllOf(items) => items.iter_mut().for_each(write_out_item),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter_mut().for_each(write_out_detection),
        Detection::ArrayMatch { body, .. } => write_out_detection(body),
        Detection::Conditional { named, .. } => named.values_mut().for_each(write_out_detection),
        Detection::Keywords(values) => {
            let item = DetectionItem { field: FieldSpec::new(None, Vec::new()), values: std::mem::take(values) };
            *detection = alone(item);
        }
    }
}

fn write_out_item(item: &mut DetectionItem) {
    use Modifier::{Contains, EndsWith, Expand, StartsWith};
    let modifiers = &mut item.field.modifiers;
    let has = |modifier| modifiers.contains(&modifier);
    let is_about_text = modifiers.iter().all(|modifier| is_about_text(&[*modifier]) || *modifier == Expand);
    let is_numeric = |value: &SigmaValue| !matches!(value, SigmaValue::String(_));
    let (starts, ends) = (has(Contains) || has(EndsWith), has(Contains) || has(StartsWith));
    // A keyword that begins with something is not one that is looked for anywhere.
    if !is_about_text || !(starts || ends) || item.field.name.is_none() || item.values.iter().any(is_numeric) {
        return;
    }
    for value in &mut item.values {
        if let SigmaValue::String(text) = value {
            *text = SigmaString::new(&around(text, starts, ends));
        }
    }
    modifiers.retain(|modifier| !matches!(modifier, Contains | EndsWith | StartsWith));
}

/// A text as it is written with `*` before or behind it.
fn around(text: &SigmaString, starts: bool, ends: bool) -> String {
    let wildcard = Some(&StringPart::Special(SpecialChar::WildcardMulti));
    let before = if starts && text.parts.first() != wildcard { "*" } else { "" };
    let behind = if ends && text.parts.last() != wildcard { "*" } else { "" };
    // What stands behind a backslash would belong to it.
    let open = text.original.len() - text.original.trim_end_matches('\\').len();
    let own = if !behind.is_empty() && open % 2 == 1 { "\\" } else { "" };
    format!("{before}{}{own}{behind}", text.original)
}

/// Spells out each selector whose pattern has more than one `*`, or fits a selection that begins with `_` as it does not.
/// One that selects nothing stays as it is.
pub(super) fn spell_out(detections: &mut Detections) {
    let names: BTreeSet<&String> = detections.named.keys().collect();
    detections.conditions = detections.conditions.iter().map(|condition| spelt_out(condition, &names)).collect();
}

fn spelt_out(condition: &ConditionExpr, names: &BTreeSet<&String>) -> ConditionExpr {
    let all = |parts: &[ConditionExpr]| parts.iter().map(|part| spelt_out(part, names)).collect();
    match condition {
        ConditionExpr::And(parts) => ConditionExpr::And(all(parts)),
        ConditionExpr::Or(parts) => ConditionExpr::Or(all(parts)),
        ConditionExpr::Not(part) => ConditionExpr::Not(Box::new(spelt_out(part, names))),
        ConditionExpr::Identifier(_) => condition.clone(),
        ConditionExpr::Selector { quantifier, pattern } => {
            let SelectorPattern::Pattern(pattern) = pattern else { return condition.clone() };
            let is_hidden = |name: &str| name.starts_with('_') && !pattern.starts_with('_');
            let fitting = names.iter().filter(|name| wildcards::fits(pattern, name));
            let (hidden, selected): (Vec<&&String>, Vec<&&String>) = fitting.partition(|name| is_hidden(name));
            if pattern.matches('*').count() < 2 && hidden.is_empty() {
                return condition.clone();
            }
            let parts: Vec<_> = selected.into_iter().map(|name| ConditionExpr::Identifier((**name).clone())).collect();
            match quantifier {
                _ if parts.is_empty() => condition.clone(),
                Quantifier::Any | Quantifier::Count(1) => ConditionExpr::Or(parts),
                Quantifier::All => ConditionExpr::And(parts),
                Quantifier::Count(_) => condition.clone(),
            }
        }
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
    let is_derived = |name: &String| name.starts_with(DERIVED);
    let name = field.name.as_ref();
    let name = name.map(|name| if is_derived(name) { name.clone() } else { format!("{prefix}{name}") });
    FieldSpec { name, ..field.clone() }
}

fn translate_detection(detection: &mut Detection, of: Of) -> Result<(), String> {
    match detection {
        Detection::AllOf(items) => {
            let parts: Vec<Detection> = items.iter().map(|item| translated(item, of)).collect::<Result<_, _>>()?;
            let same = parts.iter().zip(items.iter()).all(|(part, item)| *part == alone(item.clone()));
            if !same {
                *detection = joined(parts);
            }
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter_mut().try_for_each(|part| translate_detection(part, of))?;
        }
        Detection::ArrayMatch { body, .. } => translate_detection(body, Of::Member)?,
        Detection::Conditional { named, .. } => {
            named.values_mut().try_for_each(|part| translate_detection(part, of))?;
        }
        Detection::Keywords(values) => {
            let item = DetectionItem { field: FieldSpec::new(None, Vec::new()), values: std::mem::take(values) };
            *detection = keywords(&plain(&item)?)?;
        }
    }
    Ok(())
}

/// Makes a value that is a number or a truth value the text of it.
fn to_text(value: &mut SigmaValue) {
    if matches!(value, SigmaValue::Integer(_) | SigmaValue::Float(_) | SigmaValue::Bool(_)) {
        *value = SigmaValue::String(SigmaString::from_raw(&value.to_string()));
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

fn translated(item: &DetectionItem, of: Of) -> Result<Detection, String> {
    let item = &plain(item)?;
    if item.field.name.is_none() && of == Of::Record {
        return keywords(item);
    }
    let has = |modifier| item.field.has_modifier(modifier);
    if let Some(groups) = written(item)? {
        let field = unwritten(&item.field);
        return each_or_any(item, groups, |values| translated(&DetectionItem { field: field.clone(), values }, of));
    }
    let mut items: Vec<DetectionItem> = if is_about_text(&item.field.modifiers) {
        by_form(item, of)
    } else if (has(Modifier::Contains) || has(Modifier::Re)) && !has(Modifier::FieldRef) && of == Of::Record {
        vec![DetectionItem { field: asked(WITHIN, &item.field), ..item.clone() }]
    } else {
        vec![item.clone()]
    };
    if has(Modifier::Neq) && of == Of::Record {
        for item in &mut items {
            item.field.name = item.field.name.as_ref().map(|name| format!("{NEGATED}{name}"));
        }
    }
    let parts: Vec<Detection> = items.into_iter().map(alone).collect();
    // None of several is each of them not, and not all of them is one of them not.
    Ok(if has(Modifier::All) != has(Modifier::Neq) || parts.len() == 1 {
        joined(parts)
    } else {
        Detection::AnyOf(parts)
    })
}

/// For each value the texts as which it is looked for, if a modifier writes values otherwise. What is no comparison of
/// texts is for rsigma to refuse.
fn written(item: &DetectionItem) -> Result<Option<Vec<Vec<SigmaValue>>>, String> {
    let (writing, others): (Vec<Modifier>, Vec<Modifier>) =
        item.field.modifiers.iter().partition(|modifier| written::writes(**modifier));
    if writing.is_empty() || !is_about_text(&others) {
        return Ok(None);
    }
    item.values.iter().map(|value| written::variants(value, &writing)).collect::<Result<_, _>>().map(Some)
}

/// A field's modifiers but those that write values otherwise, and but `all`, which is said of groups of texts.
fn unwritten(field: &FieldSpec) -> FieldSpec {
    let stays = |modifier: &Modifier| !written::writes(*modifier) && *modifier != Modifier::All;
    FieldSpec { modifiers: field.modifiers.iter().copied().filter(stays).collect(), ..field.clone() }
}

/// What an item says of groups of texts, of each of which any stands for the group.
fn each_or_any(
    item: &DetectionItem,
    groups: Vec<Vec<SigmaValue>>,
    detection: impl Fn(Vec<SigmaValue>) -> Result<Detection, String>,
) -> Result<Detection, String> {
    if !item.field.has_modifier(Modifier::All) {
        return detection(groups.concat());
    }
    let parts: Vec<Detection> = groups.into_iter().map(detection).collect::<Result<_, _>>()?;
    Ok(if item.field.has_modifier(Modifier::Neq) { Detection::AnyOf(parts) } else { Detection::And(parts) })
}

/// What is looked for in all of a record: anywhere in a value, where nothing else is said.
fn keywords(item: &DetectionItem) -> Result<Detection, String> {
    use Modifier::{All, Contains, DotAll, EndsWith, Expand, IgnoreCase, Multiline, Neq, Re, StartsWith};
    let has = |modifier| item.field.has_modifier(modifier);
    // rsigma takes any modifier, and most match nothing.
    let is_known = |modifier: Modifier| match modifier {
        Re | DotAll | IgnoreCase | Multiline | Expand => true,
        modifier => (is_about_text(&[modifier]) && modifier != Neq) || written::writes(modifier),
    };
    if let Some(modifier) = item.field.modifiers.iter().find(|modifier| !is_known(**modifier)) {
        let name = format!("{modifier:?}").to_lowercase();
        return Err(format!("keywords are texts, of which |{name} says nothing"));
    }
    if item.values.contains(&SigmaValue::Null) {
        return Err("nothing is found by the keyword: null".to_owned());
    }
    let groups = match written(item)? {
        Some(groups) => groups,
        None if !has(All) => vec![item.values.clone()],
        None => item.values.iter().cloned().map(|value| vec![value]).collect(),
    };
    let mut field = unwritten(&item.field);
    let is_anywhere = is_about_text(&field.modifiers) && !has(StartsWith) && !has(EndsWith);
    if is_anywhere && !has(Contains) {
        field.modifiers.insert(0, Contains);
    }
    // Not flat: items of no field at once would be one.
    each_or_any(item, groups, |values| {
        let item = DetectionItem { field: field.clone(), values };
        let items = if is_about_text(&field.modifiers) { by_form(&item, Of::Record) } else { vec![item] };
        let part = |item: DetectionItem| match item.field.modifiers.as_slice() {
            [Contains] => Detection::Keywords(item.values),
            _ => alone(item),
        };
        let mut parts: Vec<Detection> = items.into_iter().map(part).collect();
        Ok(if parts.len() == 1 { parts.remove(0) } else { Detection::AnyOf(parts) })
    })
}

/// An item with its values as rsigma takes them for what they are.
fn plain(item: &DetectionItem) -> Result<DetectionItem, String> {
    let mut item = item.clone();
    let (is_keyword, modifiers) = (item.field.name.is_none(), &mut item.field.modifiers);
    let has = |modifier| modifiers.contains(&modifier);
    if has(Modifier::Exists) {
        let [SigmaValue::Bool(there)] = item.values.as_slice() else {
            return Err("the modifier |exists takes true or false".to_owned());
        };
        item.values = vec![SigmaValue::Bool(*there != has(Modifier::Neq))];
        modifiers.retain(|modifier| *modifier != Modifier::Neq);
    } else if item.values.is_empty() && !is_keyword {
        item.values = vec![SigmaValue::Null];
        modifiers.retain(|modifier| *modifier == Modifier::Neq);
    } else if has(Modifier::Cidr) {
        item.values = item.values.iter().map(network).collect();
    } else if is_keyword || modifiers.iter().any(|modifier| written::writes(*modifier)) {
        item.values.iter_mut().for_each(to_text);
    } else if is_about_text(modifiers) {
        let is_told_as_text = |value: &&mut SigmaValue| match value {
            // rsigma takes `yes` and `1` for true.
            SigmaValue::Bool(_) => true,
            // It compares numbers as floats, which have no more digits than this one.
            SigmaValue::Integer(number) => number.unsigned_abs() > 1 << f64::MANTISSA_DIGITS,
            _ => false,
        };
        item.values.iter_mut().filter(is_told_as_text).for_each(to_text);
    }
    Ok(item)
}

/// An address as the network that holds nothing else, and a mask of dots as the length that it is. What is none stays, to
/// be refused.
fn network(value: &SigmaValue) -> SigmaValue {
    let SigmaValue::String(text) = value else { return value.clone() };
    let with_mask = || {
        let (address, mask) = text.original.split_once('/')?;
        Ipv4Net::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok().map(IpNet::from)
    };
    let alone = text.original.parse().ok().map(|address: IpAddr| IpNet::from(address));
    match alone.or_else(with_mask) {
        Some(network) => SigmaValue::String(SigmaString::from_raw(&network.to_string())),
        None => value.clone(),
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
