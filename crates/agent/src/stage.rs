//! What the agent knows of the one stage it serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kiln_wire::agent::{File, SetupRequest};

use crate::host::{HostError, make_dir, make_file};
use crate::os::account::Account;

/// Most stages whose exported environment is remembered.
const EXPORTS_KEPT: usize = 64;

/// The stage.
#[derive(Debug, Default)]
pub struct Stage {
    setup: Option<SetupRequest>,
    /// As its caller names it; empty when it does not.
    epoch: String,
    exports: BTreeMap<String, BTreeMap<String, String>>,
}

impl Stage {
    /// Whether a stage was ever set up.
    pub fn is_set_up(&self) -> bool {
        self.setup.is_some()
    }

    /// Whether this is the setup that was done already.
    pub fn is_same(&self, request: &SetupRequest) -> bool {
        self.setup.as_ref() == Some(request)
    }

    /// How its caller names it; empty when it does not, or there is none yet.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Takes its name over, unless it is empty.
    pub fn name(&mut self, epoch: &str) {
        if !epoch.is_empty() {
            epoch.clone_into(&mut self.epoch);
        }
    }

    /// Takes a setup.
    pub fn set(&mut self, request: SetupRequest) {
        self.setup = Some(request);
    }

    /// Environment of every step.
    pub fn envs(&self) -> BTreeMap<String, String> {
        self.setup.as_ref().map(|setup| setup.envs.clone()).unwrap_or_default()
    }

    /// What earlier steps of a stage exported.
    pub fn exports(&self, stage_runtime_id: &str) -> BTreeMap<String, String> {
        self.exports.get(stage_runtime_id).cloned().unwrap_or_default()
    }

    /// Remembers what a step exported.
    pub fn export(&mut self, stage_runtime_id: &str, envs: BTreeMap<String, String>) {
        if stage_runtime_id.is_empty() || envs.is_empty() {
            return;
        }
        if self.exports.len() >= EXPORTS_KEPT && !self.exports.contains_key(stage_runtime_id) {
            self.exports.pop_first();
        }
        self.exports.entry(stage_runtime_id.to_owned()).or_default().extend(envs);
    }

    /// Ends a stage: removes the volumes that are to be removed, and forgets its exports.
    pub fn end(&mut self, stage_runtime_id: &str) {
        self.exports.remove(stage_runtime_id);
        let volumes = self.setup.iter().flat_map(|setup| &setup.volumes).filter_map(|v| v.host.as_ref());
        for volume in volumes.filter(|volume| volume.remove) {
            let path = Path::new(&volume.path);
            // The root and relative paths are mistakes, not volumes.
            if path.is_absolute() && path.parent().is_some() {
                drop(fs::remove_dir_all(path));
            }
        }
    }
}

/// Makes the files and directories of a setup, for steps that run as this account if they do not say otherwise.
pub(crate) fn prepare(
    request: &SetupRequest,
    engine_dir: &Path,
    home: Option<&String>,
    account: Option<&Account>,
) -> Result<(), HostError> {
    // Steps of any user put files there; the sticky bit keeps them from removing each other's.
    make_dir(engine_dir, 0o1777)?;
    for file in request.files.iter().chain(netrc(request, home).iter()) {
        make_file(file, account)?;
    }
    for volume in request.volumes.iter().filter_map(|volume| volume.host.as_ref()) {
        let path = Path::new(&volume.path);
        // Only directories that are missing are made, and only those are opened to all. A socket that is missing, as
        // that of a container engine, must not become a directory: the engine could not start any more.
        if !volume.path.is_empty() && !path.exists() && path.extension().is_none_or(|e| e != "sock") {
            make_dir(path, 0o777)?;
        }
    }
    Ok(())
}

/// Credentials for git, when the stage asks to keep them.
fn netrc(request: &SetupRequest, home: Option<&String>) -> Option<File> {
    let get = |name: &str| request.envs.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if get("DRONE_PERSIST_CREDS")? != "true" {
        return None;
    }
    let (machine, login) = (get("DRONE_NETRC_MACHINE")?, get("DRONE_NETRC_USERNAME")?);
    let password = get("DRONE_NETRC_PASSWORD").unwrap_or("");
    let data = format!("machine {machine} login {login} password {password}\n");
    let path = format!("{}/.netrc", home.map_or("/root", String::as_str));
    Some(File { path, data, mode: 0o600, is_dir: false })
}
