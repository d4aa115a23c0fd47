//! Which events a trail records, whatever kind of selectors says so.
//!
//! Shapes: [EventSelector](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html),
//! [AdvancedEventSelector](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedEventSelector.html).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{elements, member};

/// Of which services events are recorded, by event source (`kms.amazonaws.com`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// Of none.
    None,
    /// Of these alone.
    Only(BTreeSet<String>),
    /// Of some: a condition says which that is not about services alone.
    Partly,
    /// Of all but these.
    Except(BTreeSet<String>),
    /// Of all.
    All,
}

impl Share {
    /// What two selectors record together: an event that one of them chooses is recorded. Where that cannot be said
    /// in these words it is less, never more.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, one) | (one, Self::None) => one,
            (Self::Except(one), Self::Except(other)) => Self::except(&one & &other),
            (Self::Except(except), Self::Only(only)) | (Self::Only(only), Self::Except(except)) => {
                Self::except(&except - &only)
            }
            (Self::Only(one), Self::Only(other)) => Self::Only(&one | &other),
            (Self::Partly, Self::Except(except)) | (Self::Except(except), Self::Partly) => Self::Except(except),
            (Self::Partly, _) | (_, Self::Partly) => Self::Partly,
        }
    }

    fn except(services: BTreeSet<String>) -> Self {
        if services.is_empty() { Self::All } else { Self::Except(services) }
    }
}

/// What kind of call an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// One that changes nothing.
    Read,
    /// One that changes something.
    Write,
}

/// Events that are not management events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Others {
    /// `Data`, `NetworkActivity`.
    pub category: String,
    /// The type of resource (`AWS::S3::Object`), or the event source; empty for any.
    pub of: String,
    /// Reads or writes.
    pub access: Access,
}

/// Which events are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Management events that change nothing.
    pub reads: Share,
    /// Management events that change something.
    pub writes: Share,
    /// Other events, each with the conditions under which they are recorded, in words; an empty one is no condition.
    pub others: BTreeMap<Others, BTreeSet<String>>,
}

impl Recording {
    /// No event at all.
    pub fn nothing() -> Self {
        Self { reads: Share::None, writes: Share::None, others: BTreeMap::new() }
    }

    /// What two trails record together.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        for (others, conditions) in other.others {
            self.others.entry(others).or_default().extend(conditions);
        }
        Self { reads: self.reads.or(other.reads), writes: self.writes.or(other.writes), others: self.others }
    }

    /// What an object with `eventSelectors` or `advancedEventSelectors` records, each a list or one object, names in
    /// any case; `None` where it has neither.
    pub fn of(selectors: &Value) -> Option<Self> {
        let basic = member(selectors, "eventSelectors").filter(|value| !value.is_null());
        let advanced = member(selectors, "advancedEventSelectors").filter(|value| !value.is_null());
        if basic.is_none() && advanced.is_none() {
            return None;
        }
        let mut recording = Self::nothing();
        for selector in basic.map(elements).unwrap_or_default() {
            recording.add_basic(selector);
        }
        for selector in advanced.map(elements).unwrap_or_default() {
            recording.add_advanced(selector);
        }
        Some(recording)
    }

    /// `all`, `read_only`, `write_only`, `partly_excluded` or `none`: of the management events.
    ///
    /// `partly_excluded` is everything between: some services are left out, or only some are recorded.
    pub fn management_events(&self) -> &'static str {
        match (&self.reads, &self.writes) {
            (Share::All, Share::All) => "all",
            (Share::None, Share::None) => "none",
            (_, Share::None) => "read_only",
            (Share::None, Share::All) => "write_only",
            _ => "partly_excluded",
        }
    }

    fn add_management(&mut self, share: &Share, reads: bool, writes: bool) {
        let add = |to: &mut Share| *to = std::mem::replace(to, Share::None).or(share.clone());
        if reads {
            add(&mut self.reads);
        }
        if writes {
            add(&mut self.writes);
        }
    }

    fn add_others(&mut self, category: &str, of: &str, condition: &str, reads: bool, writes: bool) {
        for access in [reads.then_some(Access::Read), writes.then_some(Access::Write)].into_iter().flatten() {
            let others = Others { category: category.to_owned(), of: of.to_owned(), access };
            self.others.entry(others).or_default().insert(condition.to_owned());
        }
    }

    fn add_basic(&mut self, selector: &Value) {
        let access = member(selector, "readWriteType").and_then(Value::as_str);
        let (reads, writes) = (access != Some("WriteOnly"), access != Some("ReadOnly"));
        // A missing member has the API's default.
        if member(selector, "includeManagementEvents").is_none_or(is_true) {
            let excluded = texts(member(selector, "excludeManagementEventSources"));
            self.add_management(&Share::except(excluded.into_iter().collect()), reads, writes);
        }
        for resource in member(selector, "dataResources").map(elements).unwrap_or_default() {
            let Some(of) = member(resource, "type").and_then(Value::as_str) else { continue };
            for name in texts(member(resource, "values")) {
                // `arn:aws:s3` and `arn:aws:s3:::`, `arn:aws:lambda`: all that the account has.
                let is_all = name.split(':').filter(|part| !part.is_empty()).count() <= 3;
                let how = if of == "AWS::S3::Object" { "starts with" } else { "is" };
                let condition = if is_all { String::new() } else { format!("resources.ARN {how} {name}") };
                self.add_others("Data", of, &condition, reads, writes);
            }
        }
    }

    fn add_advanced(&mut self, selector: &Value) {
        let fields = member(selector, "fieldSelectors").map(elements).unwrap_or_default();
        let fields: Vec<Field<'_>> = fields.into_iter().filter_map(Field::of).collect();
        let category = fields.iter().find(|field| field.name == "eventCategory");
        let Some(category) = category.and_then(|field| field.equals.first()) else { return };
        let takes = |value| fields.iter().filter(|field| field.name == "readOnly").all(|field| field.takes(value));
        let (reads, writes) = (takes("true"), takes("false"));
        if category == "Management" {
            let mut share = Share::All;
            for field in fields.iter().filter(|field| !matches!(field.name, "eventCategory" | "readOnly")) {
                share = match (share, field.is_about_services()) {
                    (Share::All, Some(services)) => services,
                    // Whatever else is demanded leaves something out.
                    _ => Share::Partly,
                };
            }
            self.add_management(&share, reads, writes);
        } else {
            let kind = if category == "NetworkActivity" { "eventSource" } else { "resources.type" };
            let of = fields.iter().find(|field| field.name == kind);
            let of = of.and_then(|field| field.equals.first()).map_or("", String::as_str);
            let known = ["eventCategory", "readOnly", kind];
            let conditions: Vec<&Field<'_>> = fields.iter().filter(|field| !known.contains(&field.name)).collect();
            // One list of names is as many selectors of one name each, which is how basic selectors have it.
            let alternatives = match conditions.as_slice() {
                [one] => one.alternatives(),
                several => vec![several.iter().map(|field| field.in_words()).collect::<Vec<_>>().join(" and ")],
            };
            for condition in alternatives {
                self.add_others(category, of, &condition, reads, writes);
            }
        }
    }
}

