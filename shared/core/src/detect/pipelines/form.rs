//! A processing pipeline as it is written: pySigma's form, of which nothing is passed over. What rsigma would do otherwise
//! than pySigma is refused.
//!
//! See <https://sigmahq-pysigma.readthedocs.io/en/latest/Processing_Pipelines.html>; the keys are those of
//! <https://github.com/SigmaHQ/pySigma/tree/main/sigma/processing>.

use std::collections::{BTreeMap, HashMap};

use rsigma_eval::pipeline::Transformation;
use rsigma_parser::{Detection, DetectionItem, LogSource, Modifier, SigmaString, SigmaValue, parse_field_spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use yaml_serde::value::{Tag, TaggedValue};
use yaml_serde::{Mapping, Value};

use super::apply::{Change, Item, Pipeline};
use super::conditions::{self, General};
use crate::detect::placeholders::Placeholders;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    vars: BTreeMap<String, Values>,
    /// For which programs a pipeline is, of which this is none of pySigma's.
    #[serde(default, rename = "allowed_backends")]
    _allowed_backends: Vec<String>,
    transformations: Vec<Mapping>,
    #[serde(default)]
    postprocessing: Vec<Value>,
    #[serde(default)]
    finalizers: Vec<Value>,
}

/// One value or a list of several.
#[derive(Deserialize)]
#[serde(transparent)]
struct Values(Value);

impl Values {
    /// Their texts, of which there must be one.
    fn texts(self, key: &str) -> Result<Vec<String>, String> {
        let values = match self.0 {
            Value::Sequence(values) => values,
            value => vec![value],
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(format!("'{key}' stands for something that is neither text nor number")),
        };
        if values.is_empty() {
            return Err(format!("'{key}' stands for nothing"));
        }
        values.into_iter().map(text).collect()
    }
}

/// What a transformation does, with the keys that it has for that.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    FieldNameMapping {
        mapping: BTreeMap<String, Values>,
    },
    FieldNamePrefixMapping {
        mapping: BTreeMap<String, String>,
    },
    FieldNamePrefix {
        prefix: String,
    },
    FieldNameSuffix {
        suffix: String,
    },
    DropDetectionItem {},
    AddCondition(Added),
    ChangeLogsource {
        category: Option<String>,
        product: Option<String>,
        service: Option<String>,
    },
    ReplaceString(Replaced),
    MapString {
        mapping: BTreeMap<String, Values>,
    },
    SetValue {
        value: Value,
        force_type: Option<Type>,
    },
    Case {
        #[serde(default)]
        method: Case,
    },
    Regex {
        #[serde(default)]
        method: Regex,
    },
    SetState {
        key: String,
        val: Value,
    },
    RuleFailure {
        message: String,
    },
    DetectionItemFailure {
        message: String,
    },
    SetCustomAttribute {
        attribute: String,
        value: Value,
    },
    AddField {
        field: Values,
    },
    RemoveField {
        field: Values,
    },
    SetField {
        fields: Values,
    },
    ValuePlaceholders {},
    WildcardPlaceholders {},
    Nest {
        items: Vec<Mapping>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    #[serde(default)]
    conditions: Mapping,
    /// What the selection is called, which nothing else may.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    template: bool,
    #[serde(default)]
    negated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replaced {
    regex: String,
    replacement: String,
    #[serde(default)]
    skip_special: bool,
    #[serde(default)]
    interpret_special: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Str,
    Num,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Case {
    #[default]
    Lower,
    Upper,
}

/// How a text becomes a regular expression that ignores case: which it does here as it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Regex {
    #[default]
    IgnoreCaseBrackets,
    IgnoreCaseFlag,
}

/// What a pipeline says. An error tells why it cannot be done.
pub(super) fn parse(text: &str) -> Result<Pipeline, String> {
    let form: Form = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    for (key, is_there) in
        [("postprocessing", !form.postprocessing.is_empty()), ("finalizers", !form.finalizers.is_empty())]
    {
        if is_there {
            return Err(format!("`{key}` is about queries, and there are none here"));
        }
    }
    let vars = form.vars.into_iter().map(|(key, values)| values.texts(&key).map(|values| (key, values)));
    let vars: Placeholders = vars.collect::<Result<_, _>>().map_err(|reason: String| format!("{reason}, in `vars`"))?;
    let numbered = |(number, transformation): (usize, Mapping)| {
        let name = transformation.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        item(transformation).map_err(|reason| format!("{reason}, in transformation {number} ('{name}')"))
    };
    let items = (1..).zip(form.transformations).map(numbered).collect::<Result<_, _>>()?;
    Ok(Pipeline { priority: form.priority, vars, items })
}

/// A value of this form, or why it is none.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    yaml_serde::from_value(value).map_err(|error| error.to_string())
}

