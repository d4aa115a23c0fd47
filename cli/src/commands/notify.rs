//! `cloudvigil notify`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cloudvigil_core::config::{DEFAULT_OUTBOX, MailConfig};
use cloudvigil_core::correlate::Group;
use cloudvigil_core::finding::{self, Finding, Guidance, Level, Message};
use cloudvigil_core::ports::{Clock, Mailer, SystemClock};
use cloudvigil_local::{Outbox, Smtp};
use cloudvigil_notify::channels::email::{Email, Envelope};
use cloudvigil_notify::channels::{Channel as _, Notice};
use jiff::Timestamp;

use crate::arguments::Notify;
use crate::destination::Destination;
use crate::ending::Ending;
use crate::{analysis, rules, terminal};

/// Runs it.
pub fn run(arguments: &Notify) -> Result<Ending> {
    match arguments {
        Notify::Test { config } => test(config),
    }
}

/// A way for mail, with its name for people.
type Way = (String, Arc<dyn Mailer>);

fn test(path: &Path) -> Result<Ending> {
    let shown = path.display().to_string();
    let config = rules::configuration(Some(path))?;
    let mail = config.mail(&shown)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let envelope =
        Envelope::parse(&mail.sender, &mail.recipients.join(",")).with_context(|| format!("{shown}, [mail]"))?;
    let ways = ways(mail, &clock)?;
    let runtime = analysis::runtime()?;
    let now = clock.now();
    let message = message(now);
    let recipients = mail.recipients.join(", ");
    let mut to = Destination::open(None)?;
    let mut ending = Ending::Done;
    for (name, mailer) in ways {
        let email = Email::new(mailer, envelope.clone());
        match runtime.block_on(email.send(&Notice::Finding(&message), now)) {
            Ok(()) => {
                let line = terminal::line(&format!("sent by {name} to {recipients}"));
                to.write(|writer| writeln!(writer, "{line}"))?;
            }
            Err(error) => {
                terminal::error(&format!("{name}: {error}"));
                ending = Ending::Incomplete;
            }
        }
    }
    to.flush()?;
    Ok(ending)
}

fn ways(mail: &MailConfig, clock: &Arc<dyn Clock>) -> Result<Vec<Way>> {
    let mut ways: Vec<Way> = Vec::new();
    if let Some(address) = &mail.smtp {
        ways.push(("SMTP".to_owned(), Arc::new(Smtp::new(address.reveal(), None)?)));
    }
    let outbox = mail.outbox.as_deref().or(ways.is_empty().then_some(DEFAULT_OUTBOX));
    if let Some(folder) = outbox {
        ways.push((format!("the outbox {folder}"), Arc::new(Outbox::new(folder, Arc::clone(clock)))));
    }
    Ok(ways)
}

/// A finding that says of itself that it is none.
fn message(now: Timestamp) -> Message {
    let finding = Finding {
        id: format!("test-{}", now.as_second()),
        revision: 1,
        rule: "cloudvigil-notify-test".to_owned(),
        title: "Test message of cloudvigil: nothing has happened".to_owned(),
        level: Level::Informational,
        count: 1,
        first_time: Some(now),
        last_time: Some(now),
        group: Group::default(),
        account: None,
        region: None,
        actor: None,
        source_address: None,
        resources: Vec::new(),
        evidence: Vec::new(),
        dedup_key: "cloudvigil-notify-test".to_owned(),
    };
    let guidance = Guidance {
        description: "Somebody ran `cloudvigil notify test`. That you read this shows that findings reach you."
            .to_owned(),
        runbook: "Nothing is to be done. If you did not expect this, ask who set up cloudvigil for you.".to_owned(),
        ..Guidance::default()
    };
    Message { schema: finding::SCHEMA, finding, guidance }
}
