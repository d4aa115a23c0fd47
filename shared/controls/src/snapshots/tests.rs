use std::sync::{Arc, Mutex};

use cloudvigil_core::ports::Clock;
use cloudvigil_local::EmbeddedState;
use serde_json::{Value, json};

use super::*;

struct Set(Mutex<Timestamp>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A state, and a clock that stands until it is set.
struct Watch {
    state: EmbeddedState,
    clock: Arc<Set>,
}

impl Watch {
    fn new() -> Self {
        let clock = Arc::new(Set(Mutex::new(Timestamp::UNIX_EPOCH)));
        Self { state: EmbeddedState::in_memory(clock.clone()).unwrap(), clock }
    }

    /// Looks at a time, and keeps what was seen.
    async fn look(&self, at: &str, control: &Control) -> Vec<Value> {
        let compared = self.compare(at, control).await;
        compared.commit(&self.state).await.unwrap();
        lines(&compared)
    }

    async fn compare(&self, at: &str, control: &Control) -> Compared {
        let now = at.parse().unwrap();
        *self.clock.0.lock().unwrap() = now;
        compare(std::slice::from_ref(control), CONTROLS, &self.state, now).await.unwrap()
    }
}

fn lines(compared: &Compared) -> Vec<Value> {
    compared.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn detector() -> Control {
    let arn = "arn:aws:guardduty:eu-west-1:111122223333:detector/1";
    Control { resource: Some(arn.to_owned()), ..Control::of_region("guardduty", "111122223333", "eu-west-1") }
}

fn part(kind: &str, name: &str, condition: Condition) -> Part {
    Part {
        kind: kind.to_owned(),
        condition,
        lost: format!("{name} is {condition:?}"),
        again: format!("{name} is back"),
        undo: vec![format!("mend {name}")],
        if_gone: None,
        if_off: None,
        relied_on: false,
        extent: None,
    }
}

fn with(control: Control, name: &str, condition: Condition) -> Control {
    let kind = name.split(' ').next().unwrap();
    control.with(name, part(kind, name, condition))
}

use Condition::{Disabled, Gone, Working};

#[tokio::test]
async fn what_never_worked_is_no_loss_and_what_is_new_is_no_news() {
    let watch = Watch::new();
    let never = with(with(detector(), "detector", Working), "feature A", Disabled);
    assert!(watch.look("2026-03-01T10:00:00Z", &never).await.is_empty());
    assert!(watch.look("2026-03-01T11:00:00Z", &never).await.is_empty());
    let without = Control::of_region("guardduty", "111122223333", "us-east-1").without("detector");
    assert!(watch.look("2026-03-01T11:00:00Z", &without).await.is_empty());
    // Switched on for the first time.
    let on = with(with(detector(), "detector", Working), "feature A", Working);
    assert!(watch.look("2026-03-01T12:00:00Z", &on).await.is_empty());
    // And from then on it is missed.
    let told = watch.look("2026-03-01T13:00:00Z", &never).await;
    assert_eq!((told.len(), &told[0]["part"], &told[0]["condition"]), (1, &json!("feature"), &json!("disabled")));
}

#[tokio::test]
async fn a_loss_is_one_finding_a_day_and_its_return_is_told_once() {
    let watch = Watch::new();
    let on = with(detector(), "detector", Working);
    let off = with(detector(), "detector", Disabled);
    watch.look("2026-03-01T09:00:00Z", &on).await;
    let first = watch.look("2026-03-01T10:00:00Z", &off).await;
    assert_eq!(
        first,
        [json!({
            "schema": 1, "service": "guardduty", "type": "control_lost",
            "resource": "arn:aws:guardduty:eu-west-1:111122223333:detector/1", "account": "111122223333",
            "region": "eu-west-1", "since": "2026-03-01T10:00:00Z", "part": "detector", "condition": "disabled",
            "summary": "detector is Disabled", "lost": ["detector is Disabled"], "gained": [],
            "undo": ["mend detector"], "lost_since": "2026-03-01T10:00:00Z",
        })]
    );
    // The same finding all day, whatever the hour.
    assert_eq!(watch.look("2026-03-01T10:15:00Z", &off).await, first);
    assert_eq!(watch.look("2026-03-02T09:59:59Z", &off).await, first);
    let next = watch.look("2026-03-02T10:00:00Z", &off).await;
    assert_eq!(
        (&next[0]["since"], &next[0]["lost_since"]),
        (&json!("2026-03-02T10:00:00Z"), &json!("2026-03-01T10:00:00Z"))
    );
    assert_eq!(watch.look("2026-03-31T12:00:00Z", &off).await.len(), 1);
    assert!(watch.look("2026-04-01T12:00:00Z", &off).await.is_empty(), "a month is enough");

    let back = watch.look("2026-04-02T10:00:00Z", &on).await;
    assert_eq!((back.len(), &back[0]["type"]), (1, &json!("control_returned")));
    assert_eq!((&back[0]["gained"], &back[0]["summary"]), (&json!(["detector is back"]), &json!("detector is back")));
    assert!(watch.look("2026-04-02T10:15:00Z", &on).await.is_empty());
    assert_eq!(watch.look("2026-04-03T10:00:00Z", &off).await[0]["since"], "2026-04-03T10:00:00Z");
}

#[tokio::test]
async fn what_is_gone_says_what_it_did_and_how_to_have_it_again() {
    let watch = Watch::new();
    let on = with(with(detector(), "detector", Working), "feature A", Working);
    watch.look("2026-03-01T09:00:00Z", &on).await;
    let suspended = with(detector(), "detector", Disabled);
    let told = watch.look("2026-03-01T10:00:00Z", &suspended).await;
    // Of the feature nothing is known, and it is not lost besides.
    assert_eq!((told.len(), &told[0]["lost"]), (1, &json!(["detector is Disabled"])));
    // It is worse now, and that is news. Its ARN is the one that it had.
    let gone = Control::of_region("guardduty", "111122223333", "eu-west-1").without("detector");
    let told = watch.look("2026-03-01T11:00:00Z", &gone).await;
    assert_eq!((told.len(), &told[0]["condition"]), (1, &json!("gone")));
    assert_eq!(
        (&told[0]["since"], &told[0]["lost"]),
        (&json!("2026-03-01T11:00:00Z"), &json!(["detector is Working"]))
    );
    assert_eq!(told[0]["resource"], "arn:aws:guardduty:eu-west-1:111122223333:detector/1");
    // A new detector without the feature is half a return.
    let half = with(with(detector(), "detector", Working), "feature A", Disabled);
    let told = watch.look("2026-03-01T12:00:00Z", &half).await;
    let types: Vec<&Value> = told.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["control_lost", "control_returned"]);
    assert_eq!((&told[0]["part"], &told[1]["gained"]), (&json!("feature"), &json!(["detector is back"])));
}

#[tokio::test]
async fn parts_that_go_together_are_told_together() {
    let watch = Watch::new();
    let all = |condition| {
        ["feature A", "feature B", "feature C", "feature D"]
            .iter()
            .fold(with(detector(), "detector", Working), |control, name| with(control, name, condition))
    };
    watch.look("2026-03-01T09:00:00Z", &all(Working)).await;
    let compared = watch.compare("2026-03-01T10:00:00Z", &all(Disabled)).await;
    let told = lines(&compared);
    assert_eq!((told.len(), compared.lost), (1, 4));
    assert_eq!(told[0]["lost"].as_array().unwrap().len(), 4);
    assert_eq!(told[0]["summary"], "feature A is Disabled; feature B is Disabled; feature C is Disabled; and 1 more");
    // A look that dies before its snapshot is safe is repeated, and finds the same.
    assert_eq!(lines(&watch.compare("2026-03-01T10:00:00Z", &all(Disabled)).await), told);
}

#[tokio::test]
async fn what_something_relies_on_is_told_at_the_first_look() {
    let watch = Watch::new();
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
    let of = |condition| {
        let part = Part { relied_on: true, ..part("key", "key", condition) };
        Control::of_resource("kms", "111122223333", "eu-west-1", key).with("key", part)
    };
    let told = watch.look("2026-03-01T10:00:00Z", &of(Disabled)).await;
    assert_eq!((told.len(), &told[0]["resource"]), (1, &json!(key)));
    assert_eq!(watch.look("2026-03-01T11:00:00Z", &of(Working)).await[0]["type"], "control_returned");
    assert_eq!(watch.look("2026-03-01T12:00:00Z", &of(Gone)).await[0]["condition"], "gone");
}

#[tokio::test]
async fn what_never_worked_and_is_gone_says_what_it_was_for() {
    let watch = Watch::new();
    let vpc = "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1";
    let none = Control { is_complete: true, ..Control::of_resource("ec2", "111122223333", "eu-west-1", vpc) };
    let if_gone = Some(("nothing is recorded".to_owned(), vec!["create".to_owned()]));
    let failing = Part { relied_on: true, if_gone, ..part("flow_log", "fl-1", Condition::Failing) };
    watch.look("2026-03-01T09:00:00Z", &none.clone().with("flow_log", failing)).await;
    let told = watch.look("2026-03-01T10:00:00Z", &none).await;
    assert_eq!((told.len(), &told[0]["condition"]), (1, &json!("gone")));
    assert_eq!((&told[0]["lost"], &told[0]["undo"]), (&json!(["nothing is recorded"]), &json!(["create"])));
}

#[tokio::test]
async fn parts_that_a_complete_look_does_not_name_are_gone() {
    let watch = Watch::new();
    let vpc = "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1";
    let of = |names: &[&str]| {
        let control = Control::of_resource("ec2", "111122223333", "eu-west-1", vpc);
        names.iter().fold(Control { is_complete: true, ..control }, |control, name| with(control, name, Working))
    };
    watch.look("2026-03-01T09:00:00Z", &of(&["flow_log A", "flow_log B"])).await;
    let told = watch.look("2026-03-01T10:00:00Z", &of(&["flow_log B"])).await;
    assert_eq!((told.len(), &told[0]["undo"]), (1, &json!(["mend flow_log A"])));
    let incomplete = Control { is_complete: false, ..of(&[]) };
    assert!(watch.look("2026-03-01T11:00:00Z", &incomplete).await.is_empty(), "nobody has looked");
    assert_eq!(watch.look("2026-03-01T12:00:00Z", &of(&[])).await.len(), 2);
}

#[tokio::test]
async fn parts_of_a_kind_that_was_listed_are_gone_if_it_does_not_name_them() {
    let watch = Watch::new();
    let of = |names: &[&str]| {
        let control = Control { complete_kind: Some("standard"), ..with(detector(), "hub", Working) };
        names.iter().fold(control, |control, name| with(control, name, Working))
    };
    watch.look("2026-03-01T09:00:00Z", &with(of(&["standard A", "standard B"]), "other", Working)).await;
    let told = watch.look("2026-03-01T10:00:00Z", &of(&["standard B"])).await;
    assert_eq!((told.len(), &told[0]["undo"]), (1, &json!(["mend standard A"])));
}

#[tokio::test]
async fn what_covers_less_than_it_did_has_lost_that() {
    let watch = Watch::new();
    let of = |extent| {
        let undo = vec![format!("give {extent:?}")];
        let types = Part { extent: Some(extent), undo, ..part("types", "types", Working) };
        detector().with("types", types)
    };
    let only = |names: &[&str]| Extent::Only(names.iter().map(|name| (*name).to_owned()).collect());
    let mut told = Vec::new();
    for (at, extent) in [
        ("2026-03-01T09:00:00Z", only(&["a", "b"])),
        ("2026-03-01T10:00:00Z", only(&["b", "c"])),
        ("2026-03-01T11:00:00Z", only(&["b", "c"])),
        // What was added since then counts as well.
        ("2026-03-01T12:00:00Z", only(&["b"])),
        ("2026-03-01T13:00:00Z", Extent::All),
        ("2026-03-01T14:00:00Z", Extent::Except(["x".to_owned()].into())),
    ] {
        for line in watch.look(at, &of(extent)).await {
            let said = [&line["lost"][0], &line["gained"][0]].into_iter().find_map(Value::as_str).unwrap();
            told.push((line["since"].as_str().unwrap()[11..13].to_owned(), said.to_owned(), line["undo"].clone()));
        }
    }
    let undo = json!([r#"give Only({"a", "b"})"#]);
    let lost = |since: &str, without: &str, undo: &Value| {
        (since.to_owned(), format!("types is Working: without {without}"), undo.clone())
    };
    assert_eq!(
        told,
        [
            lost("10", "a", &undo),
            lost("10", "a", &undo),
            lost("12", "a and c", &undo),
            ("13".to_owned(), "types is back".to_owned(), json!([])),
            lost("14", "x", &json!(["give All"])),
        ]
    );
    let except = of(Extent::Except(["x".to_owned()].into()));
    assert_eq!(watch.look("2026-03-20T14:00:00Z", &except).await.len(), 1, "it is told each day");
    assert!(watch.look("2026-04-20T14:00:00Z", &except).await.is_empty(), "it was meant so");
    assert!(watch.look("2026-04-20T15:00:00Z", &except).await.is_empty());
    let more = of(Extent::Except(["x".to_owned(), "y".to_owned()].into()));
    let told = watch.look("2026-04-20T16:00:00Z", &more).await;
    assert_eq!(told[0]["lost"], json!(["types is Working: without y"]));
}

#[tokio::test]
async fn what_was_known_to_work_before_there_were_extents_covered_everything() {
    let watch = Watch::new();
    watch.look("2026-03-01T09:00:00Z", &with(detector(), "types", Working)).await;
    let extent = Some(Extent::Only(["a".to_owned()].into()));
    let now = detector().with("types", Part { extent, ..part("types", "types", Working) });
    let told = watch.look("2026-03-01T10:00:00Z", &now).await;
    assert_eq!(told[0]["condition"], "narrowed");
}

#[tokio::test]
async fn an_unreadable_snapshot_is_an_error_and_taken_as_new() {
    let watch = Watch::new();
    watch.look("2026-03-01T09:00:00Z", &with(detector(), "detector", Working)).await;
    let expires = "2027-01-01T00:00:00Z".parse().unwrap();
    for body in [b"{".to_vec(), br#"{"schema":9,"written":"2026-03-01T09:00:00Z","resource":null,"parts":{}}"#.to_vec()]
    {
        watch.state.put(CONTROLS, "guardduty eu-west-1", body, expires).await.unwrap();
        let compared = watch.compare("2026-03-01T10:00:00Z", &with(detector(), "detector", Disabled)).await;
        assert!(compared.lines.is_empty() && compared.errors.len() == 1, "{:?}", compared.errors);
    }
}

#[tokio::test]
async fn an_unchanged_snapshot_is_written_once_a_day() {
    let watch = Watch::new();
    let on = with(detector(), "detector", Working);
    watch.look("2026-03-01T09:00:00Z", &on).await;
    assert!(watch.compare("2026-03-01T12:00:00Z", &on).await.writes.is_empty());
    assert_eq!(watch.compare("2026-03-02T09:00:00Z", &on).await.writes.len(), 1);
}
