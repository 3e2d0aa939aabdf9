//! Decides whether an item runs, once everything it needs has ended.

use globset::GlobBuilder;

use crate::expr::{EvalError, Scope};
use crate::facts::Facts;
use crate::plan::{Condition, Match, StatusFilter, When};

/// How the items ended that an item needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prior {
    /// Nothing before has failed.
    Success,
    /// Something before has failed.
    Failure,
}

/// Whether an item runs, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run,
    /// It is skipped, for this reason, which is text for people.
    Skip(String),
}

/// Returns why an item does not run for the state of the items before it, whatever its further conditions say.
#[must_use]
pub fn unmet_status(when: &When, prior: Prior) -> Option<&'static str> {
    match (when.status, prior) {
        (StatusFilter::Success, Prior::Failure) => Some("something before it failed"),
        (StatusFilter::Failure, Prior::Success) => Some("nothing before it failed"),
        (StatusFilter::Success, Prior::Success) | (StatusFilter::Failure, Prior::Failure) | (StatusFilter::Any, _) => {
            None
        }
    }
}

/// Decides about one item.
///
/// # Errors
/// A condition without a value: its item must fail, since neither running nor skipping it would be what was asked.
pub fn decide(when: &When, prior: Prior, scope: &Scope, facts: &Facts) -> Result<Verdict, EvalError> {
    if let Some(why) = unmet_status(when, prior) {
        return Ok(Verdict::Skip(why.to_owned()));
    }
    for condition in &when.conditions {
        match condition {
            Condition::Expr(template) if !template.truthy(scope)? => {
                return Ok(Verdict::Skip(format!("its condition does not hold: {}", template.text().trim())));
            }
            Condition::Match(wanted) if !matches(wanted, facts.get(&wanted.fact)) => {
                let value = facts.get(&wanted.fact);
                let value = if value.is_empty() { "not known here" } else { value };
                return Ok(Verdict::Skip(format!("it is not for this {} ({value})", wanted.fact)));
            }
            Condition::Expr(_) | Condition::Match(_) => {}
        }
    }
    Ok(Verdict::Run)
}

/// Applies Drone's rule: no exclusion matches, and one inclusion does where there are any. `*` stays within a
/// `/`-separated part, `**` crosses them.
pub(crate) fn matches(wanted: &Match, value: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, value));
    !any(&wanted.exclude) && (wanted.include.is_empty() || any(&wanted.include))
}

fn glob(pattern: &str, value: &str) -> bool {
    // A pattern that is no glob still stands for itself.
    pattern == value
        || GlobBuilder::new(pattern).literal_separator(true).build().is_ok_and(|g| g.compile_matcher().is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Map, Template};
    use kiln_document::diagnostic::Location;

    fn check(when: &When, prior: Prior, expect: &str) {
        let facts = Facts::default().with("branch", "feature/x").with("event", "push");
        let scope = Scope::new(Map::from_iter([("codebase", Map::from_iter([("branch", "main")]))]));
        let verdict = decide(when, prior, &scope, &facts).unwrap();
        let text = match verdict {
            Verdict::Run => "run".to_owned(),
            Verdict::Skip(why) => why,
        };
        assert_eq!(text, expect);
    }

    fn glob_on(fact: &str, include: &[&str], exclude: &[&str]) -> When {
        let list = |items: &[&str]| items.iter().map(ToString::to_string).collect();
        let wanted = Match { fact: fact.into(), include: list(include), exclude: list(exclude) };
        When { conditions: vec![Condition::Match(wanted)], ..When::default() }
    }

    fn status(status: StatusFilter) -> When {
        When { status, ..When::default() }
    }

    #[test]
    fn status_decides_first() {
        check(&status(StatusFilter::Success), Prior::Success, "run");
        check(&status(StatusFilter::Success), Prior::Failure, "something before it failed");
        check(&status(StatusFilter::Failure), Prior::Success, "nothing before it failed");
        check(&status(StatusFilter::Failure), Prior::Failure, "run");
        check(&status(StatusFilter::Any), Prior::Failure, "run");
    }

    #[test]
    fn globs_follow_drone() {
        check(&glob_on("branch", &[], &[]), Prior::Success, "run");
        check(&glob_on("branch", &["feature/*"], &[]), Prior::Success, "run");
        check(&glob_on("branch", &["*"], &[]), Prior::Success, "it is not for this branch (feature/x)");
        check(&glob_on("branch", &["**"], &[]), Prior::Success, "run");
        check(&glob_on("branch", &[], &["feature/**"]), Prior::Success, "it is not for this branch (feature/x)");
        check(&glob_on("event", &["push", "tag"], &[]), Prior::Success, "run");
        check(&glob_on("cron", &["nightly"], &[]), Prior::Success, "it is not for this cron (not known here)");
    }

    #[test]
    fn expressions_are_asked() {
        let expr = |text: &str| {
            let template = Template::condition(text, &Location::default()).unwrap();
            When { conditions: vec![Condition::Expr(template)], ..When::default() }
        };
        check(&expr("<+codebase.branch> == \"main\""), Prior::Success, "run");
        let no = "its condition does not hold: <+codebase.branch> == \"dev\"";
        check(&expr("<+codebase.branch> == \"dev\""), Prior::Success, no);
    }
}