/// The same of one of several forms, of which `type` says which it is. (For serde to look for it takes a tenth of a megabyte
/// of code.)
pub(super) fn read_typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let Value::Mapping(mut keys) = value else { return Err("it is no mapping".to_owned()) };
    let Some(Value::String(name)) = keys.shift_remove("type") else { return Err("missing field `type`".to_owned()) };
    // No tag of YAML is empty, and one may begin with this.
    if name.is_empty() || name.starts_with('!') {
        return Err(format!("there is no `type` '{name}'"));
    }
    read(Value::Tagged(Box::new(TaggedValue { tag: Tag::new(name), value: Value::Mapping(keys) })))
}

fn item(transformation: Mapping) -> Result<Item, String> {
    let is_general = |key: &Value| key.as_str().is_some_and(conditions::is_general);
    let (general, own): (Mapping, Mapping) = transformation.into_iter().partition(|(key, _)| is_general(key));
    let general: General = read(Value::Mapping(general))?;
    let kind: Kind = read_typed(Value::Mapping(own.clone()))?;
    let change = change(kind)?;
    let (id, rules, items) = general.conditions()?;
    let name = own.get("type").and_then(Value::as_str).unwrap_or_default();
    let refused = match change {
        // rsigma asks some of them of nothing.
        Change::Names(_) => items.has_items().then_some("detection_item_conditions"),
        Change::Items(Transformation::DetectionItemFailure { .. }) => {
            items.has_fields().then_some("field_name_conditions")
        }
        Change::Items(_) => None,
        // Nor does pySigma where a rule is changed as a whole.
        _ if items.has_items() => Some("detection_item_conditions"),
        _ => items.has_fields().then_some("field_name_conditions"),
    };
    match refused {
        Some(key) => Err(format!("`{key}` cannot be asked before '{name}'")),
        None => Ok(Item { id, rules, items, change }),
    }
}

fn change(kind: Kind) -> Result<Change, String> {
    let mapping = |mapping: BTreeMap<String, Values>| -> Result<HashMap<String, Vec<String>>, String> {
        mapping.into_iter().map(|(key, values)| values.texts(&key).map(|values| (key, values))).collect()
    };
    Ok(match kind {
        Kind::FieldNameMapping { mapping: names } => {
            Change::Names(Transformation::FieldNameMapping { mapping: mapping(names)? })
        }
        Kind::FieldNamePrefixMapping { mapping } => {
            for prefix in mapping.keys() {
                if let Some(longer) = mapping.keys().find(|other| *other != prefix && other.starts_with(prefix)) {
                    return Err(format!("which comes first is not known of the prefixes '{longer}' and '{prefix}'"));
                }
            }
            Change::Names(Transformation::FieldNamePrefixMapping { mapping: mapping.into_iter().collect() })
        }
        Kind::FieldNamePrefix { prefix } => Change::Names(Transformation::FieldNamePrefix { prefix }),
        Kind::FieldNameSuffix { suffix } => Change::Names(Transformation::FieldNameSuffix { suffix }),
        Kind::DropDetectionItem {} => Change::Items(Transformation::DropDetectionItem),
        Kind::AddCondition(added) => add_condition(added)?,
        Kind::ChangeLogsource { category, product, service } => {
            Change::LogSource(LogSource { category, product, service, ..LogSource::default() })
        }
        Kind::ReplaceString(replaced) => replace_string(replaced)?,
        Kind::MapString { mapping: texts } => Change::Items(Transformation::MapString { mapping: mapping(texts)? }),
        Kind::SetValue { value, force_type } => {
            Change::Items(Transformation::SetValue { value: set_value(&value, force_type)? })
        }
        Kind::Case { method } => {
            let case_type = if matches!(method, Case::Lower) { "lower" } else { "upper" }.to_owned();
            Change::Items(Transformation::CaseTransformation { case_type })
        }
        Kind::Regex { method: Regex::IgnoreCaseBrackets | Regex::IgnoreCaseFlag } => {
            Change::Items(Transformation::Regex)
        }
        Kind::SetState { key, val } => Change::State(key, val),
        Kind::RuleFailure { message } => Change::Failure(message),
        Kind::DetectionItemFailure { message } => Change::Items(Transformation::DetectionItemFailure { message }),
        Kind::SetCustomAttribute { attribute, value } => Change::Attribute(attribute, value),
        // Which fields are shown to people is not asked of a rule here.
        Kind::AddField { field } | Kind::RemoveField { field } | Kind::SetField { fields: field } => {
            field.texts("fields")?;
            Change::Shown
        }
        Kind::ValuePlaceholders {} => Change::Placeholders,
        Kind::WildcardPlaceholders {} => Change::AnyPlaceholders,
        Kind::Nest { items } => Change::Nest(items.into_iter().map(item).collect::<Result<_, _>>()?),
    })
}

