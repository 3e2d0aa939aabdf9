//! Decides what follows a step's failure, and that of a step group.

use crate::plan::{ErrorKind, FailureAction, FailureStrategy, Limit};

/// What follows a step's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It runs again, after this wait where there is one.
    Retry(Option<Limit>),
    /// It stays failed, and everything else goes on as if it had passed.
    Ignore,
    /// It counts as passed.
    MarkAsSuccess,
    /// It stays failed, and what it is part of fails with it.
    Fail,
    /// The whole run ends.
    Abort,
    /// Its stage fails at once.
    EndStage,
}

/// Decides about a step that failed for `error` in its `attempt`-th attempt (from 1). `levels` are the strategies of
/// the step, its groups and its stage, innermost first; within a level, one that names the kind comes before one for
/// all kinds.
#[must_use]
pub fn next(levels: &[&[FailureStrategy]], error: ErrorKind, attempt: u32) -> Decision {
    levels
        .iter()
        .find_map(|level| strategy(level, error))
        .map_or(Decision::Fail, |found| carry_out(&found.action, attempt))
}

/// Decides whether a step group runs again whose steps failed for these `errors` in its `attempt`-th attempt (from 1), and
/// after which wait.
#[must_use]
pub fn again(strategies: &[FailureStrategy], errors: &[ErrorKind], attempt: u32) -> Option<Option<Limit>> {
    errors.iter().find_map(|error| match &strategy(strategies, *error)?.action {
        FailureAction::RetryGroup { count, intervals } if attempt <= *count => Some(wait(intervals, attempt)),
        _ => None,
    })
}

/// Returns the strategy of a level for a kind of failure.
fn strategy(level: &[FailureStrategy], error: ErrorKind) -> Option<&FailureStrategy> {
    let named = |kind| level.iter().find(|strategy| strategy.errors.contains(&kind));
    named(error).or_else(|| named(ErrorKind::All))
}

fn carry_out(action: &FailureAction, attempt: u32) -> Decision {
    match action {
        FailureAction::Ignore => Decision::Ignore,
        FailureAction::Abort => Decision::Abort,
        FailureAction::EndStage => Decision::EndStage,
        FailureAction::MarkAsSuccess => Decision::MarkAsSuccess,
        // The group is asked when it has ended.
        FailureAction::MarkAsFailure | FailureAction::RetryGroup { .. } => Decision::Fail,
        FailureAction::Retry { count, intervals, .. } if attempt <= *count => Decision::Retry(wait(intervals, attempt)),
        FailureAction::Retry { count, then, .. } => carry_out(then, attempt.saturating_sub(*count)),
    }
}

/// Returns the wait after the `attempt`-th attempt.
fn wait(intervals: &[Limit], attempt: u32) -> Option<Limit> {
    intervals.get(attempt as usize - 1).or(intervals.last()).cloned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waits(seconds: &[u64]) -> Vec<Limit> {
        seconds.iter().map(|s| Limit { time: Duration::from_secs(*s), written: format!("{s}s") }).collect()
    }

    fn strategy(errors: &[ErrorKind], action: FailureAction) -> FailureStrategy {
        FailureStrategy { errors: errors.to_vec(), action }
    }

    fn retry(count: u32, seconds: &[u64], then: FailureAction) -> FailureAction {
        FailureAction::Retry { count, intervals: waits(seconds), then: Box::new(then) }
    }

    #[test]
    fn retries_then_what_follows() {
        let step = [strategy(&[ErrorKind::All], retry(3, &[1, 5], FailureAction::Ignore))];
        let decisions: Vec<_> = (1..=4).map(|attempt| next(&[&step], ErrorKind::Step, attempt)).collect();
        let wait = |s| Decision::Retry(waits(&[s]).pop());
        assert_eq!(decisions, [wait(1), wait(5), wait(5), Decision::Ignore]);
    }

    #[test]
    fn the_innermost_that_matches_decides() {
        let step = [strategy(&[ErrorKind::Timeout], FailureAction::MarkAsSuccess)];
        let stage = [strategy(&[ErrorKind::All], FailureAction::Abort)];
        let levels: [&[FailureStrategy]; 2] = [&step, &stage];
        assert_eq!(next(&levels, ErrorKind::Timeout, 1), Decision::MarkAsSuccess);
        assert_eq!(next(&levels, ErrorKind::Step, 1), Decision::Abort);
        assert_eq!(next(&[], ErrorKind::Step, 1), Decision::Fail);
    }

    #[test]
    fn a_named_kind_comes_before_all_kinds() {
        let step = [
            strategy(&[ErrorKind::All], FailureAction::Ignore),
            strategy(&[ErrorKind::Timeout], FailureAction::MarkAsFailure),
        ];
        assert_eq!(next(&[&step], ErrorKind::Timeout, 1), Decision::Fail);
        assert_eq!(next(&[&step], ErrorKind::Step, 1), Decision::Ignore);
    }

    #[test]
    fn a_group_runs_again_for_any_of_the_kinds_that_its_steps_failed_for() {
        let again_twice = FailureAction::RetryGroup { count: 2, intervals: waits(&[1, 5]) };
        let group =
            [strategy(&[ErrorKind::Timeout], again_twice), strategy(&[ErrorKind::All], FailureAction::MarkAsFailure)];
        let both = [ErrorKind::Step, ErrorKind::Timeout];
        let decisions: Vec<_> = (1..=3).map(|attempt| again(&group, &both, attempt)).collect();
        assert_eq!(decisions, [Some(waits(&[1]).pop()), Some(waits(&[5]).pop()), None]);
        assert_eq!(again(&group, &[ErrorKind::Step], 1), None);
        assert_eq!(again(&group, &[], 1), None);
        // Its steps fail by it, and ask nobody further out.
        let stage = [strategy(&[ErrorKind::All], FailureAction::Ignore)];
        assert_eq!(next(&[&[], &group, &stage], ErrorKind::Timeout, 1), Decision::Fail);
    }
}
