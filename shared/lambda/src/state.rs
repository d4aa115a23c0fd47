//! State in one `DynamoDB` table: [`StateStore`].
//!
//! The table has a partition key `pk` and a sort key `sk`, both strings. An item has besides:
//!
//! | attribute | type | |
//! | --- | --- | --- |
//! | `body` | binary | what is stored |
//! | `version` | number | goes up by one with every write |
//! | `ttl` | number | when it expires, seconds since 1970: the attribute to enable TTL on |
//! | `sort` | string | the whole sort key, where `sk` had to be shortened |
//!
//! `DynamoDB` removes expired items when it finds the time, within days. Here they are unseen at once.
//!
//! Keys may be of any length: beyond what `DynamoDB` takes (2,048 bytes for `pk`, 1,024 for `sk`:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>) a key keeps its beginning and
//! ends in a hash of the whole. Keys hold what logs hold, and an attacker who can make one too long must not thereby
//! make it disappear.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use cloudvigil_aws::Clients;
use cloudvigil_aws::error::port_error;
use cloudvigil_core::ports::{Clock, Failure, Item, NewItem, PortError, PortResult, StateStore};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

/// The largest body, in bytes: `DynamoDB` takes items of 400 KB, keys and names included.
pub const MAX_BODY: usize = 300 * 1024;
/// How many writes of one call are under way at once.
const AT_ONCE: usize = 16;
const MAX_PARTITION_KEY: usize = 2048;
const MAX_SORT_KEY: usize = 1024;

type Attributes = HashMap<String, AttributeValue>;

/// State in one table.
pub struct DynamoState {
    clients: Arc<Clients>,
    client: OnceCell<Client>,
    table: String,
    clock: Arc<dyn Clock>,
}

impl DynamoState {
    /// State in `table` (a name or an ARN), in the current region. Nothing is asked yet.
    pub fn new(clients: Arc<Clients>, table: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { clients, client: OnceCell::new(), table: table.into(), clock }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.clients.config().await) }).await
    }

    /// What is being done, on what: for errors. Keys hold what logs hold, so they are escaped and cut.
    fn what(&self, verb: &str, partition: &str, sort: Option<&str>) -> String {
        let mut what = format!("{verb} in table {} the item ", self.table);
        for key in [Some(partition), sort].into_iter().flatten() {
            let cut: String = key.chars().take(120).collect();
            let _ = write!(what, "/{}", cut.escape_debug());
        }
        what
    }

    /// The write that both kinds of `put` are.
    async fn update(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
    ) -> PortResult<UpdateItemFluentBuilder> {
        if body.len() > MAX_BODY {
            let why = format!("its body has {} bytes, and {MAX_BODY} is the limit: store it in parts", body.len());
            return Err(PortError::new(Failure::Permanent, self.what("write", partition, Some(sort)), why));
        }
        let (pk, sk) = (fit(partition, MAX_PARTITION_KEY), fit(sort, MAX_SORT_KEY));
        let mut update = self
            .client()
            .await
            .update_item()
            .table_name(&self.table)
            .key("pk", text(&pk))
            .key("sk", text(&sk))
            .expression_attribute_names("#body", "body")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":body", AttributeValue::B(Blob::new(body)))
            .expression_attribute_values(":ttl", number(&expires.as_second()))
            .expression_attribute_values(":one", number(&1));
        let mut set = "SET #body = :body, #ttl = :ttl".to_owned();
        if sk != sort {
            set.push_str(", #sort = :sort");
            update =
                update.expression_attribute_names("#sort", "sort").expression_attribute_values(":sort", text(sort));
        }
        Ok(update.update_expression(set + " ADD #version :one"))
    }

    /// The item, unless it has expired.
    fn item(&self, attributes: &mut Attributes) -> Result<Option<Item>, &'static str> {
        let ttl: i64 = attributes.get("ttl").and_then(integer).ok_or("its ttl is no number")?;
        if ttl <= self.clock.now().as_second() {
            return Ok(None);
        }
        let version = attributes.get("version").and_then(integer).ok_or("its version is no number")?;
        let Some(AttributeValue::B(body)) = attributes.remove("body") else { return Err("its body is no binary") };
        Ok(Some(Item { body: body.into_inner(), version }))
    }
}

