//! The checks, by the sections of the protocol's description.

mod cadence;
pub(crate) mod container;
mod end;
mod environment;
mod form;
mod hand_over;
mod health;
mod host;
mod logs;
mod not_yet;
mod output;
pub(crate) mod result;
mod setup;
mod start;
mod tls;

use futures::future::BoxFuture;

use crate::agent::Agent;
use crate::expect::Expected;

/// Something that holds of every agent.
pub struct Check {
    name: &'static str,
    section: &'static str,
    work: Work,
}

/// What a check does.
pub(crate) enum Work {
    /// Looks.
    Runs(for<'a> fn(&'a Agent) -> BoxFuture<'a, Expected>),
    /// Nothing: agents need not do this yet, for this reason.
    NotYet(&'static str),
}

impl Check {
    /// What holds.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The section of the protocol's description that says so.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.section
    }

    pub(crate) fn work(&self) -> &Work {
        &self.work
    }

    /// Whether its name contains one of these words, or its section begins with it; all checks are meant when there is none.
    #[must_use]
    pub fn is_one_of(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.name.contains(word) || self.section.starts_with(word))
    }
}

/// Makes the list of a module's checks: the section, then the functions that stand for it.
macro_rules! checks {
    ($($section:literal: $($name:ident),+ $(,)?;)+) => {
        pub(super) const CHECKS: &[$crate::checks::Check] = &[$($($crate::checks::Check {
            name: stringify!($name),
            section: $section,
            work: $crate::checks::Work::Runs(|agent| Box::pin($name(agent))),
        }),+),+];
    };
}
pub(crate) use checks;

const LISTS: &[&[Check]] = &[
    form::CHECKS,
    health::CHECKS,
    setup::CHECKS,
    start::CHECKS,
    result::CHECKS,
    output::CHECKS,
    end::CHECKS,
    cadence::CHECKS,
    tls::CHECKS,
    host::CHECKS,
    environment::CHECKS,
    hand_over::CHECKS,
    container::CHECKS,
    logs::CHECKS,
    not_yet::CHECKS,
];

/// All checks, in the order of the description's sections.
pub fn all() -> impl Iterator<Item = &'static Check> {
    LISTS.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::all;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let names: HashSet<_> = all().map(super::Check::name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.len() > 80, "{}", names.len());
    }
}
