//! The public keys of `CloudTrail`'s digests: [`PublicKeys`] by `ListPublicKeys`
//! (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_ListPublicKeys.html>).

use std::sync::Arc;

use async_trait::async_trait;
use cloudvigil_core::ports::{PortResult, PublicKey, PublicKeys};
use jiff::Timestamp;

use crate::Clients;
use crate::error::port_error;
use crate::time::date_time;

/// The keys that `CloudTrail` itself tells of. Each region has its own.
pub struct ListedKeys {
    clients: Arc<Clients>,
}

impl ListedKeys {
    /// Keys asked for with these clients. Nothing is asked yet.
    pub fn new(clients: Arc<Clients>) -> Self {
        Self { clients }
    }
}

#[async_trait]
impl PublicKeys for ListedKeys {
    async fn between(&self, region: &str, from: Timestamp, to: Timestamp) -> PortResult<Vec<PublicKey>> {
        let client = self.clients.cloudtrail_in(region).await;
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let ask = client.list_public_keys().start_time(date_time(from)).end_time(date_time(to));
            let answer = ask.set_next_token(token).send().await.map_err(|error| {
                port_error(format!("list the public keys of {region} (cloudtrail:ListPublicKeys)"), &error)
            })?;
            let listed = answer.public_key_list.unwrap_or_default().into_iter();
            keys.extend(
                listed
                    .filter_map(|key| Some(PublicKey { fingerprint: key.fingerprint?, der: key.value?.into_inner() })),
            );
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(keys);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::ports::Failure;
    use cloudvigil_stub::{Reply, Stub};
    use serde_json::json;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_keys_of_a_region_are_asked_for_there_page_by_page() {
        let page = |fingerprint: &str, token: Option<&str>| {
            Reply::json(&json!({
                "PublicKeyList": [{"Value": "AQID", "Fingerprint": fingerprint, "ValidityStartTime": 1.0}],
                "NextToken": token,
            }))
        };
        let stub = Stub::answering([page("f1", Some("more")), page("f2", None)]);
        let keys = ListedKeys::new(stub.clients(Clients::with_config));
        let found =
            keys.between("eu-west-1", time("2026-03-01T10:00:00Z"), time("2026-03-01T12:00:00Z")).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], PublicKey { fingerprint: "f1".to_owned(), der: vec![1, 2, 3] });
        let requests = stub.requests();
        assert!(requests.iter().all(|request| request.headers.contains("/eu-west-1/cloudtrail/")));
        assert_eq!(requests[0].json()["StartTime"], 1_772_359_200);
        assert_eq!(requests[1].json()["NextToken"], "more");
    }

    #[tokio::test]
    async fn a_refusal_names_the_permission() {
        let stub = Stub::answering([Reply::error(400, "AccessDeniedException", "no")]);
        let keys = ListedKeys::new(stub.clients(Clients::with_config));
        let error = keys.between("eu-west-1", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("cloudtrail:ListPublicKeys"), "{error}");
    }
}
