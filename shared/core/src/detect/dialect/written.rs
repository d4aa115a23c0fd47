//! Values that a modifier writes otherwise: with other dashes (`windash`), in UTF-16 (`wide`, `utf16`...), in Base64.
//!
//! They are written before rsigma sees them, by one modifier after another in the rule's order, as
//! [pySigma](https://github.com/SigmaHQ/pySigma/blob/main/sigma/modifiers.py) does it. rsigma has an order of its own,
//! leaves at a value's end Base64 letters that depend on what follows, and drops a value's wildcards.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rsigma_parser::{Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};

/// The most texts as which one value may be looked for: those of five dashes are fewer.
const MAX_VARIANTS: usize = 4096;

/// Whether a modifier writes values otherwise.
pub(super) fn writes(modifier: Modifier) -> bool {
    use Modifier::{Base64, Base64Offset, Utf16, Utf16be, Wide, WindAsh};
    matches!(modifier, Base64 | Base64Offset | Utf16 | Utf16be | Wide | WindAsh)
}

/// The texts as which a value is looked for.
pub(super) fn variants(value: &SigmaValue, modifiers: &[Modifier]) -> Result<Vec<SigmaValue>, String> {
    let SigmaValue::String(text) = value else { return Err(format!("{value} is no text that could be encoded")) };
    let mut variants = vec![parts_of(text)];
    for modifier in modifiers {
        let mut written = Vec::new();
        for variant in variants {
            written.extend(written_by(*modifier, variant).map_err(|reason| format!("{reason}: '{value}'"))?);
            if written.len() > MAX_VARIANTS {
                return Err(format!("a value comes to more than {MAX_VARIANTS} texts: '{value}'"));
            }
        }
        variants = written;
    }
    let text = |variant| {
        text_of(variant).ok_or_else(|| format!("what |utf16 and the like make is no text without |base64: '{value}'"))
    };
    variants.into_iter().map(text).collect()
}

/// A part of a value.
#[derive(Clone)]
enum Part {
    Bytes(Vec<u8>),
    Wildcard(SpecialChar),
}

fn parts_of(text: &SigmaString) -> Vec<Part> {
    let part = |part: &StringPart| match part {
        StringPart::Plain(text) => Part::Bytes(text.clone().into_bytes()),
        StringPart::Special(wildcard) => Part::Wildcard(wildcard.clone()),
    };
    text.parts.iter().map(part).collect()
}

/// `None`: it is none.
fn text_of(parts: Vec<Part>) -> Option<SigmaValue> {
    let part = |part| {
        Some(match part {
            Part::Bytes(bytes) => StringPart::Plain(String::from_utf8(bytes).ok()?),
            Part::Wildcard(wildcard) => StringPart::Special(wildcard),
        })
    };
    let parts: Vec<StringPart> = parts.into_iter().map(part).collect::<Option<_>>()?;
    let original = parts.iter().map(|part| match part {
        StringPart::Plain(text) => text.as_str(),
        StringPart::Special(SpecialChar::WildcardMulti) => "*",
        StringPart::Special(SpecialChar::WildcardSingle) => "?",
    });
    Some(SigmaValue::String(SigmaString { original: original.collect(), parts }))
}

fn written_by(modifier: Modifier, parts: Vec<Part>) -> Result<Vec<Vec<Part>>, String> {
    let whole = |texts: Vec<String>| texts.into_iter().map(|text| vec![Part::Bytes(text.into_bytes())]).collect();
    match modifier {
        Modifier::WindAsh => with_dashes(&parts),
        Modifier::Wide => in_units(parts, u16::to_le_bytes).map(|parts| vec![parts]),
        Modifier::Utf16be => in_units(parts, u16::to_be_bytes).map(|parts| vec![parts]),
        Modifier::Utf16 => {
            let mut marked = vec![Part::Bytes(vec![0xff, 0xfe])];
            marked.extend(in_units(parts, u16::to_le_bytes)?);
            Ok(vec![marked])
        }
        Modifier::Base64 => Ok(whole(vec![STANDARD.encode(bytes_of(parts, "|base64")?)])),
        Modifier::Base64Offset => {
            let texts = at_offsets(&bytes_of(parts, "|base64offset")?);
            texts.map(whole).ok_or_else(|| "of one letter nothing stands fast in |base64offset".to_owned())
        }
        _ => Ok(vec![parts]),
    }
}

/// The bytes of a value without wildcards.
fn bytes_of(parts: Vec<Part>, modifier: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(mut more) => bytes.append(&mut more),
            Part::Wildcard(_) => return Err(format!("a value with wildcards has no {modifier} form")),
        }
    }
    Ok(bytes)
}

/// Base64 of these bytes wherever they begin in a longer text, without the letters at both ends that depend on what stands
/// there; `None` where nothing is left.
fn at_offsets(bytes: &[u8]) -> Option<Vec<String>> {
    let at = |offset: usize| {
        let encoded = STANDARD_NO_PAD.encode([&b"  "[..offset], bytes].concat());
        // Three bytes are four letters, and the last letter of fewer has bits of the next byte, too.
        let ends_open = !(offset + bytes.len()).is_multiple_of(3);
        let fast = (offset * 4).div_ceil(3)..encoded.len() - usize::from(ends_open);
        encoded.get(fast).filter(|fast| !fast.is_empty()).map(str::to_owned)
    };
    if bytes.is_empty() { None } else { (0..3).map(at).collect() }
}

/// UTF-16 of a value, with its units in this order of bytes.
fn in_units(parts: Vec<Part>, order: fn(u16) -> [u8; 2]) -> Result<Vec<Part>, String> {
    let written = |part| match part {
        Part::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Part::Bytes(text.encode_utf16().flat_map(order).collect())),
            Err(_) => Err("what is UTF-16 already is none again".to_owned()),
        },
        wildcard @ Part::Wildcard(_) => Ok(wildcard),
    };
    parts.into_iter().map(written).collect()
}

/// A value with each dash or slash that may begin a parameter as every one that a Windows shell takes for it.
fn with_dashes(parts: &[Part]) -> Result<Vec<Vec<Part>>, String> {
    let mut variants: Vec<Vec<Part>> = vec![Vec::new()];
    for part in parts {
        let forms: Vec<Part> = match part {
            Part::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => dashed(text)?.into_iter().map(|text| Part::Bytes(text.into_bytes())).collect(),
                Err(_) => vec![part.clone()],
            },
            Part::Wildcard(_) => vec![part.clone()],
        };
        if variants.len() * forms.len() > MAX_VARIANTS {
            return Err(too_many_dashes());
        }
        let with = |variant: &Vec<Part>| {
            let variant = variant.clone();
            forms.iter().map(move |form| [variant.as_slice(), std::slice::from_ref(form)].concat()).collect::<Vec<_>>()
        };
        variants = variants.iter().flat_map(with).collect();
    }
    Ok(variants)
}

fn dashed(text: &str) -> Result<Vec<String>, String> {
    const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];
    let is_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let mut variants = vec![String::new()];
    let mut before = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if matches!(letter, '-' | '/') && !is_word(before) && is_word(letters.peek().copied()) {
            variants = variants.iter().flat_map(|text| DASHES.map(|dash| format!("{text}{dash}"))).collect();
        } else {
            for text in &mut variants {
                text.push(letter);
            }
        }
        if variants.len() > MAX_VARIANTS {
            return Err(too_many_dashes());
        }
        before = Some(letter);
    }
    Ok(variants)
}

fn too_many_dashes() -> String {
    "it has too many dashes for |windash".to_owned()
}
