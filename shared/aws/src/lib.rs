//! An AWS account as the command line and the functions both read it: its objects, its trails, its event history.
//!
//! | need | module |
//! | --- | --- |
//! | objects: S3 | [`objects`] |
//! | the account's trails, and whether they are alive | [`trails`] |
//! | the account's event history | [`lookup`] |
//! | the public keys of its trails' digests | [`public_keys`] |
//! | its regions and its id | [`regions`] |
//!
//! Everything shares one [`clients::Clients`], which does nothing until it is first asked: a function polls its runtime
//! before any of it is loaded. Failures are [`cloudvigil_core::ports::PortError`]s; [`error`] says which is which.

#![warn(missing_docs)]

pub mod clients;
pub mod error;
pub mod lookup;
pub mod objects;
pub mod public_keys;
pub mod regions;
mod time;
pub mod trails;

pub use clients::Clients;
pub use objects::S3Objects;
pub use public_keys::ListedKeys;
