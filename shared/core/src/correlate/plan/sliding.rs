//! Monotone conditions: where they are fulfilled, as stretches with the latest start for each end.

use std::cmp::Reverse;
use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::{Fulfilled, Micros, Stretch, put_in_order};

/// Where the count is reached: for each end, the latest start with at least `threshold` occurrences up to it. The parts
/// are sorted by their end.
pub(super) fn counted(parts: impl IntoIterator<Item = Fulfilled>, threshold: u64, timespan: Micros) -> Vec<Stretch> {
    let parts = parts.into_iter();
    let most = parts.size_hint().1.unwrap_or_default();
    // The starts seen so far, in order. From `first` on they are the latest that together reach the threshold.
    let mut starts: Vec<(Micros, u32)> = Vec::with_capacity(most);
    let (mut first, mut last) = (0, (Micros::MIN, 0));
    let mut weight = 0;
    let mut reached = Vec::with_capacity(most);
    for part in parts {
        let new = (part.start, part.weight);
        // They mostly come so.
        if last <= new {
            last = new;
            starts.push(new);
        } else {
            starts.insert(first + starts[first..].partition_point(|known| *known <= new), new);
        }
        weight += u64::from(part.weight);
        while let Some(&(start, earliest)) = starts.get(first) {
            let without = weight - u64::from(earliest);
            if without < threshold {
                if weight >= threshold && part.end - start <= timespan {
                    reached.push(Stretch { start, end: part.end });
                }
                break;
            }
            (weight, first) = (without, first + 1);
        }
    }
    reached
}

/// Where there are enough distinct values: for each end, the latest start with at least `threshold` of them up to it.
/// The parts are records', sorted by time.
pub(super) fn distinct(parts: &[Fulfilled], threshold: u64, timespan: Micros) -> Vec<Stretch> {
    // When values came, in order, and for each value which of these times was its last, counted from the first of all.
    let mut times: VecDeque<(Micros, i128)> = VecDeque::new();
    let mut last: HashMap<i128, usize, RandomState> = HashMap::default();
    let mut gone = 0;
    let mut reached = Vec::with_capacity(parts.len());
    for part in parts {
        last.insert(part.value, gone + times.len());
        times.push_back((part.end, part.value));
        // The first is one that came last, of as many values as it takes.
        while let Some((_, value)) = times.front() {
            let is_last = last.get(value) == Some(&gone);
            if is_last && last.len() as u64 <= threshold {
                break;
            }
            if is_last {
                last.remove(value);
            }
            times.pop_front();
            gone += 1;
        }
        if let Some((start, _)) = times.front()
            && last.len() as u64 == threshold
            && part.end - start <= timespan
        {
            reached.push(Stretch { start: *start, end: part.end });
        }
    }
    reached
}

/// Where the sum is reached: for each end, the latest start from which the values up to it come to `threshold`. The
/// parts are records', sorted by time.
pub(super) fn summed(parts: &[Fulfilled], threshold: i128, timespan: Micros) -> Vec<Stretch> {
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
            reached.push(Stretch { start: *start, end: part.end });
        }
    }
    reached
}

/// All of `parts`, one after the other.
pub(super) fn in_order(parts: impl Iterator<Item = Vec<Stretch>>, timespan: Micros) -> Vec<Stretch> {
    let mut chain = parts.reduce(followed).unwrap_or_default();
    chain.retain(|stretch| stretch.end - stretch.start <= timespan);
    chain
}

/// `before`, then `after`: for each of `after`, the latest start of anything of `before` that had ended by then.
fn followed(mut before: Vec<Stretch>, mut after: Vec<Stretch>) -> Vec<Stretch> {
    put_in_order(&mut before, |stretch| stretch.end);
    put_in_order(&mut after, |stretch| stretch.end);
    let mut before = before.into_iter().peekable();
    let mut latest: Option<Micros> = None;
    after.retain_mut(|stretch| {
        while let Some(earlier) = before.next_if(|earlier| earlier.end <= stretch.end) {
            latest = latest.max(Some(earlier.start));
        }
        let Some(start) = latest else { return false };
        stretch.start = stretch.start.min(start);
        true
    });
    after
}

/// At least so many of `parts`, in any order.
pub(super) fn together(parts: &[Vec<Fulfilled>], at_least: usize, timespan: Micros) -> Vec<Stretch> {
    let mut all: Vec<(Fulfilled, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.iter().map(move |stretch| (*stretch, number)))
        .collect();
    put_in_order(&mut all, |one| *one);
    let mut latest = vec![None; parts.len()];
    let mut found = Vec::new();
    for (stretch, number) in all {
        latest[number] = latest[number].max(Some(stretch.start));
        let mut starts: Vec<Micros> = latest.iter().copied().flatten().collect();
        starts.sort_unstable_by_key(|start| Reverse(*start));
        if let Some(start) = at_least.checked_sub(1).and_then(|last| starts.get(last))
            && stretch.end - start <= timespan
        {
            found.push(Stretch { start: *start, end: stretch.end });
        }
    }
    found
}
