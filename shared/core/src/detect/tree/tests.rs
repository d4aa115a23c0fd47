use std::borrow::Cow;
use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::*;
use crate::fields::Fields;
use crate::formats::tree_of;

#[test]
fn what_rsigma_finds_at_a_path_is_found() {
    let root = json!({
        "a": {"b": {"c": 1, "": 2}, "b.c": 3, "d": [{"e": 1}, {"e": [2, {"f": 3}]}, 4], "": {"": 5}, "g": null},
        "a.g": "whole", "h": "text", "": {"i": 6}, "j[0]": 7, "k": [[{"l": 8}], 9], "m": {}, "n": [],
    });
    let (tree, rsigma) = (Tree::new(&root), JsonEvent::borrow(&root));
    let names =
        ["a", "b", "c", "d", "e", "f", "g", "h", "", "i", "j[0]", "k", "k[0]", "l", "m", "n", "x", "d[1]", r"j\[0\]"];
    let mut found = 0;
    for first in names {
        for second in names.map(Some).into_iter().chain([None]) {
            for third in names.map(Some).into_iter().chain([None]) {
                let path = [Some(first), second, third].into_iter().flatten().collect::<Vec<_>>().join(".");
                let (ours, theirs) = (tree.value(&path), rsigma.get_field(&path));
                // With two dots, names that hold one are looked for too.
                if theirs.is_some() || path.bytes().filter(|byte| *byte == b'.').count() < 2 {
                    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{path}");
                }
                found += usize::from(theirs.is_some());
            }
        }
    }
    assert!(found > 20, "{found}");
}

/// Names, plain ones mostly, and those that are more than they seem.
const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "a",
    "b",
    "c",
    "",
    "a.b",
    "b.c",
    "a.b.c",
    ".",
    "a.",
    "\\u0061",
    "b\\u002ec",
    "\\ud800",
    "0",
    "[0]",
    "a[0]",
    "\u{e9}",
    "$serde_json::private::RawValue",
    "$serde_json::private::RawValu\\u0065",
];

const SCALARS: &[&str] = &[
    "\"text\"",
    "\"\"",
    "\"1\"",
    "\"\\\"a\\\" \\\\ \\/ \\u00e9\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\udc00\\ud800\"",
    "\"\u{1f600}\"",
    "\"a text that is longer than what is looked at together, }]\"",
    "\"{\\\"a\\\": {\\\"b\\\": 1}}\"",
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1e3",
    "1E-3",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "123456789012345678901234567890",
    "1e999",
    "-1e999",
    "0.1",
    "true",
    "false",
    "null",
];

fn value() -> impl Strategy<Value = String> {
    let deep = (select(&[90_usize, 98, 99, 100, 101, 126, 127, 128, 140][..]), select(SCALARS))
        .prop_map(|(depth, leaf)| format!("{}{leaf}{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
    let leaf = prop_oneof![40 => select(SCALARS).prop_map(str::to_owned), 1 => deep].boxed();
    leaf.clone().prop_recursive(4, 24, 4, move |inner| {
        let list = vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(" ,")));
        prop_oneof![6 => leaf.clone(), 6 => object(inner), 1 => list]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    // One odd name is enough for the tree to be asked.
    let names = prop_oneof![3 => Just(&NAMES[..6]), 1 => Just(NAMES)];
    (names, vec((any::<usize>(), value, select(&["", "", " ", "\n\t"][..])), 0..6)).prop_map(|(names, members)| {
        let members = members.into_iter().map(|(name, value, space)| {
            let name = names[name % names.len()];
            format!("{space}\"{name}\"{space}:{space}{value}")
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

#[test]
fn what_is_read_off_a_text_is_what_its_tree_holds() {
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]));
    let names = select(&["a", "b", "c", "a", "b", "c", "", "0", "d", "[0]", "a[0]", "\u{e9}"][..]);
    let path = prop_oneof![
        30 => vec(names, 1..5).prop_map(|names| names.join(".")),
        1 => select(&[90_usize, 100, 101, 128, 141][..]).prop_map(|depth| vec!["a"; depth].join(".")),
    ];
    let (read_off, values) = (Cell::new(0), Cell::new(0));
    runner
        .run(&(object(value()), vec(path, 1..12)), |(text, paths)| {
            let (fields, root) = (Fields::json(Cow::Borrowed(&text), tree_of), tree_of(&text));
            let tree = Tree::new(&root);
            for path in paths {
                let expected = tree.value(&path);
                if let Ok(found) = read(fields.as_json().unwrap(), &path) {
                    // As NaN is not equal to itself.
                    prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{} in {}", path, text);
                    read_off.set(read_off.get() + 1);
                    values.set(values.get() + usize::from(found.is_some()));
                }
                let names: Vec<&str> = path.split('.').collect();
                let of_tree = names.iter().try_fold(&root, |value, name| value.get(name)).and_then(Value::as_str);
                prop_assert_eq!(fields.text_at(&names), of_tree, "{} in {}", path, text);
                prop_assert_eq!(fields.get(&path), root.get(&path), "{} in {}", path, text);
            }
            Ok(())
        })
        .unwrap();
    let (read_off, values) = (read_off.get(), values.get());
    assert!(read_off > 8_000 && values > 500, "{read_off} read, {values} of them there");
}
