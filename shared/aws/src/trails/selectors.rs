//! Which events a trail records, as it was told
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetEventSelectors.html>).

use aws_sdk_cloudtrail::operation::get_event_selectors::GetEventSelectorsOutput;
use aws_sdk_cloudtrail::types::{AdvancedEventSelector, AdvancedFieldSelector, DataResource, EventSelector};
use cloudvigil_core::enrich::{Recording, Share};
use serde_json::{Value, json};

/// A trail's selectors: `{"EventSelectors": [...]}` or `{"AdvancedEventSelectors": [...]}`, in the API's shape, which
/// `aws cloudtrail put-event-selectors` takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selectors(Value);

/// Which of the management events that change something a trail records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagementWrites {
    /// All of them.
    All,
    /// Some: sources or names are left out.
    Partly,
    /// None: the trail is on, and blind.
    None,
}

impl ManagementWrites {
    /// Its name in the inventory: `all`, `partly`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Partly => "partly",
            Self::None => "none",
        }
    }
}

impl Selectors {
    /// Those of a trail whose selectors nobody has touched: every management event.
    pub fn untouched() -> Self {
        Self(json!({"EventSelectors": [{
            "ReadWriteType": "All", "IncludeManagementEvents": true, "DataResources": [],
            "ExcludeManagementEventSources": [],
        }]}))
    }

    /// Those that are written in the API's shape.
    pub fn written(selectors: Value) -> Self {
        Self(selectors)
    }

    /// Those that a service answered with.
    pub(super) fn of(answer: &GetEventSelectorsOutput) -> Self {
        let advanced = answer.advanced_event_selectors();
        Self(if advanced.is_empty() {
            json!({"EventSelectors": answer.event_selectors().iter().map(basic).collect::<Vec<_>>()})
        } else {
            json!({"AdvancedEventSelectors": advanced.iter().map(self::advanced).collect::<Vec<_>>()})
        })
    }

    /// In the API's shape.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// Which of the management events that change something they choose.
    pub fn management_writes(&self) -> ManagementWrites {
        match Recording::of(&self.0).map(|recording| recording.writes) {
            None | Some(Share::None) => ManagementWrites::None,
            Some(Share::All) => ManagementWrites::All,
            Some(_) => ManagementWrites::Partly,
        }
    }
}

fn basic(selector: &EventSelector) -> Value {
    let resource = |resource: &DataResource| json!({"Type": resource.r#type(), "Values": resource.values()});
    json!({
        "ReadWriteType": selector.read_write_type().map_or("All", |access| access.as_str()),
        "IncludeManagementEvents": selector.include_management_events() != Some(false),
        "DataResources": selector.data_resources().iter().map(resource).collect::<Vec<_>>(),
        "ExcludeManagementEventSources": selector.exclude_management_event_sources(),
    })
}

fn advanced(selector: &AdvancedEventSelector) -> Value {
    let field = |field: &AdvancedFieldSelector| {
        let operators = [
            ("Equals", field.equals()),
            ("StartsWith", field.starts_with()),
            ("EndsWith", field.ends_with()),
            ("NotEquals", field.not_equals()),
            ("NotStartsWith", field.not_starts_with()),
            ("NotEndsWith", field.not_ends_with()),
        ];
        let operators = operators.into_iter().filter(|(_, values)| !values.is_empty());
        let operators = operators.map(|(operator, values)| (operator.to_owned(), json!(values)));
        let name = [("Field".to_owned(), json!(field.field()))];
        Value::Object(name.into_iter().chain(operators).collect())
    };
    let fields: Vec<Value> = selector.field_selectors().iter().map(field).collect();
    match selector.name() {
        Some(name) => json!({"Name": name, "FieldSelectors": fields}),
        None => json!({"FieldSelectors": fields}),
    }
}
