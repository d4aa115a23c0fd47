//! Ways to people. A channel is one file, and one line here.

use async_trait::async_trait;
use cloudvigil_core::finding::Message;
use jiff::Timestamp;

use crate::Error;
use crate::summary::{Digest, Summary};

pub mod email;

/// What a channel carries.
#[derive(Debug)]
pub enum Notice<'a> {
    /// One finding.
    Finding(&'a Message),
    /// The findings of one rule beyond an hour's cap.
    Summary(Summary),
    /// A day's lower findings.
    Digest(Digest),
}

/// A way to people.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name: a part of the state's keys, so that each channel delivers everything by itself.
    fn name(&self) -> &'static str;

    /// Carries one notice. An error means that it is not known to have arrived: the notice comes again.
    async fn send(&self, notice: &Notice<'_>, now: Timestamp) -> Result<(), Error>;
}
