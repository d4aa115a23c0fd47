//! The time, which is the machine's: the emulator and the functions have no other.

use jiff::Timestamp;

/// The time now.
#[allow(clippy::disallowed_methods, reason = "a story runs in the present, as what it runs does")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
