//! Credentials of the host's own Docker configuration, for those who allow their use.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use docker_credential::{CredentialRetrievalError as Trouble, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::error::ContainerError;

/// What Docker calls its own registry in its configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Returns what `docker login` has left for a registry in the configuration file `path`; anonymous where that is nothing. May
/// run the credential helper that the file names.
pub(super) fn of_registry(path: &Path, registry: &str) -> Result<RegistryAuth, ContainerError> {
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(unusable(registry, format!("{} cannot be read: {error}", path.display()))),
    };
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
    match docker_credential::get_credential_from_reader(file, server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(unusable(
            registry,
            "an identity token is there, which only Docker can use: log in with a user name and a password or token"
                .to_owned(),
        )),
        Err(Trouble::NoCredentialConfigured | Trouble::ConfigNotFound) => Ok(RegistryAuth::Anonymous),
        // What a helper prints may hold the secret.
        Err(Trouble::HelperFailure { helper, .. }) => Err(unusable(registry, format!("`{helper} get` failed"))),
        Err(
            error @ (Trouble::HelperCommunicationError
            | Trouble::MalformedHelperResponse
            | Trouble::CredentialDecodingError
            | Trouble::CredentialMismatchError
            | Trouble::ConfigReadError),
        ) => Err(unusable(registry, error.to_string())),
    }
}

fn unusable(registry: &str, reason: String) -> ContainerError {
    ContainerError::Credentials { registry: registry.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_login_left_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.json");
        let check = |text: &str, registry: &str, expect: Result<RegistryAuth, &str>| {
            std::fs::write(&path, text).expect("write");
            match (of_registry(&path, registry), expect) {
                (Ok(found), Ok(expect)) => assert!(found == expect, "{text}: {found:?}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        let basic = || Ok(RegistryAuth::Basic("me".to_owned(), "s3cret".to_owned()));
        let of = |server: &str| format!("{{\"auths\": {{\"{server}\": {{\"auth\": \"bWU6czNjcmV0\"}}}}}}");
        check(&of("registry.example:5000"), "registry.example:5000", basic());
        check(&of(DOCKER_HUB), "docker.io", basic());
        check(&of("other.example"), "registry.example", Ok(RegistryAuth::Anonymous));
        check("{}", "registry.example", Ok(RegistryAuth::Anonymous));
        check("{", "registry.example", Err("Unable to read config"));
        check(r#"{"credHelpers": {"a.example": "not-there"}}"#, "a.example", Err("credential helper"));
        let none = of_registry(&dir.path().join("none"), "a.example").expect("no configuration");
        assert!(none == RegistryAuth::Anonymous);
    }
}
