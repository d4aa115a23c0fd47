//! What the operating system's errors mean for a caller, and how names are shown in messages.

use std::io;
use std::path::Path;

use cloudvigil_core::ports::{Failure, PortError};

/// The failure of `what` for the system's reason.
pub(crate) fn io_failure(what: impl Into<String>, error: io::Error) -> PortError {
    let failure = match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::Denied,
        io::ErrorKind::Interrupted
        | io::ErrorKind::TimedOut
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::StaleNetworkFileHandle => Failure::Transient,
        _ => Failure::Permanent,
    };
    PortError::new(failure, what, error)
}

/// A name as it can be shown on a terminal: whoever made the file may have put control characters into it.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// [`shown`], of a path.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}
