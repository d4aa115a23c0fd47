//! What was refused because cloudvigil wrote it itself, told in a way that does not feed the loop that it ends.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// How long deliveries of nothing but cloudvigil's own output stay silent after one was told.
const SILENCE: SignedDuration = SignedDuration::from_hours(1);

/// Counts what was refused until it is told.
#[derive(Debug, Default)]
pub struct Refused(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    carried: u64,
    told: Option<Timestamp>,
}

impl Refused {
    /// Adds `count` and returns how many are to be told now. `own`: the invocation saw nothing else, so that telling
    /// it would be all that it writes.
    pub fn told(&self, count: u64, own: bool, now: Timestamp) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.carried += count;
        let silent = state.told.is_some_and(|told| now.duration_since(told) < SILENCE);
        if state.carried == 0 || own && silent {
            return 0;
        }
        state.told = Some(now);
        std::mem::take(&mut state.carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_told_once_and_everything_is_counted_in_the_end() {
        let refused = Refused::default();
        let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        assert_eq!(refused.told(3, true, at(0)), 3);
        assert_eq!(refused.told(1, true, at(1)), 0);
        assert_eq!(refused.told(2, true, at(59)), 0);
        assert_eq!(refused.told(0, false, at(59)), 3, "an invocation that writes anyway takes it along");
        assert_eq!(refused.told(5, true, at(200)), 5);
        assert_eq!(refused.told(0, false, at(201)), 0);
    }
}