#[async_trait]
impl StateStore for DynamoState {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        let what = || self.what("read", partition, Some(sort));
        let answer = self
            .client()
            .await
            .get_item()
            .table_name(&self.table)
            .key("pk", text(&fit(partition, MAX_PARTITION_KEY)))
            .key("sk", text(&fit(sort, MAX_SORT_KEY)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| port_error(what(), &error))?;
        let Some(mut attributes) = answer.item else { return Ok(None) };
        self.item(&mut attributes).map_err(|why| PortError::new(Failure::Permanent, what(), why))
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let answer = self
                .client()
                .await
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(&fit(partition, MAX_PARTITION_KEY)))
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| port_error(self.what("read", partition, None), &error))?;
            for mut attributes in answer.items.unwrap_or_default() {
                let sort = attributes.remove("sort").or_else(|| attributes.remove("sk"));
                let Some(AttributeValue::S(sort)) = sort else { continue };
                match self.item(&mut attributes) {
                    Ok(Some(item)) => items.push((sort, item)),
                    Ok(None) => {}
                    Err(why) => {
                        return Err(PortError::new(Failure::Permanent, self.what("read", partition, Some(&sort)), why));
                    }
                }
            }
            from = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                break;
            }
        }
        // Shortened keys sort by their hash in the table, and by themselves here.
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(items)
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()> {
        let update = self.update(partition, sort, body, expires).await?;
        update.send().await.map_err(|error| port_error(self.what("write", partition, Some(sort)), &error))?;
        Ok(())
    }

    // There is no call that updates several items and bumps their versions; several calls at once are the next best.
    async fn put_all(&self, items: Vec<NewItem>) -> PortResult<()> {
        let puts = items.into_iter().map(|item| async move {
            let NewItem { partition, sort, body, expires } = item;
            self.put(&partition, &sort, body, expires).await
        });
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// As the port says. `false` is also the answer if the write was carried out, the answer to it was lost, and the
    /// SDK's second attempt found the item already changed: who relies on having written reads the item again, or
    /// waits for it to expire, as with somebody else's lease.
    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        let update = self
            .update(partition, sort, body, expires)
            .await?
            .expression_attribute_values(":now", number(&self.clock.now().as_second()));
        let update = match expected {
            None => update.condition_expression("attribute_not_exists(pk) OR #ttl <= :now"),
            Some(version) => update
                .condition_expression("#version = :expected AND #ttl > :now")
                .expression_attribute_values(":expected", number(&version)),
        };
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(port_error(self.what("write", partition, Some(sort)), &error)),
        }
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.client()
            .await
            .delete_item()
            .table_name(&self.table)
            .key("pk", text(&fit(partition, MAX_PARTITION_KEY)))
            .key("sk", text(&fit(sort, MAX_SORT_KEY)))
            .send()
            .await
            .map_err(|error| port_error(self.what("delete", partition, Some(sort)), &error))?;
        Ok(())
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: &dyn ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn integer<T: std::str::FromStr>(value: &AttributeValue) -> Option<T> {
    value.as_n().ok()?.parse().ok()
}

/// `key` in at most `limit` bytes: itself, or its beginning and a hash of the whole.
fn fit(key: &str, limit: usize) -> Cow<'_, str> {
    if key.len() <= limit {
        return Cow::Borrowed(key);
    }
    let mut hash = "#sha256:".to_owned();
    for byte in Sha256::digest(key) {
        let _ = write!(hash, "{byte:02x}");
    }
    let beginning = &key[..key.floor_char_boundary(limit - hash.len())];
    Cow::Owned(format!("{beginning}{hash}"))
}

