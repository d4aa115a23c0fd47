//! What the formats whose frames are JSON objects share: a frame to its text and its fields.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A JSON object's text and fields. Invalid UTF-8 is replaced, and so are halves of surrogate pairs, which JSON's
/// grammar allows and an attacker may place in any field that he controls.
pub(super) fn object_frame(frame: &[u8]) -> Result<(Cow<'_, str>, Map<String, Value>), &'static str> {
    let raw = String::from_utf8_lossy(frame);
    let value = serde_json::from_str(&raw).or_else(|error| {
        let mended = lone_surrogates_replaced(&raw);
        mended.map_or(Err(error), |mended| serde_json::from_str(&mended))
    });
    match value {
        Ok(Value::Object(fields)) => Ok((raw, fields)),
        Ok(_) => Err("not a JSON object"),
        Err(_) => Err("not well-formed JSON, or nested deeper than 128 levels"),
    }
}

/// The text with every escape of half a surrogate pair as `\ufffd`; `None` where there is none.
fn lone_surrogates_replaced(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let escape = bytes.get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&text[kept..at]);
                mended.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            Some(_) => at += 6,
            None => at = (at + 2).min(bytes.len()),
        }
    }
    (kept > 0).then(|| mended + &text[kept..])
}
