//! What no trail of an account records: what all of them together leave out.

use std::collections::{BTreeMap, BTreeSet};

use cloudvigil_core::enrich::{Recording, Share};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::coverage::{listed, missing_of};
use crate::state::TrailState;

/// The version of the inventory line's shape.
const SCHEMA: u32 = 1;

/// What the trails of an account leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Whether there is no trail at all, in any of the regions.
    pub no_trail: bool,
    /// The regions in which no trail that logs records write events.
    pub regions: Vec<String>,
    /// All that is left out, in sentences without full stops.
    pub sentences: Vec<String>,
}

/// What `trails` leave out in `regions`, those that told their trails.
///
/// A trail whose status or selectors could not be looked at is taken as one that records everything: what is not known
/// is told elsewhere, and is no gap.
pub fn gaps(trails: &[TrailState], regions: &[String]) -> Gaps {
    let mut gaps = Gaps { no_trail: trails.is_empty() && !regions.is_empty(), ..Gaps::default() };
    let logging: Vec<&TrailState> = trails.iter().filter(|trail| trail.is_logging != Some(false)).collect();
    let mut left_out: BTreeMap<(String, bool), BTreeSet<&str>> = BTreeMap::new();
    for region in regions {
        let reaching = logging.iter().filter(|trail| trail.multi_region || trail.home_region == *region);
        let everything = Recording { reads: Share::All, writes: Share::All, others: BTreeMap::new() };
        let recorded = reaching
            .map(|trail| trail.recording().unwrap_or_else(|| everything.clone()))
            .reduce(Recording::or)
            .unwrap_or_else(Recording::nothing);
        if recorded.writes == Share::None {
            gaps.regions.push(region.clone());
        }
        let (reads, writes) = (missing_of(&Share::All, &recorded.reads), missing_of(&Share::All, &recorded.writes));
        let mut note = |kind: &str, of: Option<String>| {
            if let Some(of) = of {
                left_out.entry((format!("{kind} events of {of}"), kind != "Read")).or_default().insert(region);
            }
        };
        if reads == writes {
            note("Read and write", writes);
        } else {
            note("Write", writes);
            note("Read", reads);
        }
    }
    // What is left out in more regions comes first, and writes before reads.
    let mut left_out: Vec<_> = left_out.into_iter().collect();
    left_out.sort_by_key(|((_, writes), regions)| (!writes, std::cmp::Reverse(regions.len())));
    gaps.sentences = left_out
        .into_iter()
        .map(|((what, _), of)| format!("{what} are recorded by no trail in {}", place(&of, regions)))
        .collect();
    if !logging.is_empty() && !logging.iter().any(|trail| trail.global_services) {
        gaps.sentences.push("Events of global services (IAM, STS, CloudFront) are recorded by no trail".to_owned());
    }
    let of_each = |what: fn(&TrailState) -> bool, sentence: &str| {
        let names: Vec<&str> = trails.iter().filter(|trail| what(trail)).map(|trail| trail.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            let trail = if names.len() == 1 { "trail" } else { "trails" };
            sentence.replace("{}", &format!("the {trail} {}", listed(&names)))
        })
    };
    let stopped = of_each(|trail| trail.is_logging == Some(false), "Nothing is recorded by {}: logging is off");
    let unproven = of_each(
        |trail| !trail.log_file_validation,
        "Log files of {} are not validated: if somebody changes or removes one, nothing shows it",
    );
    gaps.sentences.extend(stopped.into_iter().chain(unproven));
    gaps
}

impl Gaps {
    /// The account as an inventory line, if it has no trail or regions without one. `region`: from where it was asked.
    /// `since`: since when it is known to be so.
    pub fn to_inventory(
        &self,
        account: &str,
        region: &str,
        asked: &[String],
        since: Option<Timestamp>,
    ) -> Option<Value> {
        let (kind, regions) = match (self.no_trail, self.regions.as_slice()) {
            (true, _) => ("account_without_trail", asked),
            (false, []) => return None,
            (false, regions) => ("regions_without_trail", regions),
        };
        Some(json!({
            "schema": SCHEMA,
            "service": "cloudtrail",
            "type": kind,
            "resource": format!("arn:{}:iam::{account}:root", partition(region)),
            "account": account,
            "region": region,
            "since": since,
            "regions": regions,
            "summary": self.sentences.first(),
        }))
    }
}

