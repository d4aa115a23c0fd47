//! A stretch of a region's history, read page by page.
//!
//! **What is asked.** The questions of a catalogue can be put in two ways. *All changes*: one question for everything
//! that changes something (`ReadOnly` is `false`), and one for each of the few things that rules want besides. It costs a
//! page for every fifty changes, wanted or not. *One by one*: a question for each service or call that a rule names, which
//! costs a page for each of them (there are more than a hundred) even where nothing happened, and beyond that only what
//! is wanted. So in most regions and for short stretches the former is cheaper by far, and for a week of a region in which
//! thousands of resources come and go, the latter.
//!
//! Which it is shows while reading: a reading begins with all changes, and after some pages knows how many more the rest of
//! the stretch would take at that rate. If they are more than there are questions, the rest is read one by one.
//! Nothing is lost by having begun: an answer comes newest first, so what was read is the stretch's newest part, and only
//! the part before it is left.
//!
//! **Where it stands.** For the same reason a reading can be put down after any page, stored, and taken up by another
//! process: each question is asked again up to the time of the oldest event that was read, both included. So every page
//! is progress, however many there are, and no token has to be kept. The one condition is that the time for a reading
//! suffices for the pages of one second, which at a call a second is given up to thousands of events in it.
//!
//! **Events that come late**, into a part that was read, are not seen. `CloudTrail` needs about 15 minutes; the next
//! stretch has to reach back behind the time when this one was begun.

use std::collections::VecDeque;

use aws_sdk_cloudtrail::Client;
use cloudvigil_core::detect::{Catalogue, Rule};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LookupEvent, LookupQuery, NoPage, Pace, Stopped, Tally, page};

/// So many pages are read before their rate says something of the rest.
const TRIAL: u64 = 10;

/// What the history is asked for rules' sake, both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// What is asked besides all changes.
    pub beside_changes: Vec<LookupQuery>,
    /// What is asked instead of them.
    pub one_by_one: Vec<LookupQuery>,
}

impl Questions {
    /// What `these` rules need to see their events.
    pub fn of(catalogue: &Catalogue, these: impl Fn(&Rule) -> bool) -> Self {
        let beside_changes = catalogue.event_queries_beside_changes(&these);
        let one_by_one = catalogue.event_queries(&these);
        Self {
            one_by_one: one_by_one.difference(&beside_changes).cloned().map(LookupQuery::from).collect(),
            beside_changes: beside_changes.into_iter().map(LookupQuery::from).collect(),
        }
    }
}

/// How far the reading of a stretch has got. As it is stored it has what remains to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    from: Timestamp,
    to: Timestamp,
    /// What is still to be asked, in this order. All changes come last, so that nothing else is left when they turn out
    /// to be too many.
    left: VecDeque<Question>,
    one_by_one: bool,
    #[serde(skip)]
    cursor: Option<Cursor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    query: LookupQuery,
    /// What happened after this was read.
    until: Timestamp,
}

/// An answer of which more pages are to come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    /// Up to when was asked: a token is good for the same question only.
    until: Timestamp,
    token: Option<String>,
    pages: u64,
}

impl Reading {
    /// The stretch from `from` to `to`, both included. The history knows whole seconds only.
    pub fn new(from: Timestamp, to: Timestamp, questions: &Questions) -> Self {
        let ask = |query: LookupQuery| Question { query, until: to };
        let queries = questions.beside_changes.iter().cloned().chain([LookupQuery::Changes]);
        Self { from, to, left: queries.map(ask).collect(), one_by_one: false, cursor: None }
    }

    /// Where the stretch ends.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether so much happened that it is, or was, read question by question.
    pub fn is_one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// Reads no further back than `oldest`.
    pub fn forget_before(&mut self, oldest: Timestamp) {
        self.from = self.from.max(oldest);
        self.to = self.to.max(self.from);
        for question in &mut self.left {
            question.until = question.until.max(self.from);
        }
    }

