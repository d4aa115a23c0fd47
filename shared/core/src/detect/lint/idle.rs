//! Rules that never run, and those that never match.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::detect::Rule;

/// How many log sources are named.
const SHOWN: usize = 5;

/// How many of some rules never run, because no record is of what they ask for, and how many never match, because no record
/// has the fields: all in one line, since a collection of the community's has thousands of them. `None`: all may match.
pub fn idle<'r>(rules: impl Iterator<Item = &'r Rule>) -> Option<String> {
    let mut by_log_source: BTreeMap<String, usize> = BTreeMap::new();
    let (mut of, mut without_field) = (0, 0);
    for rule in rules {
        of += 1;
        let Some(detection) = &rule.detection else { continue };
        if !detection.log_source.is_known() {
            *by_log_source.entry(detection.log_source.to_string()).or_default() += 1;
        } else if detection.unknown.is_never() {
            without_field += 1;
        }
    }
    let mut told = Vec::new();
    let all: usize = by_log_source.values().sum();
    if all > 0 {
        let mut most: Vec<(String, usize)> = by_log_source.into_iter().collect();
        most.sort_by_key(|(_, count)| Reverse(*count));
        let mut named: Vec<String> = most.iter().take(SHOWN).map(|(name, count)| format!("{name} ({count})")).collect();
        if most.len() > SHOWN {
            named.push(format!("{} more", most.len() - SHOWN));
        }
        let named = named.join(", ");
        told.push(format!("{all} of {of} rules never run, because no record is of their log source: {named}"));
    }
    if without_field > 0 {
        told.push(format!(
            "{without_field} of {of} rules never match, because no record of their log source has a field that they ask \
             for: `cloudvigil rules lint` says which"
        ));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Catalogue, RuleFile};

    fn told(rules: &[(&str, &str)]) -> Option<String> {
        let rule = |(number, (source, field)): (usize, &(&str, &str))| {
            let text = format!(
                "title: t{number}\nid: t{number}\nlogsource: {{{source}}}\ndetection: {{s: {{{field}: x}}, condition: s}}\n"
            );
            RuleFile::new(format!("t{number}.yml"), text)
        };
        let (catalogue, problems) = Catalogue::load(rules.iter().enumerate().map(rule).collect());
        assert!(problems.is_empty(), "{problems:?}");
        idle(catalogue.rules().iter())
    }

    #[test]
    fn what_cannot_match_is_counted_by_why() {
        let web = ("category: webserver", "c-ip");
        assert_eq!(told(&[web, ("product: aws, service: cloudtrail", "eventName")]), None);
        let both = told(&[web, ("product: windows", "Image"), ("category: webserver", "Image")]).unwrap();
        let (source, field) = both.split_once("; ").unwrap();
        assert_eq!(source, "1 of 3 rules never run, because no record is of their log source: windows (1)");
        assert!(field.starts_with("1 of 3 rules never match"), "{field}");
        let many: Vec<String> = (0..7).map(|number| format!("product: p{number}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|source| (source.as_str(), "a")).collect();
        assert!(told(&many).unwrap().ends_with(", 2 more"));
    }
}
