use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Frames as text; `!` for what could not be framed, `~` for what was too long.
fn frames_in_pieces(pieces: &[&[u8]]) -> Vec<String> {
    let mut framer = JsonFramer::default();
    let mut found = Vec::new();
    let mut sink = |number: u64, frame: Frame<'_>| {
        assert_eq!(number, found.len() as u64 + 1, "frames are numbered without a gap");
        found.push(match frame {
            Frame::Whole(text) => text.to_owned(),
            Frame::TooLong => "~".to_owned(),
            Frame::Broken => "!".to_owned(),
        });
    };
    for piece in pieces {
        framer.push(piece, &mut sink);
    }
    framer.finish(&mut sink);
    found
}

fn frames(text: &str) -> Vec<String> {
    frames_in_pieces(&[text.as_bytes()])
}

#[test]
fn values_one_after_the_other_on_lines_or_not() {
    assert_eq!(frames("{\"a\":1}\n\n{\"b\":[2]} {\"c\":\"}\"}\n"), ["{\"a\":1}", "{\"b\":[2]}", "{\"c\":\"}\"}"]);
    assert_eq!(frames("{\n  \"a\": 1\n}\n{\n  \"b\": 2\n}"), ["{\n  \"a\": 1\n}", "{\n  \"b\": 2\n}"]);
}

#[test]
fn an_array_and_its_scalars_count() {
    assert_eq!(frames("[{\"a\":1}, 42, [1,2], null,\n{\"b\":2}]"), ["{\"a\":1}", "42", "[1,2]", "null", "{\"b\":2}"]);
    assert_eq!(frames("7"), ["7"]);
    assert_eq!(frames("[]"), Vec::<String>::new());
}

#[test]
fn an_array_among_objects_is_one_value() {
    assert_eq!(
        frames("{\"a\":1}\n[]\n[{\"b\":2},\n3]\n{\"c\":3}"),
        ["{\"a\":1}", "[]", "[{\"b\":2},\n3]", "{\"c\":3}"]
    );
    assert_eq!(frames("7\n[1,2]\n{\"a\":1}"), ["7", "[1,2]", "{\"a\":1}"]);
    assert_eq!(frames("{\"Records\":[{\"a\":1}]}\n[2]\n{\"c\":3}"), ["{\"a\":1}", "[2]", "{\"c\":3}"]);
    assert_eq!(frames("{\"a\":1}\n[1,\n{\"b\":2}\n{\"c\":3}\n"), ["{\"a\":1}", "!", "{\"c\":3}"]);
    assert_eq!(frames("[{\"a\":1}]\n[{\"b\":2},3]\n"), ["{\"a\":1}", "{\"b\":2}", "3"], "pages of a result");
}

