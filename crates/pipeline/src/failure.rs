//! Decides what follows a step's failure.

use std::time::Duration;

use crate::plan::{ErrorKind, FailureAction, FailureStrategy};

/// What follows a step's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It runs again after this wait.
    Retry(Duration),
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
    let named =
        |level: &'_ &[FailureStrategy], kind| level.iter().find(|s| s.errors.contains(&kind)).map(|s| s.action.clone());
    let action = levels.iter().find_map(|level| named(level, error).or_else(|| named(level, ErrorKind::All)));
    action.map_or(Decision::Fail, |action| carry_out(&action, attempt))
}

fn carry_out(action: &FailureAction, attempt: u32) -> Decision {
    match action {
        FailureAction::Ignore => Decision::Ignore,
        FailureAction::Abort => Decision::Abort,
        FailureAction::EndStage => Decision::EndStage,
        FailureAction::MarkAsSuccess => Decision::MarkAsSuccess,
        FailureAction::MarkAsFailure => Decision::Fail,
        FailureAction::Retry { count, intervals, .. } if attempt <= *count => {
            let wait = intervals.get(attempt as usize - 1).or(intervals.last());
            Decision::Retry(wait.copied().unwrap_or_default())
        }
        FailureAction::Retry { count, then, .. } => carry_out(then, attempt.saturating_sub(*count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(errors: &[ErrorKind], action: FailureAction) -> FailureStrategy {
        FailureStrategy { errors: errors.to_vec(), action }
    }

    fn retry(count: u32, seconds: &[u64], then: FailureAction) -> FailureAction {
        let intervals = seconds.iter().map(|s| Duration::from_secs(*s)).collect();
        FailureAction::Retry { count, intervals, then: Box::new(then) }
    }

    #[test]
    fn retries_then_what_follows() {
        let step = [strategy(&[ErrorKind::All], retry(3, &[1, 5], FailureAction::Ignore))];
        let decisions: Vec<_> = (1..=4).map(|attempt| next(&[&step], ErrorKind::Step, attempt)).collect();
        let wait = |s| Decision::Retry(Duration::from_secs(s));
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
}
