//! What a rule asks of its contributions, and which of them fulfil it.
//!
//! A plan is a tree: its leaves are simple rules, its inner nodes are correlations. There are two kinds of inner node.
//!
//! - **Sliding**: at least so many events, so many distinct values, such a sum, so many of the rules. These conditions
//!   are monotone: more contributions only add to what is fulfilled. A window may start at any contribution, and a
//!   finding is published as soon as it is hot.
//! - **[Aligned](Node::Aligned)**: every other condition (fewer than, exactly, an average, `not`). More contributions
//!   can take away what was fulfilled, so windows do not overlap: they are the UTC-aligned spans of the timespan's
//!   length, and one counts only once it is closed. A window in which nothing happened at all is never looked at.
//!
//! Either way the answer is a function of the set of contributions, whatever the order in which they came.

mod aligned;
mod sliding;

pub use aligned::{Ask, Bound, Expression, Measure};

use super::contribution::{Contribution, RecordKey};

/// A span of time, in microseconds.
pub type Micros = i64;

/// How many parts of a number are told apart: numbers are added up in millionths, so that no order of adding matters.
pub const MILLIONTHS: i128 = 1_000_000;

/// A rule's condition over contributions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Each contribution of this simple rule, by its number in the plan.
    Leaf(usize),
    /// At least `threshold` occurrences of any of the nodes within `timespan`.
    EventCount {
        /// What is counted. A record that several of its leaves matched is counted once.
        of: Vec<Node>,
        /// How many it takes, at least 1.
        threshold: u64,
        /// Within what time.
        timespan: Micros,
    },
    /// At least `threshold` distinct values among the contributions of the leaves within `timespan`.
    ValueCount {
        /// Whose values are counted: leaves.
        of: Vec<Node>,
        /// How many it takes, at least 1.
        threshold: u64,
        /// Within what time.
        timespan: Micros,
    },
    /// Values that add up to at least `threshold` within `timespan`. Negative ones count as nothing, so that more
    /// records only add.
    ValueSum {
        /// Whose values are added up: leaves.
        of: Vec<Node>,
        /// The sum that it takes, in millionths, at least 1.
        threshold: i128,
        /// Within what time.
        timespan: Micros,
    },
    /// At least so many of the nodes within `timespan`.
    Temporal {
        /// What may happen.
        of: Vec<Node>,
        /// How many of them must, at least 1; all of them if `ordered`.
        at_least: usize,
        /// Whether in this order; equal times count as ordered.
        ordered: bool,
        /// Within what time.
        timespan: Micros,
    },
    /// What holds of a UTC-aligned span of `timespan`, once it is closed.
    Aligned {
        /// What happens in it: what does not lie in one span as a whole counts for none.
        of: Vec<Node>,
        /// What must hold.
        ask: Ask,
        /// The span's length.
        timespan: Micros,
    },
}

/// A stretch in which a node is fulfilled: the latest start for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    start: Micros,
    end: Micros,
}

/// A part of a condition that is fulfilled: a correlation's stretch, or one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fulfilled {
    end: Micros,
    start: Micros,
    weight: u32,
    value: i128,
    /// The record, if it is one's.
    record: Option<RecordKey>,
}

impl From<Stretch> for Fulfilled {
    fn from(Stretch { start, end }: Stretch) -> Self {
        Self { end, start, weight: 1, value: 0, record: None }
    }
}

impl Node {
    /// The time within which the whole condition must come about; 0 for a simple rule.
    pub fn timespan(&self) -> Micros {
        match self {
            Self::Leaf(_) => 0,
            Self::EventCount { timespan, .. }
            | Self::ValueCount { timespan, .. }
            | Self::ValueSum { timespan, .. }
            | Self::Temporal { timespan, .. }
            | Self::Aligned { timespan, .. } => *timespan,
        }
    }

    /// How far a window reaches beyond its start. The end of an aligned one belongs to the next.
    pub fn reach(&self) -> Micros {
        self.timespan() - Micros::from(matches!(self, Self::Aligned { .. }))
    }

    /// Whether more contributions only ever add to what is fulfilled.
    pub fn is_monotone(&self) -> bool {
        !matches!(self, Self::Aligned { .. }) && self.of().iter().all(Self::is_monotone)
    }

    /// The nodes that this one is about.
    pub fn of(&self) -> &[Self] {
        match self {
            Self::Leaf(_) => &[],
            Self::EventCount { of, .. }
            | Self::ValueCount { of, .. }
            | Self::ValueSum { of, .. }
            | Self::Temporal { of, .. }
            | Self::Aligned { of, .. } => of,
        }
    }

