//! Waiting for something, with a limit.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks again and again until `look` finds something, and returns it. An error of `look` ends the wait; so does
/// `limit`, with `what` in the error.
pub fn poll_until<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        thread::park_timeout(INTERVAL);
    }
}