    /// The next page's events, the newest first; `None` if all was read. The same event may come more than once.
    ///
    /// After an error the reading stands where it stood. `client` belongs to the region that is read.
    pub async fn next_page(
        &mut self,
        client: &Client,
        questions: &Questions,
        pace: &Pace,
        tally: &mut Tally,
    ) -> Result<Option<Vec<LookupEvent>>, Stopped> {
        let Some(question) = self.left.front_mut() else { return Ok(None) };
        let fresh = |until| Cursor { until, token: None, pages: 0 };
        let mut cursor = self.cursor.take().unwrap_or_else(|| fresh(question.until));
        let answered = loop {
            let times = (self.from, cursor.until);
            match page(client, &question.query, times, cursor.token.as_ref(), pace, tally).await {
                Ok(answered) => break answered,
                // Tokens do not last for ever, but what was read by them stays read.
                Err(NoPage::TokenRefused(_)) if question.until < cursor.until => cursor = fresh(question.until),
                Err(NoPage::TokenRefused(error)) => return Err(Stopped::Failed(error)),
                Err(NoPage::Stopped(stopped)) => return Err(stopped),
            }
        };
        if let Some(oldest) = answered.oldest {
            question.until = question.until.min(oldest).max(self.from);
        }
        cursor.pages += 1;
        if answered.token.is_none() {
            self.left.pop_front();
        } else if question.query == LookupQuery::Changes && is_too_much(self.from, question, &cursor, questions) {
            let until = question.until;
            let ask = |query: &LookupQuery| Question { query: query.clone(), until };
            self.left = questions.one_by_one.iter().map(ask).collect();
            self.one_by_one = true;
        } else {
            cursor.token = answered.token;
            self.cursor = Some(cursor);
        }
        Ok(Some(answered.events))
    }
}

