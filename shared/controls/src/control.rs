//! A control as it was seen, part by part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::extent::Extent;

/// How a part of a control is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It does what it is for.
    Working,
    /// It is there, and switched off.
    Disabled,
    /// It is there, and does not record.
    Stopped,
    /// It is switched on, and its last delivery failed.
    Failing,
    /// It does less than it did.
    Narrowed,
    /// It can be used by nobody.
    Unusable,
    /// It is to be deleted, and can be used by nobody until then.
    PendingDeletion,
    /// It is not there.
    Gone,
}

/// A part of a control. Sentences have no full stop, commands are ready for a POSIX shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is, for rules: `detector`, `feature`, `recorder`, `flow_log`.
    pub kind: String,
    /// How it is.
    pub condition: Condition,
    /// What nobody sees any longer, as the part is; of one that works: what nobody would see if it were gone.
    pub lost: String,
    /// The sentence of its return.
    pub again: String,
    /// What to run to have it work; for one that works: to have it again if it were gone.
    pub undo: Vec<String>,
    /// `lost` and `undo` if it were gone, of one that does not work and can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_gone: Option<(String, Vec<String>)>,
    /// `lost` and `undo` if it were there and switched off, of one that works and can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_off: Option<(String, Vec<String>)>,
    /// Whether something relies on it, so that it is told at the first look if it does not work. What is not relied on
    /// has to have worked once.
    #[serde(default)]
    pub relied_on: bool,
    /// How much it covers, where that can be more or less. One that covers less than it did has lost that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
}

/// What a look says of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    There(Box<Part>),
    /// It is not there. What that means was said by its last look.
    Gone,
}

/// What one look says of a control. Parts that it does not name are as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its name in the state, the same for as long as it stands for the same: `guardduty eu-west-1`.
    pub key: String,
    /// The service's prefix in ARNs.
    pub service: &'static str,
    /// Its ARN; `None` where there is nothing that could have one.
    pub resource: Option<String>,
    /// The account that it belongs to.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its parts by their names, each the same from look to look.
    pub parts: BTreeMap<String, Seen>,
    /// Whether parts that are not named are gone.
    pub is_complete: bool,
    /// The kind of which all parts are named, if not all are: others of it are gone.
    pub complete_kind: Option<&'static str>,
}

impl Control {
    /// The control of a service in a region, of which nothing is known yet.
    pub fn of_region(service: &'static str, account: &str, region: &str) -> Self {
        Self {
            key: region_key(service, region),
            service,
            resource: None,
            account: account.to_owned(),
            region: region.to_owned(),
            parts: BTreeMap::new(),
            is_complete: false,
            complete_kind: None,
        }
    }

    /// The control that something of a region is, by its ARN.
    pub fn of_resource(service: &'static str, account: &str, region: &str, arn: &str) -> Self {
        Self {
            key: format!("{service} {region} {arn}"),
            resource: Some(arn.to_owned()),
            ..Self::of_region(service, account, region)
        }
    }

    /// With a part that is there.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, part: Part) -> Self {
        self.parts.insert(name.into(), Seen::There(Box::new(part)));
        self
    }

    /// Without this part.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>) -> Self {
        self.parts.insert(name.into(), Seen::Gone);
        self
    }
}

/// The key of a service's control in a region.
pub fn region_key(service: &str, region: &str) -> String {
    format!("{service} {region}")
}
