//! The processor time of this thread.
//!
//! Not wall clock: other work on the machine must not pass for slowness. Linux counts it in nanoseconds in
//! [`/proc/thread-self/schedstat`](https://docs.kernel.org/scheduler/sched-stats.html), up to date at each of the
//! scheduler's ticks: to at most 10 ms.

use std::time::Duration;

use anyhow::Context as _;

const FILE: &str = "/proc/thread-self/schedstat";

/// How long this thread has run on a processor, in user and system mode.
pub fn processor_time() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}; bench needs Linux"))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let nanoseconds = first.parse().with_context(|| format!("{FILE} begins with {first:?}, not with nanoseconds"))?;
    Ok(Duration::from_nanos(nanoseconds))
}
