//! What registries have.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol, linux_amd64_resolver};
use oci_client::errors::{OciDistributionError as Oci, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::credentials;
use super::error::ContainerError;
use super::preload::Pull;
use super::reference::{check_mirror, check_registry, is_loopback, parse};
use crate::host::aside;

/// A registry that is not reached within this does not answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Nor does one that sends nothing for this long.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Docker's own registry, which mirrors are for.
const DOCKER_HUB: &str = "docker.io";

/// The host's loopback, as VMs reach it.
pub(super) const HOST_IN_VMS: &str = "10.0.2.2";
const LOOPBACK: &str = "127.0.0.1";

/// A client of all registries.
pub(super) struct Registries {
    client: Client,
    auth: BTreeMap<String, RegistryAuth>,
    mirror: Option<String>,
}

/// A container image as its registry has it.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Its name in full.
    pub(super) name: String,
    pub(super) reference: Reference,
    pub(super) manifest: OciImageManifest,
    /// Digest of the manifest.
    pub(super) digest: String,
}

impl Registries {
    /// Makes a client for these images. Reads credentials where they are allowed.
    pub(super) async fn new(names: &[Reference], pull: &Pull) -> Result<Self, crate::QemuError> {
        kiln_tls::install_provider();
        for registry in &pull.insecure {
            check_registry(registry)?;
        }
        let mut plain: Vec<String> = pull.insecure.iter().map(|registry| from_here(registry)).collect();
        let mut mirror = None;
        if let Some(url) = &pull.mirror {
            let (host, is_plain) = check_mirror(url)?;
            let host = from_here(&host);
            plain.extend(is_plain.then(|| host.clone()));
            mirror = Some(host);
        }
        let registries = names.iter().map(|name| name.registry().to_owned());
        plain.extend(registries.clone().map(|registry| from_here(&registry)).filter(|registry| is_loopback(registry)));
        let mut auth = BTreeMap::new();
        if let Some(path) = &pull.docker_config {
            for registry in registries {
                let (path, of) = (path.clone(), registry.clone());
                let found = aside(move || Ok(credentials::of_registry(&path, &of)?)).await?;
                auth.insert(registry, found);
            }
        }
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            platform_resolver: Some(Box::new(linux_amd64_resolver)),
            connect_timeout: Some(CONNECT_LIMIT),
            read_timeout: Some(STALL_LIMIT),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| crate::QemuError::Invalid(error.to_string()))?;
        Ok(Self { client, auth, mirror })
    }

    /// Asks for the image of that name, for Linux on amd64.
    pub(super) async fn resolve(&self, name: &Reference) -> Result<Resolved, ContainerError> {
        let mut reference = name.clone();
        match (&self.mirror, name.registry()) {
            (Some(mirror), DOCKER_HUB) => reference.set_mirror_registry(mirror.clone()),
            (None, DOCKER_HUB) => {}
            (_, registry) => {
                let here = from_here(registry);
                if here != registry {
                    reference.set_mirror_registry(here);
                }
            }
        }
        let anonymous = RegistryAuth::Anonymous;
        let auth = self.auth.get(name.registry()).unwrap_or(&anonymous);
        let found = self.client.pull_image_manifest(&reference, auth).await;
        let (manifest, digest) = found.map_err(|error| self.told(&reference, error))?;
        let name = name.whole();
        Ok(Resolved { name, reference, manifest, digest })
    }

    /// Fetches a part of an image into a file, and checks its digest.
    pub(super) async fn fetch(&self, of: &Resolved, part: &OciDescriptor, to: &Path) -> Result<(), crate::QemuError> {
        let file = tokio::fs::File::create(to).await.map_err(crate::QemuError::io("create", to))?;
        match self.client.pull_blob(&of.reference, part, file).await {
            Ok(()) => Ok(()),
            Err(Oci::IoError(source)) => Err(crate::QemuError::io("write", to)(source)),
            Err(error) => Err(self.told(&of.reference, error).into()),
        }
    }

    fn told(&self, of: &Reference, error: Oci) -> ContainerError {
        let (reference, registry) = (of.whole(), of.resolve_registry().to_owned());
        let denied = || {
            let known = self.auth.get(of.registry()).is_some_and(|auth| *auth != RegistryAuth::Anonymous);
            let who = if known { "the user of the Docker configuration" } else { "somebody unknown" };
            let allow = "`--host-credentials`, or `host_credentials: true` in the pool's spec";
            ContainerError::Denied { reference: reference.clone(), who, allow }
        };
        match error {
            Oci::ImageManifestNotFoundError(_) | Oci::ServerError { code: 404, .. } => {
                ContainerError::Unknown(reference)
            }
            Oci::UnauthorizedError { .. }
            | Oci::AuthenticationFailure(_)
            | Oci::ServerError { code: 401 | 403, .. } => denied(),
            Oci::ServerError { code: code @ (429 | 500..=599), .. } => {
                ContainerError::Busy { registry, reference, answer: format!("status {code}") }
            }
            Oci::RegistryError { ref envelope, .. } => match envelope.errors.first().map(|first| &first.code) {
                Some(OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound) => {
                    ContainerError::Unknown(reference)
                }
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => denied(),
                Some(OciErrorCode::Toomanyrequests) => {
                    ContainerError::Busy { registry, reference, answer: "too many requests".to_owned() }
                }
                _ => ContainerError::Unusable { reference, reason: error.to_string() },
            },
            Oci::RequestError(source) => {
                ContainerError::Unreachable { registry, reference, source: source.without_url().into() }
            }
            other => ContainerError::Unusable { reference, reason: other.to_string() },
        }
    }
}

/// Returns how this host reaches a registry that VMs know by this name.
fn from_here(registry: &str) -> String {
    match registry.split_once(':') {
        _ if registry == HOST_IN_VMS => LOOPBACK.to_owned(),
        Some((HOST_IN_VMS, port)) => format!("{LOOPBACK}:{port}"),
        Some(_) | None => registry.to_owned(),
    }
}

/// Reads the names of container images; each one once.
pub(super) fn read_names(texts: &[String]) -> Result<Vec<Reference>, ContainerError> {
    let mut names = BTreeMap::new();
    for text in texts {
        let name = parse(text)?;
        names.insert(name.whole(), name);
    }
    Ok(names.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_on_this_host_has_another_name_here() {
        for (name, expect) in [
            ("10.0.2.2", "127.0.0.1"),
            ("10.0.2.2:5000", "127.0.0.1:5000"),
            ("10.0.2.20:5000", "10.0.2.20:5000"),
            ("registry.example", "registry.example"),
        ] {
            assert_eq!(from_here(name), expect);
        }
    }

    #[test]
    fn names_are_read_once_each() {
        let texts = ["b:1", "docker.io/library/a", "a:latest"].map(str::to_owned);
        let names: Vec<String> = read_names(&texts).expect("names").into_iter().map(|name| name.whole()).collect();
        assert_eq!(names, ["docker.io/library/a:latest", "docker.io/library/b:1"]);
    }
}
