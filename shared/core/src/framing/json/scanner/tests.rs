use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::de::IgnoredAny;

use super::*;

/// How long the object at the start of a text is, to the scanner.
fn scanned(text: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    scanner.object(Marks::NONE, |scanner, _| scanner.value())?;
    Some(scanner.offset())
}

/// The same, to `serde_json`.
fn reference(text: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let is_object = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
    is_object.then(|| values.byte_offset())
}

/// What is written in strings: what is plain, of every length, and what is not.
fn written() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ !#-\\[\\]-~]{0,40}",
        1 => prop::sample::select(vec![
            r#"\""#, r"\\", r"\/", r"\n", r"\u0041", r"\ud83d\ude00", r"\ud800", r"\uDFFF", "é", "\u{7f}", "\u{1f600}", "",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// A well-formed value, as somebody may write it.
fn value() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", "", " ", "\n\t", "\r  "]);
    let leaf = prop_oneof![
        3 => written().prop_map(|text| format!("\"{text}\"")),
        2 => prop::sample::select(vec![
            "0", "-0", "7", "12345678901234567", "123456789012345678901234567890", "-1.5", "0.0e-0", "1E+5", "1e999",
            "true", "false", "null", "[]", "{}", "[ ]", "{\n}",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let element =
            (space(), inner.clone(), space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let member = (space(), written(), space(), space(), inner, space())
            .prop_map(|(s1, name, s2, s3, value, s4)| format!("{s1}\"{name}\"{s2}:{s3}{value}{s4}"));
        prop_oneof![
            prop::collection::vec(element, 1..6).prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 1..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What is put into a text that was well-formed.
const DAMAGE: [&str; 36] = [
    "", "\"", "\\", "\\u", "\\u12G4", "\\ud83d", "\\x", "{", "}", "[", "]", ":", ",", "-", "+", ".", "e", "E", "0",
    "00", "1", "true", "tru", "nul", "false", "\n", "\t", "\r", " ", "\u{1}", "\u{b}", "\0", "\u{1f}", "\u{a0}", "é",
    "\u{feff}",
];

#[test]
fn what_serde_json_takes_for_an_object_is_one_and_ends_there() {
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]));
    let damage = (any::<prop::sample::Index>(), 0_usize..3, prop::sample::select(DAMAGE.to_vec()));
    let input = (
        written(),
        value(),
        prop::collection::vec(damage, 0..3),
        prop::sample::select(vec!["", "x", " }", ",{\"a\":1}"]),
    );
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&input, |(name, value, damages, behind)| {
        let mut text = format!("{{\"{name}\":{value}}}{behind}");
        for (at, gone, new) in damages {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + gone).min(text.len()));
            text.replace_range(start..end, new);
        }
        prop_assert_eq!(scanned(&text), reference(&text), "{}", text);
        let count = if scanned(&text).is_some() { &taken } else { &refused };
        count.set(count.get() + 1);
        // However little of it is there.
        let cut = text.floor_char_boundary(text.len() / 2);
        prop_assert_eq!(scanned(&text[..cut]), reference(&text[..cut]), "{}", &text[..cut]);
        Ok(())
    });
    outcome.unwrap();
    let (taken, refused) = (taken.get(), refused.get());
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn every_short_text_of_hostile_tokens_is_taken_or_refused_alike() {
    let tokens = ["", "\"\"", "\"a\\", "1", "-", "0", ".5", "e1", "{", "}", "[", "]", ",", ":", "\"b\":", "null", " "];
    let mut count = 0;
    for first in tokens {
        for second in tokens {
            for third in tokens {
                for fourth in tokens {
                    let text = format!("{{\"a\":{first}{second}{third}{fourth}}}");
                    assert_eq!(scanned(&text), reference(&text), "{text}");
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 83_521);
}

#[test]
fn any_depth_is_followed() {
    for depth in [1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 200, 1_000, 100_000] {
        for (open, end) in [("[", "]"), ("{\"a\":", "}"), ("[{\"b\":[],\"a\":", "}]"), ("{\"a\":[0,", "]}")] {
            let whole = format!("{{\"x\":{}7{}}}", open.repeat(depth), end.repeat(depth));
            assert_eq!(scanned(&whole), Some(whole.len()), "{depth} of {open}");
            for broken in [&whole[..whole.len() - 2], &whole.replacen('7', "7]", 1), &whole.replacen('7', "7}", 1)] {
                assert_eq!(scanned(broken), reference(broken), "{depth} of {open}");
            }
        }
    }
}

#[test]
fn a_string_of_any_length_at_any_distance_from_the_end() {
    for length in 0..70 {
        for (middle, text) in [("", Some("")), ("\\n", Some("\n")), ("\\ud800", None), ("é", Some("é"))] {
            let plain = "x".repeat(length);
            for behind in ["", " ", "                "] {
                let object = format!("{{\"{plain}{middle}{plain}\":0}}{behind}");
                let mut scanner = Scanner::new(&object);
                let mut name = None;
                let taken = scanner.object(Marks::NONE.and(""), |scanner, word| {
                    name = scanner.text(word).map(std::borrow::Cow::into_owned);
                    scanner.value()
                });
                assert!(taken.is_some() && scanner.is_at_end(), "{object}");
                assert_eq!(name, text.map(|text| format!("{plain}{text}{plain}")));
            }
        }
    }
}
