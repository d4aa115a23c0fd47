//! Percent-encoding, undone as often as an attacker may have applied it.
//!
//! [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.1), and what lenient servers accept beyond it: IIS's
//! `%u0027`, and UTF-8 sequences longer than need be (`%c0%af` for `/`).

use std::borrow::Cow;

/// As often as it is undone: more layers no server peels off.
const LAYERS: usize = 3;

/// Longer than they need be, and what they stand for.
const OVERLONG: [(&[u8], u8); 5] =
    [(b"\xc0\xaf", b'/'), (b"\xc0\xae", b'.'), (b"\xc1\x9c", b'\\'), (b"\xe0\x80\xaf", b'/'), (b"\xe0\x80\xae", b'.')];

/// A text as an application may come to see it. `plus`: a `+` is a space, as in a query; only on the first layer,
/// since `%2B` is a plus.
pub(super) fn decoded(text: &str, plus: bool) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let last = if plus { b'+' } else { b'%' };
    if memchr::memchr3(b'%', b'\\', last, bytes).is_none() {
        return Cow::Borrowed(text);
    }
    let mut current = one_layer(&unescaped(bytes), plus);
    for _ in 1..LAYERS {
        // Without a percent sign there is nothing left to undo: sequences that are longer than need be are gone.
        if memchr::memchr(b'%', &current).is_none() {
            break;
        }
        let next = one_layer(&current, false);
        if next == current {
            break;
        }
        current = next;
    }
    Cow::Owned(String::from_utf8_lossy(&current).into_owned())
}

/// What a client sent, from what the server's log shows of it: `\"`, `\\` and `\x22`.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (value, length) = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(next @ (b'"' | b'\\'))) => (*next, 2),
            (b'\\', Some(b'x')) => hex(bytes, at + 2).map_or((b'\\', 1), |value| (value, 4)),
            _ => (*byte, 1),
        };
        plain.push(value);
        at += length;
    }
    plain
}

fn one_layer(bytes: &[u8], plus: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' if plus => plain.push(b' '),
            b'%' => {
                if let Some(value) = hex(bytes, at) {
                    plain.push(value);
                    at += 2;
                } else if let Some(letter) = wide(bytes, at) {
                    plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    at += 5;
                } else {
                    plain.push(b'%');
                }
            }
            other => plain.push(*other),
        }
        // Each of these sequences ends so.
        if plain.last().is_none_or(u8::is_ascii) {
            continue;
        }
        for (sequence, meant) in OVERLONG {
            if plain.ends_with(sequence) {
                plain.truncate(plain.len() - sequence.len());
                plain.push(meant);
            }
        }
    }
    plain
}

/// `u0027` after a percent sign.
fn wide(bytes: &[u8], at: usize) -> Option<char> {
    if !matches!(bytes.get(at), Some(b'u' | b'U')) {
        return None;
    }
    char::from_u32(u32::from(hex(bytes, at + 1)?) << 8 | u32::from(hex(bytes, at + 3)?))
}

fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(at)? << 4 | digit(at + 1)?)
}
