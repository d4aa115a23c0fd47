//! What a rule asks of its contributions, and which of them fulfil it.
//!
//! A plan is a tree: its leaves are simple rules, its inner nodes are correlations. All of its conditions are monotone:
//! more contributions only add to what is fulfilled, so that the answer does not depend on the order in which they come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A span of time, in microseconds.
pub type Micros = i64;

/// A rule's condition over contributions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Each contribution of this simple rule, by its number in the plan.
    Leaf(usize),
    /// At least `threshold` occurrences of any of the nodes within `timespan`.
    EventCount {
        /// What is counted.
        of: Vec<Node>,
        /// How many it takes, at least 1.
        threshold: u64,
        /// Within what time.
        timespan: Micros,
    },
    /// Every node within `timespan`.
    Temporal {
        /// What must happen.
        of: Vec<Node>,
        /// Whether in this order; equal times count as ordered.
        ordered: bool,
        /// Within what time.
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
}

/// A stretch in which a node is fulfilled: the latest start for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fulfilled {
    end: Micros,
    start: Micros,
    weight: u32,
}

impl Node {
    /// The time within which the whole condition must come about; 0 for a simple rule.
    pub fn timespan(&self) -> Micros {
        match self {
            Self::Leaf(_) => 0,
            Self::EventCount { timespan, .. } | Self::Temporal { timespan, .. } => *timespan,
        }
    }

    /// The hot windows: stretches [t, t + timespan] that start at an occurrence and fulfil the condition, as their
    /// starts in ascending order. `occurrences` is sorted by time.
    pub fn hot_starts(&self, occurrences: &[Occurrence]) -> Vec<Micros> {
        let mut stretches = self.fulfilled(occurrences);
        // The nearest end of any stretch that starts at or after a time.
        stretches.sort_unstable_by_key(|stretch| Reverse(stretch.start));
        let mut stretches = stretches.into_iter().peekable();
        let mut nearest = Micros::MAX;
        let mut hot = Vec::new();
        for occurrence in occurrences.iter().rev() {
            while let Some(stretch) = stretches.next_if(|stretch| stretch.start >= occurrence.time) {
                nearest = nearest.min(stretch.end);
            }
            if nearest <= occurrence.time.saturating_add(self.timespan()) && hot.last() != Some(&occurrence.time) {
                hot.push(occurrence.time);
            }
        }
        hot.reverse();
        hot
    }

    fn fulfilled(&self, occurrences: &[Occurrence]) -> Vec<Fulfilled> {
        match self {
            Self::Leaf(leaf) => occurrences
                .iter()
                .filter(|occurrence| occurrence.leaf == *leaf)
                .map(|at| Fulfilled { end: at.time, start: at.time, weight: at.weight })
                .collect(),
            Self::EventCount { of, threshold, timespan } => {
                let mut parts: Vec<_> = of.iter().flat_map(|node| node.fulfilled(occurrences)).collect();
                parts.sort_unstable();
                counted(&parts, *threshold, *timespan)
            }
            Self::Temporal { of, ordered: true, timespan } => {
                let mut parts = of.iter().map(|node| node.fulfilled(occurrences));
                let first = parts.next().unwrap_or_default();
                let mut chain = parts.fold(first, followed);
                chain.retain(|stretch| stretch.end - stretch.start <= *timespan);
                chain
            }
            Self::Temporal { of, ordered: false, timespan } => {
                let parts: Vec<_> = of.iter().map(|node| node.fulfilled(occurrences)).collect();
                together(&parts, *timespan)
            }
        }
    }
}

/// Where the count is reached: for each end, the latest start with at least `threshold` occurrences up to it.
fn counted(parts: &[Fulfilled], threshold: u64, timespan: Micros) -> Vec<Fulfilled> {
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
            reached.push(Fulfilled { end: part.end, start: *start, weight: 1 });
        }
    }
    reached
}

/// `before`, then `after`: for each of `after`, the latest start of anything of `before` that had ended by then.
fn followed(mut before: Vec<Fulfilled>, mut after: Vec<Fulfilled>) -> Vec<Fulfilled> {
    before.sort_unstable();
    after.sort_unstable();
    let mut before = before.into_iter().peekable();
    let mut latest: Option<Micros> = None;
    let mut chain = Vec::new();
    for part in after {
        while let Some(earlier) = before.next_if(|earlier| earlier.end <= part.end) {
            latest = latest.max(Some(earlier.start));
        }
        if let Some(start) = latest {
            chain.push(Fulfilled { end: part.end, start: start.min(part.start), weight: 1 });
        }
    }
    chain
}

