use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// All windows are closed.
const CLOSED: Micros = Micros::MAX;

/// One occurrence for a plan's leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    time: Micros,
    leaf: usize,
    weight: u32,
    /// Which record it is: one that several leaves matched is one event.
    record: u128,
    value: i128,
}

impl From<Occurrence> for Contribution {
    fn from(Occurrence { time, leaf, weight, record, value }: Occurrence) -> Self {
        let (failed, own, deploying) = (false, false, false);
        Self { time: Some(time), key: RecordKey(record), leaf, weight, failed, own, deploying, value: Some(value) }
    }
}

/// Occurrences of one record each.
fn of_records(list: impl Iterator<Item = (Micros, usize, u32, i128)>) -> Vec<Contribution> {
    let occurrences = (0..)
        .zip(list)
        .map(|(record, (time, leaf, weight, value))| Occurrence { time, leaf, weight, record, value }.into());
    occurrences.collect()
}

fn at(times: &[(Micros, usize)]) -> Vec<Contribution> {
    of_records(times.iter().map(|&(time, leaf)| (time, leaf, 1, 0)))
}

fn valued(values: &[(Micros, i128)]) -> Vec<Contribution> {
    of_records(values.iter().map(|&(time, value)| (time, 0, 1, value * MILLIONTHS)))
}

fn leaves(count: usize) -> Vec<Node> {
    (0..count).map(Node::Leaf).collect()
}

fn count(threshold: u64, timespan: Micros) -> Node {
    Node::EventCount { of: leaves(1), threshold, timespan }
}

fn ordered(of: Vec<Node>, timespan: Micros) -> Node {
    Node::Temporal { at_least: of.len(), of, ordered: true, timespan }
}

fn together(of: Vec<Node>, at_least: usize, timespan: Micros) -> Node {
    Node::Temporal { of, at_least, ordered: false, timespan }
}

fn number(measure: Measure, bounds: &[Bound], timespan: Micros) -> Node {
    Node::Aligned { of: leaves(1), ask: Ask::Number { measure, bounds: bounds.to_vec() }, timespan }
}

#[test]
fn a_simple_rule_is_hot_wherever_it_matched() {
    assert_eq!(Node::Leaf(0).hot_starts(&at(&[(1, 0), (1, 0), (5, 0)]), CLOSED), [1, 5]);
}

#[test]
fn a_count_is_hot_while_enough_follow_within_the_timespan() {
    let times = at(&[(0, 0), (10, 0), (20, 0), (100, 0), (110, 0)]);
    assert_eq!(count(3, 20).hot_starts(&times, CLOSED), [0]);
    assert_eq!(count(3, 19).hot_starts(&times, CLOSED), Vec::<Micros>::new());
    assert_eq!(count(2, 10).hot_starts(&times, CLOSED), [0, 10, 100]);
}

#[test]
fn a_record_that_stands_for_several_counts_as_several() {
    let repeated = of_records([(3, 0, 5, 0)].into_iter());
    assert_eq!(count(5, 10).hot_starts(&repeated, CLOSED), [3]);
    assert!(count(6, 10).hot_starts(&repeated, CLOSED).is_empty());
}

#[test]
fn a_record_that_two_rules_matched_is_one_event() {
    let two = Node::EventCount { of: leaves(2), threshold: 2, timespan: 10 };
    let mut twice = at(&[(0, 0), (0, 1)]);
    assert_eq!(two.hot_starts(&twice, CLOSED), [0]);
    twice[1].key = twice[0].key;
    assert!(two.hot_starts(&twice, CLOSED).is_empty());
}

#[test]
fn distinct_values_are_counted_once() {
    let values = valued(&[(0, 7), (1, 7), (2, 8), (9, 9), (20, 7)]);
    let three = |timespan| Node::ValueCount { of: leaves(1), threshold: 3, timespan };
    assert_eq!(three(8).hot_starts(&values, CLOSED), [1]);
    assert_eq!(three(9).hot_starts(&values, CLOSED), [0, 1]);
    assert_eq!(three(18).hot_starts(&values, CLOSED), [0, 1, 2]);
    assert!(three(7).hot_starts(&values, CLOSED).is_empty());
}