    /// The aligned windows that hold a time, one for each aligned node: start and end, in any order.
    pub fn aligned_windows(&self, time: Micros) -> Vec<(Micros, Micros)> {
        let mut windows: Vec<_> = self.of().iter().flat_map(|node| node.aligned_windows(time)).collect();
        if let Self::Aligned { timespan, .. } = self {
            let start = aligned::start(time, *timespan);
            windows.push((start, start.saturating_add(*timespan)));
        }
        windows
    }

    /// The hot windows, as their starts in ascending order: stretches from t to t + [`Self::reach`] that start at an
    /// occurrence or with an aligned window, and fulfil the condition. `contributions` is sorted by time, and those without
    /// one are none; aligned windows that end after `closed` are not closed yet.
    pub(crate) fn hot_starts(&self, contributions: &[Contribution], closed: Micros) -> Vec<Micros> {
        let mut stretches = self.stretches(contributions, closed);
        put_in_order(&mut stretches, |stretch| stretch.start);
        // The nearest end of any that starts no earlier, which is mostly its own.
        let mut nearest = Micros::MAX;
        for stretch in stretches.iter_mut().rev() {
            nearest = nearest.min(stretch.end);
            stretch.end = nearest;
        }
        let (mut contributions, reach) = (contributions, self.reach());
        let mut hot = Vec::with_capacity(stretches.len());
        for Stretch { start, end } in stretches {
            let earliest = end.saturating_sub(reach);
            let mut starts = |time: Micros| {
                if time >= earliest && hot.last() != Some(&time) {
                    hot.push(time);
                }
            };
            while let [one, after @ ..] = contributions
                && one.time <= Some(start)
            {
                one.time.into_iter().for_each(&mut starts);
                contributions = after;
            }
            starts(start);
        }
        hot
    }

    fn stretches(&self, contributions: &[Contribution], closed: Micros) -> Vec<Stretch> {
        let parts = |of: &[Self]| -> Vec<Vec<Fulfilled>> {
            of.iter().map(|node| node.fulfilled(contributions, closed)).collect()
        };
        match self {
            Self::Leaf(leaf) => {
                of_leaf(*leaf, contributions).map(|one| Stretch { start: one.start, end: one.end }).collect()
            }
            Self::EventCount { of, threshold, timespan } => match of.as_slice() {
                // As most rules have it: nothing is to be brought into order.
                [Self::Leaf(leaf)] => sliding::counted(of_leaf(*leaf, contributions), *threshold, *timespan),
                of => sliding::counted(events(parts(of)), *threshold, *timespan),
            },
            Self::ValueCount { of, threshold, timespan } => {
                sliding::distinct(&events(parts(of)), *threshold, *timespan)
            }
            Self::ValueSum { of, threshold, timespan } => sliding::summed(&events(parts(of)), *threshold, *timespan),
            Self::Temporal { of, ordered: true, timespan, .. } => {
                sliding::in_order(of.iter().map(|node| node.stretches(contributions, closed)), *timespan)
            }
            Self::Temporal { of, at_least, ordered: false, timespan } => {
                sliding::together(&parts(of), *at_least, *timespan)
            }
            Self::Aligned { of, ask, timespan } => aligned::fulfilled(&parts(of), ask, *timespan, closed),
        }
    }

    fn fulfilled(&self, contributions: &[Contribution], closed: Micros) -> Vec<Fulfilled> {
        match self {
            Self::Leaf(leaf) => of_leaf(*leaf, contributions).collect(),
            inner => inner.stretches(contributions, closed).into_iter().map(Fulfilled::from).collect(),
        }
    }
}

/// A leaf's own, in order.
fn of_leaf(leaf: usize, contributions: &[Contribution]) -> impl Iterator<Item = Fulfilled> {
    contributions.iter().filter(move |one| one.leaf == leaf).filter_map(|one| {
        let Contribution { weight, value, key, .. } = *one;
        let time = one.time?;
        Some(Fulfilled { end: time, start: time, weight, value: value.unwrap_or_default(), record: Some(key) })
    })
}

/// All parts by their end. A record that matched several leaves stands there once, unless they read different values.
fn events(parts: Vec<Vec<Fulfilled>>) -> Vec<Fulfilled> {
    let mut all = match <[_; 1]>::try_from(parts) {
        Ok([part]) => part,
        Err(parts) => parts.into_iter().flatten().collect(),
    };
    put_in_order(&mut all, |one| *one);
    all.dedup_by(|one, other| one.record.is_some() && one == other);
    all
}

/// Sorts by a key, for what mostly is in order already, or in parts that are, which a stable sort makes use of.
pub(super) fn put_in_order<T, K: Ord>(all: &mut [T], key: impl Fn(&T) -> K) {
    if !all.is_sorted_by(|one, next| key(one) <= key(next)) {
        all.sort_by_key(key);
    }
}

#[cfg(test)]
mod tests;
