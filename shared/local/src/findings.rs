//! Findings kept in memory until the command line prints them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cloudvigil_core::finding::Message;
use cloudvigil_core::ports::{FindingSink, PortResult};

/// Keeps, of every finding, the message with the highest revision, in whatever order they arrive.
#[derive(Debug, Default)]
pub struct Collected {
    by_id: Mutex<HashMap<String, Message>>,
}

impl Collected {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has arrived so far, each finding once, by first time, then id. Findings without a time come first.
    pub fn sorted(&self) -> Vec<Message> {
        in_order(self.lock().values().cloned().collect())
    }

    /// [`Self::sorted`], at the end.
    pub fn into_sorted(self) -> Vec<Message> {
        in_order(self.by_id.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Message>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_order(mut messages: Vec<Message>) -> Vec<Message> {
    messages.sort_unstable_by(|a, b| (a.finding.first_time, &a.finding.id).cmp(&(b.finding.first_time, &b.finding.id)));
    messages
}

#[async_trait]
impl FindingSink for Collected {
    async fn publish(&self, message: &Message) -> PortResult<()> {
        match self.lock().entry(message.finding.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(message.clone());
            }
            Entry::Occupied(mut place) => {
                let held = &place.get().finding;
                // Two workers may reach the same revision by different ways; counts only grow, so the higher one knows more.
                if (message.finding.revision, message.finding.count) >= (held.revision, held.count) {
                    place.insert(message.clone());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {

    use cloudvigil_core::correlate::Group;
    use cloudvigil_core::finding::{Finding, Guidance, Level, SCHEMA};
    use jiff::Timestamp;

    use super::*;

    fn message(id: &str, revision: u64, count: u64, first: Option<i64>) -> Message {
        let first_time = first.map(|second| Timestamp::from_second(second).unwrap());
        let finding = Finding {
            id: id.into(),
            revision,
            rule: "r".into(),
            title: "t".into(),
            level: Level::High,
            count,
            first_time,
            last_time: first_time,
            group: Group::default(),
            account: None,
            region: None,
            actor: None,
            source_address: None,
            resources: vec![],
            evidence: vec![],
            dedup_key: String::new(),
        };
        Message { schema: SCHEMA, finding, guidance: Guidance::default() }
    }

    #[tokio::test]
    async fn keeps_the_highest_revision_whatever_the_order() {
        let collected = Collected::new();
        for (revision, count) in [(2, 9), (3, 10), (1, 4), (3, 8)] {
            collected.publish(&message("a", revision, count, Some(0))).await.unwrap();
        }
        let kept = collected.into_sorted();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].finding.revision, kept[0].finding.count), (3, 10));
    }

    #[tokio::test]
    async fn sorts_by_first_time_then_id() {
        let collected = Collected::new();
        for (id, first) in [("c", Some(5)), ("b", Some(5)), ("a", Some(9)), ("d", None)] {
            collected.publish(&message(id, 1, 1, first)).await.unwrap();
        }
        let ids = |messages: Vec<Message>| messages.into_iter().map(|m| m.finding.id).collect::<Vec<_>>();
        assert_eq!(ids(collected.sorted()), ["d", "b", "c", "a"]);
        assert_eq!(ids(collected.into_sorted()), ["d", "b", "c", "a"]);
    }
}
