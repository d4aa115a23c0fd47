//! Monotone conditions: where they are fulfilled, as stretches with the latest start for each end.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use super::{Fulfilled, Micros};

/// Where the count is reached: for each end, the latest start with at least `threshold` occurrences up to it. The parts
/// are sorted by their end.
pub(super) fn counted(parts: &[Fulfilled], threshold: u64, timespan: Micros) -> Vec<Fulfilled> {
    // The latest starts seen so far that together reach the threshold, the earliest of them on top.
    let mut latest = BinaryHeap::new();
    let mut weight = 0;
    let mut reached = Vec::new();
    for part in parts {
        latest.push(Reverse((part.start, part.weight)));
        weight += u64::from(part.weight);
        while let Some(Reverse((_, earliest))) = latest.peek()
            && weight - u64::from(*earliest) >= threshold
        {
            weight -= u64::from(*earliest);
            latest.pop();
        }
        if let Some(Reverse((start, _))) = latest.peek()
            && weight >= threshold
            && part.end - start <= timespan
        {
            reached.push(Fulfilled::stretch(*start, part.end));
        }
    }
    reached
}

/// Where there are enough distinct values: for each end, the latest start with at least `threshold` of them up to it.
/// The parts are records', sorted by time.
pub(super) fn distinct(parts: &[Fulfilled], threshold: u64, timespan: Micros) -> Vec<Fulfilled> {
    // The values that came last, and when each did.
    let mut latest: BTreeSet<(Micros, i128)> = BTreeSet::new();
    let mut times: HashMap<i128, Micros> = HashMap::new();
    let mut reached = Vec::new();
    for part in parts {
        if let Some(before) = times.insert(part.value, part.end) {
            latest.remove(&(before, part.value));
        }
        latest.insert((part.end, part.value));
        while latest.len() as u64 > threshold {
            if let Some((_, value)) = latest.pop_first() {
                times.remove(&value);
            }
        }
        if let Some((start, _)) = latest.first()
            && latest.len() as u64 == threshold
            && part.end - start <= timespan
        {
            reached.push(Fulfilled::stretch(*start, part.end));
        }
    }
    reached
}

/// Where the sum is reached: for each end, the latest start from which the values up to it come to `threshold`. The
/// parts are records', sorted by time.
pub(super) fn summed(parts: &[Fulfilled], threshold: i128, timespan: Micros) -> Vec<Fulfilled> {
    let mut latest = VecDeque::new();
    let mut sum = 0;
    let mut reached = Vec::new();
    for part in parts.iter().filter(|part| part.value > 0) {
        let value = part.value.saturating_mul(part.weight.into());
        latest.push_back((part.start, value));
        sum += value;
        while let Some((_, earliest)) = latest.front()
            && sum - earliest >= threshold
        {
            sum -= earliest;
            latest.pop_front();
        }
        if let Some((start, _)) = latest.front()
            && sum >= threshold
            && part.end - start <= timespan
        {
            reached.push(Fulfilled::stretch(*start, part.end));
        }
    }
    reached
}

/// All of `parts`, one after the other.
pub(super) fn in_order(parts: Vec<Vec<Fulfilled>>, timespan: Micros) -> Vec<Fulfilled> {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    let mut chain = parts.fold(first, followed);
    chain.retain(|stretch| stretch.end - stretch.start <= timespan);
    chain
}

/// `before`, then `after`: for each of `after`, the latest start of anything of `before` that had ended by then.
fn followed(mut before: Vec<Fulfilled>, mut after: Vec<Fulfilled>) -> Vec<Fulfilled> {
    before.sort();
    after.sort();
    let mut before = before.into_iter().peekable();
    let mut latest: Option<Micros> = None;
    let mut chain = Vec::new();
    for part in after {
        while let Some(earlier) = before.next_if(|earlier| earlier.end <= part.end) {
            latest = latest.max(Some(earlier.start));
        }
        if let Some(start) = latest {
            chain.push(Fulfilled::stretch(start.min(part.start), part.end));
        }
    }
    chain
}

/// At least so many of `parts`, in any order.
pub(super) fn together(parts: &[Vec<Fulfilled>], at_least: usize, timespan: Micros) -> Vec<Fulfilled> {
    let mut all: Vec<(Fulfilled, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.iter().map(move |stretch| (*stretch, number)))
        .collect();
    all.sort();
    let mut latest = vec![None; parts.len()];
    let mut found = Vec::new();
    for (stretch, number) in all {
        latest[number] = latest[number].max(Some(stretch.start));
        let mut starts: Vec<Micros> = latest.iter().copied().flatten().collect();
        starts.sort_unstable_by_key(|start| Reverse(*start));
        if let Some(start) = at_least.checked_sub(1).and_then(|last| starts.get(last))
            && stretch.end - start <= timespan
        {
            found.push(Fulfilled::stretch(*start, stretch.end));
        }
    }
    found
}
