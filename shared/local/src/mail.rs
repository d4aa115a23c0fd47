//! Mail without SES: into an outbox folder, or by SMTP.

mod outbox;
mod smtp;

pub use outbox::Outbox;
pub use smtp::{Credentials, Smtp};
