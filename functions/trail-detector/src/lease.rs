//! One at a time: a lease that one invocation holds and that runs out by itself, should its holder die.

use std::hash::{BuildHasher as _, RandomState};

use cloudvigil_core::ports::PortResult;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::context::Context;

/// The state's partition of leases; the sort key is what is held.
const LEASES: &str = "trail-detector#lease";
const SCHEMA: u32 = 1;

/// What is stored. The item's expiry is the lease's end, so a lease that has run out is no item.
#[derive(Serialize, Deserialize)]
struct Held {
    schema: u32,
    owner: String,
}

/// A lease that this invocation holds.
#[must_use = "to be released"]
pub struct Lease {
    what: &'static str,
    owner: String,
}

impl Lease {
    /// Takes it until `until`; `None` if somebody else holds it.
    pub async fn take(what: &'static str, until: Timestamp, context: &Context) -> PortResult<Option<Self>> {
        let now = context.detector.clock.now();
        // Tells two holders apart, and is seen by nobody but them.
        let owner = format!("{:016x}", RandomState::new().hash_one(now.as_nanosecond()));
        let held = Held { schema: SCHEMA, owner: owner.clone() };
        let body = serde_json::to_vec(&held).unwrap_or_default();
        let taken = context.detector.state.put_if(LEASES, what, body, until, None).await?;
        Ok(taken.then_some(Self { what, owner }))
    }

    /// Lets others have it. A lease that has run out, and that another has taken since, stays that other's.
    pub async fn release(self, context: &Context) -> PortResult<()> {
        let state = context.detector.state.as_ref();
        let Some(item) = state.get(LEASES, self.what).await? else { return Ok(()) };
        let is_ours = serde_json::from_slice::<Held>(&item.body).is_ok_and(|held| held.owner == self.owner);
        if is_ours {
            let now = context.detector.clock.now();
            state.put_if(LEASES, self.what, item.body, now, Some(item.version)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::stage::Stage;

    #[tokio::test]
    async fn it_is_held_by_one_until_it_is_released_or_runs_out() {
        let stage = Stage::at("2026-03-01T10:00:00Z");
        let take = async || Lease::take("sweep", stage.now() + 10.minutes(), &stage.context).await.unwrap();
        let first = take().await.expect("nobody holds it");
        assert!(take().await.is_none());
        first.release(&stage.context).await.unwrap();
        let dying = take().await.expect("it was released");
        stage.set("2026-03-01T10:11:00Z");
        let heir = take().await.expect("it has run out");
        dying.release(&stage.context).await.unwrap();
        assert!(take().await.is_none(), "what is the heir's was released");
        heir.release(&stage.context).await.unwrap();
        assert!(take().await.is_some());
    }
}
