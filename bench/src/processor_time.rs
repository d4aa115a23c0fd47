//! The processor time of this thread, and of this process.
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

/// How long all threads of this process, ended ones too, have run on a processor: in steps of 10 ms, as
/// [`/proc/self/stat`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html) counts it.
pub fn process_time() -> anyhow::Result<Duration> {
    const FILE: &str = "/proc/self/stat";
    let text = std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}; bench needs Linux"))?;
    // The name before the bracket may hold anything. After it come the fields from the third on.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks(14).zip(ticks(15)).with_context(|| format!("{FILE} has no times"))?;
    Ok(Duration::from_millis((user + system) * 10))
}
