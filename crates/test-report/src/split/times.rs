//! Times of tests from earlier reports.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kiln_wire::run::TestCase;

use super::names::{form, is_file};

/// Most parts of a name that get entries of their own.
const PARTS_MAX: usize = 24;

/// Times of tests, classes and files.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Durations by name, in the common form: a test, its class, the packages around that, its file.
    sums: HashMap<String, Duration>,
    classes: HashSet<String>,
}

impl Times {
    /// Adds a case of an earlier report. A case that did not run is ignored.
    pub fn add(&mut self, case: &TestCase) {
        if !case.class.is_empty() {
            self.classes.insert(form(&case.class));
        }
        let Some(duration) = case.duration else { return };
        let class = form(&case.class);
        let whole = if class.is_empty() { form(&case.name) } else { format!("{class}.{}", case.name) };
        let ends = class.match_indices('.').map(|(at, _)| at).take(PARTS_MAX);
        let mut holders: Vec<String> = ends.map(|end| class[..end].to_owned()).collect();
        holders.extend([class, whole]);
        // A report may give the whole path, and a list of files only the end of it.
        let file = form(&case.file);
        let tails = file.match_indices('.').map(|(at, _)| at + 1).take(PARTS_MAX);
        holders.extend(std::iter::once(0).chain(tails).map(|from| file[from..].to_owned()));
        holders.sort_unstable();
        holders.dedup();
        for holder in holders.into_iter().filter(|holder| !holder.is_empty()) {
            let sum = self.sums.entry(holder).or_default();
            *sum = sum.saturating_add(duration);
        }
    }

    /// Returns whether no time is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Returns the duration of a test, a class or a file. For a file, the report may name only the class, without the
    /// folders before it.
    pub(super) fn of(&self, name: &str) -> Option<Duration> {
        let whole = form(name);
        let tails = whole.match_indices('.').map(|(at, _)| at + 1).take(if is_file(name) { PARTS_MAX } else { 0 });
        std::iter::once(0).chain(tails).find_map(|from| self.sums.get(&whole[from..]).copied())
    }

    pub(super) fn is_class(&self, name: &str) -> bool {
        self.classes.contains(&form(name))
    }
}
