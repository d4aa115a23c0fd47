//! E-mail: MIME ([RFC 2045](https://www.rfc-editor.org/rfc/rfc2045)) through whatever carries mail.

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use cloudvigil_core::ports::{Mail, Mailer};
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as Mailbox;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;

use crate::Error;
use crate::channels::{Channel, Notice};
use crate::message::{self, Written};

/// E-mail to fixed recipients.
pub struct Email {
    mailer: Arc<dyn Mailer>,
    envelope: Envelope,
}

/// Who writes to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whom the mail is from.
    pub sender: Address,
    /// Whom it goes to; at least one.
    pub recipients: Vec<Address>,
}

/// A bare address, `local@domain`: printable ASCII, nothing that a header could be broken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// A word that is no address.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no bare e-mail address such as security@example.com")]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        let invalid = || InvalidAddress(crate::visible::line(text, 80));
        let (local, domain) = text.rsplit_once('@').ok_or_else(invalid)?;
        let local_fits = local.bytes().all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&b));
        let domain_fits = domain.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
            && domain.split('.').all(|label| !label.is_empty());
        let length_fits = (1..=64).contains(&local.len()) && (1..=255).contains(&domain.len());
        if local_fits && domain_fits && length_fits { Ok(Self(text.to_owned())) } else { Err(invalid()) }
    }
}

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("localhost", |(_, domain)| domain)
    }
}

impl Envelope {
    /// Reads a sender and comma-separated recipients.
    pub fn parse(sender: &str, recipients: &str) -> Result<Self, InvalidAddress> {
        let recipients: Vec<Address> =
            recipients.split(',').filter(|r| !r.trim().is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        if recipients.is_empty() {
            return Err(InvalidAddress(String::new()));
        }
        Ok(Self { sender: sender.parse()?, recipients })
    }
}

impl Email {
    /// E-mail through `mailer`.
    pub fn new(mailer: Arc<dyn Mailer>, envelope: Envelope) -> Self {
        Self { mailer, envelope }
    }
}

#[async_trait]
impl Channel for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    async fn send(&self, notice: &Notice<'_>, now: Timestamp) -> Result<(), Error> {
        Ok(self.mailer.send(&mail(notice, &self.envelope, now)?).await?)
    }
}

/// A notice as a mail, ready to be sent.
pub fn mail(notice: &Notice<'_>, envelope: &Envelope, now: Timestamp) -> Result<Mail, Error> {
    let written = match notice {
        Notice::Finding(message) => message::write(message)?,
        Notice::Summary(summary) => summary.write()?,
        Notice::Digest(digest) => digest.write()?,
    };
    compose(written, envelope, now)
}