#[test]
fn a_sum_is_reached_wherever_values_add_up_to_it() {
    let values = valued(&[(0, 50), (5, 60), (30, 100), (31, -100)]);
    let sum = |threshold| Node::ValueSum { of: leaves(1), threshold: threshold * MILLIONTHS, timespan: 10 };
    assert_eq!(sum(100).hot_starts(&values, CLOSED), [0, 30]);
    assert_eq!(sum(110).hot_starts(&values, CLOSED), [0]);
    assert!(sum(111).hot_starts(&values, CLOSED).is_empty());
}

#[test]
fn ordered_means_in_order_and_equal_times_count() {
    let sequence = ordered(leaves(2), 10);
    assert_eq!(sequence.hot_starts(&at(&[(0, 0), (5, 1)]), CLOSED), [0]);
    assert_eq!(sequence.hot_starts(&at(&[(5, 0), (5, 1)]), CLOSED), [5]);
    assert!(sequence.hot_starts(&at(&[(0, 1), (5, 0)]), CLOSED).is_empty());
    assert!(sequence.hot_starts(&at(&[(0, 0), (11, 1)]), CLOSED).is_empty());
    let any = together(leaves(2), 2, 10);
    assert_eq!(any.hot_starts(&at(&[(0, 1), (5, 0), (40, 0)]), CLOSED), [0]);
}

#[test]
fn some_of_the_rules_are_enough_where_the_condition_says_so() {
    let two_of_three = together(leaves(3), 2, 10);
    assert_eq!(two_of_three.hot_starts(&at(&[(0, 0), (5, 2), (40, 1), (41, 1)]), CLOSED), [0]);
}

#[test]
fn a_login_after_many_failures_needs_the_failures_first() {
    let chain = ordered(vec![count(3, 10), Node::Leaf(1)], 60);
    assert_eq!(chain.hot_starts(&at(&[(0, 0), (1, 0), (2, 0), (50, 1)]), CLOSED), [0]);
    assert!(chain.hot_starts(&at(&[(0, 0), (1, 0), (2, 1), (3, 0)]), CLOSED).is_empty());
    assert!(chain.hot_starts(&at(&[(0, 0), (9, 0), (18, 0), (50, 1)]), CLOSED).is_empty());
}

#[test]
fn an_aligned_window_says_nothing_until_it_is_closed() {
    let few = number(Measure::Events, &[Bound::Less(3)], 10);
    let times = at(&[(0, 0), (9, 0), (10, 0), (11, 0), (19, 0), (-1, 0)]);
    let mut times = times;
    times.sort_unstable();
    assert_eq!(few.hot_starts(&times, CLOSED), [-10, 0], "the window from 10 has three");
    assert_eq!(few.hot_starts(&times, 9), [-10]);
    assert_eq!(few.hot_starts(&times, 10), [-10, 0]);
    assert_eq!(few.reach(), 9, "the end belongs to the next window");
}

#[test]
fn a_range_needs_both_of_its_bounds() {
    let some = number(Measure::Events, &[Bound::More(1), Bound::AtMost(2)], 10);
    assert_eq!(some.hot_starts(&at(&[(0, 0), (10, 0), (11, 0), (20, 0), (21, 0), (22, 0)]), CLOSED), [10]);
}

#[test]
fn numbers_are_compared_exactly() {
    let values = valued(&[(0, 10), (1, 20), (2, 60)]);
    let holds = |measure, bound| !number(measure, &[bound], 10).hot_starts(&values, CLOSED).is_empty();
    assert!(holds(Measure::Sum, Bound::Equal(90)));
    assert!(holds(Measure::Average, Bound::Equal(30)));
    assert!(holds(Measure::Percentile(50), Bound::Equal(20)));
    assert!(holds(Measure::Percentile(0), Bound::Equal(10)) && holds(Measure::Percentile(100), Bound::Equal(60)));
    assert!(holds(Measure::Percentile(75), Bound::Equal(40)), "halfway between 20 and 60");
    assert!(holds(Measure::Percentile(90), Bound::AtLeast(52)) && !holds(Measure::Percentile(90), Bound::More(52)));
    assert!(holds(Measure::Distinct, Bound::Equal(3)) && holds(Measure::Events, Bound::Other(4)));
}

#[test]
fn what_must_not_happen_is_known_when_the_window_is_closed() {
    let one_without_two =
        Expression::All(vec![Expression::Happened(0), Expression::Not(Box::new(Expression::Happened(1)))]);
    let node = Node::Aligned { of: leaves(2), ask: Ask::Holds(one_without_two), timespan: 10 };
    assert_eq!(node.hot_starts(&at(&[(0, 0), (10, 0), (11, 1), (25, 1)]), CLOSED), [0]);
}

