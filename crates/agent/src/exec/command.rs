//! From a request to the program, its arguments, its environment and its directory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kiln_wire::agent::{StartStepRequest, StepKind};

use super::ExecError;
use super::users::Account;

/// Searched when the agent itself was started without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Set to `true`, it keeps variables with an empty value, as in the original.
const KEEP_EMPTY: &str = "CI_USE_LESS_STRICT_EVALUATION_FOR_MAP_VARS";

/// Entrypoint and commands of a request, by its kind.
pub(super) fn words(request: &StartStepRequest) -> Result<(Vec<String>, Vec<String>), ExecError> {
    if !request.image.is_empty() {
        return Err(ExecError::Unsupported { what: "container steps" });
    }
    let (entrypoint, commands) = match request.kind {
        StepKind::Run => (&request.run.entrypoint, &request.run.commands),
        StepKind::RunTestsV2 => (&request.run_test_v2.entrypoint, &request.run_test_v2.commands),
        StepKind::RunTest => return Err(ExecError::Unsupported { what: "RunTest steps" }),
    };
    if entrypoint.is_empty() {
        return Err(ExecError::NoEntrypoint);
    }
    Ok((entrypoint.clone(), commands.clone()))
}

/// Merges environments, later ones first in rank.
pub(super) fn environment(layers: &[&BTreeMap<String, String>], account: Option<&Account>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in layers.iter().copied().flatten() {
        if !name.is_empty() && !name.contains(['=', '\0']) {
            env.insert(name.clone(), value.clone());
        }
    }
    if env.get(KEEP_EMPTY).map(String::as_str) != Some("true") {
        env.retain(|_, value| !value.is_empty());
    }
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

/// Finds a program as a shell would: on the agent's `PATH`, then on the step's.
pub(super) fn program(name: &str, paths: &[Option<&String>], dir: &Path) -> Result<PathBuf, ExecError> {
    let missing = || ExecError::NoProgram { program: name.into() };
    if name.contains('/') {
        // A relative one starts where the step starts. Whether it can be run is for exec to say.
        return Ok(dir.join(name));
    }
    let default = DEFAULT_PATH.to_owned();
    let given = paths.iter().flatten().copied().filter(|path| !path.is_empty());
    let mut dirs = given.chain([&default]).flat_map(|path| path.split(':')).filter(|dir| dir.starts_with('/'));
    dirs.find_map(|dir| Some(Path::new(dir).join(name)).filter(|path| is_program(path))).ok_or_else(missing)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn later_layers_win_and_empty_values_are_dropped() {
        let env = environment(
            &[&map(&[("A", "1"), ("B", "1"), ("PATH", "/p")]), &map(&[("B", "2"), ("C", ""), ("", "x")])],
            None,
        );
        assert_eq!(env, map(&[("A", "1"), ("B", "2"), ("PATH", "/p")]));
    }

    #[test]
    fn empty_values_are_kept_on_demand() {
        let env = environment(&[&map(&[("A", ""), (KEEP_EMPTY, "true")])], None);
        assert_eq!(env.get("A").map(String::as_str), Some(""));
    }

    #[test]
    fn another_user_gets_its_own_home() {
        let ann = Account { uid: 7, gid: 7, groups: vec![], name: Some("ann".into()), home: Some("/home/ann".into()) };
        let base = map(&[("HOME", "/root")]);
        assert_eq!(environment(&[&base], Some(&ann))["HOME"], "/home/ann");
        assert_eq!(environment(&[&base, &map(&[("HOME", "/x")])], Some(&ann))["HOME"], "/x");
    }

    #[test]
    fn programs() {
        let found = program("sh", &[Some(&"/nowhere:/bin".to_owned())], Path::new("/"));
        assert_eq!(found.ok(), Some("/bin/sh".into()));
        assert!(program("no-such-program", &[None], Path::new("/")).is_err());
        assert_eq!(program("./run", &[None], Path::new("/w")).ok(), Some("/w/./run".into()));
    }
}
