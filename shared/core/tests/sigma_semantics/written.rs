//! Values that modifiers write otherwise: encoded, or with other dashes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudvigil_core::detect::Catalogue;
use serde_json::json;

use super::{catalogue, check, f, is_match, meaning, refused};

#[test]
fn encodings_are_those_of_the_value() {
    check(vec![
        // `foo` is Zm9v in Base64; in a longer text it is one of three.
        meaning("s: {f|base64: foo}", vec![f("Zm9v")], vec![f("Zm9vYmFy"), f("foo")]),
        meaning("s: {f|base64|contains: foo}", vec![f("xxZm9vYmFy")], vec![f("foo")]),
        meaning(
            "s: {f|base64offset|contains: foobar}",
            vec![f("Zm9vYmFy"), f("eGZvb2Jhcg=="), f("eHhmb29iYXI=")],
            vec![f("foobar"), f("YmFyZm9v")],
        ),
        // UTF-16LE of `cmd` is 63 00 6d 00 64 00.
        meaning("s: {f|wide|base64offset|contains: cmd}", vec![f("YwBtAGQA")], vec![f("Y21k")]),
        meaning("s: {f|utf16le|base64offset|contains: cmd}", vec![f("YwBtAGQA")], vec![f("Y21k")]),
        meaning("s: {f|utf16be|base64|contains: cmd}", vec![f("AGMAbQBk")], vec![f("Y21k")]),
        meaning("s: {f|utf16|base64|contains: cmd}", vec![f("//5jAG0AZAA=")], vec![f("Y21k")]),
    ]);
}