#[test]
fn a_chain_may_follow_an_aligned_window() {
    let quiet = number(Measure::Events, &[Bound::AtMost(1)], 10);
    let chain = ordered(vec![quiet, Node::Leaf(1)], 30);
    // The quiet window is [10, 20); the chain's window starts with it, or with what came before and lies near enough.
    let times = at(&[(3, 0), (4, 0), (12, 0), (25, 1)]);
    assert_eq!(chain.hot_starts(&times, CLOSED), [3, 4, 10]);
    assert!(chain.hot_starts(&times, 19).is_empty(), "it is not closed");
    assert!(!chain.is_monotone() && count(1, 1).is_monotone());
    assert_eq!(chain.aligned_windows(12), [(10, 20)]);
}

/// Whether a window fulfils a node, by the definition, word for word.
fn fulfilled_within(node: &Node, window: &[Occurrence]) -> bool {
    let of = |leaf: usize| window.iter().filter(move |at| at.leaf == leaf);
    let of_all = |nodes: &[Node]| -> Vec<Occurrence> {
        let wanted: Vec<usize> =
            nodes.iter().filter_map(|node| if let Node::Leaf(leaf) = node { Some(*leaf) } else { None }).collect();
        // A record counts once, however many of the leaves it matched.
        let mut records = BTreeMap::new();
        for at in window.iter().filter(|at| wanted.contains(&at.leaf)) {
            records.insert((at.record, at.value), *at);
        }
        records.into_values().collect()
    };
    match node {
        Node::Leaf(leaf) => of(*leaf).next().is_some(),
        Node::EventCount { of, threshold, .. } => {
            of_all(of).iter().map(|at| u64::from(at.weight)).sum::<u64>() >= *threshold
        }
        Node::ValueCount { of, threshold, .. } => {
            of_all(of).iter().map(|at| at.value).collect::<BTreeSet<_>>().len() as u64 >= *threshold
        }
        Node::ValueSum { of, threshold, .. } => {
            of_all(of).iter().map(|at| at.value.max(0) * i128::from(at.weight)).sum::<i128>() >= *threshold
        }
        Node::Temporal { of, at_least, ordered: false, .. } => {
            of.iter().filter(|node| fulfilled_within(node, window)).count() >= *at_least
        }
        Node::Temporal { of: nodes, ordered: true, .. } => {
            let mut from = Micros::MIN;
            nodes.iter().all(|node| {
                let Node::Leaf(leaf) = node else { return false };
                let next = of(*leaf).filter(|at| at.time >= from).map(|at| at.time).min();
                next.is_some_and(|time| {
                    from = time;
                    true
                })
            })
        }
        Node::Aligned { of: nodes, ask, .. } => {
            let events = of_all(nodes);
            let mut values: Vec<f64> = Vec::new();
            for at in &events {
                #[allow(clippy::cast_precision_loss, reason = "small numbers")]
                values.extend(vec![at.value as f64 / 1e6; at.weight as usize]);
            }
            values.sort_by(f64::total_cmp);
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let count = |number: usize| number as f64;
            match ask {
                Ask::Holds(expression) => expression_holds(expression, nodes, window),
                Ask::Number { measure, bounds } => {
                    if events.is_empty() {
                        return false;
                    }
                    let number = match measure {
                        Measure::Events => count(values.len()),
                        Measure::Distinct => count(events.iter().map(|at| at.value).collect::<BTreeSet<_>>().len()),
                        Measure::Nodes => count(nodes.iter().filter(|node| fulfilled_within(node, window)).count()),
                        Measure::Sum => values.iter().sum(),
                        Measure::Average => values.iter().sum::<f64>() / count(values.len()),
                        Measure::Percentile(percent) => {
                            let rank = f64::from(*percent) * count(values.len() - 1) / 100.0;
                            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
                            let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
                            low + (high - low) * rank.fract()
                        }
                    };
                    bounds.iter().all(|bound| bound_holds(*bound, number))
                }
            }
        }
    }
}

