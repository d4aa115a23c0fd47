use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::FutureExt;

use super::*;
use crate::detect::RuleFile;
use crate::finding::Message;
use crate::pipeline::{Entry, Options, Pipeline};
use crate::ports::{Item, PortResult};

const RULES: &str = "
title: One
id: one
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: ConsoleLogin}, condition: selection}
---
title: Many
id: many
level: high
correlation:
  type: event_count
  rules: [one]
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {gte: 3}
";

/// Items in memory. Before a mark is written, somebody else may be faster.
#[derive(Default)]
struct Memory {
    items: Mutex<BTreeMap<(String, String), Item>>,
    /// Objects whose contributions and findings somebody else settles just before the next mark is written.
    rival: Mutex<Vec<&'static str>>,
    /// Somebody else is always faster.
    refuses: bool,
    sink: Published,
}

#[derive(Default)]
struct Published(Mutex<Vec<Finding>>);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }
}

#[async_trait]
impl FindingSink for Published {
    async fn publish(&self, message: &Message) -> PortResult<()> {
        self.0.lock().unwrap().push(message.finding.clone());
        Ok(())
    }
}

#[async_trait]
impl StateStore for Memory {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        Ok(self.items.lock().unwrap().get(&(partition.to_owned(), sort.to_owned())).cloned())
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        let items = self.items.lock().unwrap();
        let items = items.iter().filter(|((key, _), _)| key == partition);
        Ok(items.map(|((_, sort), item)| (sort.clone(), item.clone())).collect())
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, _: Timestamp) -> PortResult<()> {
        let mut items = self.items.lock().unwrap();
        let version = items.get(&(partition.to_owned(), sort.to_owned())).map_or(1, |item| item.version + 1);
        items.insert((partition.to_owned(), sort.to_owned()), Item { body, version });
        Ok(())
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        let rival = self.rival.lock().unwrap().pop();
        if let Some(times) = rival {
            analyse(self, times).await.unwrap();
        }
        if self.refuses || self.get(partition, sort).await?.map(|item| item.version) != expected {
            return Ok(false);
        }
        self.put(partition, sort, body, expires).await?;
        Ok(true)
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.items.lock().unwrap().remove(&(partition.to_owned(), sort.to_owned()));
        Ok(())
    }
}

fn catalogue() -> Catalogue {
    let (catalogue, problems) = Catalogue::load(vec![RuleFile::new("rules.yml", RULES)]);
    assert!(problems.is_empty(), "{problems:?}");
    catalogue
}

/// An object: a login from one address at each of these times on 1 March 2026, `-` for one without a time.
fn report(catalogue: &Catalogue, times: &str) -> crate::pipeline::Report {
    report_of(catalogue, "test", times)
}

