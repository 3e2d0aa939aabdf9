//! Splits tests into shares for several machines.
//!
//! Each machine makes the same split and takes its own share, so a split depends on its inputs alone: not on the order
//! of the names, and not on randomness.

mod names;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use times::Times;

/// The measure by which shares are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Time, from earlier reports.
    Time,
    /// Time, or the number of tests where no times are known. All tests of a class are in one share.
    Class,
    /// Number of tests.
    Count,
}

/// The result of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The shares. Each holds names in their given order; a repeated name is there once.
    pub shares: Vec<Share>,
    /// Number of names without a time in any report. They count as the median of the others.
    pub unknown: usize,
}

/// One share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Its tests.
    pub names: Vec<String>,
    /// Their expected duration, as far as times are known.
    pub expected: Duration,
}

/// Time of a test if no times are known at all.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Splits names into `total` shares.
#[must_use]
pub fn split(names: &[String], by: By, times: &Times, total: usize) -> Split {
    let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let known: BTreeMap<&str, Duration> = all.iter().filter_map(|name| Some((*name, times.of(name)?))).collect();
    let typical = median(known.values().copied().collect()).unwrap_or(UNKNOWN);
    let weight = |name: &str| known.get(name).copied().unwrap_or(typical);
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in &all {
        let group = match by {
            By::Class => names::class(name, |class| times.is_class(class)),
            By::Time | By::Count => name,
        };
        groups.entry(group).or_default().push(name);
    }
    let groups: Vec<(Duration, Vec<&str>)> = groups
        .into_values()
        .map(|group| {
            let weight = match by {
                By::Count => UNKNOWN,
                By::Time | By::Class => group.iter().fold(Duration::ZERO, |sum, name| sum.saturating_add(weight(name))),
            };
            (weight, group)
        })
        .collect();
    let share_of = assign(groups, total.max(1));
    let mut shares = vec![Share::default(); total.max(1)];
    let mut given = BTreeSet::new();
    for name in names.iter().filter(|name| given.insert(name.as_str())) {
        let Some(share) = share_of.get(name.as_str()).and_then(|number| shares.get_mut(*number)) else { continue };
        share.names.push(name.clone());
        share.expected = share.expected.saturating_add(known.get(name.as_str()).copied().unwrap_or_default());
    }
    Split { shares, unknown: all.len() - known.len() }
}

/// Gives each group to the lightest share so far, the heaviest groups first.
fn assign(mut groups: Vec<(Duration, Vec<&str>)>, total: usize) -> BTreeMap<&str, usize> {
    // Groups of equal weight stay in the order of their names.
    groups.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    // Of equally loaded shares, the one with the fewest tests is next, then the first one.
    let mut loads: BTreeSet<(Duration, usize, usize)> = (0..total).map(|number| (Duration::ZERO, 0, number)).collect();
    let mut share_of = BTreeMap::new();
    for (weight, names) in groups {
        let Some((load, count, number)) = loads.pop_first() else { break };
        loads.insert((load.saturating_add(weight), count + names.len(), number));
        share_of.extend(names.into_iter().map(|name| (name, number)));
    }
    share_of
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests;