#[cfg(test)]
mod tests {
    use cloudvigil_aws::clients::{MAX_ATTEMPTS, retries};
    use cloudvigil_stub::{Reply, Stub};
    use serde_json::json;

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(1_000).unwrap()
        }
    }

    fn state(stub: &Stub) -> DynamoState {
        DynamoState::new(stub.clients(Clients::with_config), "state", Arc::new(Noon))
    }

    fn stored(sort: &str, ttl: i64) -> serde_json::Value {
        // "aGk=" is "hi".
        json!({"pk": {"S": "p"}, "sk": {"S": sort}, "body": {"B": "aGk="}, "version": {"N": "3"},
               "ttl": {"N": ttl.to_string()}})
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn reads_are_strongly_consistent() {
        let stub = Stub::answering([Reply::json(&json!({"Item": stored("s", 1_001)})), Reply::json(&json!({}))]);
        let state = state(&stub);
        let item = state.get("p", "s").await.unwrap().unwrap();
        assert_eq!(item, Item { body: b"hi".to_vec(), version: 3 });
        assert_eq!(state.get("p", "absent").await.unwrap(), None);
        assert_eq!(stub.requests()[0].json()["ConsistentRead"], true);
    }

    #[tokio::test]
    async fn an_expired_item_is_unseen() {
        let stub = Stub::answering([
            Reply::json(&json!({"Item": stored("s", 1_000)})),
            Reply::json(&json!({"Items": [stored("a", 999), stored("b", 1_001)]})),
        ]);
        let state = state(&stub);
        assert_eq!(state.get("p", "s").await.unwrap(), None);
        let items = state.query("p").await.unwrap();
        assert_eq!(items.iter().map(|(sort, _)| sort.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn every_page_of_a_partition_is_read() {
        let stub = Stub::answering([
            Reply::json(
                &json!({"Items": [stored("a", 2_000)], "LastEvaluatedKey": {"pk": {"S": "p"}, "sk": {"S": "a"}}}),
            ),
            Reply::json(&json!({"Items": [stored("b", 2_000)]})),
        ]);
        assert_eq!(state(&stub).query("p").await.unwrap().len(), 2);
        let second = stub.requests()[1].json();
        assert_eq!(second["ExclusiveStartKey"]["sk"]["S"], "a");
        assert_eq!(second["ConsistentRead"], true);
    }

    #[tokio::test]
    async fn a_page_that_fails_is_no_shorter_answer() {
        let stub = Stub::answering([
            Reply::json(
                &json!({"Items": [stored("a", 2_000)], "LastEvaluatedKey": {"pk": {"S": "p"}, "sk": {"S": "a"}}}),
            ),
            Reply::error(400, "ProvisionedThroughputExceededException", "slow"),
        ]);
        assert_eq!(state(&stub).query("p").await.unwrap_err().failure, Failure::Transient);
    }

    #[tokio::test]
    async fn a_throttled_call_is_tried_again_and_told_when_that_was_in_vain() {
        let slow = || Reply::error(400, "ThrottlingException", "slow down");
        let many = usize::try_from(MAX_ATTEMPTS).unwrap();
        let patient = |stub: &Stub| {
            let retries = retries().with_initial_backoff(std::time::Duration::from_millis(1));
            let clients =
                stub.clients(|config| Clients::with_config(config.to_builder().retry_config(retries).build()));
            DynamoState::new(clients, "state", Arc::new(Noon))
        };
        let mut replies: Vec<Reply> = (1..many).map(|_| slow()).collect();
        replies.push(Reply::json(&json!({})));
        let stub = Stub::answering(replies);
        patient(&stub).put("p", "s", b"hi".to_vec(), at(2_000)).await.unwrap();
        assert_eq!(stub.requests().len(), many);

        let stub = Stub::answering((0..many).map(|_| slow()).collect::<Vec<_>>());
        let error = patient(&stub).put("p", "s", b"hi".to_vec(), at(2_000)).await.unwrap_err();
        assert_eq!((error.failure, stub.requests().len()), (Failure::Transient, many));
    }

    #[tokio::test]
    async fn a_write_raises_the_version() {
        let stub = Stub::answering([Reply::json(&json!({}))]);
        state(&stub).put("p", "s", b"hi".to_vec(), at(2_000)).await.unwrap();
        let request = stub.requests()[0].json();
        assert_eq!(request["UpdateExpression"], "SET #body = :body, #ttl = :ttl ADD #version :one");
        assert_eq!(request["ExpressionAttributeValues"][":ttl"]["N"], "2000");
        assert_eq!(request.get("ConditionExpression"), None);
    }

    #[tokio::test]
    async fn a_conditional_write_that_comes_too_late_is_false() {
        let late = || Reply::error(400, "ConditionalCheckFailedException", "The conditional request failed");
        let stub = Stub::answering([late(), late(), Reply::json(&json!({}))]);
        let state = state(&stub);
        assert!(!state.put_if("p", "s", vec![1], at(2_000), Some(3)).await.unwrap());
        assert!(!state.put_if("p", "s", vec![1], at(2_000), None).await.unwrap());
        assert!(state.put_if("p", "s", vec![1], at(2_000), None).await.unwrap());
        let requests = stub.requests();
        assert_eq!(requests[0].json()["ConditionExpression"], "#version = :expected AND #ttl > :now");
        assert_eq!(requests[0].json()["ExpressionAttributeValues"][":expected"]["N"], "3");
        assert_eq!(requests[1].json()["ConditionExpression"], "attribute_not_exists(pk) OR #ttl <= :now");
        assert_eq!(requests[1].json()["ExpressionAttributeValues"][":now"]["N"], "1000");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_sent() {
        let stub = Stub::answering([]);
        let error = state(&stub).put("p", "s", vec![0; MAX_BODY + 1], at(2_000)).await.unwrap_err();
        assert_eq!(error.failure, Failure::Permanent);
        assert!(error.to_string().contains("307201 bytes, and 307200 is the limit"), "{error}");
        assert!(stub.requests().is_empty());
    }

    #[tokio::test]
    async fn a_long_key_is_shortened_and_comes_back_whole() {
        let long = "키".repeat(1_000);
        let stub = Stub::answering([Reply::json(&json!({}))]);
        state(&stub).put(&long, &long, vec![1], at(2_000)).await.unwrap();
        let request = stub.requests()[0].json();
        let (pk, sk) = (request["Key"]["pk"]["S"].as_str().unwrap(), request["Key"]["sk"]["S"].as_str().unwrap());
        assert!(pk.len() <= MAX_PARTITION_KEY && sk.len() <= MAX_SORT_KEY && sk.contains("#sha256:"));
        assert_eq!(request["ExpressionAttributeValues"][":sort"]["S"], long.as_str());

        let mut item = stored(sk, 2_000);
        item["sort"] = json!({"S": long});
        let stub = Stub::answering([Reply::json(&json!({"Items": [item]}))]);
        assert_eq!(state(&stub).query(&long).await.unwrap()[0].0, long);
    }

    #[tokio::test]
    async fn a_denied_read_is_not_an_absent_item() {
        let stub = Stub::answering([Reply::error(400, "AccessDeniedException", "not authorized to perform GetItem")]);
        let error = state(&stub).get("p", "s\n").await.unwrap_err();
        assert_eq!(error.failure, Failure::Denied);
        assert!(
            error.to_string().starts_with("read in table state the item /p/s\\n: AccessDeniedException: "),
            "{error}"
        );
    }
}
