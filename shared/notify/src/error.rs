//! What can go wrong between a finding and the people who should read of it.

use cloudvigil_core::ports::{Failure, PortError};
use jiff::Timestamp;

/// A delivery or a task that failed. Nothing is lost by it: what was to be sent is sent when it is asked for again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message will never work: a field that others rest on is not as it must be.
    #[error("the finding's message is refused: {0}")]
    Malformed(String),

    /// Somebody else is at it right now.
    #[error("{what} is held by {owner} until {until}; deliver it again after that")]
    Held {
        /// What is held.
        what: String,
        /// By whom.
        owner: String,
        /// Until when, at the latest.
        until: Timestamp,
    },

    /// Others wrote the same item again and again.
    #[error("{what} was changed by others {attempts} times in a row; deliver it again later")]
    Contended {
        /// The item.
        what: String,
        /// How often it was tried.
        attempts: u32,
    },

    /// An item of the state that this version cannot read.
    #[error("the state item {partition} / {sort} cannot be read: {reason}")]
    State {
        /// Its partition key.
        partition: String,
        /// Its sort key.
        sort: String,
        /// Why not.
        reason: String,
    },

    /// The state or the mail service failed.
    #[error(transparent)]
    Port(#[from] PortError),

    /// A template failed: a defect of this crate.
    #[error("a message could not be written: {0}")]
    Render(#[from] askama::Error),

    /// A message could not be put together: a defect of this crate.
    #[error("a mail could not be put together: {0}")]
    Compose(#[from] std::io::Error),
}

impl Error {
    /// Whether the same call may work later, with nothing mended.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Held { .. } | Self::Contended { .. } => true,
            Self::Port(error) => error.failure == Failure::Transient,
            Self::Malformed(_) | Self::State { .. } | Self::Render(_) | Self::Compose(_) => false,
        }
    }
}
