//! How what the agent makes in an engine is told from everything else there.

use std::collections::{BTreeMap, HashMap};

/// On each container, network and volume: with what the marks of the steps of the agent begin that made it.
pub(super) const OWNER: &str = "io.kiln.agent";
/// On a container: the mark of its step.
pub(super) const STEP: &str = "io.kiln.step";

/// Labels of something of this owner.
pub(super) fn of(given: &BTreeMap<String, String>, owner: &str) -> HashMap<String, String> {
    let own = [(OWNER.to_owned(), owner.to_owned())];
    given.iter().map(|(name, value)| (name.clone(), value.clone())).chain(own).collect()
}

/// The filter for what has these labels; a label without a value stands for any.
pub(super) fn filter(labels: impl IntoIterator<Item = String>) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.into_iter().collect())])
}

/// The label of what belongs to an owner, or to any.
pub(super) fn owned_by(owner: Option<&str>) -> String {
    owner.map_or_else(|| OWNER.to_owned(), |owner| format!("{OWNER}={owner}"))
}

/// The name of the container of a step.
pub(super) fn container_name(mark: &str) -> String {
    format!("kiln-{mark}")
}
