//! The core's ports without AWS: files for objects, one embedded database file for state, an outbox folder or SMTP for
//! mail, a list in memory for findings.
//!
//! Files and the database are read and written with blocking calls, inside the ports' async methods: call them from
//! threads that may block. [`Smtp`] alone waits asynchronously, and needs a Tokio runtime with I/O and time enabled.
#![warn(missing_docs)]

mod digest;
mod failure;
pub mod findings;
pub mod mail;
pub mod objects;
pub mod state;

pub use findings::Collected;
pub use mail::{Credentials, Outbox, Smtp};
pub use objects::Files;
pub use state::EmbeddedState;
