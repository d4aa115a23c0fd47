use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

struct Asked;

impl Names<5> for Asked {
    const NAMES: [Name; 5] = [("name", None), ("who", Some("type")), ("who", Some("a")), ("x", None), ("time", None)];
}

/// What the tree of an object says of a name.
fn of_tree<'t>(tree: &'t Value, name: &str, inner: Option<&str>) -> Key<'t> {
    let value = match inner {
        None => tree.get(name),
        Some(_) if tree.get(name).is_some_and(Value::is_array) => return Key::Any,
        Some(inner) => tree.get(name).and_then(|outer| outer.get(inner)),
    };
    match value {
        None => Key::Absent,
        Some(Value::String(text)) => Key::Text(text),
        Some(Value::Number(number)) => number.as_u64().map_or(Key::Any, Key::Number),
        Some(_) => Key::Any,
    }
}

#[test]
fn what_is_read_of_an_object_is_what_its_tree_says() {
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]));
    let name = prop::sample::select(vec![
        "name",
        "who",
        "x",
        "time",
        "type",
        "n\\u0061me",
        "wh\\u006f",
        "\\u0074ype",
        "nane",
        "whp",
        "y",
        "",
        "who.typ",
        "names",
        "\\\"x\\\"",
    ]);
    let value = prop::sample::select(vec![
        "\"text\"",
        "\"\"",
        "\"te\\u0078t\\n\"",
        "\"a long text, longer than what is looked at together\"",
        "7",
        "-7",
        "0",
        "-0",
        "1.5",
        "18446744073709551615",
        "18446744073709551616",
        "true",
        "null",
        "[]",
        "[{\"type\":\"t\"}]",
        "{}",
        "{\"type\":\"t\"}",
        "{ \"a\" : {\"type\":1} , \"type\" : 3 }",
        "{\"type\":\"t\",\"type\":\"u\"}",
        "{\"\\u0074ype\":\"t\"}",
        "{\"type\":{\"type\":1}}",
    ]);
    runner
        .run(&prop::collection::vec((name, value), 0..6), |members| {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let text = format!("{{{}}}", members.join(" ,"));
            let tree = tree(&text);
            let heads = heads::<Asked, _>(&text).unwrap();
            prop_assert!(!heads.opaque);
            for (number, (name, inner)) in Asked::NAMES.iter().enumerate() {
                prop_assert_eq!(heads.key(number), of_tree(&tree, name, *inner), "{} of {}", name, text);
            }
            let behind = format!("{text} {{}}");
            let (first, same) = first_object::<Asked, _>(&behind, true).unwrap();
            prop_assert_eq!(first, text.as_str());
            prop_assert_eq!(same.values, heads.values);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_only_the_tree_can_tell_is_not_guessed() {
    for text in [
        r#"{"name":"a","x":1e999}"#,
        r#"{"name":"a\ud800"}"#,
        r#"{"name":"a","\ud800":1}"#,
        r#"{"name":"a","who":{"\udfff":1}}"#,
    ] {
        let heads = heads::<Asked, _>(text).unwrap();
        assert!(heads.opaque && heads.key(0) == Key::Any && heads.key(3) == Key::Any, "{text}");
    }
    // Nobody asks for these.
    for text in [r#"{"name":"a","y":1e999}"#, r#"{"name":"a","y":"\ud800"}"#, r#"{"name":"a","y":{"\ud800":1}}"#] {
        assert_eq!(heads::<Asked, _>(text).unwrap().key(0), Key::Text("a"), "{text}");
    }
    let dotted = heads::<Asked, _>(r#"{"who.type":"a","who":{"type":"b"},"name":"c"}"#).unwrap();
    assert_eq!((dotted.key(1), dotted.key(0)), (Key::Any, Key::Text("c")));
}

#[test]
fn what_is_no_object_says_so() {
    for text in ["7", "[{}]", "\"x\"", "null", " [ ] "] {
        assert_eq!(heads::<Asked, _>(text).err(), Some(NO_OBJECT), "{text}");
    }
    for text in ["", "{", "{}}", "{} x", "{\"a\":01}", "{\"a\":1,}", "{,}", "{\"a\" 1}", "\u{feff}{}"] {
        assert_eq!(heads::<Asked, _>(text).err(), Some(MALFORMED), "{text}");
    }
    assert!(heads::<Asked, _>(" \t\r\n{ } \n").is_ok());
}

#[test]
fn what_may_be_an_envelope_is_left_to_the_framer() {
    for (text, is_taken) in [
        (r#"{"Records":[]}"#, false),
        (r#"{"a":1,"Events" : {}}"#, false),
        (r#"{"a":{"Records":[]},"b":"Events"}"#, true),
        (r#"{"records":[]}"#, true),
    ] {
        assert_eq!(first_object::<Asked, _>(text, true).is_some(), is_taken, "{text}");
        assert!(first_object::<Asked, _>(text, false).is_some(), "{text}");
    }
}

#[test]
fn no_name_of_a_member_hides_another() {
    let name = "$serde_json::private::RawValue";
    for name in [name.to_owned(), name.replace('$', r"\u0024")] {
        let text = format!(r#"{{"{name}":"{{\"a\":2}}","a":1,"b":{{"{name}":"[]","c":[{{"{name}":"7"}}]}}}}"#);
        let tree = Value::Object(members(&text).unwrap());
        assert_eq!((&tree["a"], tree.as_object().map(Map::len)), (&Value::from(1), Some(3)), "{tree}");
        assert_eq!(tree["b"]["c"][0]["$serde_json::private::RawValue"], "7", "{tree}");
    }
}
