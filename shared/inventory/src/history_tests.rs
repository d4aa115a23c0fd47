use cloudvigil_core::ports::StateStore;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::memory::Memory;
use crate::resource::Resource;

const ACCOUNT: &str = "123456789012";

fn at(hour: i64) -> Timestamp {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
}

fn bucket(name: &str, public: bool) -> Resource {
    Resource::new("s3", "bucket", format!("arn:aws:s3:::{name}"), Some("eu-west-1"))
        .with("name", name)
        .with("public", public)
}

async fn scan(state: &Memory, resources: Vec<Resource>, hour: i64) -> Dating {
    date(state, ACCOUNT, resources, &[("eu-west-1".to_owned(), "bucket")], at(hour)).await
}

#[tokio::test]
async fn an_unchanged_configuration_keeps_the_time_of_the_first_scan() {
    let state = Memory::default();
    let first = scan(&state, vec![bucket("logs", true)], 0).await;
    assert_eq!((first.dated[0].since, &first.dated[0].change), (at(0), &Change::New));
    let second = scan(&state, vec![bucket("logs", true)], 1).await;
    assert_eq!((second.dated[0].since, &second.dated[0].change), (at(0), &Change::Unchanged));
    let third = scan(&state, vec![bucket("logs", false)], 2).await;
    assert_eq!((third.dated[0].since, &third.dated[0].change), (at(2), &Change::Changed(vec!["public".to_owned()])));
    assert_eq!(state.keys(), [("inventory#123456789012#eu-west-1#bucket".to_owned(), "arn:aws:s3:::logs".to_owned())]);
}

#[tokio::test]
async fn a_field_that_could_not_be_looked_at_once_is_no_change() {
    let state = Memory::default();
    scan(&state, vec![bucket("logs", true)], 0).await;
    let mut blind = bucket("logs", true).with("public", Value::Null);
    blind.note_unseen("Throttling: s3:GetBucketAcl", &["public"]);
    assert_eq!(scan(&state, vec![blind.clone()], 1).await.dated[0].since, at(0));
    assert_eq!(scan(&state, vec![bucket("logs", true)], 2).await.dated[0].since, at(0));
    // What changed while nobody could look is seen as soon as somebody can.
    scan(&state, vec![blind], 3).await;
    assert_eq!(scan(&state, vec![bucket("logs", false)], 4).await.dated[0].since, at(4));
}

#[tokio::test]
async fn what_is_seen_for_the_first_time_is_new_even_if_the_bucket_is_not() {
    let state = Memory::default();
    let mut blind = bucket("logs", true).with("public", Value::Null);
    blind.note_unseen("AccessDenied: s3:GetBucketAcl", &["public"]);
    scan(&state, vec![blind], 0).await;
    assert_eq!(scan(&state, vec![bucket("logs", true)], 1).await.dated[0].since, at(1));
}

#[tokio::test]
async fn neither_a_volatile_field_nor_one_that_a_new_version_adds_is_a_change() {
    let state = Memory::default();
    scan(&state, vec![bucket("logs", true)], 0).await;
    let mut later = bucket("logs", true).with("versioning", "Enabled").with("objects", 17);
    later.volatile = &["objects"];
    assert_eq!(scan(&state, vec![later], 1).await.dated[0].since, at(0));
}

#[tokio::test]
async fn what_is_gone_is_counted_once_and_new_when_it_comes_back() {
    let state = Memory::default();
    scan(&state, vec![bucket("logs", true), bucket("data", false)], 0).await;
    let gone = scan(&state, vec![bucket("data", false)], 1).await;
    assert_eq!(gone.removed, [("eu-west-1".to_owned(), "bucket".to_owned(), "arn:aws:s3:::logs".to_owned())]);
    assert!(scan(&state, vec![bucket("data", false)], 2).await.removed.is_empty());
    let back = scan(&state, vec![bucket("data", false), bucket("logs", true)], 3).await;
    assert_eq!((back.dated[1].since, &back.dated[1].change), (at(3), &Change::New));
}

#[tokio::test]
async fn what_could_not_be_listed_is_not_gone() {
    let state = Memory::default();
    scan(&state, vec![bucket("logs", true)], 0).await;
    let blind = date(&state, ACCOUNT, vec![], &[], at(1)).await;
    assert!(blind.removed.is_empty());
    assert_eq!(scan(&state, vec![bucket("logs", true)], 2).await.dated[0].since, at(0));
}

#[tokio::test]
async fn an_unchanged_snapshot_is_written_once_a_day() {
    let state = Memory::default();
    for hour in [0, 1, 23, 24, 25] {
        scan(&state, vec![bucket("logs", true)], hour).await;
    }
    assert_eq!(*state.writes.lock().unwrap(), 2);
    let expires = state.items.lock().unwrap().values().next().unwrap().1;
    assert_eq!(expires, at(24 + 30 * 24));
}

#[tokio::test]
async fn state_that_cannot_be_read_is_an_error_and_not_overwritten() {
    let state = Memory { broken: true, ..Memory::default() };
    let dating = scan(&state, vec![bucket("logs", true)], 0).await;
    assert_eq!((dating.dated.len(), dating.errors.len()), (1, 1));
    assert_eq!(*state.writes.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_understood_is_taken_as_absent() {
    let state = Memory::default();
    let partition = "inventory#123456789012#eu-west-1#bucket";
    let unknown = br#"{"schema":9,"since":"2020-01-01T00:00:00Z","written":"2020-01-01T00:00:00Z","fields":{}}"#;
    for body in [unknown.as_slice(), b"{", b""] {
        state.put(partition, "arn:aws:s3:::logs", body.to_vec(), at(99)).await.unwrap();
        assert_eq!(scan(&state, vec![bucket("logs", true)], 5).await.dated[0].since, at(5));
    }
}
