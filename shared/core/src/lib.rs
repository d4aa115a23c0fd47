//! The detection pipeline of cloudvigil, pure: no I/O, no SDK, no runtime.
//!
//! Data flows one way: bytes of a source, cut into frames ([`framing`]), parsed into [`record`]s ([`formats`]),
//! given what rules cannot compute ([`enrich`]), matched by rules ([`detect`]), folded into [`finding`]s
//! ([`correlate`]). [`pipeline`] is the one path through all of it; [`ports`] is what it needs of the world.

#![warn(missing_docs)]

pub mod attack;
pub mod config;
pub mod correlate;
pub mod decode;
pub mod detect;
pub mod enrich;
pub mod fields;
pub mod finding;
pub mod formats;
pub mod framing;
pub mod ocsf;
pub mod pipeline;
pub mod ports;
pub mod record;
pub mod rule_files;
pub mod silence;
mod spread;
pub mod suppression;
mod varint;
mod wildcards;