/// The same, read in this place.
fn report_of(catalogue: &Catalogue, place: &str, times: &str) -> crate::pipeline::Report {
    let events: Vec<String> = times
        .split_whitespace()
        .map(|time| {
            let stamp = if time == "-" { String::new() } else { format!(r#","eventTime":"2026-03-01T{time}Z""#) };
            format!(r#"{{"eventName":"ConsoleLogin","sourceIPAddress":"203.0.113.9","eventID":"{time}"{stamp}}}"#)
        })
        .collect();
    let pipeline = Pipeline::new(catalogue, Options::default());
    let entries = events.iter().map(|event| Entry { key: None, time: None, bytes: event.as_bytes() });
    let report = pipeline.entries(place, crate::formats::by_name("cloudtrail"), entries);
    assert_eq!(report.stats.parsed, events.len() as u64);
    report
}

/// Settles such an object.
async fn analyse(memory: &Memory, times: &str) -> Result<usize, SettleError> {
    analyse_of(memory, "test", times).await
}

/// The same, read in this place.
async fn analyse_of(memory: &Memory, place: &str, times: &str) -> Result<usize, SettleError> {
    let catalogue = catalogue();
    let report = report_of(&catalogue, place, times);
    let closing = Closing::EndOfInput;
    let settler = Settler { catalogue: &catalogue, state: memory, sink: &memory.sink, clock: &Noon, closing };
    let touched = settler.put(&report.object, report.contributions).await?;
    settler.settle(&touched).await
}

/// Runs what never waits.
fn settled_now(memory: &Memory, times: &str) -> Result<usize, SettleError> {
    analyse(memory, times).now_or_never().expect("nothing here waits")
}

/// What was published, in order: revision, count, first and last time.
fn published(memory: &Memory) -> Vec<(u64, u64, String, String)> {
    let short = |time: Option<Timestamp>| time.unwrap().strftime("%H:%M:%S").to_string();
    let findings = memory.sink.0.lock().unwrap();
    let shown =
        |finding: &Finding| (finding.revision, finding.count, short(finding.first_time), short(finding.last_time));
    findings.iter().map(shown).collect()
}

fn finding(revision: u64, count: u64, first: &str, last: &str) -> (u64, u64, String, String) {
    (revision, count, first.to_owned(), last.to_owned())
}

#[test]
fn a_finding_is_published_when_it_becomes_hot_and_when_it_moves() {
    let memory = Memory::default();
    assert_eq!(settled_now(&memory, "10:00:00 10:01:00").unwrap(), 0);
    assert_eq!(settled_now(&memory, "10:02:00").unwrap(), 1);
    assert_eq!(settled_now(&memory, "10:02:00").unwrap(), 0, "the same object again");
    assert_eq!(settled_now(&memory, "10:30:00").unwrap(), 0, "in the bucket, and in no hot window");
    assert_eq!(settled_now(&memory, "10:05:00").unwrap(), 1);
    let expected = [finding(1, 3, "10:00:00", "10:02:00"), finding(2, 4, "10:00:00", "10:05:00")];
    assert_eq!(published(&memory), expected);
}

#[test]
fn a_window_across_the_border_of_buckets_belongs_to_the_bucket_of_its_start() {
    for objects in [["10:58:00", "11:01:00", "10:59:00"], ["11:01:00", "10:59:00", "10:58:00"]] {
        let memory = Memory::default();
        for object in objects {
            settled_now(&memory, object).unwrap();
        }
        assert_eq!(published(&memory), [finding(1, 3, "10:58:00", "11:01:00")], "{objects:?}");
    }
}

#[test]
fn events_without_a_time_are_in_no_window() {
    let memory = Memory::default();
    assert_eq!(settled_now(&memory, "- 10:00:00 10:01:00").unwrap(), 0);
    assert_eq!(settled_now(&memory, "-").unwrap(), 0);
}

#[test]
fn a_mark_that_somebody_else_has_written_is_computed_again() {
    let memory = Memory::default();
    memory.rival.lock().unwrap().push("10:03:00 10:04:00");
    assert_eq!(settled_now(&memory, "10:00:00 10:01:00 10:02:00").unwrap(), 0, "the rival has marked it");
    // The first was computed before the others were there; the rival's saw everything, and so does the last word.
    let expected = [finding(1, 3, "10:00:00", "10:02:00"), finding(1, 5, "10:00:00", "10:04:00")];
    assert_eq!(published(&memory), expected);
    let marks: Vec<Finding> = marks(&memory);
    assert_eq!((marks.len(), marks[0].count, marks[0].revision), (1, 5, 1));
}

#[test]
fn a_mark_never_goes_back() {
    let memory = Memory::default();
    settled_now(&memory, "10:00:00 10:01:00 10:02:00 10:03:00").unwrap();
    let everything = memory.items.lock().unwrap().clone();
    // Contributions have expired: what is left is hot, and less.
    memory.items.lock().unwrap().retain(|(_, sort), _| sort == MARK);
    assert_eq!(settled_now(&memory, "10:00:00 10:01:00 10:02:00").unwrap(), 0);
    assert_eq!(marks(&memory)[0].count, 4);
    // They are there again, and one more.
    memory.items.lock().unwrap().extend(everything);
    assert_eq!(settled_now(&memory, "10:04:00").unwrap(), 1);
    assert_eq!((marks(&memory)[0].count, marks(&memory)[0].revision), (5, 2));
}

/// Where the records of the one finding that is marked were read: the place that stands for each, and the others.
fn places(memory: &Memory) -> Vec<(String, Vec<String>)> {
    let marks = marks(memory);
    let [finding] = marks.as_slice() else { panic!("{marks:?}") };
    finding.evidence.iter().map(|entry| (entry.source.clone(), entry.also_in.clone())).collect()
}

fn read_in(memory: &Memory, place: &str, times: &str) -> usize {
    analyse_of(memory, place, times).now_or_never().expect("nothing here waits").unwrap()
}

fn place(first: &str, others: &[&str]) -> (String, Vec<String>) {
    (first.to_owned(), others.iter().map(|other| (*other).to_owned()).collect())
}

const THREE: &str = "10:00:00 10:01:00 10:02:00";

#[test]
fn who_sees_the_same_records_again_is_named_and_nothing_is_published() {
    for order in [["bus", "file", "history"], ["history", "file", "bus"], ["file", "bus", "history"]] {
        let memory = Memory::default();
        for (number, by) in order.into_iter().enumerate() {
            assert_eq!(read_in(&memory, by, THREE), usize::from(number == 0), "{by} of {order:?}");
        }
        read_in(&memory, order[0], THREE);
        assert_eq!(places(&memory), vec![place("bus", &["file", "history"]); 3], "{order:?}");
        assert_eq!(published(&memory), [finding(1, 3, "10:00:00", "10:02:00")]);
        assert_eq!(marks(&memory)[0].revision, 1);
        // One of them brings what the others have not.
        assert_eq!(read_in(&memory, "file", "10:03:00"), 1);
        let mut expected = vec![place("bus", &["file", "history"]); 3];
        expected.push(place("file", &[]));
        assert_eq!(places(&memory), expected, "{order:?}");
    }
}

#[test]
fn what_has_expired_takes_no_place_away() {
    let memory = Memory::default();
    read_in(&memory, "bus", THREE);
    read_in(&memory, "file", THREE);
    let expire = || memory.items.lock().unwrap().retain(|(_, sort), _| sort == MARK);
    expire();
    // As many as before, by another way; then fewer; then more.
    assert_eq!(read_in(&memory, "history", THREE), 0);
    assert_eq!(places(&memory), vec![place("bus", &["file", "history"]); 3]);
    expire();
    assert_eq!(read_in(&memory, "a log group", "10:00:00 10:01:00"), 0);
    assert_eq!(marks(&memory)[0].count, 3);
    expire();
    let all = format!("{THREE} 10:03:00");
    assert_eq!(read_in(&memory, "history", &all), 1);
    assert_eq!((marks(&memory)[0].count, marks(&memory)[0].revision), (4, 2));
    let places = places(&memory);
    assert_eq!(places[2..], [place("bus", &["file", "history"]), place("history", &[])]);
}

#[test]
fn a_mark_of_before_records_were_known_by_their_entries_is_read() {
    let memory = Memory::default();
    read_in(&memory, "bus", THREE);
    for ((_, sort), item) in memory.items.lock().unwrap().iter_mut() {
        let mut body: serde_json::Value = serde_json::from_slice(&item.body).unwrap();
        if sort == MARK {
            body.as_object_mut().unwrap().remove("shown").unwrap();
            for entry in body["finding"]["evidence"].as_array_mut().unwrap() {
                entry.as_object_mut().unwrap().remove("also_in").unwrap();
            }
            item.body = serde_json::to_vec(&body).unwrap();
        }
    }
    assert_eq!(read_in(&memory, "file", THREE), 0);
    assert_eq!(places(&memory), vec![place("bus", &["file"]); 3]);
    assert_eq!(marks(&memory)[0].revision, 1);
}

#[test]
fn an_entry_names_so_many_places_and_no_more() {
    let memory = Memory::default();
    let names: Vec<String> = (0..20).map(|number| format!("place {:02}", number * 7 % 20)).collect();
    for name in &names {
        read_in(&memory, name, THREE);
    }
    let (first, others) = places(&memory).remove(0);
    let expected: Vec<String> = (1..=8).map(|number| format!("place {number:02}")).collect();
    assert_eq!((first.as_str(), others), ("place 00", expected));
}

#[test]
fn a_mark_that_is_never_written_is_an_error_that_may_be_tried_again() {
    let memory = Memory { refuses: true, ..Memory::default() };
    let error = settled_now(&memory, "10:00:00 10:01:00 10:02:00").unwrap_err();
    let SettleError::Port(error) = error else { panic!("{error}") };
    assert_eq!(error.failure, Failure::Transient);
    assert_eq!(published(&memory).len(), TRIES);
}

#[test]
fn an_item_of_another_version_is_an_error_that_names_it() {
    let memory = Memory::default();
    settled_now(&memory, "10:00:00 10:01:00 10:02:00").unwrap();
    for schema in [OLDEST - 1, SCHEMA + 1] {
        for item in memory.items.lock().unwrap().values_mut() {
            item.body = format!("{{\"schema\":{schema}}}").into_bytes();
        }
        let error = settled_now(&memory, "10:03:00").unwrap_err().to_string();
        assert!(error.contains("c#") && error.contains(&format!("schema is {schema}")), "{error}");
    }
}

const QUIET: &str = "
title: One
id: one
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: ConsoleLogin}, condition: selection}
---
title: Quiet
id: quiet
lateness: 10m
correlation:
  type: event_count
  rules: [one]
  group-by: [sourceIPAddress]
  timespan: 10m
  condition: {lt: 3}
";

/// A clock that is told the time.
struct At(&'static str);

impl Clock for At {
    fn now(&self) -> Timestamp {
        format!("2026-03-01T{}Z", self.0).parse().unwrap()
    }
}

/// Settles an object of logins for the rule that asks for quiet, at a time, and what is due then.
fn quiet(memory: &Memory, times: &str, closing: Closing, now: &'static str) -> usize {
    let file = RuleFile::new("quiet.yml", QUIET);
    let (catalogue, problems) = Catalogue::load(vec![file]);
    assert!(problems.is_empty(), "{problems:?}");
    let settler = Settler { catalogue: &catalogue, state: memory, sink: &memory.sink, clock: &At(now), closing };
    let report = report(&catalogue, times);
    let settled = async {
        let touched = settler.put(&report.object, report.contributions).await.unwrap();
        settler.settle(&touched).await.unwrap() + settler.settle_due().await.unwrap()
    };
    settled.now_or_never().expect("nothing here waits")
}

#[test]
fn a_window_is_settled_by_whoever_comes_after_its_lateness() {
    let memory = Memory::default();
    let by_clock = Closing::WallClock;
    assert_eq!(quiet(&memory, "10:01:00", by_clock, "10:12:00"), 0, "10:00 to 10:10 is waited for until 10:20");
    assert_eq!(quiet(&memory, "10:02:00", by_clock, "10:19:59"), 0);
    // Another object, of another time: the one that was waited for is due.
    assert_eq!(quiet(&memory, "12:01:00", by_clock, "12:02:00"), 1);
    assert_eq!(published(&memory), [finding(1, 2, "10:01:00", "10:02:00")]);
    assert_eq!(quiet(&memory, "12:01:00", by_clock, "12:03:00"), 0, "it is done");
}

#[test]
fn a_window_that_filled_up_before_it_closed_is_no_finding() {
    let memory = Memory::default();
    quiet(&memory, "10:01:00 10:02:00", Closing::WallClock, "10:12:00");
    quiet(&memory, "10:03:00", Closing::WallClock, "10:13:00");
    assert_eq!(quiet(&memory, "", Closing::WallClock, "11:00:00"), 0);
    assert!(published(&memory).is_empty());
}

#[test]
fn what_a_later_run_contradicts_is_settled_no_longer() {
    let memory = Memory::default();
    assert_eq!(quiet(&memory, "10:01:00 10:02:00", Closing::EndOfInput, "11:00:00"), 1);
    assert_eq!(quiet(&memory, "10:03:00 10:21:00", Closing::EndOfInput, "11:00:00"), 1, "another window holds");
    assert_eq!(marks(&memory).iter().map(|finding| finding.count).collect::<Vec<_>>(), [1]);
    quiet(&memory, "10:22:00 10:23:00", Closing::EndOfInput, "11:00:00");
    assert!(marks(&memory).is_empty());
    // And again: the revision goes on where it was.
    quiet(&memory, "10:31:00", Closing::EndOfInput, "11:00:00");
    assert_eq!(marks(&memory).iter().map(|finding| finding.revision).collect::<Vec<_>>(), [3]);
}

#[test]
fn who_has_seen_fewer_records_never_has_the_last_word() {
    let memory = Memory::default();
    quiet(&memory, "10:01:00 10:02:00 10:03:00", Closing::EndOfInput, "11:00:00");
    // There is no finding, and yet a mark: a worker that read before the third came must not write after.
    let contributions: Vec<_> = memory.items.lock().unwrap().keys().filter(|(_, sort)| sort != MARK).cloned().collect();
    memory.items.lock().unwrap().remove(&contributions[0]);
    assert_eq!(quiet(&memory, "10:02:00", Closing::EndOfInput, "11:00:00"), 0);
    assert!(marks(&memory).is_empty() && published(&memory).is_empty());
}

fn marks(memory: &Memory) -> Vec<Finding> {
    let items = memory.items.lock().unwrap();
    let marks = items.iter().filter(|((_, sort), _)| sort == SETTLED);
    marks.filter_map(|((partition, _), item)| settled(&item.body, partition).unwrap()).collect()
}

mod held_back;
