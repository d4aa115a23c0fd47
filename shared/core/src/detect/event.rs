//! A record as rsigma sees it.

use std::borrow::Cow;
use std::cell::OnceCell;

use memchr::memchr2;
use rsigma_eval::{Event, EventValue};
use serde_json::Value;

use super::tree::{COMPARED, PRESENCE, Tree, name_of};
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

    /// What the tree would say of a path, without it.
    fn read(&self, path: &str) -> Result<Option<EventValue<'_>>, OnlyTree> {
        let (name, fields) = (name_of(path), &self.record.fields);
        if memchr2(b'[', b'\\', name.as_bytes()).is_some() {
            return Err(OnlyTree);
        }
        if path.starts_with(PRESENCE) {
            return fields.has(name).map(|is_there| is_there.then_some(EventValue::Bool(true)));
        }
        let value = fields.scalar(name)?.map(|scalar| match scalar {
            Scalar::Text(text) => EventValue::Str(text),
            Scalar::Other(Value::Bool(flag)) => EventValue::Bool(flag),
            Scalar::Other(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => EventValue::Int(whole),
                (None, float) => EventValue::Float(float.unwrap_or(f64::NAN)),
            },
            Scalar::Other(_) => EventValue::Null,
        });
        Ok(value.filter(|value| !path.starts_with(COMPARED) || !value.is_null()))
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
            None => self.read(name).unwrap_or_else(|OnlyTree| self.tree().value(name)),
        }
    }
}

impl Event for RecordEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        if self.record.fields.as_line().is_none() && !path.starts_with(DERIVED) {
            return self.read(path).unwrap_or_else(|OnlyTree| self.tree().get_field(path));
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::detect::tree::WITHIN;
    use crate::formats::{Parsed, by_name};
    use crate::pipeline::Options;

    const NAMES: [&str; 9] = ["a", "b", "c", "a.b", "b.c", "", "\u{e4}", "d e", "d[0]"];

    /// A value, with names that come twice, hold dots or are escaped, and texts and numbers that are hard to hold.
    fn value() -> impl Strategy<Value = String> {
        let leaf = select(vec![
            r#""text""#,
            r#""""#,
            r#""\u0041\n\"""#,
            r#""\ud83d\ude00""#,
            r#""\ud800""#,
            r#""{\"a\":1}""#,
            "\"\u{fc}\"",
            "1",
            "-1",
            "0",
            "-0",
            "1.0",
            "1e3",
            "-2.5E-3",
            "1e999",
            "9223372036854775808",
            "18446744073709551616",
            "true",
            "false",
            "null",
            "{}",
            "[]",
            "[1, 2]",
            r#"[{"a": 1}, {"a": {"b": 2}}]"#,
        ]);
        let name = prop_oneof![8 => select(NAMES.to_vec()), 1 => select(vec![r"\u0061", r"b\u002ec"])];
        leaf.prop_map(str::to_owned).prop_recursive(3, 24, 5, move |inner| {
            let member = (name.clone(), select(vec!["", " ", "\n\t"]), inner);
            let member = member.prop_map(|(name, space, value)| format!("\"{name}\"{space}:{space}{value}{space}"));
            vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
        })
    }

    #[test]
    fn what_is_read_of_a_text_is_what_its_tree_says() {
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
        let record = |text: &'static str| match by_name("eve")
            .map(|format| format.parser(&Options::default().context()).parse(text))
        {
            Some(Parsed::Record(record)) => record,
            _ => panic!("not parsed: {text}"),
        };
        let (read, told) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let members = vec((select(NAMES.to_vec()), value()), 0..6);
        let ran = runner.run(&members, |members| {
            let members: Vec<String> = members.iter().map(|(name, value)| format!(r#","{name}": {value}"#)).collect();
            let text: &str = Box::leak(format!(r#"{{"event_type":"alert"{}}}"#, members.concat()).into_boxed_str());
            let (asked, built) = (record(text), record(text));
            let tree = Tree::new(built.fields.tree());
            let (event, names) = (RecordEvent::new(&asked, false), NAMES.map(Some));
            for first in NAMES {
                for second in names.into_iter().chain([None]) {
                    for third in [Some("a"), Some("b.c"), None] {
                        let path = [Some(first), second, third].into_iter().flatten().collect::<Vec<_>>().join(".");
                        for prefix in ["", PRESENCE, WITHIN, COMPARED] {
                            let path = format!("{prefix}{path}");
                            if let Ok(found) = event.read(&path) {
                                let expected = tree.get_field(&path);
                                prop_assert_eq!(format!("{:?}", found), format!("{:?}", expected), "{:?}", path);
                                read.set(read.get() + u32::from(found.is_some()));
                            } else {
                                told.set(told.get() + 1);
                            }
                        }
                    }
                }
            }
            for name in NAMES {
                let texts = [&record(text), &built].map(|record| record.fields.text(name).map(str::to_owned));
                prop_assert_eq!(&texts[0], &texts[1], "{:?}", name);
            }
            Ok(())
        });
        ran.unwrap();
        assert!(read.get() > 10_000 && told.get() > 10_000, "{} {}", read.get(), told.get());
    }
}
