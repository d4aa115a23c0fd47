//! Conditions that more contributions can take away: they are asked of UTC-aligned windows that are closed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fulfilled, MILLIONTHS, Micros, Stretch, events};

/// What must hold of an aligned window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A number lies within all of the bounds.
    Number {
        /// Which number.
        measure: Measure,
        /// Within what.
        bounds: Vec<Bound>,
    },
    /// An expression over the nodes that happened in it.
    Holds(Expression),
}

/// A number that can be told of the contributions in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// How many events.
    Events,
    /// How many different values.
    Distinct,
    /// How many of the nodes.
    Nodes,
    /// The sum of the values.
    Sum,
    /// Their mean.
    Average,
    /// A percentile of theirs, 0 to 100, interpolated between the two values that are nearest. The median is the 50th.
    Percentile(u8),
}

/// A bound of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It is less.
    Less(u64),
    /// It is not more.
    AtMost(u64),
    /// It is more.
    More(u64),
    /// It is not less.
    AtLeast(u64),
    /// It is the same.
    Equal(u64),
    /// It is another.
    Other(u64),
}

/// An expression over nodes, by their place: true of a node that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// The node happened.
    Happened(usize),
    /// All hold.
    All(Vec<Expression>),
    /// One holds.
    Any(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
}

/// The start of the aligned span of this length that holds a time.
pub(super) fn start(time: Micros, length: Micros) -> Micros {
    time - time.rem_euclid(length.max(1))
}

/// The closed windows in which something happened and of which it holds, from their first microsecond to their last.
pub(super) fn fulfilled(parts: &[Vec<Fulfilled>], ask: &Ask, length: Micros, closed: Micros) -> Vec<Stretch> {
    let mut windows: BTreeMap<Micros, Vec<Vec<Fulfilled>>> = BTreeMap::new();
    for (node, part) in parts.iter().enumerate() {
        for stretch in part {
            let window = start(stretch.start, length);
            if start(stretch.end, length) == window {
                windows.entry(window).or_insert_with(|| vec![Vec::new(); parts.len()])[node].push(*stretch);
            }
        }
    }
    let end = |start: Micros| start.saturating_add(length);
    windows
        .into_iter()
        .filter(|(start, parts)| end(*start) <= closed && ask.holds(parts))
        .map(|(start, _)| Stretch { start, end: end(start) - 1 })
        .collect()
}

impl Ask {
    fn holds(&self, parts: &[Vec<Fulfilled>]) -> bool {
        match self {
            Self::Number { measure, bounds } => {
                measure.of(parts).is_some_and(|number| bounds.iter().all(|bound| bound.holds(number)))
            }
            Self::Holds(expression) => expression.holds(parts),
        }
    }
}

/// A fraction, so that what is compared is exact: numerator and positive denominator.
type Fraction = (i128, i128);

impl Measure {
    /// The number; `None` where there is nothing to tell it of.
    fn of(self, parts: &[Vec<Fulfilled>]) -> Option<Fraction> {
        let events = events(parts.to_vec());
        let weight = || events.iter().map(|event| i128::from(event.weight)).sum::<i128>();
        let sum = || {
            let values = events.iter().map(|event| event.value.saturating_mul(event.weight.into()));
            values.fold(0, i128::saturating_add)
        };
        match self {
            Self::Events => Some((weight(), 1)),
            Self::Distinct => {
                let values: BTreeSet<i128> = events.iter().map(|event| event.value).collect();
                Some((i128::try_from(values.len()).ok()?, 1))
            }
            Self::Nodes => {
                let happened = parts.iter().filter(|part| !part.is_empty()).count();
                Some((i128::try_from(happened).ok()?, 1))
            }
            Self::Sum => Some((sum(), MILLIONTHS)),
            Self::Average => Some((sum(), MILLIONTHS * weight())),
            Self::Percentile(percent) => {
                let mut values: Vec<(i128, u32)> = events.iter().map(|event| (event.value, event.weight)).collect();
                values.sort_unstable();
                let steps = i128::from(percent) * (weight() - 1);
                let (below, rest) = (steps / 100, steps % 100);
                let lower = nth(&values, below)?;
                let upper = if rest == 0 { lower } else { nth(&values, below + 1)? };
                Some((lower * (100 - rest) + upper * rest, MILLIONTHS * 100))
            }
        }
    }
}

/// The value in this place, from 0, of sorted values that stand for so many each.
fn nth(values: &[(i128, u32)], mut place: i128) -> Option<i128> {
    values.iter().find_map(|(value, weight)| {
        let found = place < i128::from(*weight);
        place -= i128::from(*weight);
        found.then_some(*value)
    })
}

impl Bound {
    fn holds(self, (numerator, denominator): Fraction) -> bool {
        let holds = |value: u64, expected: fn(&i128, &i128) -> bool| {
            expected(&numerator, &i128::from(value).saturating_mul(denominator))
        };
        match self {
            Self::Less(value) => holds(value, i128::lt),
            Self::AtMost(value) => holds(value, i128::le),
            Self::More(value) => holds(value, i128::gt),
            Self::AtLeast(value) => holds(value, i128::ge),
            Self::Equal(value) => holds(value, i128::eq),
            Self::Other(value) => holds(value, i128::ne),
        }
    }
}

impl Expression {
    fn holds(&self, parts: &[Vec<Fulfilled>]) -> bool {
        match self {
            Self::Happened(node) => parts.get(*node).is_some_and(|part| !part.is_empty()),
            Self::All(all) => all.iter().all(|part| part.holds(parts)),
            Self::Any(any) => any.iter().any(|part| part.holds(parts)),
            Self::Not(not) => !not.holds(parts),
        }
    }
}
