//! Placeholders: `%name%` in a value with the modifier `expand`, filled in from the configuration.
//!
//! A value with a placeholder stands for as many values as the configuration has for it. These are written as values of
//! rules are: `*` and `?` are wildcards.

use std::collections::{BTreeMap, BTreeSet};

use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaString, SigmaValue};

use super::fields::items;

/// What placeholders stand for, by name: `[placeholders]` of the configuration.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// The most values that one value may become.
const MAX_VALUES: usize = 10_000;

/// Puts `*` in place of every placeholder of a rule.
pub(super) fn fill_with_anything(detections: &mut Detections) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for detection in detections.named.values() {
        collect(detection, &mut names);
    }
    fill(detections, &names.into_iter().map(|name| (name, vec!["*".to_owned()])).collect())
}

/// All that could be a placeholder's name.
fn collect(detection: &Detection, names: &mut BTreeSet<String>) {
    let expanded = items(detection).into_iter().filter(|item| item.field.has_modifier(Modifier::Expand));
    for value in expanded.flat_map(|item| &item.values) {
        if let SigmaValue::String(text) = value {
            names.extend(text.original.split('%').filter(|name| is_name(name)).map(str::to_owned));
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Fills in the placeholders of a rule. The error tells of each selection that could not be filled in.
pub(super) fn fill(detections: &mut Detections, placeholders: &Placeholders) -> Result<(), String> {
    let fill = |detection: &mut Detection| fill_detection(detection, placeholders).err();
    let errors: BTreeSet<String> = detections.named.values_mut().filter_map(fill).collect();
    if errors.is_empty() { Ok(()) } else { Err(Vec::from_iter(errors).join("; ")) }
}

fn fill_detection(detection: &mut Detection, placeholders: &Placeholders) -> Result<(), String> {
    match detection {
        Detection::AllOf(items) => items.iter_mut().try_for_each(|item| fill_item(item, placeholders)),
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter_mut().try_for_each(|part| fill_detection(part, placeholders))
        }
        Detection::ArrayMatch { body, .. } => fill_detection(body, placeholders),
        Detection::Conditional { named, .. } => {
            named.values_mut().try_for_each(|part| fill_detection(part, placeholders))
        }
        Detection::Keywords(_) => Ok(()),
    }
}

fn fill_item(item: &mut DetectionItem, placeholders: &Placeholders) -> Result<(), String> {
    if !item.field.has_modifier(Modifier::Expand) {
        return Ok(());
    }
    item.field.modifiers.retain(|modifier| *modifier != Modifier::Expand);
    let mut values = Vec::new();
    for value in std::mem::take(&mut item.values) {
        match value {
            SigmaValue::String(text) => {
                let filled = filled(&text.original, placeholders)?;
                values.extend(filled.iter().map(|text| SigmaValue::String(SigmaString::new(text))));
            }
            other => values.push(other),
        }
        if values.len() > MAX_VALUES {
            return Err(format!("its placeholders come to more than {MAX_VALUES} values"));
        }
    }
    // `all` wants several values, and one is all of them.
    if values.len() == 1 {
        item.field.modifiers.retain(|modifier| *modifier != Modifier::All);
    }
    item.values = values;
    Ok(())
}

/// The texts that a text with placeholders stands for.
fn filled(text: &str, placeholders: &Placeholders) -> Result<Vec<String>, String> {
    let mut texts = vec![String::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        // `\%` is a plain `%`, and `\\` before one is a backslash as elsewhere in a value.
        let slashes = before.len() - before.trim_end_matches('\\').len();
        if slashes % 2 == 1 {
            for text in &mut texts {
                text.push_str(&before[..before.len() - 1]);
                text.push('%');
            }
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('%').filter(|(name, _)| is_name(name)) else {
            for text in &mut texts {
                text.push_str(before);
                text.push('%');
            }
            rest = after;
            continue;
        };
        let values = placeholders.get(name).filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| {
            format!("the placeholder '%{name}%' has no values; give it some in the configuration, under [placeholders]")
        })?;
        if texts.len() * values.len() > MAX_VALUES {
            return Err(format!("its placeholders come to more than {MAX_VALUES} values"));
        }
        texts =
            texts.iter().flat_map(|text| values.iter().map(move |value| format!("{text}{before}{value}"))).collect();
        rest = after;
    }
    for text in &mut texts {
        text.push_str(rest);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_one_for_each_that_its_placeholders_have() {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let known = Placeholders::from([("a".to_owned(), list(&["1", "2"])), ("b".to_owned(), list(&["x", "y"]))]);
        assert_eq!(filled("%a%-%b%!", &known).unwrap(), ["1-x!", "1-y!", "2-x!", "2-y!"]);
        assert_eq!(filled("100% of %a%", &known).unwrap(), ["100% of 1", "100% of 2"]);
        assert_eq!(filled("plain", &known).unwrap(), ["plain"]);
        assert_eq!(filled(r"\%plain%a%", &known).unwrap(), ["%plain1", "%plain2"]);
        assert_eq!(filled(r"x\\%a%", &known).unwrap(), [r"x\\1", r"x\\2"]);
        assert!(filled("%c%", &known).unwrap_err().contains("'%c%'"));
    }
}
