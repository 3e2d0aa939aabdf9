//! From a request to the program and its arguments.

use std::path::{Path, PathBuf};

use kiln_wire::agent::{StartStepRequest, StepKind};

use super::HostError;
use crate::os::files::is_program;

/// Searched when the agent itself was started without a `PATH`.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Entrypoint and commands of a request, by its kind. In a container the image may have them.
pub(crate) fn words(request: &StartStepRequest) -> Result<(Vec<String>, Vec<String>), HostError> {
    let (entrypoint, commands) = match request.kind {
        StepKind::Run => (&request.run.entrypoint, &request.run.commands),
        StepKind::RunTestsV2 => (&request.run_test_v2.entrypoint, &request.run_test_v2.commands),
        StepKind::RunTest => return Err(HostError::Unsupported { what: "RunTest steps" }),
    };
    if entrypoint.is_empty() && request.image.is_empty() {
        return Err(HostError::NoEntrypoint);
    }
    Ok((entrypoint.clone(), commands.clone()))
}

/// Finds a program as a shell would: on the agent's `PATH`, then on the step's.
pub(super) fn program(name: &str, paths: &[Option<&String>], dir: &Path) -> Result<PathBuf, HostError> {
    let missing = || HostError::NoProgram { program: name.into() };
    if name.contains('/') {
        // A relative one starts where the step starts. Whether it can be run is for exec to say.
        return Ok(dir.join(name));
    }
    let default = DEFAULT_PATH.to_owned();
    let given = paths.iter().flatten().copied().filter(|path| !path.is_empty());
    let mut dirs = given.chain([&default]).flat_map(|path| path.split(':')).filter(|dir| dir.starts_with('/'));
    dirs.find_map(|dir| Some(Path::new(dir).join(name)).filter(|path| is_program(path))).ok_or_else(missing)
}

/// Whether a program of that name is in one of the usual directories.
pub(crate) fn is_installed(name: &str) -> bool {
    program(name, &[], Path::new("/")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs() {
        let found = program("sh", &[Some(&"/nowhere:/bin".to_owned())], Path::new("/"));
        assert_eq!(found.ok(), Some("/bin/sh".into()));
        assert!(program("no-such-program", &[None], Path::new("/")).is_err());
        assert_eq!(program("./run", &[None], Path::new("/w")).ok(), Some("/w/./run".into()));
    }
}
