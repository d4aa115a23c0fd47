//! Mail by SMTP (RFC 5321, <https://www.rfc-editor.org/rfc/rfc5321>).

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use cloudvigil_core::ports::{Failure, Mail, Mailer, PortError, PortResult};
use lettre::address::Envelope;
use lettre::transport::smtp;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use url::{Host, Url};

use crate::failure::shown;

/// How long one step of the exchange may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the forms of the address are, for messages.
const FORMS: &str = "use smtps://host, smtp://host?tls=required, or smtp://host for no encryption";

/// A name and password for the server. Never shown.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// A user with a password.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// A mailer that hands every mail to one SMTP server, over a new connection.
///
/// Replies 4yz, broken connections and time-outs are [`Failure::Transient`]; replies 5yz are [`Failure::Permanent`], as
/// is a server that lacks what was asked for. Where a server refuses one of several recipients for good, the others get
/// the mail all the same, and the failure names who did not. Needs a Tokio runtime with I/O and time enabled.
#[derive(Debug)]
pub struct Smtp {
    server: String,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Smtp {
    /// The server at `address`:
    ///
    /// - `smtps://host[:465]`: TLS from the first byte (RFC 8314);
    /// - `smtp://host[:587]?tls=required`: STARTTLS (RFC 3207), or no mail;
    /// - `smtp://host[:587]?tls=opportunistic`: STARTTLS if the server offers it;
    /// - `smtp://host[:25]`: no encryption. No credentials are sent over it, unless to this host.
    ///
    /// `credentials` win over those in the address, `smtps://user:password@host`, which are percent-encoded there. A
    /// path is the name for `EHLO`. Nothing is connected yet.
    pub fn new(address: &str, credentials: Option<Credentials>) -> PortResult<Self> {
        // Not the address itself, in no error: it may hold a password.
        let wrong = |why: &dyn fmt::Display| {
            PortError::new(Failure::Permanent, "configure the mail server", format!("{why}; {FORMS}"))
        };
        let url = Url::parse(address).map_err(|error| wrong(&format!("its address is no URL: {error}")))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong(&"its address has no host"))?;
        let server = match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        };
        let encrypted = url.scheme() == "smtps" || url.query_pairs().any(|(key, _)| key == "tls");
        if !encrypted && (credentials.is_some() || url.password().is_some()) && !is_this_host(&url) {
            return Err(wrong(&format!("credentials would cross the network readable, to {}", shown(&server))));
        }
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(address)
            .map_err(|_| wrong(&"its address is not understood"))?;
        if let Some(Credentials { user, password }) = credentials {
            builder = builder.credentials(smtp::authentication::Credentials::new(user, password));
        }
        Ok(Self { server: shown(&server), transport: builder.timeout(Some(TIMEOUT)).build() })
    }

    async fn deliver(&self, sender: &Address, recipients: Vec<Address>, message: &[u8]) -> Result<(), Refusal> {
        let envelope = Envelope::new(Some(sender.clone()), recipients)
            .map_err(|error| Refusal { failure: Failure::Permanent, why: error.to_string() })?;
        // The transport ends the last line itself.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        match self.transport.send_raw(&envelope, message).await {
            Ok(_) => Ok(()),
            // The server's own words, which are not ours to trust.
            Err(error) => Err(Refusal { failure: failure_of(&error), why: shown(&error.to_string()) }),
        }
    }
}

/// Why the server did not take a mail.
struct Refusal {
    failure: Failure,
    why: String,
}

fn is_this_host(url: &Url) -> bool {
    match url.host() {
        // In a scheme that is not the web's, the parser leaves IPv4 addresses as names.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn failure_of(error: &smtp::Error) -> Failure {
    if error.is_permanent() || error.is_client() { Failure::Permanent } else { Failure::Transient }
}

fn address(text: &str, role: &str, what: &str) -> PortResult<Address> {
    text.parse().map_err(|error| {
        PortError::new(Failure::Permanent, what, format!("{role} '{}' is no bare mail address: {error}", shown(text)))
    })
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, mail: &Mail) -> PortResult<()> {
        let what = format!("send mail '{}' through {}", shown(&mail.subject), self.server);
        let sender = address(&mail.sender, "the sender", &what)?;
        let recipients =
            mail.recipients.iter().map(|to| address(to, "the recipient", &what)).collect::<PortResult<Vec<_>>>()?;
        let refusal = match self.deliver(&sender, recipients.clone(), &mail.message).await {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if refusal.failure != Failure::Permanent || recipients.len() < 2 {
            return Err(PortError::new(refusal.failure, what, refusal.why));
        }
        // One recipient that the server will never take must not cost the others their mail.
        let mut refused = Vec::new();
        let mut failure = Failure::Permanent;
        for recipient in recipients {
            if let Err(refusal) = self.deliver(&sender, vec![recipient.clone()], &mail.message).await {
                refused.push(format!("{recipient} did not get it: {}", refusal.why));
                if refusal.failure == Failure::Transient {
                    // Trying again gives the others a second copy; not trying again would lose this one's only one.
                    failure = Failure::Transient;
                }
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(PortError::new(failure, what, refused.join("; "))) }
    }
}
