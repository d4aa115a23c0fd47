//! JSON that people are shown: no terminal acts on what is in its strings.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Finding;

impl Finding {
    /// Writes it as JSON for terminals, on one line. Findings may be many, and this crate is compiled to be fast wherever it
    /// is used.
    pub fn write_json(&self, to: &mut Vec<u8>) -> serde_json::Result<()> {
        write_json(self, to)
    }
}

/// Writes a value as JSON, on one line, whose strings hold no character that a terminal acts on: what JSON does not escape by
/// itself (DEL, the C1 controls, bidirectional controls) is written as `\u....`, which means the same.
pub fn write_json(value: &impl Serialize, to: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = to.len();
    serde_json::to_writer(&mut *to, value)?;
    // All of these are beyond the visible characters of ASCII, of which nearly all values are made: those are written once.
    if to[start..].iter().copied().fold(0, u8::max) >= 0x7f {
        to.truncate(start);
        value.serialize(&mut Serializer::with_formatter(to, ForTerminals))?;
    }
    Ok(())
}

struct ForTerminals;

impl Formatter for ForTerminals {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(acts_on_terminals) {
            let (before, character) = rest.split_at(at);
            to.write_all(before.as_bytes())?;
            let mut characters = character.chars();
            if let Some(character) = characters.next() {
                write!(to, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        to.write_all(rest.as_bytes())
    }
}

/// Whether a terminal acts on a character that JSON does not escape.
fn acts_on_terminals(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut written = Vec::new();
        write_json(&text, &mut written).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_means_the_same() {
        for (text, expected) in [
            ("web-1: \"\u{1b}[2J\\", r#""web-1: \"\u001b[2J\\""#),
            ("a\u{7f}b\u{9b}31m", r#""a\u007fb\u009b31m""#),
            ("\u{202e}txt.exe\u{2066}", r#""\u202etxt.exe\u2066""#),
            ("caf\u{e9} \u{2020} \u{1f980}", "\"caf\u{e9} \u{2020} \u{1f980}\""),
        ] {
            assert_eq!(written(text), expected);
            assert_eq!(serde_json::from_str::<String>(&written(text)).unwrap(), text);
        }
    }

    #[test]
    fn everything_else_is_what_serde_json_writes() {
        for number in 0..0x3000 {
            let text: String = char::from_u32(number).into_iter().chain("x".chars()).collect();
            let expected = serde_json::to_string(&text).unwrap();
            assert_eq!(written(&text) == expected, !text.contains(acts_on_terminals), "{text:?}");
        }
    }
}
