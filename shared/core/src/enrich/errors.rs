//! The kind of error that an application's line speaks of: what one finding is told from another by.

use serde_json::Value;

use crate::formats::application::{LEVEL, MESSAGE};

/// How languages end the names of their errors.
const ENDINGS: [&str; 5] = ["Error", "Exception", "Fault", "Failure", "Panic"];

/// Texts with which a program that gives up begins.
const PANICS: [&str; 4] = ["panicked at", "panic: ", "fatal error: ", "Segmentation fault"];

/// Names longer than that are no class.
const MAX_NAME: usize = 120;

/// An exception's type without its package, `panic`, or `error` where only the level says so.
pub(super) fn kind(fields: &Value) -> Option<&str> {
    let message = fields.get(MESSAGE)?.as_str()?;
    if PANICS.iter().any(|text| memchr::memmem::find(message.as_bytes(), text.as_bytes()).is_some()) {
        return Some("panic");
    }
    // In a JSON line the type may stand in a field of its own.
    let typed = ["error_type", "exception", "exc_type", "error.type", "errorType"];
    let typed = typed.iter().find_map(|name| exception(fields.get(*name)?.as_str()?));
    typed.or_else(|| exception(message)).or_else(|| {
        let level = fields.get(LEVEL)?.as_str()?;
        matches!(level, "ERROR" | "FATAL" | "CRITICAL").then_some("error")
    })
}

/// The first word that is named like an exception: `ValueError`, `java.lang.NullPointerException`.
fn exception(text: &str) -> Option<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.len() <= MAX_NAME && word.starts_with(|first: char| first.is_ascii_uppercase())).find(
        // `Error` alone is a word of prose.
        |word| ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending)),
    )
}