/// Where a value stands in what was encoded is not known: it is found at each offset, whatever stands around it.
#[test]
fn base64_is_found_wherever_a_value_stands_in_it() {
    // Of each length modulo three, in bytes.
    let values = ["ab", "abc", "abcd", "http://", "cmd.exe", "naïve", "whoami /all"];
    for value in values {
        let encoded: [(&str, Vec<u8>); 3] = [
            ("", value.as_bytes().to_vec()),
            ("wide|", value.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("utf16be|", value.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ];
        for (modifier, bytes) in encoded {
            let rule = |modifiers: &str| {
                let text = serde_json::to_string(value).unwrap();
                let detection = format!("  s: {{f|{modifier}base64offset|{modifiers}: {text}}}\n  condition: s");
                catalogue(&detection, "service: cloudtrail")
            };
            let (any_case, cased) = (rule("contains"), rule("contains|cased"));
            let found = |rule: &Catalogue, text: &[u8]| {
                is_match(rule, "cloudtrail", f(STANDARD.encode(text)).to_string().as_bytes())
            };
            for (before, after) in (0..6).flat_map(|before| (0..6).map(move |after| (before, after))) {
                // What stands around it has bits that its own letters share.
                for (first, last) in [(b'/', b'a'), (0, 0), (0xff, 0xff), (b'x', b'~')] {
                    let whole = [vec![first; before], bytes.clone(), vec![last; after]].concat();
                    assert!(found(&any_case, &whole) && found(&cased, &whole), "{modifier}{value}: {whole:?}");
                }
                if bytes.len() > 4 {
                    let mut other = [vec![b'/'; before], bytes.clone(), vec![b'a'; after]].concat();
                    other[before + bytes.len() / 2] ^= 1;
                    assert!(!found(&cased, &other), "{modifier}{value}: {other:?}");
                }
            }
        }
    }
}

#[test]
fn base64_is_of_each_of_several_values() {
    let in_text = |text: &str| f(STANDARD.encode(text));
    check(vec![
        meaning(
            "s: {f|base64offset|contains: ['http://', 'ftp://']}",
            vec![in_text("http://a"), in_text("a ftp://"), in_text("see http://")],
            vec![in_text("https:/"), in_text("tp://"), f("http://")],
        ),
        meaning(
            "s: {f|base64offset|contains|all: ['http://', 'secret']}",
            vec![in_text("a secret of http://x"), in_text("http://secret")],
            vec![in_text("http://x"), in_text("a secret")],
        ),
        meaning(
            "s: {f|base64offset|contains|neq: ['http://', 'ftp://']}",
            vec![in_text("other"), json!({"g": 1})],
            vec![in_text("xhttp://x"), in_text("ftp://")],
        ),
        meaning(
            "s: {f|base64offset|contains|all|neq: ['http://', 'secret']}",
            vec![in_text("http://x"), in_text("a secret")],
            vec![in_text("http://secret")],
        ),
        // At the beginning or the end of a text, and as all of it.
        meaning("s: {f|base64offset|startswith: foo}", vec![f("Zm9vYmFy"), f("Zvbw==")], vec![f("xZm9v")]),
        meaning("s: {f|base64offset|endswith: foo}", vec![f("xxZm9v")], vec![f("Zm9vYmFy")]),
        meaning("s: {f|base64offset: foo}", vec![f("Zm9v"), f("Zvb"), f("mb2")], vec![f("xZm9v")]),
        // Modifiers are worked in the order in which they stand.
        meaning(
            "s: {f|windash|wide|base64offset|contains: ' -enc'}",
            vec![f("IAAvAGUAbgBjA"), f("IAAtAGUAbgBjAA==")],
            vec![f("LWVuYw")],
        ),
        meaning(
            "s: {f|windash|base64: '-x y'}",
            vec![in_text("-x y"), in_text("/x y"), in_text("―x y")],
            vec![in_text("x y")],
        ),
        meaning("s: {f|base64: [5, true]}", vec![in_text("5"), in_text("true")], vec![f(5), f(true)]),
        // In a record's values, wherever.
        meaning(
            "s: {'|base64offset': ['http://', 'ftp://']}",
            vec![json!({"a": {"b": [STANDARD.encode("xhttp://x")]}}), in_text("ftp://")],
            vec![f("http://")],
        ),
        meaning(
            "s: {'|base64offset|contains|all': ['http://', 'secret']}",
            vec![json!({"a": STANDARD.encode("xhttp://x"), "b": STANDARD.encode("secret")})],
            vec![in_text("http://")],
        ),
    ]);
}

#[test]
fn what_has_no_encoded_form_is_refused() {
    for (detection, reason) in [
        ("s: {f|base64: 'a*c'}", "a value with wildcards has no |base64 form: 'a*c'"),
        ("s: {f|base64offset|contains: ['abc', 'a?c']}", "a value with wildcards has no |base64offset form: 'a?c'"),
        ("s: {f|base64offset|contains: x}", "of one letter nothing stands fast in |base64offset: 'x'"),
        ("s: {f|utf16|contains: cmd}", "no text without |base64"),
        ("s: {f|base64|re: cmd}", "value transformations |base64"),
        ("s: {f|windash|contains: ' -a -b -c -d -e -f'}", "too many dashes for |windash"),
    ] {
        assert!(refused(detection).contains(reason), "{detection}: {}", refused(detection));
    }
}

#[test]
fn dashes_of_command_lines_are_interchangeable() {
    check(vec![
        meaning(
            "s: {f|windash|contains: ' -enc '}",
            vec![f("p -enc x"), f("p /enc x"), f("p –enc x"), f("p —enc x"), f("p ―enc x"), f("p /ENC x")],
            vec![f("p enc x"), f("p +enc x")],
        ),
        meaning("s: {f|windash|contains: ' /enc '}", vec![f("p -enc x"), f("p /enc x")], vec![f("p enc x")]),
        // One within a word is no parameter's, and one before a space is none either.
        meaning(
            "s: {f|windash: '-no-profile - x'}",
            vec![f("/no-profile - x")],
            vec![f("-no/profile - x"), f("-no-profile / x")],
        ),
        meaning("s: {f|windash|contains: ' -e*d'}", vec![f("p /end"), f("p -e\nd")], vec![f("p ed")]),
        meaning("s: {f|windash|startswith: ['-a', '-b *']}", vec![f("/a"), f("–b c")], vec![f("x -a"), f("/b")]),
        meaning("s: {f|windash|contains|all: ['-a', '-b']}", vec![f("/b –a")], vec![f("/a"), f("-b")]),
        meaning("s: {f|windash|contains|cased: '-A'}", vec![f("/A")], vec![f("/a")]),
    ]);
}