/// The selection that is added, of items as a rule has them.
fn add_condition(added: Added) -> Result<Change, String> {
    if added.template {
        return Err("`template` of 'add_condition' is not understood".to_owned());
    }
    let item = |(key, value): (Value, Value)| {
        let key = key.as_str().ok_or("a key of `conditions` is no text")?;
        let field = parse_field_spec(key).map_err(|error| error.to_string())?;
        let is_raw = field.has_modifier(Modifier::Re);
        let one = |value: &Value| match value {
            Value::String(text) if is_raw => Ok(SigmaValue::from_raw_string(text)),
            Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                Err(format!("a value of '{key}' is no single value"))
            }
            value => Ok(SigmaValue::from_yaml(value)),
        };
        let values = match &value {
            Value::Sequence(values) => values.iter().map(one).collect::<Result<_, _>>()?,
            value => vec![one(value)?],
        };
        Ok(DetectionItem { field, values })
    };
    let items: Vec<DetectionItem> = added.conditions.into_iter().map(item).collect::<Result<_, String>>()?;
    if items.is_empty() {
        return Err("`conditions` of 'add_condition' are none".to_owned());
    }
    Ok(Change::Condition { selection: Detection::AllOf(items), is_negated: added.negated })
}

fn replace_string(replaced: Replaced) -> Result<Change, String> {
    let Replaced { regex, replacement, skip_special, interpret_special } = replaced;
    regex::Regex::new(&regex).map_err(|error| error.to_string())?;
    let replacement = in_our_words(&replacement)?;
    if interpret_special || (skip_special && replacement.contains(['*', '?', '\\'])) {
        return Err("wildcards of a `replacement` beside `skip_special` are not understood".to_owned());
    }
    Ok(Change::Items(Transformation::ReplaceString { regex, replacement, skip_special }))
}

/// Python's replacement, whose groups are `\1` and `\g<name>`, with groups as `${1}` and `${name}`.
fn in_our_words(replacement: &str) -> Result<String, String> {
    let mut written = String::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('\\') {
        written.push_str(&before.replace('$', "$$"));
        let digits = after.len() - after.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let named = after.strip_prefix("g<").and_then(|after| after.split_once('>'));
        rest = match (digits, named) {
            (1.., _) => {
                written.extend(["${", &after[..digits], "}"]);
                &after[digits..]
            }
            (0, Some((name, after))) => {
                written.extend(["${", name, "}"]);
                after
            }
            (0, None) => {
                written.push('\\');
                after.strip_prefix('\\').ok_or_else(|| format!("the replacement '{replacement}' is not understood"))?
            }
        };
    }
    written.push_str(&rest.replace('$', "$$"));
    Ok(written)
}

fn set_value(value: &Value, force_type: Option<Type>) -> Result<SigmaValue, String> {
    let text = || match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let wrong = || "the `value` of 'set_value' is not of this type".to_owned();
    match (value, force_type) {
        (Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_), _) => Err(wrong()),
        (value, None) => Ok(SigmaValue::from_yaml(value)),
        (_, Some(Type::Str)) => Ok(SigmaValue::String(SigmaString::new(&text().ok_or_else(wrong)?))),
        (_, Some(Type::Num)) => {
            let text = text().ok_or_else(wrong)?;
            let whole = text.parse().map(SigmaValue::Integer);
            whole.or_else(|_| text.parse().map(SigmaValue::Float)).map_err(|_| wrong())
        }
    }
}
