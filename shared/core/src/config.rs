//! The configuration: one TOML document, `cloudvigil.toml` on a host, an object of S3 in AWS.
//!
//! ```toml
//! [mail]                                            # in AWS, parameters of the stack instead
//! sender = "cloudvigil@example.com"
//! recipients = ["security@example.com"]
//! smtp = "smtps://user:password@mail.example.com"   # or outbox = "folder", or both
//!
//! [notify]
//! mails_per_rule_per_hour = 10
//!
//! [placeholders]                                    # what `%name%` stands for in rules, with the modifier `expand`
//! administrators = ["alice", "ops-*"]
//!
//! [own]                                             # beside the stack's own
//! resources = ["arn:aws:s3:::company-trail"]
//! deploying_roles = ["arn:aws:iam::123456789012:role/Deployment"]
//!
//! [[suppressions]]                                  # findings that nobody is told of, until `expires`
//! rule = "a707b2ff-8050-4e0b-bdcd-b07caa8f1f59"
//! owner = "platform@example.com"
//! reason = "the load test of March"
//! expires = 2026-03-31
//! ```
//!
//! Everything has a default but the sender and the recipients of mail. A key that is not known is an error: a misspelt one
//! would be a setting that silently does nothing.

mod mail;
mod pattern;

use serde::{Deserialize, Deserializer};

pub use self::mail::{DEFAULT_OUTBOX, MOST_MAILS, MailConfig, NotifyConfig, Secret};
pub use self::pattern::{Pattern, Patterns};
use crate::detect::Placeholders;
use crate::enrich::OwnResources;
use crate::suppression::Suppressions;

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who writes to whom, and by what way.
    mail: MailConfig,
    /// How much is sent.
    pub notify: NotifyConfig,
    /// What placeholders of rules stand for.
    pub placeholders: Placeholders,
    /// What is cloudvigil's own, and who deploys it.
    pub own: OwnConfig,
    /// Findings that nobody is told of.
    pub suppressions: Suppressions,
}

/// `[own]`: whom and what the rules about tampering treat apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnConfig {
    /// Resources that cloudvigil rests on: what is done to them is critical, whoever does it.
    pub resources: OwnResources,
    /// ARNs of the roles that deploy cloudvigil: what they alone do is one level lower, and never hidden.
    #[serde(deserialize_with = "role_arns")]
    pub deploying_roles: Vec<String>,
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
        config.mail.check().and_then(|()| config.notify.check()).map_err(|(key, reason)| {
            let at = key_offset(text, key);
            ConfigError { key: Some(key.to_owned()), ..located(file, text, at, &reason) }
        })?;
        Ok(config)
    }

    /// `[mail]`, for those who send any.
    pub fn mail(&self, file: &str) -> Result<&MailConfig, ConfigError> {
        match self.mail.missing() {
            None => Ok(&self.mail),
            Some(key) => Err(located(file, "", 0, &format!("`{key}` is missing in [mail]"))),
        }
    }
}

/// ARNs of roles, as they stand in `sessionContext.sessionIssuer.arn`: those of sessions (`assumed-role`) never do.
fn role_arns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let roles = Vec::<String>::deserialize(deserializer)?;
    match roles.iter().find(|role| !is_role_arn(role)) {
        None => Ok(roles),
        Some(role) => Err(serde::de::Error::custom(format!(
            "'{role}' must be the ARN of a role, such as arn:aws:iam::123456789012:role/Deployment, without wildcards"
        ))),
    }
}

/// Whether a text is the ARN of an IAM role.
pub fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let [arn, _, service, _, account, resource] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let name = resource.strip_prefix("role/").unwrap_or_default();
    arn == "arn" && service == "iam" && is_account && !name.is_empty() && !name.contains(['*', '?', ' '])
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
        assert_eq!(config, Config { mail: config.mail.clone(), ..Config::default() });
        assert_eq!(Config::parse("c.toml", "").unwrap(), Config::default());
        let mail = config.mail("cloudvigil.toml").unwrap();
        assert_eq!((&mail.smtp, &mail.outbox), (&None, &None));
        for (text, key) in [("[mail]\nsender = \"a@example.com\"\n", "recipients"), ("", "sender")] {
            let error = Config::parse("c.toml", text).unwrap().mail("c.toml").unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
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
        for (lines, line, key) in [
            ("mails_per_hour = 0", 5, "mails_per_hour"),
            ("mails_per_hour = 6\nmails_kept_for_critical = 6", 6, "mails_kept_for_critical"),
            ("mails_per_hour = \"many\"", 5, "mails_per_hour"),
        ] {
            let error = Config::parse("c.toml", &format!("{BASIC}[notify]\n{lines}\n")).unwrap_err();
            assert_eq!((error.line, error.key.as_deref()), (line, Some(key)), "{error}");
        }
    }

    #[test]
    fn placeholders_are_lists_of_texts_and_need_no_mail() {
        let text = "[placeholders]\nadmins = [\"a\", \"b\"]\n";
        assert_eq!(Config::parse("c.toml", text).unwrap().placeholders["admins"], ["a", "b"]);
        let error = Config::parse("c.toml", "[placeholders]\n\nadmins = \"a\"\n").unwrap_err();
        assert_eq!((error.line, error.key.as_deref()), (3, Some("admins")));
        assert!(Config::parse("c.toml", "[placeholder]\n").is_err(), "a misspelt table does nothing");
    }

    #[test]
    fn what_is_ones_own_is_named_exactly_or_refused() {
        let role = "arn:aws:iam::123456789012:role/path/Deployment";
        let text = format!("[own]\nresources = [\"arn:aws:s3:::company-trail\"]\ndeploying_roles = [\"{role}\"]\n");
        let own = Config::parse("c.toml", &text).unwrap().own;
        assert_eq!(own.deploying_roles, [role]);
        assert!(own.resources.has_arn("arn:aws:s3:::company-trail/AWSLogs/x"));
        for wrong in ["resources = [\"*\"]", "resources = [\"arn:aws:s3\"]"] {
            let error = Config::parse("c.toml", &format!("[own]\n{wrong}\n")).unwrap_err();
            assert_eq!((error.line, error.key.as_deref()), (2, Some("resources")), "{error}");
        }
        for wrong in ["Deployment", "arn:aws:iam::123456789012:role/*", "arn:aws:sts::123456789012:assumed-role/D/s"] {
            let error = Config::parse("c.toml", &format!("[own]\ndeploying_roles = [\"{wrong}\"]\n")).unwrap_err();
            assert_eq!((error.line, error.key.as_deref()), (2, Some("deploying_roles")), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let text = format!("{BASIC}smtp = \"smtps://user:hunter2@host\"\n");
        let config = Config::parse("c.toml", &text).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.mail.smtp.unwrap().reveal(), "smtps://user:hunter2@host");
    }
}
