//! Suppressions: findings that nobody is told of, for a reason, until a day.
//!
//! ```toml
//! [[suppressions]]
//! rule = "a707b2ff-8050-4e0b-bdcd-b07caa8f1f59"
//! owner = "platform@example.com"
//! reason = "the load test of March"
//! expires = 2026-03-31                  # the last day (UTC) on which it holds, or a time
//! account = "123456789012"              # all of these that are there must hold; lists and wildcards are allowed
//! group = {sourceIPAddress = ["198.51.100.*"]}
//! ```
//!
//! They stand between a finding and its message: what matched, and what is counted, stays as it is. A finding that is held
//! back is counted too, and told once its suppression no longer holds and it is seen again. Tampering with cloudvigil's own
//! resources is never held back, see [`crate::correlate`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::config::Patterns;
use crate::correlate::MAX_RESOURCES;
use crate::detect::Catalogue;
use crate::finding::{Finding, Message};
use crate::ports::{Clock, FindingSink, PortResult};

/// `[[suppressions]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Suppressions(Vec<Suppression>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// The id of the rule whose findings are held back.
    #[serde(deserialize_with = "said")]
    pub rule: String,
    /// Who answers for it.
    #[serde(deserialize_with = "said")]
    pub owner: String,
    /// Why.
    #[serde(deserialize_with = "said")]
    pub reason: String,
    /// From when on it no longer holds.
    #[serde(deserialize_with = "expiry")]
    pub expires: Timestamp,
    /// Only findings of these accounts.
    #[serde(default)]
    pub account: Option<Patterns>,
    /// Only findings of these regions.
    #[serde(default)]
    pub region: Option<Patterns>,
    /// Only what these did.
    #[serde(default)]
    pub actor: Option<Patterns>,
    /// Only what came from these addresses.
    #[serde(default)]
    pub source_address: Option<Patterns>,
    /// Only what was done to these: to each that the finding names.
    #[serde(default)]
    pub resource: Option<Patterns>,
    /// Only findings with these values of the fields by which they are grouped.
    #[serde(default)]
    pub group: BTreeMap<String, Patterns>,
}

impl Suppressions {
    /// The one that holds a finding back at this time.
    pub fn of(&self, finding: &Finding, now: Timestamp) -> Option<&Suppression> {
        self.0.iter().find(|suppression| now < suppression.expires && suppression.fits(finding))
    }

    /// Those that no longer hold.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Suppression> {
        self.0.iter().filter(move |suppression| suppression.expires <= now)
    }

    /// Those whose rule is not among these: they do nothing.
    pub fn without_rule<'s>(&'s self, catalogue: &'s Catalogue) -> impl Iterator<Item = &'s Suppression> {
        self.0.iter().filter(|suppression| catalogue.by_id(&suppression.rule).is_none())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Suppression {
    fn fits(&self, finding: &Finding) -> bool {
        // What a finding says of its occurrences it takes from the entries that it shows. Of those beyond, only what they
        // are grouped by is known: another's deed is never hidden behind the shown ones.
        let shows_all = finding.count <= finding.evidence.len() as u64;
        let is_group = |value: &str| finding.group.values().flatten().any(|of_all| of_all == value);
        let holds = |wanted: &Option<Patterns>, value: &Option<String>| {
            let Some(wanted) = wanted else { return true };
            value.as_deref().is_some_and(|value| (shows_all || is_group(value)) && wanted.fit(value))
        };
        let of_resources = self.resource.as_ref().is_none_or(|wanted| {
            let named = &finding.resources;
            let is_all = |name: &String| shows_all && named.len() < MAX_RESOURCES || named.len() == 1 && is_group(name);
            !named.is_empty() && named.iter().all(|name| is_all(name) && wanted.fit(name))
        });
        let of_group = self.group.iter().all(|(name, wanted)| {
            let value = finding.group.get(name).and_then(Option::as_deref);
            value.is_some_and(|value| wanted.fit(value))
        });
        self.rule == finding.rule
            && holds(&self.account, &finding.account)
            && holds(&self.region, &finding.region)
            && holds(&self.actor, &finding.actor)
            && holds(&self.source_address, &finding.source_address)
            && of_resources
            && of_group
    }

    /// It in a sentence, for people: which rule, whose, why.
    pub fn told(&self) -> String {
        format!("suppression of rule {} (owner {}: {})", self.rule, self.owner, self.reason)
    }
}

/// A sink that passes on what is not suppressed, and knows what was held back.
pub struct Suppressing<'s> {
    sink: &'s dyn FindingSink,
    suppressions: &'s Suppressions,
    clock: &'s dyn Clock,
    held: Mutex<BTreeMap<String, &'s Suppression>>,
}

impl<'s> Suppressing<'s> {
    /// Before a sink.
    pub fn new(sink: &'s dyn FindingSink, suppressions: &'s Suppressions, clock: &'s dyn Clock) -> Self {
        Self { sink, suppressions, clock, held: Mutex::default() }
    }

    /// What was held back: the finding's id, and why.
    pub fn into_held(self) -> BTreeMap<String, &'s Suppression> {
        self.held.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FindingSink for Suppressing<'_> {
    async fn publish(&self, message: &Message) -> PortResult<()> {
        self.sink.publish(message).await
    }

    fn holds_back(&self, finding: &Finding) -> bool {
        let Some(suppression) = self.suppressions.of(finding, self.clock.now()) else {
            return self.sink.holds_back(finding);
        };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(finding.id.clone(), suppression);
        true
    }
}

/// A text that says something.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(D::Error::custom("it must not be empty")) } else { Ok(text.trim().to_owned()) }
}

/// A date, whose end is meant, or a time; UTC where no zone is named.
fn expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Toml(toml::value::Datetime),
        Text(String),
    }
    let expects =
        "it must be the last day on which it holds, such as 2026-12-31, or a time such as 2026-12-31T18:00:00Z";
    let text = match Written::deserialize(deserializer).map_err(|_| D::Error::custom(expects))? {
        Written::Toml(time) => time.to_string(),
        Written::Text(text) => text,
    };
    let text = text.trim();
    let day = || text.parse::<Date>().ok().filter(|_| text.len() <= 10)?.checked_add(Span::new().days(1)).ok();
    let local = || day().map(DateTime::from).or_else(|| text.parse().ok());
    let time = text.parse::<Timestamp>().ok().or_else(|| Some(local()?.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    time.ok_or_else(|| D::Error::custom(expects))
}

#[cfg(test)]
mod tests;
