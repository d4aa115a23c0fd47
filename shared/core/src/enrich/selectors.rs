//! Which management events a trail still records, whatever kind of selectors says so.
//!
//! Shapes: [EventSelector](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html),
//! [AdvancedEventSelector](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedEventSelector.html).

use serde_json::Value;

use super::{elements, member};

/// How much of a kind of events is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    None,
    /// All but those of some services, or only those of some.
    Partly,
    All,
}

#[derive(Debug, Clone, Copy)]
struct Recorded {
    reads: Share,
    writes: Share,
}

const NOTHING: Recorded = Recorded { reads: Share::None, writes: Share::None };

/// `all`, `read_only`, `write_only`, `partly_excluded` or `none`, for an object with `eventSelectors` or
/// `advancedEventSelectors`, each a list or one object; `None` where it has neither.
///
/// `partly_excluded` is everything between: some services are left out, or only some are recorded.
pub fn management_events(parameters: &Value) -> Option<&'static str> {
    let basic = member(parameters, "eventSelectors").filter(|value| !value.is_null());
    let advanced = member(parameters, "advancedEventSelectors").filter(|value| !value.is_null());
    if basic.is_none() && advanced.is_none() {
        return None;
    }
    let basic = basic.map(elements).unwrap_or_default().into_iter().map(of_basic);
    let advanced = advanced.map(elements).unwrap_or_default().into_iter().map(of_advanced);
    // Selectors add up: an event that one of them chooses is recorded.
    let recorded = basic
        .chain(advanced)
        .fold(NOTHING, |sum, one| Recorded { reads: sum.reads.max(one.reads), writes: sum.writes.max(one.writes) });
    Some(match (recorded.reads, recorded.writes) {
        (Share::All, Share::All) => "all",
        (Share::None, Share::None) => "none",
        (_, Share::None) => "read_only",
        (Share::None, Share::All) => "write_only",
        _ => "partly_excluded",
    })
}

fn of_basic(selector: &Value) -> Recorded {
    // A missing member has the API's default.
    if member(selector, "includeManagementEvents").is_some_and(|value| !is_true(value)) {
        return NOTHING;
    }
    let excluded = member(selector, "excludeManagementEventSources").map(elements).unwrap_or_default();
    let share = if excluded.is_empty() { Share::All } else { Share::Partly };
    match member(selector, "readWriteType").and_then(Value::as_str) {
        Some("ReadOnly") => Recorded { reads: share, writes: Share::None },
        Some("WriteOnly") => Recorded { reads: Share::None, writes: share },
        _ => Recorded { reads: share, writes: share },
    }
}

fn of_advanced(selector: &Value) -> Recorded {
    let conditions = member(selector, "fieldSelectors").map(elements).unwrap_or_default();
    let field = |condition: &Value| member(condition, "field").and_then(Value::as_str).map(str::to_owned);
    let values = |condition: &Value, operator: &str| {
        let values = member(condition, operator).map(elements).unwrap_or_default();
        values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let is_management = conditions.iter().any(|condition| {
        field(condition).as_deref() == Some("eventCategory")
            && values(condition, "equals").iter().any(|category| category == "Management")
    });
    if !is_management {
        return NOTHING;
    }
    let (mut reads, mut writes) = (Share::All, Share::All);
    for condition in conditions {
        match field(condition).as_deref() {
            Some("eventCategory") => {}
            Some("readOnly") => {
                let equals = values(condition, "equals");
                let not_equals = values(condition, "notEquals");
                let has = |list: &[String], value: &str| list.iter().any(|one| one.eq_ignore_ascii_case(value));
                if (!equals.is_empty() && !has(&equals, "true")) || has(&not_equals, "true") {
                    reads = Share::None;
                }
                if (!equals.is_empty() && !has(&equals, "false")) || has(&not_equals, "false") {
                    writes = Share::None;
                }
            }
            // Whatever else is demanded leaves something out.
            _ => {
                reads = reads.min(Share::Partly);
                writes = writes.min(Share::Partly);
            }
        }
    }
    Recorded { reads, writes }
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}
