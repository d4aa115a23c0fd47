//! The regions that an account has enabled, and its id.

use aws_sdk_account::types::RegionOptStatus;
use cloudvigil_core::ports::{Failure, PortError, PortResult};

use crate::Clients;
use crate::error::port_error;

/// Where to look.
#[derive(Debug)]
pub struct Regions {
    /// The enabled regions, by name. If they could not be listed, the current region alone.
    pub names: Vec<String>,
    /// Why they could not be listed: then other regions may be enabled that nobody looks at, which a report must say.
    pub error: Option<PortError>,
}

/// The account's enabled regions, by `account:ListRegions`
/// (<https://docs.aws.amazon.com/accounts/latest/reference/API_ListRegions.html>).
///
/// `Err` only if there is no current region to fall back to either.
pub async fn enabled_regions(clients: &Clients) -> PortResult<Regions> {
    match list(clients).await {
        Ok(names) => Ok(Regions { names, error: None }),
        Err(error) => Ok(Regions { names: vec![clients.region().await?], error: Some(error) }),
    }
}

async fn list(clients: &Clients) -> PortResult<Vec<String>> {
    let what = "list the account's enabled regions (account:ListRegions)";
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let page = clients
            .account()
            .await
            .list_regions()
            .region_opt_status_contains(RegionOptStatus::Enabled)
            .region_opt_status_contains(RegionOptStatus::EnabledByDefault)
            .max_results(50)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| port_error(what, &error))?;
        names.extend(page.regions.unwrap_or_default().into_iter().filter_map(|region| region.region_name));
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    if names.is_empty() {
        return Err(PortError::new(Failure::Permanent, what, "the answer names none"));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The account of the credentials; see [`Clients::account_id`], which asks once.
pub(crate) async fn caller_account(clients: &Clients) -> PortResult<String> {
    let what = "find the account's id (sts:GetCallerIdentity)";
    // Used once in a process: not worth keeping.
    let client = aws_sdk_sts::Client::new(clients.config().await);
    let identity = client.get_caller_identity().send().await.map_err(|error| port_error(what, &error))?;
    identity.account.ok_or_else(|| PortError::new(Failure::Permanent, what, "the answer has none"))
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Stub};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_page_is_read() {
        let stub = Stub::answering([
            Reply::json(
                &json!({"Regions": [{"RegionName": "us-east-1", "RegionOptStatus": "ENABLED_BY_DEFAULT"}], "NextToken": "2"}),
            ),
            Reply::json(&json!({"Regions": [{"RegionName": "ap-east-1", "RegionOptStatus": "ENABLED"}]})),
        ]);
        let regions = enabled_regions(&stub.clients(Clients::with_config)).await.unwrap();
        assert_eq!(regions.names, ["ap-east-1", "us-east-1"]);
        assert!(regions.error.is_none());
        assert_eq!(stub.requests()[0].json()["RegionOptStatusContains"], json!(["ENABLED", "ENABLED_BY_DEFAULT"]));
        assert_eq!(stub.requests()[1].json()["NextToken"], "2");
    }

    #[tokio::test]
    async fn a_list_that_is_denied_leaves_the_current_region_and_says_so() {
        let stub = Stub::answering([Reply::error(403, "AccessDeniedException", "not authorized")]);
        let regions = enabled_regions(&stub.clients(Clients::with_config)).await.unwrap();
        assert_eq!(regions.names, ["us-east-1"]);
        let error = regions.error.unwrap();
        assert_eq!(error.failure, Failure::Denied);
        assert!(error.to_string().contains("account:ListRegions"));
    }

    #[tokio::test]
    async fn the_account_is_asked_for_once() {
        let answer = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
        let stub = Stub::answering([Reply::ok(answer)]);
        let clients = stub.clients(Clients::with_config);
        for _ in 0..2 {
            assert_eq!(clients.account_id().await.unwrap(), "111122223333");
        }
        assert_eq!(stub.requests().len(), 1);
    }
}