#[test]
fn a_records_envelope_is_opened_whatever_stands_around_it() {
    assert_eq!(frames(r#"{"Records":[{"a":1},{"b":"Records"}]}"#), [r#"{"a":1}"#, r#"{"b":"Records"}"#]);
    let around = r#"{"x":{"Records":[1]},"y":["Records"], "Records" : [ {"a":1} , 5 ], "z":[{"q":"]}"}]} {"b":2}"#;
    assert_eq!(frames(around), [r#"{"a":1}"#, "5", r#"{"b":2}"#]);
    assert_eq!(frames(r#"{"Records":[]}"#), Vec::<String>::new());
}

#[test]
fn records_that_are_no_array_are_left_as_they_stand() {
    for text in [r#"{"Records":{"a":[1]}}"#, r#"{"Records":"x","a":[1]}"#, r#"{"a":"Records","b":[{"c":1}]}"#] {
        assert_eq!(frames(text), [text]);
    }
}

#[test]
fn a_lookup_result_is_opened_by_its_first_event() {
    let event = r#"{"EventId":"1","CloudTrailEvent":"{\"eventName\":\"StopLogging\"}"}"#;
    let other = r#"{"EventId":"2","Resources":[{"a":[]}],"CloudTrailEvent":"{}"}"#;
    assert_eq!(frames(&format!(r#"{{"Events":[{event},{other}],"NextToken":"x"}}"#)), [event, other]);
    assert_eq!(frames(&format!(r#"{{"NextToken":"x","Events":[{other},{event}]}}"#)), [other, event]);
    let unlike = r#"{"Events":[{"a":{"CloudTrailEvent":1}},{"CloudTrailEvent":"{}"}],"b":[{"CloudTrailEvent":"x"}]}"#;
    assert_eq!(frames(unlike), [unlike]);
}

#[test]
fn a_broken_line_costs_that_line_alone() {
    assert_eq!(frames("{\"a\":1}\n{\"b\":\"cut\n{\"c\":3}\n"), ["{\"a\":1}", "!", "{\"c\":3}"]);
    assert_eq!(frames("{\"a\":1,\n{\"b\":2}\n{\"c\":3}"), ["!", "{\"b\":2}", "{\"c\":3}"]);
    assert_eq!(frames("this is no json\nnor that, {\n{\"c\":3}\n"), ["!", "!", "{\"c\":3}"]);
    assert_eq!(frames("{\"a\":1]\n{\"c\":3}"), ["!", "{\"c\":3}"]);
}

#[test]
fn a_cut_envelope_ends_in_one_broken_tail() {
    assert_eq!(frames(r#"{"Records":[{"a":1},{"b":"#), [r#"{"a":1}"#, "!"]);
    assert_eq!(frames(r#"{"Records":[{"a":1},{"b":tr,{"c":1}]}"#), [r#"{"a":1}"#, "!"]);
    assert_eq!(
        frames("{\"Records\":[\n{\"a\":1},\n{\"b\":\n},\n{\"c\":3}\n]}"),
        ["{\"a\":1}", "{\"b\":\n}", "{\"c\":3}"]
    );
    assert_eq!(frames(r#"{"Recor"#), ["!"]);
}

#[test]
fn an_envelope_that_does_not_end_swallows_nothing_uncounted() {
    assert_eq!(frames("{\"Records\":[{\"a\":1}]\n{\"b\":2}\n"), [r#"{"a":1}"#, "!", r#"{"b":2}"#]);
    assert_eq!(frames(r#"{"Records":[{"a":1}]{"b":2}"#), [r#"{"a":1}"#, "!"]);
    assert_eq!(frames("{\"Records\":[{\"a\":1}],\"x\":\"cut\n{\"b\":2}"), [r#"{"a":1}"#, "!", r#"{"b":2}"#]);
    assert_eq!(frames("{\"Records\":[{\"a\":1}]"), [r#"{"a":1}"#]);
}

#[test]
fn what_follows_a_value_that_is_too_long_does_not_depend_on_the_cut() {
    let mut envelope = b"{\"x\":\"".to_vec();
    envelope.resize(MAX_FRAME + 10, b'x');
    envelope.extend_from_slice(b"\",\"Records\":[{\"a\":1}]}\n{\"c\":3}");
    let mut cut = b"{\"x\":[\"".to_vec();
    cut.resize(MAX_FRAME + 10, b'x');
    cut.extend_from_slice(b"\"\n");
    let line_start = cut.len();
    cut.extend_from_slice(b"{\"c\":3}\n");
    assert_eq!(frames_in_pieces(&[&envelope]), ["~", "{\"c\":3}"]);
    assert_eq!(frames_in_pieces(&envelope.chunks(65_536).collect::<Vec<_>>()), ["~", "{\"c\":3}"]);
    assert_eq!(frames_in_pieces(&[&cut]), ["!", "{\"c\":3}"]);
    assert_eq!(frames_in_pieces(&[&cut[..line_start], &cut[line_start..]]), ["!", "{\"c\":3}"]);
}

#[test]
fn a_value_that_is_too_long_is_passed_over_and_the_next_is_read() {
    let mut text = b"{\"a\":1}\n{\"b\":\"".to_vec();
    text.resize(text.len() + MAX_FRAME, b'x');
    text.extend_from_slice(b"\"}\n{\"c\":3}\n");
    let pieces: Vec<&[u8]> = text.chunks(100_000).collect();
    assert_eq!(frames_in_pieces(&pieces), ["{\"a\":1}", "~", "{\"c\":3}"]);
    assert_eq!(frames_in_pieces(&[&text]), ["{\"a\":1}", "~", "{\"c\":3}"]);
}

#[test]
fn deep_nesting_is_one_frame_or_broken_never_a_crash() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(frames(&format!("{{\"a\":{deep}}}")).len(), 1);
    assert!(frames(&"{\"a\":".repeat(100_000)).iter().all(|frame| frame == "!"));
}

/// Pieces that real files and hostile ones are made of.
fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{\"Records\":[".to_owned()),
        Just("{\"Events\":[{\"CloudTrailEvent\":\"{}\"}".to_owned()),
        Just("{\"a\":1}".to_owned()),
        Just("{\"s\":\"\\\"}]\"}".to_owned()),
        prop::sample::select(vec!["[", "]", "{", "}", ",", ":", "\"", "\n", " ", "1", "nul", "\\"])
            .prop_map(str::to_owned),
        "[ -~]{0,5}",
    ]
}

#[test]
fn the_cut_of_the_input_does_not_change_the_frames() {
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let input = (prop::collection::vec(token(), 0..30), 1_usize..20);
    runner
        .run(&input, |(tokens, size)| {
            let text = tokens.concat();
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(frames_in_pieces(&pieces), frames(&text));
            Ok(())
        })
        .unwrap();
}
