//! The configuration: one TOML document, `cloudvigil.toml` on a host.
//!
//! ```toml
//! [mail]
//! sender = "cloudvigil@example.com"
//! recipients = ["security@example.com"]
//! smtp = "smtps://user:password@mail.example.com"   # or outbox = "folder", or both
//!
//! [notify]
//! mails_per_rule_per_hour = 10
//!
//! [placeholders]                                    # what `%name%` stands for in rules, with the modifier `expand`
//! administrators = ["alice", "ops-*"]
//! ```
//!
//! Everything has a default but the sender and the recipients. A key that is not known is an error: a misspelt one would
//! be a setting that silently does nothing.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::detect::Placeholders;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who writes to whom, and by what way.
    pub mail: MailConfig,
    /// How much is sent.
    #[serde(default)]
    pub notify: NotifyConfig,
    /// What placeholders of rules stand for.
    #[serde(default)]
    pub placeholders: Placeholders,
}

/// `[mail]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Whom mail is from: a bare address.
    pub sender: String,
    /// Whom it goes to: bare addresses, at least one.
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

/// `[notify]`: how many mails go out in an hour. What is beyond waits for the hour's summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyConfig {
    /// Mails for one rule.
    pub mails_per_rule_per_hour: u32,
    /// Mails for all rules together.
    pub mails_per_hour: u32,
    /// How many of these only critical findings may use.
    pub mails_kept_for_critical: u32,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self { mails_per_rule_per_hour: 10, mails_per_hour: 60, mails_kept_for_critical: 20 }
    }
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

/// A document that is no configuration. Its text names file, line and key, and never quotes the line: there may be a
/// password in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}{}: {reason}", key.as_ref().map(|key| format!(", key '{key}'")).unwrap_or_default())]
pub struct ConfigError {
    /// The document's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key on that line, if there is one.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Config {
    /// Reads a document. `file` is its name, for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            located(file, text, at, error.message())
        })?;
        config.check().map_err(|(key, reason)| {
            let at = key_offset(text, key);
            ConfigError { key: Some(key.to_owned()), ..located(file, text, at, &reason) }
        })?;
        Ok(config)
    }

    /// Reads of a document only what rules need: who analyses logs need not say whom mail goes to.
    pub fn placeholders(file: &str, text: &str) -> Result<Placeholders, ConfigError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ForRules {
            #[serde(default, rename = "mail")]
            _mail: IgnoredAny,
            #[serde(default, rename = "notify")]
            _notify: IgnoredAny,
            #[serde(default)]
            placeholders: Placeholders,
        }
        let config = toml::from_str::<ForRules>(text);
        config.map(|config| config.placeholders).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            located(file, text, at, error.message())
        })
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let bare = |address: &str| {
            let parts = address.split_once('@');
            parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
                && !address.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ','))
        };
        let (mail, notify) = (&self.mail, &self.notify);
        let expects = "a bare address such as security@example.com";
        if !bare(&mail.sender) {
            return Err(("sender", format!("it must be {expects}")));
        }
        if mail.recipients.is_empty() || !mail.recipients.iter().all(|address| bare(address)) {
            return Err(("recipients", format!("it must be a list of at least one, each {expects}")));
        }
        if notify.mails_per_hour == 0 || notify.mails_per_hour > 1000 {
            return Err(("mails_per_hour", "it must be between 1 and 1000".to_owned()));
        }
        if notify.mails_kept_for_critical > notify.mails_per_hour {
            return Err(("mails_kept_for_critical", "it must not be more than mails_per_hour".to_owned()));
        }
        Ok(())
    }
}

fn located(file: &str, text: &str, at: usize, reason: &str) -> ConfigError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let content = text.lines().nth(line - 1).unwrap_or_default();
    let key = content.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && key.len() <= 64);
    let plain = |key: &&str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    ConfigError { file: file.to_owned(), line, key: key.filter(plain).map(str::to_owned), reason: reason.to_owned() }
}

/// Where a key stands; the document's end where it stands nowhere.
fn key_offset(text: &str, key: &str) -> usize {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return offset;
        }
        offset += line.len();
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = "[mail]\nsender = \"a@example.com\"\nrecipients = [\"b@example.com\"]\n";

    #[test]
    fn everything_has_a_default_but_the_sender_and_the_recipients() {
        let config = Config::parse("cloudvigil.toml", BASIC).unwrap();
        assert_eq!(config.notify, NotifyConfig::default());
        assert_eq!((config.mail.smtp, config.mail.outbox), (None, None));
        let error = Config::parse("c.toml", "[mail]\nsender = \"a@example.com\"\n").unwrap_err();
        assert!(error.to_string().contains("recipients"), "{error}");
    }

    #[test]
    fn an_error_names_file_line_and_key_and_quotes_no_secret() {
        for (line, key) in [
            ("smpt = \"smtps://user:hunter2@host\"", "smpt"),
            ("smtp = [\"smtps://user:hunter2@host\"]", "smtp"),
            ("smtp = \"smtps://user:hunter2@host", "smtp"),
        ] {
            let error = Config::parse("c.toml", &format!("{BASIC}{line}\n")).unwrap_err();
            assert_eq!((error.file.as_str(), error.line, error.key.as_deref()), ("c.toml", 4, Some(key)), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let text = BASIC.replace("b@example.com", "B <b@example.com>");
        let error = Config::parse("c.toml", &text).unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (3, Some("recipients")));
        let error = Config::parse("c.toml", &format!("{BASIC}[notify]\nmails_per_hour = 0\n")).unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (5, Some("mails_per_hour")));
    }

    #[test]
    fn placeholders_are_lists_of_texts_and_need_no_mail() {
        let text = "[placeholders]\nadmins = [\"a\", \"b\"]\n";
        let expected = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(Config::placeholders("c.toml", text).unwrap()["admins"], expected);
        assert_eq!(Config::parse("c.toml", &format!("{BASIC}{text}")).unwrap().placeholders["admins"], expected);
        assert!(Config::placeholders("c.toml", BASIC).unwrap().is_empty());
        let error = Config::placeholders("c.toml", "[placeholders]\n\nadmins = \"a\"\n").unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (3, Some("admins")));
        assert!(Config::placeholders("c.toml", "[placeholder]\n").is_err(), "a misspelt table does nothing");
    }

    #[test]
    fn a_password_is_never_shown() {
        let text = format!("{BASIC}smtp = \"smtps://user:hunter2@host\"\n");
        let config = Config::parse("c.toml", &text).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.mail.smtp.unwrap().reveal(), "smtps://user:hunter2@host");
    }
}