/// See [`Recording::management_events`]; for an object as [`Recording::of`] takes it.
pub fn management_events(selectors: &Value) -> Option<&'static str> {
    Recording::of(selectors).map(|recording| recording.management_events())
}

/// One condition of an advanced selector.
struct Field<'v> {
    name: &'v str,
    equals: Vec<String>,
    not_equals: Vec<String>,
    /// The other operators, with their values.
    others: Vec<(&'static str, Vec<String>)>,
}

impl<'v> Field<'v> {
    fn of(value: &'v Value) -> Option<Self> {
        let name = member(value, "field")?.as_str()?;
        let operators = [
            ("startsWith", "starts with"),
            ("endsWith", "ends with"),
            ("notStartsWith", "does not start with"),
            ("notEndsWith", "does not end with"),
        ];
        let others = operators.map(|(operator, words)| (words, texts(member(value, operator))));
        Some(Self {
            name,
            equals: texts(member(value, "equals")),
            not_equals: texts(member(value, "notEquals")),
            others: others.into_iter().filter(|(_, values)| !values.is_empty()).collect(),
        })
    }

    fn takes(&self, value: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|one| one.eq_ignore_ascii_case(value));
        (self.equals.is_empty() || has(&self.equals)) && !has(&self.not_equals)
    }

    fn is_about_services(&self) -> Option<Share> {
        match (self.equals.as_slice(), self.not_equals.as_slice()) {
            _ if self.name != "eventSource" || !self.others.is_empty() => None,
            ([], not_equals) => Some(Share::except(not_equals.iter().cloned().collect())),
            (equals, []) => Some(Share::Only(equals.iter().cloned().collect())),
            _ => None,
        }
    }

    /// Each of its values by itself, where one of them is enough; else all in one.
    fn alternatives(&self) -> Vec<String> {
        let (words, values) = match (self.equals.as_slice(), self.not_equals.as_slice(), self.others.as_slice()) {
            (values, [], []) => ("is", values),
            ([], [], [(words @ ("starts with" | "ends with"), values)]) => (*words, values.as_slice()),
            _ => return vec![self.in_words()],
        };
        values.iter().map(|value| format!("{} {words} {value}", self.name)).collect()
    }

    fn in_words(&self) -> String {
        let equals = [("is", &self.equals), ("is not", &self.not_equals)];
        let all = equals.into_iter().chain(self.others.iter().map(|(words, values)| (*words, values)));
        let all = all.filter(|(_, values)| !values.is_empty());
        all.map(|(words, values)| format!("{} {words} {}", self.name, values.join(" or ")))
            .collect::<Vec<_>>()
            .join(" and ")
    }
}

fn texts(values: Option<&Value>) -> Vec<String> {
    let values = values.map(elements).unwrap_or_default();
    values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}
