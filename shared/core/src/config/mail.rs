//! `[mail]` and `[notify]`: who writes to whom, by what way, and how much.

use std::fmt;

use serde::Deserialize;

/// `[mail]`. Who analyses logs need not say whom mail goes to: [`super::Config::mail`] is for who sends any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Whom mail is from: a bare address.
    #[serde(default)]
    pub sender: String,
    /// Whom it goes to: bare addresses, at least one.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The SMTP server: `smtps://user:password@host`, `smtp://host?tls=required`. SES is one too, by its SMTP endpoint
    /// (<https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html>).
    #[serde(default)]
    pub smtp: Option<Secret>,
    /// The folder that gets each mail as an `.eml` file. Where no way is named at all, it is [`DEFAULT_OUTBOX`].
    #[serde(default)]
    pub outbox: Option<String>,
}

/// The outbox where the configuration names no way for mail.
pub const DEFAULT_OUTBOX: &str = "cloudvigil-outbox";

/// The most mails of an hour that can be asked for.
pub const MOST_MAILS: u32 = 1000;

/// `[notify]`: how many mails go out in an hour. What is beyond waits for the hour's summary. What is `None` stays as it
/// is without a configuration: in AWS, as the stack's parameters say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Mails for one rule.
    pub mails_per_rule_per_hour: Option<u32>,
    /// Mails for all rules together.
    pub mails_per_hour: Option<u32>,
    /// How many of these only critical findings may use.
    pub mails_kept_for_critical: Option<u32>,
}

/// A text that may hold a password: never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is wrong, and at which key.
type Wrong = (&'static str, String);

impl MailConfig {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let bare = |address: &str| {
            let parts = address.split_once('@');
            parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
                && !address.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ','))
        };
        let expects = "a bare address such as security@example.com";
        if !self.sender.is_empty() && !bare(&self.sender) {
            return Err(("sender", format!("it must be {expects}")));
        }
        if !self.recipients.iter().all(|address| bare(address)) {
            return Err(("recipients", format!("it must be a list of at least one, each {expects}")));
        }
        Ok(())
    }

    /// What is missing to send mail.
    pub(super) fn missing(&self) -> Option<&'static str> {
        [("sender", self.sender.is_empty()), ("recipients", self.recipients.is_empty())]
            .into_iter()
            .find_map(|(key, is_missing)| is_missing.then_some(key))
    }
}

impl NotifyConfig {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let counts =
            [("mails_per_rule_per_hour", self.mails_per_rule_per_hour), ("mails_per_hour", self.mails_per_hour)];
        for (key, value) in counts {
            if value.is_some_and(|value| !(1..=MOST_MAILS).contains(&value)) {
                return Err((key, format!("it must be between 1 and {MOST_MAILS}")));
            }
        }
        if let (Some(kept), Some(all)) = (self.mails_kept_for_critical, self.mails_per_hour)
            && kept >= all
        {
            return Err(("mails_kept_for_critical", "it must be less than mails_per_hour".to_owned()));
        }
        Ok(())
    }
}