/// Whether the rest of the changes, at the rate of those that were read, takes more pages than there are questions.
fn is_too_much(from: Timestamp, question: &Question, cursor: &Cursor, questions: &Questions) -> bool {
    let seconds = |from: Timestamp, to: Timestamp| u64::try_from(to.as_second() - from.as_second()).unwrap_or(0);
    let read = seconds(question.until, cursor.until).max(1);
    let rest = cursor.pages.saturating_mul(seconds(from, question.until)) / read;
    let one_by_one = questions.one_by_one.len() as u64;
    cursor.pages >= TRIAL && one_by_one > 0 && rest > one_by_one
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cloudvigil_core::ports::Failure;
    use cloudvigil_stub::{Reply, Request, Stub};
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::Clients;

    /// 10:00 on the first of March 2026.
    const FROM: i64 = 1_772_359_200;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(FROM + second).unwrap()
    }

    /// An event so many seconds after [`FROM`].
    fn event(second: i64) -> Value {
        let id = format!("e{second}");
        let text = format!(r#"{{"eventID":"{id}"}}"#);
        json!({"EventId": id, "EventTime": FROM + second, "CloudTrailEvent": text})
    }

    fn page_of(seconds: &[i64], next: Option<&str>) -> Reply {
        let events: Vec<Value> = seconds.iter().map(|second| event(*second)).collect();
        Reply::json(&json!({"Events": events, "NextToken": next}))
    }

    fn throttled() -> Reply {
        Reply::error(400, "ThrottlingException", "Rate exceeded")
    }

    fn fast() -> Pace {
        Pace::default().interval(Duration::ZERO).backoff(Duration::from_millis(1), Duration::from_millis(4))
    }

    fn questions(names: usize) -> Questions {
        let name = |number| LookupQuery::EventName(format!("Call{number}"));
        Questions {
            beside_changes: vec![LookupQuery::Username("root".to_owned())],
            one_by_one: (0..names).map(name).collect(),
        }
    }

    /// All changes of an hour.
    fn hour() -> Reading {
        Reading::new(at(0), at(3600), &Questions::default())
    }

    /// Reads to the end, or to what stops it.
    async fn read(
        stub: &Stub,
        reading: &mut Reading,
        questions: &Questions,
        pace: &Pace,
    ) -> (Vec<String>, Tally, Option<Stopped>) {
        let client = stub.clients(Clients::with_config).cloudtrail_in("us-east-1").await;
        let (mut ids, mut tally) = (Vec::new(), Tally::default());
        loop {
            match reading.next_page(&client, questions, pace, &mut tally).await {
                Ok(Some(events)) => ids.extend(events.into_iter().map(|event| event.id)),
                Ok(None) => return (ids, tally, None),
                Err(stopped) => return (ids, tally, Some(stopped)),
            }
        }
    }

    fn asked(request: &Request) -> (String, String) {
        let attribute = request.json()["LookupAttributes"][0].clone();
        let text = |name: &str| attribute[name].as_str().unwrap_or_default().to_owned();
        (text("AttributeKey"), text("AttributeValue"))
    }

    #[tokio::test]
    async fn all_changes_and_what_is_wanted_besides_are_read_to_the_last_page() {
        let stub = Stub::answering([
            page_of(&[100], None),
            page_of(&[90, 80], Some("two")),
            page_of(&[], Some("three")),
            page_of(&[70], None),
        ]);
        let questions = questions(3);
        let mut reading = Reading::new(at(0), at(3600), &questions);
        let (ids, tally, stopped) = read(&stub, &mut reading, &questions, &fast()).await;
        assert_eq!(ids, ["e100", "e90", "e80", "e70"]);
        assert_eq!((tally.events, tally.pages, tally.retries), (4, 4, 0));
        assert!(stopped.is_none() && reading.is_done() && !reading.is_one_by_one());
        let requests = stub.requests();
        assert_eq!(asked(&requests[0]), ("Username".to_owned(), "root".to_owned()));
        assert_eq!(asked(&requests[1]), ("ReadOnly".to_owned(), "false".to_owned()));
        let first = requests[1].json();
        assert_eq!((&first["StartTime"], &first["EndTime"]), (&json!(FROM), &json!(FROM + 3600)));
        assert_eq!((&first["MaxResults"], first.get("NextToken")), (&json!(50), None));
        let last = requests[3].json();
        assert_eq!((&last["NextToken"], &last["EndTime"]), (&json!("three"), &json!(FROM + 3600)));
    }

    #[tokio::test]
    async fn a_reading_goes_on_where_it_was_put_down() {
        let stub = Stub::answering([
            page_of(&[3000, 2500], Some("two")),
            Reply::error(400, "AccessDeniedException", "not now"),
            page_of(&[2500, 40], None),
        ]);
        let mut reading = hour();
        let (mut ids, ..) = read(&stub, &mut reading, &Questions::default(), &fast()).await;
        assert!(!reading.is_done());
        let stored = serde_json::to_string(&reading).unwrap();
        let mut reading: Reading = serde_json::from_str(&stored).unwrap();
        let (more, _, stopped) = read(&stub, &mut reading, &Questions::default(), &fast()).await;
        ids.extend(more);
        assert!(stopped.is_none() && reading.is_done());
        assert_eq!(ids, ["e3000", "e2500", "e2500", "e40"]);
        let last = stub.requests()[2].json();
        assert_eq!((&last["EndTime"], last.get("NextToken")), (&json!(FROM + 2500), None));
    }

    #[tokio::test]
    async fn too_many_changes_are_left_for_questions_one_by_one() {
        // A change a second, for two days; none of the calls that are wanted.
        const SPAN: i64 = 2 * 86_400;
        let stub = Stub::with(|request| {
            let body = request.json();
            if body["LookupAttributes"][0]["AttributeKey"] != "ReadOnly" {
                return page_of(&[], None);
            }
            let newest = body["NextToken"].as_str().map_or(SPAN, |token| token.parse().unwrap());
            let seconds: Vec<i64> = (newest - 49..=newest).rev().collect();
            page_of(&seconds, Some(&(newest - 50).to_string()))
        });
        let questions = questions(120);
        let mut reading = Reading::new(at(0), at(SPAN), &questions);
        let (ids, tally, stopped) = read(&stub, &mut reading, &questions, &fast()).await;
        assert!(stopped.is_none() && reading.is_one_by_one());
        assert_eq!((ids.len() as u64, tally.pages), (TRIAL * 50, 1 + TRIAL + 120));
        // What was read is not asked for again.
        let last = stub.requests().pop().unwrap().json();
        assert_eq!(last["EndTime"], FROM + SPAN - 499);
        // For a stretch of an hour the changes are cheaper.
        let mut reading = Reading::new(at(SPAN - 3600), at(SPAN), &questions);
        let client = stub.clients(Clients::with_config).cloudtrail_in("us-east-1").await;
        for _ in 0..40 {
            reading.next_page(&client, &questions, &fast(), &mut Tally::default()).await.unwrap();
        }
        assert!(!reading.is_one_by_one());
    }

    #[tokio::test]
    async fn a_token_that_is_good_no_longer_costs_nothing_that_was_read() {
        let refused = || Reply::error(400, "InvalidNextTokenException", "expired");
        let stub = Stub::answering([page_of(&[3000, 2000], Some("two")), refused(), page_of(&[1000], None)]);
        let (ids, _, stopped) = read(&stub, &mut hour(), &Questions::default(), &fast()).await;
        assert!(stopped.is_none());
        assert_eq!(ids, ["e3000", "e2000", "e1000"]);
        assert_eq!(stub.requests()[2].json()["EndTime"], FROM + 2000);
        // One that is refused every time is no way on.
        let stub =
            Stub::with(
                move |request| {
                    if request.json()["NextToken"].is_null() { page_of(&[3600], Some("two")) } else { refused() }
                },
            );
        let (_, _, stopped) = read(&stub, &mut hour(), &Questions::default(), &fast()).await;
        assert!(matches!(stopped, Some(Stopped::Failed(_))));
    }

    #[tokio::test]
    async fn throttling_by_http_400_is_tried_again() {
        let unavailable = Reply::error(503, "ServiceUnavailable", "later");
        let stub =
            Stub::answering([throttled(), throttled(), page_of(&[2], Some("two")), unavailable, page_of(&[1], None)]);
        let (ids, tally, stopped) = read(&stub, &mut hour(), &Questions::default(), &fast()).await;
        assert_eq!(ids, ["e2", "e1"]);
        assert_eq!((tally.pages, tally.retries, tally.throttled), (2, 3, 2));
        assert!(stopped.is_none());
        assert_eq!(stub.requests()[4].json()["NextToken"], "two");
    }

    #[tokio::test]
    async fn throttling_without_end_is_given_up_and_what_was_read_is_kept() {
        let mut first = true;
        let stub =
            Stub::with(move |_| if std::mem::take(&mut first) { page_of(&[7], Some("two")) } else { throttled() });
        let pace = fast().retry_for(Duration::from_millis(50));
        let (ids, tally, stopped) = read(&stub, &mut hour(), &Questions::default(), &pace).await;
        assert_eq!(ids, ["e7"]);
        let Some(Stopped::Failed(error)) = stopped else { panic!("{stopped:?}") };
        assert_eq!(error.failure, Failure::Transient);
        assert!(error.to_string().contains("ThrottlingException"), "{error}");
        assert!(tally.throttled > 1);
    }

    #[tokio::test]
    async fn denial_ends_it_at_once() {
        let stub = Stub::answering([page_of(&[1], Some("two")), Reply::error(400, "AccessDeniedException", "no")]);
        let (ids, tally, stopped) = read(&stub, &mut hour(), &Questions::default(), &fast()).await;
        assert_eq!((ids.len(), tally.retries), (1, 0));
        let Some(Stopped::Failed(error)) = stopped else { panic!("{stopped:?}") };
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("cloudtrail:LookupEvents") && error.to_string().contains("us-east-1"));
    }

    #[tokio::test]
    async fn events_without_an_id_a_record_or_a_time_stop_nothing() {
        let events = json!([{"EventId": "no-record", "EventTime": FROM + 9}, {"CloudTrailEvent": "{}"},
            {"EventId": "no-time", "CloudTrailEvent": "{}"}]);
        let stub =
            Stub::answering([Reply::json(&json!({"Events": events, "NextToken": "two"})), Reply::json(&json!({}))]);
        let (ids, tally, stopped) = read(&stub, &mut hour(), &Questions::default(), &fast()).await;
        assert_eq!((ids, tally.incomplete), (vec!["no-time".to_owned()], 2));
        assert!(stopped.is_none());
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_asks_nothing() {
        let stub = Stub::answering([]);
        let pace = fast().deadline(Instant::now());
        let (.., stopped) = read(&stub, &mut hour(), &Questions::default(), &pace).await;
        assert!(matches!(stopped, Some(Stopped::CutShort(error)) if error.failure == Failure::Transient));
        assert!(stub.requests().is_empty());
    }

    #[tokio::test]
    async fn a_turn_that_would_come_after_the_deadline_is_not_waited_for() {
        let stub = Stub::answering([page_of(&[7], Some("two"))]);
        let pace = fast().interval(Duration::from_mins(1)).deadline(Instant::now() + Duration::from_secs(50));
        let (ids, _, stopped) = read(&stub, &mut hour(), &Questions::default(), &pace).await;
        assert_eq!(ids.len(), 1);
        assert!(matches!(stopped, Some(Stopped::CutShort(_))));
    }

    #[test]
    fn nothing_is_asked_for_that_the_history_no_longer_has() {
        let mut reading = Reading::new(at(0), at(100), &questions(1));
        reading.forget_before(at(40));
        assert_eq!((reading.from, reading.to, reading.left[0].until), (at(40), at(100), at(100)));
        reading.forget_before(at(200));
        assert_eq!((reading.from, reading.to, reading.left[0].until), (at(200), at(200), at(200)));
    }
}