/// All of `parts`, in any order.
fn together(parts: &[Vec<Fulfilled>], timespan: Micros) -> Vec<Fulfilled> {
    let mut all: Vec<(Fulfilled, usize)> = parts
        .iter()
        .enumerate()
        .flat_map(|(number, part)| part.iter().map(move |stretch| (*stretch, number)))
        .collect();
    all.sort_unstable();
    let mut latest = vec![None; parts.len()];
    let mut found = Vec::new();
    for (stretch, number) in all {
        latest[number] = latest[number].max(Some(stretch.start));
        if let Some(start) = latest.iter().copied().min().flatten()
            && stretch.end - start <= timespan
        {
            found.push(Fulfilled { end: stretch.end, start, weight: 1 });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;

    fn at(times: &[(Micros, usize)]) -> Vec<Occurrence> {
        times.iter().map(|&(time, leaf)| Occurrence { time, leaf, weight: 1 }).collect()
    }

    fn count(threshold: u64, timespan: Micros) -> Node {
        Node::EventCount { of: vec![Node::Leaf(0)], threshold, timespan }
    }

    #[test]
    fn a_simple_rule_is_hot_wherever_it_matched() {
        assert_eq!(Node::Leaf(0).hot_starts(&at(&[(1, 0), (1, 0), (5, 0)])), [1, 5]);
    }

    #[test]
    fn a_count_is_hot_while_enough_follow_within_the_timespan() {
        let times = at(&[(0, 0), (10, 0), (20, 0), (100, 0), (110, 0)]);
        assert_eq!(count(3, 20).hot_starts(&times), [0]);
        assert_eq!(count(3, 19).hot_starts(&times), Vec::<Micros>::new());
        assert_eq!(count(2, 10).hot_starts(&times), [0, 10, 100]);
    }

    #[test]
    fn a_record_that_stands_for_several_counts_as_several() {
        let repeated = [Occurrence { time: 3, leaf: 0, weight: 5 }];
        assert_eq!(count(5, 10).hot_starts(&repeated), [3]);
        assert!(count(6, 10).hot_starts(&repeated).is_empty());
    }

    #[test]
    fn ordered_means_in_order_and_equal_times_count() {
        let ordered = Node::Temporal { of: vec![Node::Leaf(0), Node::Leaf(1)], ordered: true, timespan: 10 };
        assert_eq!(ordered.hot_starts(&at(&[(0, 0), (5, 1)])), [0]);
        assert_eq!(ordered.hot_starts(&at(&[(5, 0), (5, 1)])), [5]);
        assert!(ordered.hot_starts(&at(&[(0, 1), (5, 0)])).is_empty());
        assert!(ordered.hot_starts(&at(&[(0, 0), (11, 1)])).is_empty());
        let any = Node::Temporal { of: vec![Node::Leaf(0), Node::Leaf(1)], ordered: false, timespan: 10 };
        assert_eq!(any.hot_starts(&at(&[(0, 1), (5, 0), (40, 0)])), [0]);
    }

    #[test]
    fn a_login_after_many_failures_needs_the_failures_first() {
        let chain = Node::Temporal { of: vec![count(3, 10), Node::Leaf(1)], ordered: true, timespan: 60 };
        assert_eq!(chain.hot_starts(&at(&[(0, 0), (1, 0), (2, 0), (50, 1)])), [0]);
        assert!(chain.hot_starts(&at(&[(0, 0), (1, 0), (2, 1), (3, 0)])).is_empty());
        assert!(chain.hot_starts(&at(&[(0, 0), (9, 0), (18, 0), (50, 1)])).is_empty());
    }

    /// The definition, word for word, for plans whose inner nodes stand over leaves alone.
    fn fulfilled_within(node: &Node, window: &[Occurrence]) -> bool {
        match node {
            Node::Leaf(leaf) => window.iter().any(|at| at.leaf == *leaf),
            Node::EventCount { of, threshold, .. } => {
                let leaves: Vec<_> =
                    of.iter().filter_map(|node| if let Node::Leaf(leaf) = node { Some(*leaf) } else { None }).collect();
                let sum: u64 =
                    window.iter().filter(|at| leaves.contains(&at.leaf)).map(|at| u64::from(at.weight)).sum();
                sum >= *threshold
            }
            Node::Temporal { of, ordered: false, .. } => of.iter().all(|node| fulfilled_within(node, window)),
            Node::Temporal { of, ordered: true, .. } => {
                let mut from = Micros::MIN;
                of.iter().all(|node| {
                    let Node::Leaf(leaf) = node else { return false };
                    let next = window.iter().filter(|at| at.leaf == *leaf && at.time >= from).map(|at| at.time).min();
                    next.is_some_and(|time| {
                        from = time;
                        true
                    })
                })
            }
        }
    }

    #[test]
    fn hot_starts_follow_the_definition() {
        let occurrence = (0..200_i64, 0..3_usize, 1..4_u32);
        let occurrences = prop::collection::vec(occurrence, 0..40);
        let kind = (0..3_usize, 1..6_u64, 0..60_i64);
        let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]));
        runner
            .run(&(occurrences, kind), |(raw, (kind, threshold, timespan))| {
                let mut occurrences: Vec<_> =
                    raw.into_iter().map(|(time, leaf, weight)| Occurrence { time, leaf, weight }).collect();
                occurrences.sort_unstable();
                let leaves = || (0..3).map(Node::Leaf).collect();
                let node = match kind {
                    0 => Node::EventCount { of: leaves(), threshold, timespan },
                    1 => Node::Temporal { of: leaves(), ordered: true, timespan },
                    _ => Node::Temporal { of: leaves(), ordered: false, timespan },
                };
                let mut expected: Vec<Micros> = occurrences
                    .iter()
                    .map(|at| at.time)
                    .filter(|start| {
                        let window: Vec<_> = occurrences
                            .iter()
                            .copied()
                            .filter(|at| (*start..=start + timespan).contains(&at.time))
                            .collect();
                        fulfilled_within(&node, &window)
                    })
                    .collect();
                expected.dedup();
                prop_assert_eq!(node.hot_starts(&occurrences), expected);
                Ok(())
            })
            .unwrap();
    }
}
