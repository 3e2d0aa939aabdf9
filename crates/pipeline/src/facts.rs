//! What is known about the build from outside of the file: the commit, the branch, the event.

use std::collections::BTreeMap;

/// Named facts. Names are those of Drone's conditions (`branch`, `event`, `ref`, `repo`, `target`, `cron`, `action`,
/// `instance`) and further `commit`, `author`, `message`, `remote_url`, `build_number`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    facts: BTreeMap<String, String>,
}

impl Facts {
    /// Adds a fact, unless its value is empty.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.insert(name.to_owned(), value);
        }
        self
    }

    /// Returns a fact, or an empty text when it is not known.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }
}
