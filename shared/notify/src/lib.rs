//! From findings to messages: what people read, how it reaches them, and that it reaches them.
//!
//! [`Deliverer`] decides what becomes of a finding (a mail now, a line of the hour's summary, a line of the day's
//! digest) and keeps the decision in the state, so that a crash, a repeat or a second worker changes nothing.
//! [`channels`] carry a [`Notice`](channels::Notice) to people; [`message`], [`summary`] and [`report`] write it.
//!
//! Everything that stems from a log is hostile: it is cut, its invisible characters are made visible ([`visible`]),
//! the templates escape it, and it never becomes a link.
#![warn(missing_docs)]

pub mod channels;
pub mod deliver;
pub mod message;
pub mod report;
pub mod summary;
pub mod visible;

mod collection;
mod entry;
mod error;
mod ledger;
mod prose;
mod records;
mod roll_up;
mod view;

#[cfg(test)]
mod testing;

pub use deliver::{Deliverer, Limits, Outcome};
pub use entry::Entry;
pub use error::Error;
pub use report::{Report, SourceSummary};
pub use roll_up::TaskReport;