fn place(regions: &BTreeSet<&str>, all: &[String]) -> String {
    if regions.len() == all.len() && all.len() > 1 {
        return "any region".to_owned();
    }
    listed(&regions.iter().copied().collect::<Vec<_>>())
}

/// The partition of AWS that a region is in.
pub fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(name: &str, home: &str, multi_region: bool, selectors: &Value) -> TrailState {
        TrailState::of_line(&json!({
            "type": "trail", "resource": format!("arn:aws:cloudtrail:{home}:111122223333:trail/{name}"), "name": name,
            "home_region": home, "multi_region": multi_region, "organization": false, "global_services": true,
            "insights": false, "log_file_validation": true, "is_logging": true, "selectors": selectors,
        }))
        .unwrap()
    }

    fn all() -> Value {
        json!({"EventSelectors": [{"ReadWriteType": "All"}]})
    }

    fn but(source: &str) -> Value {
        json!({"EventSelectors": [{"ReadWriteType": "All", "ExcludeManagementEventSources": [source]}]})
    }

    fn regions() -> Vec<String> {
        ["ap-east-1", "eu-west-1", "us-east-1"].map(str::to_owned).to_vec()
    }

    fn told(trails: &[TrailState]) -> Vec<String> {
        gaps(trails, &regions()).sentences
    }

    #[test]
    fn trails_add_up_region_by_region() {
        assert!(told(&[trail("main", "eu-west-1", true, &all())]).is_empty());
        let home = trail("home", "eu-west-1", false, &all());
        assert_eq!(
            told(std::slice::from_ref(&home)),
            ["Read and write events of all services are recorded by no trail in ap-east-1 and us-east-1"]
        );
        assert_eq!(gaps(std::slice::from_ref(&home), &regions()).regions, ["ap-east-1", "us-east-1"]);
        let no_kms = trail("no-kms", "us-east-1", true, &but("kms.amazonaws.com"));
        assert_eq!(
            told(std::slice::from_ref(&no_kms)),
            ["Read and write events of KMS are recorded by no trail in any region"]
        );
        assert_eq!(
            told(&[home, no_kms]),
            ["Read and write events of KMS are recorded by no trail in ap-east-1 and us-east-1"]
        );
        let reads = trail("reads", "us-east-1", true, &json!({"EventSelectors": [{"ReadWriteType": "ReadOnly"}]}));
        assert_eq!(told(&[reads]), ["Write events of all services are recorded by no trail in any region"]);
    }

    #[test]
    fn a_trail_that_is_off_or_not_validated_is_named() {
        let off = TrailState { is_logging: Some(false), ..trail("main", "eu-west-1", true, &all()) };
        let open = TrailState { log_file_validation: false, ..trail("open", "eu-west-1", true, &all()) };
        assert_eq!(
            told(&[off.clone(), open]),
            [
                "Nothing is recorded by the trail main: logging is off",
                "Log files of the trail open are not validated: if somebody changes or removes one, nothing shows it",
            ]
        );
        assert_eq!(gaps(&[off], &regions()).regions, regions());
    }

    #[test]
    fn what_could_not_be_looked_at_is_no_gap() {
        let hidden = TrailState { is_logging: None, ..trail("org", "eu-west-1", true, &Value::Null) };
        assert!(told(&[hidden]).is_empty());
        assert_eq!(gaps(&[], &[]), Gaps::default(), "no region told anything");
    }

    #[test]
    fn an_account_without_any_trail_is_a_line() {
        let none = gaps(&[], &regions());
        assert!(none.no_trail);
        let line = none.to_inventory("111122223333", "us-gov-west-1", &regions(), None).unwrap();
        assert_eq!((&line["type"], &line["regions"]), (&json!("account_without_trail"), &json!(regions())));
        assert_eq!(line["resource"], "arn:aws-us-gov:iam::111122223333:root");
        let some = gaps(&[trail("home", "eu-west-1", false, &all())], &regions());
        let line = some.to_inventory("111122223333", "eu-west-1", &regions(), None).unwrap();
        assert_eq!(
            (&line["type"], &line["regions"]),
            (&json!("regions_without_trail"), &json!(["ap-east-1", "us-east-1"]))
        );
        let whole = gaps(&[trail("main", "eu-west-1", true, &all())], &regions());
        assert_eq!(whole.to_inventory("111122223333", "eu-west-1", &regions(), None), None);
    }
}
