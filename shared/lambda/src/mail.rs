//! Mail through `SESv2` `SendEmail`, raw (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>):
//! [`Mailer`].
//!
//! | SES says | failure | because |
//! | --- | --- | --- |
//! | throttling, `TooManyRequestsException`, `LimitExceededException` (the sending quota), time-outs, HTTP 5xx | `Transient` | it passes |
//! | `SendingPausedException`, `AccountSuspendedException`, `MailFromDomainNotVerifiedException` | `Transient` | the account is at fault and not the mail, which waits, in the queue or its dead-letter queue, until somebody has put the account right |
//! | `AccessDeniedException` | `Denied` | |
//! | `NotFoundException` (the configuration set) | `NotFound` | |
//! | `MessageRejected` (an unverified sender, a recipient in the sandbox, content), `BadRequestException` | `Permanent` | the same mail is refused every time |
//!
//! What can pass within seconds has been retried by the SDK before.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, RawMessage};
use cloudvigil_aws::Clients;
use cloudvigil_aws::error::explain;
use cloudvigil_core::ports::{Failure, Mail, Mailer, PortError, PortResult};
use tokio::sync::OnceCell;

/// The most recipients of one call; more are sent in several.
const MAX_RECIPIENTS: usize = 50;

/// Mail through SES.
pub struct SesMailer {
    clients: Arc<Clients>,
    client: OnceCell<Client>,
    region: Option<String>,
    configuration_set: Option<String>,
}

impl SesMailer {
    /// Mail through SES in `region`, where the sender is verified; `None`: the current one. Nothing is asked yet.
    pub fn new(clients: Arc<Clients>, region: Option<String>) -> Self {
        Self { clients, client: OnceCell::new(), region, configuration_set: None }
    }

    /// Sends with a configuration set, by name.
    #[must_use]
    pub fn with_configuration_set(self, name: impl Into<String>) -> Self {
        Self { configuration_set: Some(name.into()), ..self }
    }

    async fn client(&self) -> PortResult<&Client> {
        let make = || async {
            let region = match &self.region {
                Some(region) => region.clone(),
                None => self.clients.region().await?,
            };
            Ok(Client::new(&self.clients.config_in(&region).await))
        };
        self.client.get_or_try_init(make).await
    }
}

#[async_trait]
impl Mailer for SesMailer {
    /// Hands over one mail. More than fifty recipients are served in several calls: if a later one fails and the mail
    /// is sent again, the earlier recipients get it twice.
    async fn send(&self, mail: &Mail) -> PortResult<()> {
        let what = || format!("send the mail {:?} through SES", mail.subject);
        let refuse = |why: String| PortError::new(Failure::Permanent, what(), why);
        if mail.recipients.is_empty() {
            // SES would take them from the message's header.
            return Err(refuse("it has no recipient".to_owned()));
        }
        let client = self.client().await?;
        let raw = RawMessage::builder().data(Blob::new(mail.message.as_slice())).build();
        let raw = raw.map_err(|error| refuse(error.to_string()))?;
        let content = EmailContent::builder().raw(raw).build();
        for recipients in mail.recipients.chunks(MAX_RECIPIENTS) {
            client
                .send_email()
                .from_email_address(&mail.sender)
                .destination(Destination::builder().set_to_addresses(Some(recipients.to_vec())).build())
                .content(content.clone())
                .set_configuration_set_name(self.configuration_set.clone())
                .send()
                .await
                .map_err(|error| {
                    let (failure, source) = explain(&error);
                    PortError::new(error.as_service_error().and_then(failure_of_ses).unwrap_or(failure), what(), source)
                })?;
        }
        Ok(())
    }
}

/// What SES means by errors whose name and status alone say something else.
fn failure_of_ses(error: &SendEmailError) -> Option<Failure> {
    match error {
        SendEmailError::SendingPausedException(_)
        | SendEmailError::AccountSuspendedException(_)
        | SendEmailError::MailFromDomainNotVerifiedException(_) => Some(Failure::Transient),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Stub};

    use super::*;

    fn mail(recipients: usize) -> Mail {
        Mail {
            sender: "vigil@example.com".into(),
            recipients: (0..recipients).map(|n| format!("ops{n}@example.com")).collect(),
            subject: "Trail logging stopped".into(),
            message: b"Subject: Trail logging stopped\r\n\r\nText\r\n".to_vec(),
        }
    }

    async fn refused(status: u16, code: &str) -> PortError {
        let stub = Stub::answering([Reply::error(status, code, "why")]);
        SesMailer::new(stub.clients(Clients::with_config), None).send(&mail(1)).await.unwrap_err()
    }

    #[tokio::test]
    async fn the_message_goes_out_raw_with_its_envelope() {
        let stub = Stub::answering([Reply::ok(r#"{"MessageId":"1"}"#)]);
        let mailer = SesMailer::new(stub.clients(Clients::with_config), Some("eu-west-1".into()))
            .with_configuration_set("alerts");
        mailer.send(&mail(1)).await.unwrap();
        let request = &stub.requests()[0];
        assert!(request.headers.contains("/eu-west-1/ses/"));
        let body = request.json();
        assert_eq!(body["FromEmailAddress"], "vigil@example.com");
        assert_eq!(body["Destination"]["ToAddresses"][0], "ops0@example.com");
        assert_eq!(body["Content"]["Raw"]["Data"], "U3ViamVjdDogVHJhaWwgbG9nZ2luZyBzdG9wcGVkDQoNClRleHQNCg==");
        assert_eq!(body["ConfigurationSetName"], "alerts");
    }

    #[tokio::test]
    async fn many_recipients_are_served_in_several_calls() {
        let stub = Stub::with(|_| Reply::ok(r#"{"MessageId":"1"}"#));
        SesMailer::new(stub.clients(Clients::with_config), None).send(&mail(51)).await.unwrap();
        let requests = stub.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].json()["Destination"]["ToAddresses"], serde_json::json!(["ops50@example.com"]));
    }

    #[tokio::test]
    async fn a_mail_to_nobody_is_not_sent() {
        let stub = Stub::answering([]);
        let error = SesMailer::new(stub.clients(Clients::with_config), None).send(&mail(0)).await.unwrap_err();
        assert_eq!(error.failure, Failure::Permanent);
        assert!(stub.requests().is_empty());
    }

    #[tokio::test]
    async fn a_mail_waits_for_what_passes() {
        for (status, code) in [
            (429, "TooManyRequestsException"),
            (400, "LimitExceededException"),
            (400, "SendingPausedException"),
            (400, "AccountSuspendedException"),
            (400, "MailFromDomainNotVerifiedException"),
            (400, "ThrottlingException"),
            (503, "ServiceUnavailable"),
        ] {
            assert_eq!(refused(status, code).await.failure, Failure::Transient, "{code}");
        }
    }

    #[tokio::test]
    async fn a_mail_that_is_refused_is_not_tried_again() {
        assert_eq!(refused(400, "BadRequestException").await.failure, Failure::Permanent);
        assert_eq!(refused(403, "AccessDeniedException").await.failure, Failure::Denied);
        let error = refused(400, "MessageRejected").await;
        assert_eq!(error.failure, Failure::Permanent);
        assert_eq!(error.to_string(), "send the mail \"Trail logging stopped\" through SES: MessageRejected: why");
    }
}
