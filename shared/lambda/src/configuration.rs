//! The configuration and the rules that lie in S3: read before the first event, and again every few minutes.
//!
//! | variable | |
//! | --- | --- |
//! | `CONFIGURATION_BUCKET` | the bucket; without it there is no configuration |
//! | `CONFIGURATION_KEY` | the document's key (`cloudvigil.toml`); without it there is no document |
//! | `RULES_PREFIX` | what the keys of rule files (`*.yml`, `*.yaml`) begin with; without it there are no rules but the built-in ones |
//!
//! What cannot be read changes nothing: what was read before holds, or what holds without any configuration, and it is
//! tried again soon. It is a failure that is told and counted each time, whoever is to blame.

use std::sync::Arc;

use cloudvigil_core::config::Config;
use cloudvigil_core::detect::{Problem, RuleFile};
use cloudvigil_core::ports::{ObjectId, ObjectStore};
use cloudvigil_core::rule_files::{self, RuleFiles};
use jiff::{SignedDuration, Timestamp};

use crate::Environment;

/// The metric that counts what is wrong with the configuration, each time that it is read.
pub const PROBLEMS: &str = "ConfigurationProblems";
/// How long what was read holds before it is asked for again.
const HOLDS: SignedDuration = SignedDuration::from_mins(5);
/// The same, after a failure.
const TRIED_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// Where the configuration lies, and what was last read of it.
pub struct Configuration {
    store: Arc<dyn ObjectStore>,
    document: Option<ObjectId>,
    rules: Option<String>,
    /// When it is to be read next; `None`: it never was.
    due: Option<Timestamp>,
    /// The document as it was last read, if it was one.
    text: Option<String>,
    config: Config,
    /// What tells whether the rules are still those that were read, if they were read whole.
    fingerprint: Option<String>,
    has_rules: bool,
}

/// What came of reading it.
#[derive(Debug, Default)]
pub struct News {
    /// The document is another one than before.
    pub document_changed: bool,
    /// The rule files, if they, or the document that fills in their placeholders, may have changed; none where there is
    /// no prefix for any.
    pub files: Option<Vec<RuleFile>>,
    /// Rule files that are none: they are not among the others.
    pub problems: Vec<Problem>,
    /// What could not be read, or is no configuration.
    pub failures: Vec<String>,
}

impl Configuration {
    /// The configuration that the environment names, in this store.
    pub fn from_environment(environment: &Environment, store: Arc<dyn ObjectStore>) -> Self {
        let bucket = environment.optional("CONFIGURATION_BUCKET");
        let document = bucket.zip(environment.optional("CONFIGURATION_KEY")).map(|(bucket, key)| ObjectId {
            source: format!("s3://{bucket}/{key}"),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: None,
        });
        let rules = bucket.zip(environment.optional("RULES_PREFIX"));
        let rules = rules.map(|(bucket, prefix)| format!("s3://{bucket}/{prefix}"));
        let config = Config::default();
        Self { store, document, rules, due: None, text: None, config, fingerprint: None, has_rules: false }
    }

    /// The same without rules, for those that have no use for them.
    pub fn document_alone(environment: &Environment, store: Arc<dyn ObjectStore>) -> Self {
        Self { rules: None, ..Self::from_environment(environment, store) }
    }

    /// What the document says, or what holds without any.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads what may have changed; `None` where it is not time to.
    pub async fn read(&mut self, now: Timestamp) -> Option<News> {
        let nothing = self.document.is_none() && self.rules.is_none();
        if nothing || self.due.is_some_and(|due| now < due) {
            return None;
        }
        let mut news = News::default();
        match self.read_document().await {
            Ok(changed) => news.document_changed = changed,
            Err(failure) => news.failures.push(failure),
        }
        match &self.rules {
            Some(root) => {
                let root = root.clone();
                self.read_rules(&root, &mut news).await;
            }
            None => news.files = news.document_changed.then(Vec::new),
        }
        let next = if news.failures.is_empty() { HOLDS } else { TRIED_AGAIN };
        self.due = now.checked_add(next).ok();
        Some(news)
    }

    /// Reads the document. Whether it is another one.
    async fn read_document(&mut self) -> Result<bool, String> {
        let Some(id) = &self.document else { return Ok(false) };
        let text = rule_files::configuration(self.store.as_ref(), id).await.map_err(|error| error.to_string())?;
        if self.text.as_ref() == Some(&text) {
            return Ok(false);
        }
        self.config = Config::parse(&id.source, &text).map_err(|error| error.to_string())?;
        self.text = Some(text);
        Ok(true)
    }

    async fn read_rules(&mut self, root: &str, news: &mut News) {
        let fingerprint = match self.store.fingerprint(root).await {
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                // Their placeholders may stand for other values now.
                self.fingerprint = self.fingerprint.take().filter(|_| !news.document_changed);
                return news.failures.push(error.to_string());
            }
        };
        if !news.document_changed && fingerprint.is_some() && fingerprint == self.fingerprint {
            return;
        }
        self.fingerprint = None;
        let RuleFiles { files, problems, errors } = match RuleFiles::read(self.store.as_ref(), root).await {
            Ok(read) => read,
            Err(error) => return news.failures.push(error.to_string()),
        };
        let unread = !errors.is_empty();
        news.failures.extend(errors.iter().map(ToString::to_string));
        if files.is_empty() {
            return news
                .failures
                .push(format!("there is no rule file (*.yml, *.yaml) below {root} that could be read"));
        }
        // Less than before only because it could not be read is no news.
        if unread && self.has_rules {
            return;
        }
        news.problems = problems;
        self.fingerprint = fingerprint.filter(|_| !unread);
        self.has_rules = true;
        news.files = Some(files);
    }
}

#[cfg(test)]
pub(crate) mod tests;
