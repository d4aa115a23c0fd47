//! Logged text, made fit to be shown: what cannot be seen, or turns the reading around, is written out.
//!
//! Escaping for HTML is the templates' work and comes after this.

use std::fmt::Write as _;

/// Logged text of several lines. Line breaks and tabs stay, every other control character and every invisible or
/// bidirectional one becomes a mark: `[U+001B]`, `[U+202E]`. At most `limit` characters of the input are shown; what was
/// cut is told by `… [N bytes more]`.
pub fn lines(text: &str, limit: usize) -> String {
    show(text, limit, true)
}

/// Logged text as one line: as [`lines`], with line breaks and tabs as marks too.
pub fn line(text: &str, limit: usize) -> String {
    show(text, limit, false)
}

/// Text for a header: one line, of at most `limit` characters. What cannot be seen becomes a single blank, and `=?`
/// does not stay together: it would begin an encoded word ([RFC 2047](https://www.rfc-editor.org/rfc/rfc2047)), which
/// mail clients decode into anything.
pub fn header(text: &str, limit: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(limit * 4));
    let mut length = 0;
    let mut blank = false;
    for character in text.chars() {
        if character.is_whitespace() || is_hidden(character) {
            blank = length > 0;
            continue;
        }
        blank |= character == '?' && plain.ends_with('=');
        let needed = 1 + usize::from(blank);
        if length + needed > limit {
            while length + 1 > limit && plain.pop().is_some() {
                length -= 1;
            }
            plain.truncate(plain.trim_end().len());
            plain.push('…');
            return plain;
        }
        if blank {
            plain.push(' ');
            blank = false;
        }
        plain.push(character);
        length += needed;
    }
    plain
}

fn show(text: &str, limit: usize, breaks: bool) -> String {
    let mut shown = String::with_capacity(text.len().min(limit) + 16);
    let mut characters = text.char_indices().peekable();
    let mut taken = 0;
    while let Some((at, character)) = characters.next() {
        if taken == limit {
            let _ = write!(shown, "… [{} bytes more]", text.len() - at);
            break;
        }
        taken += 1;
        match character {
            '\r' if breaks && characters.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\n' | '\t' if breaks => shown.push(character),
            hidden if is_hidden(hidden) => {
                let _ = write!(shown, "[U+{:04X}]", u32::from(hidden));
            }
            seen => shown.push(seen),
        }
    }
    shown
}

/// Characters that are not seen, or that change how others are read: controls, the bidirectional controls of
/// [UAX #9](https://www.unicode.org/reports/tr9/), zero-width and filler characters, line separators, tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            u32::from(character),
            0x00AD
                | 0x034F
                | 0x061C
                | 0x115F
                | 0x1160
                | 0x17B4
                | 0x17B5
                | 0x180B..=0x180F
                | 0x200B..=0x200F
                | 0x2028..=0x202E
                | 0x2060..=0x206F
                | 0x3164
                | 0xFEFF
                | 0xFFA0
                | 0xFFF9..=0xFFFB
                | 0xE0000..=0xE0FFF
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_and_bidi_overrides_are_written_out() {
        assert_eq!(
            line("a\u{1b}[31m\u{202e}gpj.exe\0\r\nb", 100),
            "a[U+001B][31m[U+202E]gpj.exe[U+0000][U+000D][U+000A]b"
        );
        assert_eq!(lines("a\r\n\tb\rc\u{85}\u{feff}", 100), "a\n\tb[U+000D]c[U+0085][U+FEFF]");
        assert_eq!(line("김철수 ünï", 100), "김철수 ünï");
    }

    #[test]
    fn long_text_is_cut_on_a_character_and_says_so() {
        assert_eq!(line("ääää", 2), "ää… [4 bytes more]");
        assert_eq!(line("ää", 2), "ää");
        assert!(line(&"x".repeat(1 << 20), 100).len() < 200);
    }

    #[test]
    fn a_header_is_one_line_within_its_limit() {
        assert_eq!(header("a\r\nBcc: x@example.com\t \u{202e}b", 100), "a Bcc: x@example.com b");
        assert_eq!(header("\u{200b} abc ", 3), "abc");
        assert_eq!(header("=?utf-8?Q?=0D=0Ax?=", 100), "= ?utf-8?Q?=0D=0Ax?=");
        assert_eq!(header("=\u{200b}?x", 100), "= ?x");
        assert_eq!(header("abcd", 3), "ab…");
        assert_eq!(header("ab cd", 3), "ab…");
        for limit in 1..20 {
            assert!(header("wort für wort für wort", limit).chars().count() <= limit);
        }
    }
}