fn expression_holds(expression: &Expression, nodes: &[Node], window: &[Occurrence]) -> bool {
    match expression {
        Expression::Happened(node) => fulfilled_within(&nodes[*node], window),
        Expression::All(all) => all.iter().all(|part| expression_holds(part, nodes, window)),
        Expression::Any(any) => any.iter().any(|part| expression_holds(part, nodes, window)),
        Expression::Not(not) => !expression_holds(not, nodes, window),
    }
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn bound_holds(bound: Bound, number: f64) -> bool {
    // The means of small whole numbers: what should be equal is nearly so.
    let near = |value: u64| (number - value as f64).abs() < 1e-9;
    match bound {
        Bound::Less(value) => number < value as f64 && !near(value),
        Bound::AtMost(value) => number < value as f64 || near(value),
        Bound::More(value) => number > value as f64 && !near(value),
        Bound::AtLeast(value) => number > value as f64 || near(value),
        Bound::Equal(value) => near(value),
        Bound::Other(value) => !near(value),
    }
}

/// The hot windows by the definition: every start that can be meant, asked one by one.
fn hot_by_definition(node: &Node, occurrences: &[Occurrence]) -> Vec<Micros> {
    let timespan = node.timespan();
    let starts: BTreeSet<Micros> = occurrences
        .iter()
        .map(|at| match node {
            Node::Aligned { .. } => at.time - at.time.rem_euclid(timespan),
            _ => at.time,
        })
        .collect();
    let holds = |start: &Micros| {
        let window: Vec<_> = occurrences
            .iter()
            .copied()
            .filter(|at| match node {
                Node::Aligned { .. } => (*start..start + timespan).contains(&at.time),
                _ => (*start..=start + timespan).contains(&at.time),
            })
            .collect();
        fulfilled_within(node, &window)
    };
    starts.into_iter().filter(holds).collect()
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = (0..3_usize).prop_map(Expression::Happened);
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Expression::All),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Expression::Any),
            inner.prop_map(|not| Expression::Not(Box::new(not))),
        ]
    })
}

fn bound() -> impl Strategy<Value = Bound> {
    (0..6_u8, 0..9_u64).prop_map(|(kind, value)| match kind {
        0 => Bound::Less(value),
        1 => Bound::AtMost(value),
        2 => Bound::More(value),
        3 => Bound::AtLeast(value),
        4 => Bound::Equal(value),
        _ => Bound::Other(value),
    })
}

/// Every kind of node over three leaves.
fn node() -> impl Strategy<Value = Node> {
    let measure = prop_oneof![
        Just(Measure::Events),
        Just(Measure::Distinct),
        Just(Measure::Nodes),
        Just(Measure::Sum),
        Just(Measure::Average),
        (0..=100_u8).prop_map(Measure::Percentile),
    ];
    let number =
        (measure, prop::collection::vec(bound(), 1..3)).prop_map(|(measure, bounds)| Ask::Number { measure, bounds });
    let ask = prop_oneof![number, expression().prop_map(Ask::Holds)];
    (0..6_u8, 1..6_u64, 1..60_i64, 1..4_usize, ask).prop_map(|(kind, threshold, timespan, at_least, ask)| {
        let of = leaves(3);
        match kind {
            0 => Node::EventCount { of, threshold, timespan },
            1 => Node::ValueCount { of, threshold: threshold.min(4), timespan },
            2 => Node::ValueSum { of, threshold: i128::from(threshold) * 2 * MILLIONTHS, timespan },
            3 => ordered(of, timespan),
            4 => together(of, at_least, timespan),
            _ => Node::Aligned { of, ask, timespan },
        }
    })
}

#[test]
fn hot_starts_follow_the_definition() {
    // Few records, so that some match two leaves; values are small and may be negative.
    let occurrences = prop::collection::vec((0..200_i64, 0..3_usize, 1..4_u32, -2..6_i128, 0..40_u128), 0..40);
    let config = Config { cases: 6_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]));
    runner
        .run(&(occurrences, node()), |(raw, node)| {
            let mut records = BTreeMap::new();
            let mut occurrences: Vec<_> = raw
                .into_iter()
                .map(|(time, leaf, weight, value, record)| {
                    // A record has one time and one weight.
                    let (time, weight) = *records.entry(record).or_insert((time, weight));
                    Occurrence { time, leaf, weight, record, value: value * MILLIONTHS }
                })
                .collect();
            occurrences.sort_unstable();
            let contributions: Vec<Contribution> = occurrences.iter().copied().map(Contribution::from).collect();
            prop_assert_eq!(node.hot_starts(&contributions, CLOSED), hot_by_definition(&node, &occurrences));
            Ok(())
        })
        .unwrap();
}
