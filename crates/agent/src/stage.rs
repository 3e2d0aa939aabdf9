//! What the agent knows of the one stage it serves.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_wire::agent::{MtlsConfig, SetupRequest, StartStepRequest, TiConfig};

use crate::host::{HostError, make_dir, make_file, make_private};
use crate::os::account::Account;
use crate::services::Services;

/// The variable that tells steps where the client certificate of the stage is.
const CERTIFICATES: &str = "HARNESS_MTLS_CERTS_DIR";
/// Most stages whose exported environment is remembered.
const EXPORTS_KEPT: usize = 64;

/// The stage.
#[derive(Debug, Default)]
pub struct Stage {
    setup: Option<SetupRequest>,
    services: Option<Services>,
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
    pub(crate) fn set(&mut self, request: SetupRequest, services: Services) {
        (self.setup, self.services) = (Some(request), Some(services));
    }

    /// The services of the stage; none before a setup.
    pub(crate) fn services(&self) -> Option<Services> {
        self.services.clone()
    }

    /// What a step has of the stage in its environment.
    pub fn envs(&self, request: &StartStepRequest) -> BTreeMap<String, String> {
        let mut envs = self.setup.as_ref().map(|setup| setup.envs.clone()).unwrap_or_default();
        if let Some(dir) = self.setup.as_ref().and_then(|setup| certificates_dir(&setup.mtls_config)) {
            envs.insert(CERTIFICATES.into(), dir.to_string_lossy().into_owned());
        }
        let of_setup = self.setup.as_ref().map(|setup| &setup.ti_config);
        if let Some(config) = [of_setup, Some(&request.ti_config)].into_iter().flatten().find(|ti| !ti.url.is_empty()) {
            envs.extend(names(config, &request.name));
        }
        envs
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
        if let Some(services) = &self.services {
            services.web.forget();
        }
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
    for file in &request.files {
        make_file(file, account)?;
    }
    if let Some((path, text)) = netrc(request, home) {
        make_private(Path::new(&path), text.as_bytes(), account)?;
    }
    if let Some(dir) = certificates_dir(&request.mtls_config) {
        store_certificates(&request.mtls_config, dir, account)?;
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

/// How the platform calls what runs here, for its tools. They are not told of the test service itself, whose token is
/// the agent's.
fn names(config: &TiConfig, step: &str) -> [(String, String); 8] {
    [
        ("HARNESS_ACCOUNT_ID", config.account_id.as_str()),
        ("HARNESS_ORG_ID", &config.org_id),
        ("HARNESS_PROJECT_ID", &config.project_id),
        ("HARNESS_PIPELINE_ID", &config.pipeline_id),
        ("HARNESS_STAGE_ID", &config.stage_id),
        ("HARNESS_BUILD_ID", &config.build_id),
        ("HARNESS_STEP_ID", step),
        ("HARNESS_INFRA", "VM"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Path and text of the credentials for git, when the stage asks to keep them.
fn netrc(request: &SetupRequest, home: Option<&String>) -> Option<(String, String)> {
    let get = |name: &str| request.envs.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if get("DRONE_PERSIST_CREDS")? != "true" {
        return None;
    }
    let (machine, login) = (get("DRONE_NETRC_MACHINE")?, get("DRONE_NETRC_USERNAME")?);
    let password = get("DRONE_NETRC_PASSWORD").unwrap_or("");
    let text = format!("machine {machine} login {login} password {password}\n");
    Some((format!("{}/.netrc", home.map_or("/root", String::as_str)), text))
}

/// Where the client certificate of a stage is stored for its steps; none when it is not.
fn certificates_dir(mtls: &MtlsConfig) -> Option<&Path> {
    let MtlsConfig { client_cert, client_cert_key, client_cert_dir_path } = mtls;
    let given = [client_cert, client_cert_key, client_cert_dir_path].iter().all(|text| !text.is_empty());
    given.then(|| Path::new(client_cert_dir_path))
}

/// Stores it, so that the steps' user alone can read the key.
fn store_certificates(mtls: &MtlsConfig, dir: &Path, account: Option<&Account>) -> Result<(), HostError> {
    for (name, text) in [("client.crt", &mtls.client_cert), ("client.key", &mtls.client_cert_key)] {
        let path = dir.join(name);
        // It was decoded before, when the services were looked at.
        let data = STANDARD.decode(text.trim()).map_err(io::Error::other);
        let data = data.map_err(|source| HostError::File { path: path.clone(), source })?;
        make_private(&path, &data, account)?;
    }
    Ok(())
}