fn compose(written: Written, envelope: &Envelope, now: Timestamp) -> Result<Mail, Error> {
    let Written { subject, text, html, id, thread } = written;
    let domain = envelope.sender.domain();
    let recipients: Vec<Mailbox<'_>> =
        envelope.recipients.iter().map(|address| Mailbox::new_address(None::<&str>, address.as_str())).collect();
    let mut builder = MessageBuilder::new()
        .from(Mailbox::new_address(Some("cloudvigil"), envelope.sender.as_str()))
        .to(recipients)
        .date(now.as_second())
        .message_id(format!("{id}@{domain}"))
        // RFC 3834: no vacation notices in reply, and no loops.
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .header("X-Auto-Response-Suppress", Raw::new("All"));
    // The builder encodes whatever is longer than a line. ASCII needs to be folded only, and stays readable in the source.
    builder = if subject.is_ascii() {
        builder.header("Subject", Raw::new(subject.as_str()))
    } else {
        builder.subject(subject.as_str())
    };
    if let Some(thread) = thread {
        // SES writes a Message-ID of its own; what belongs together is found by this one.
        builder = builder.references(MessageId::new(format!("{thread}@{domain}")));
    }
    let message = builder.text_body(text).html_body(html).write_to_vec()?;
    Ok(Mail {
        sender: envelope.sender.as_str().to_owned(),
        recipients: envelope.recipients.iter().map(|address| address.as_str().to_owned()).collect(),
        subject,
        message,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::{Outbox, block_on, hostile, message};

    fn envelope() -> Envelope {
        Envelope::parse("vigil@example.com", "security@example.org, ops@example.org").unwrap()
    }

    /// A message's header lines, unfolded.
    fn headers(mail: &Mail) -> Vec<String> {
        let text = String::from_utf8(mail.message.clone()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_mail_names_its_writer_its_readers_its_thread_and_the_clocks_time() {
        let now = "2026-11-22T07:16:00Z".parse().unwrap();
        let mail = mail(&Notice::Finding(&message("f1")), &envelope(), now).unwrap();
        assert_eq!(mail.sender, "vigil@example.com");
        assert_eq!(mail.recipients, ["security@example.org", "ops@example.org"]);
        let headers = headers(&mail);
        for expected in [
            "From: \"cloudvigil\" <vigil@example.com>",
            "To: <security@example.org>, <ops@example.org>",
            "Subject: [critical] CloudTrail logging was stopped: trail/main in 123456789012 eu-central-1, by alice",
            "Date: Sun, 22 Nov 2026 07:16:00 +0000",
            "Message-ID: <cloudvigil.finding.f1@example.com>",
            "References: <cloudvigil.thread.0123456789abcdef0123456789abcdef@example.com>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.iter().any(|header| header == expected), "{expected}\n{headers:#?}");
        }
        let text = String::from_utf8(mail.message).unwrap();
        assert!(text.contains("multipart/alternative") && text.contains("text/plain") && text.contains("text/html"));
        assert!(text.split("\r\n").all(|line| line.len() <= 998));
    }

    #[test]
    fn no_logged_value_becomes_a_header() {
        let now = Timestamp::UNIX_EPOCH;
        let mail = mail(&Notice::Finding(&hostile()), &envelope(), now).unwrap();
        let headers = headers(&mail);
        let names: Vec<&str> = headers.iter().map(|header| header.split_once(": ").unwrap().0).collect();
        let mut expected = vec![
            "Auto-Submitted",
            "Content-Type",
            "Date",
            "From",
            "MIME-Version",
            "Message-ID",
            "References",
            "Subject",
            "To",
            "X-Auto-Response-Suppress",
        ];
        let mut sorted = names.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn unicode_in_a_subject_is_encoded() {
        let mut message = message("f1");
        message.finding.actor = Some("김철수".to_owned());
        let mail = mail(&Notice::Finding(&message), &envelope(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(mail.subject.ends_with("by 김철수"));
        assert!(headers(&mail).iter().all(|header| header.is_ascii()));
    }

    #[test]
    fn addresses_that_could_break_a_header_are_refused() {
        for odd in [
            "",
            "a",
            "@example.com",
            "a@",
            "a@b\r\nBcc: c@d",
            "a b@example.com",
            "a@exa mple.com",
            "A <a@example.com>",
            "a@b..c",
            "a,b@c",
        ] {
            assert!(odd.parse::<Address>().is_err(), "{odd}");
        }
        assert_eq!(" a.b+c@example.com ".parse::<Address>().unwrap().as_str(), "a.b+c@example.com");
        assert!(Envelope::parse("a@example.com", " , ").is_err());
    }

    #[test]
    fn a_mailer_that_fails_is_an_error_to_be_retried() {
        let outbox = Arc::new(Outbox::default());
        let email = Email::new(outbox.clone(), envelope());
        outbox.fails.store(true, Ordering::Relaxed);
        let error = block_on(email.send(&Notice::Finding(&message("f1")), Timestamp::UNIX_EPOCH)).unwrap_err();
        assert!(error.is_retryable());
        outbox.fails.store(false, Ordering::Relaxed);
        block_on(email.send(&Notice::Finding(&message("f1")), Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(outbox.mails.lock().unwrap().len(), 1);
    }
}
