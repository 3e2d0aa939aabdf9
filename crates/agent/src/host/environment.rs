//! The environment of a step.

use std::collections::BTreeMap;

use super::command::DEFAULT_PATH;
use crate::os::account::Account;
use crate::supervise::Order;

/// Set to `true`, it keeps variables with an empty value, as in the original.
const KEEP_EMPTY: &str = "CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS";

/// The environment of a step in a container: nothing of the agent's own, and what is not said is the image's.
pub(crate) fn of_container(order: &Order<'_>) -> BTreeMap<String, String> {
    let own = own(order);
    let given = order.envs.iter().skip(1);
    layered(given.chain([&order.request.environment, &own]))
}

/// The environment of the step that is ordered.
pub(super) fn of(order: &Order<'_>, account: Option<&Account>) -> BTreeMap<String, String> {
    let own = own(order);
    let layers: Vec<_> = order.envs.iter().chain([&order.request.environment, &own]).collect();
    merge(&layers, account)
}

/// The variables that the agent itself gives a step.
fn own(order: &Order<'_>) -> BTreeMap<String, String> {
    let mut env = order.hand_over.env();
    env.insert("KILN_STEP_ID".into(), order.request.id.clone());
    env
}

/// Merges environments, later ones first in rank.
fn layered<'a>(layers: impl IntoIterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in layers.into_iter().flatten() {
        if !name.is_empty() && !name.contains(['=', '\0']) {
            env.insert(name.clone(), value.clone());
        }
    }
    if env.get(KEEP_EMPTY).map(String::as_str) != Some("true") {
        env.retain(|_, value| !value.is_empty());
    }
    env
}

/// Merges environments, and adds what a process of the host needs.
fn merge(layers: &[&BTreeMap<String, String>], account: Option<&Account>) -> BTreeMap<String, String> {
    let mut env = layered(layers.iter().copied());
    env.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    if let Some(account) = account {
        // What the agent's own environment says of its user is wrong for another one.
        let given = |name: &str| layers.iter().skip(1).any(|layer| layer.contains_key(name));
        let facts = [("HOME", &account.home), ("USER", &account.name), ("LOGNAME", &account.name)];
        for (name, fact) in facts {
            if let Some(fact) = fact.as_ref().filter(|_| !given(name)) {
                env.insert(name.into(), fact.clone());
            }
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn later_layers_win_and_empty_values_are_dropped() {
        let env =
            merge(&[&map(&[("A", "1"), ("B", "1"), ("PATH", "/p")]), &map(&[("B", "2"), ("C", ""), ("", "x")])], None);
        assert_eq!(env, map(&[("A", "1"), ("B", "2"), ("PATH", "/p")]));
    }

    #[test]
    fn empty_values_are_kept_on_demand() {
        let env = merge(&[&map(&[("A", ""), (KEEP_EMPTY, "true")])], None);
        assert_eq!(env.get("A").map(String::as_str), Some(""));
    }

    #[test]
    fn another_user_gets_its_own_home() {
        let ann = Account { uid: 7, gid: 7, groups: vec![], name: Some("ann".into()), home: Some("/home/ann".into()) };
        let base = map(&[("HOME", "/root")]);
        assert_eq!(merge(&[&base], Some(&ann))["HOME"], "/home/ann");
        assert_eq!(merge(&[&base, &map(&[("HOME", "/x")])], Some(&ann))["HOME"], "/x");
    }
}
