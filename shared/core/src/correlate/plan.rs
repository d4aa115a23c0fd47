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

/// One occurrence for a plan's leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Occurrence {
    /// When, in microseconds since 1970.
    pub time: Micros,
    /// The leaf.
    pub leaf: usize,
    /// How many occurrences the record stands for.
    pub weight: u32,
    /// Which record it is: one that several leaves matched is one event.
    pub record: usize,
    /// For leaves whose values are looked at, the value: a number in millionths, or a hash. Else 0.
    pub value: i128,
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
    record: Option<usize>,
}

impl From<Stretch> for Fulfilled {
    fn from(Stretch { start, end }: Stretch) -> Self {
        Self { end, start, weight: 1, value: 0, record: None }
    }
}

impl From<&Occurrence> for Fulfilled {
    fn from(&Occurrence { time, weight, value, record, .. }: &Occurrence) -> Self {
        Self { end: time, start: time, weight, value, record: Some(record) }
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
    /// occurrence or with an aligned window, and fulfil the condition. `occurrences` is sorted by time; aligned windows
    /// that end after `closed` are not closed yet.
    pub fn hot_starts(&self, occurrences: &[Occurrence], closed: Micros) -> Vec<Micros> {
        let mut stretches = self.stretches(occurrences, closed);
        // They mostly start in the order in which they end, which a stable sort makes use of.
        stretches.sort_by_key(|stretch| stretch.start);
        let (mut stretches, mut occurrences) = (stretches.as_slice(), occurrences);
        // The nearest end of any stretch that starts at or after a time.
        let mut nearest = Micros::MAX;
        let mut hot = Vec::new();
        // Backwards through everything that starts.
        loop {
            let next = stretches.last().map(|stretch| stretch.start).max(occurrences.last().map(|one| one.time));
            let Some(start) = next else { break };
            while let [before @ .., stretch] = stretches
                && stretch.start == start
            {
                nearest = nearest.min(stretch.end);
                stretches = before;
            }
            while let [before @ .., one] = occurrences
                && one.time == start
            {
                occurrences = before;
            }
            if nearest <= start.saturating_add(self.reach()) {
                hot.push(start);
            }
        }
        hot.reverse();
        hot
    }

    fn stretches(&self, occurrences: &[Occurrence], closed: Micros) -> Vec<Stretch> {
        let parts = |of: &[Self]| -> Vec<Vec<Fulfilled>> {
            of.iter().map(|node| node.fulfilled(occurrences, closed)).collect()
        };
        match self {
            Self::Leaf(leaf) => {
                of_leaf(*leaf, occurrences).map(|one| Stretch { start: one.start, end: one.end }).collect()
            }
            Self::EventCount { of, threshold, timespan } => match of.as_slice() {
                // As most rules have it: nothing is to be brought into order.
                [Self::Leaf(leaf)] => sliding::counted(of_leaf(*leaf, occurrences), *threshold, *timespan),
                of => sliding::counted(events(parts(of)), *threshold, *timespan),
            },
            Self::ValueCount { of, threshold, timespan } => {
                sliding::distinct(&events(parts(of)), *threshold, *timespan)
            }
            Self::ValueSum { of, threshold, timespan } => sliding::summed(&events(parts(of)), *threshold, *timespan),
            Self::Temporal { of, ordered: true, timespan, .. } => sliding::in_order(parts(of), *timespan),
            Self::Temporal { of, at_least, ordered: false, timespan } => {
                sliding::together(&parts(of), *at_least, *timespan)
            }
            Self::Aligned { of, ask, timespan } => aligned::fulfilled(&parts(of), ask, *timespan, closed),
        }
    }

    fn fulfilled(&self, occurrences: &[Occurrence], closed: Micros) -> Vec<Fulfilled> {
        match self {
            Self::Leaf(leaf) => of_leaf(*leaf, occurrences).collect(),
            inner => inner.stretches(occurrences, closed).into_iter().map(Fulfilled::from).collect(),
        }
    }
}

/// A leaf's own, in order.
fn of_leaf(leaf: usize, occurrences: &[Occurrence]) -> impl Iterator<Item = Fulfilled> {
    occurrences.iter().filter(move |one| one.leaf == leaf).map(Fulfilled::from)
}

/// All parts by their end. A record that matched several leaves stands there once, unless they read different values.
fn events(parts: Vec<Vec<Fulfilled>>) -> Vec<Fulfilled> {
    let mut all = match <[_; 1]>::try_from(parts) {
        Ok([part]) => part,
        Err(parts) => parts.into_iter().flatten().collect(),
    };
    // Each part is in order, which a stable sort makes use of.
    all.sort();
    all.dedup_by(|one, other| one.record.is_some() && one == other);
    all
}

#[cfg(test)]
mod tests;
