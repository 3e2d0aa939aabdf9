//! Whose credentials a registry is asked with. A file names them and holds none: they come from the caller's secrets, or from the
//! Docker configuration that the caller named. What is used is told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_pipeline::plan::Credentials;
use kiln_wire::agent::Auth;
use serde_json::Value;

use super::Turn;

/// Docker Hub, as references leave it out.
const DOCKER_HUB: &str = "docker.io";
/// Other names of Docker Hub in configurations.
const DOCKER_HUB_TOO: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// The credentials of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its host, with a port where it has one.
    pub host: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl Turn<'_, '_> {
    /// Returns the credentials for the registry of an image, and tells which they are.
    ///
    /// # Errors
    /// In one line for people.
    pub(super) fn login(&self, credentials: &Credentials, image: &str) -> Result<Option<Auth>, String> {
        let host = registry(image);
        let found = match credentials {
            Credentials::Nobody => None,
            Credentials::Connector(connector) => self.of_connector(&self.text("connectorRef", connector)?, host)?,
            Credentials::Configs(configs) => {
                let mut found = None;
                for config in configs {
                    let text = self.text("image_pull_secrets", config)?;
                    let logins = logins(&text).map_err(|why| {
                        format!("line {}: a secret of `image_pull_secrets` {why}", self.step.location.line)
                    })?;
                    let login = logins.into_iter().find(|login| login.host == host);
                    found = found.or_else(|| login.map(|login| (login, "a secret of `image_pull_secrets`".to_owned())));
                }
                found
            }
        };
        let of_host = || {
            let login = self.stage.run.options.registries.iter().find(|login| login.host == host)?;
            Some((login.clone(), "the Docker configuration that was named".to_owned()))
        };
        let Some((login, source)) = found.or_else(of_host) else {
            if !matches!(credentials, Credentials::Nobody) {
                self.stage.note_once(format!("{host} is asked for images as anybody: no credentials for it are given"));
            }
            return Ok(None);
        };
        // One that a configuration holds is no secret of its own yet.
        self.stage.run.secrets.add(std::iter::once(&login.password));
        self.stage.note_once(format!("{host} is asked for images as {}, by {source}", login.username));
        Ok(Some(Auth { address: login.host, username: login.username, password: login.password }))
    }

    /// Returns the credentials of a connector, where both parts of them are given as secrets.
    pub(super) fn of_connector(&self, connector: &str, host: &str) -> Result<Option<(Login, String)>, String> {
        let secret = |part: &str| self.stage.run.secret(&format!("connectors.{connector}.{part}"));
        let source = format!("the secrets of the connector {connector}");
        match (secret("username"), secret("password")) {
            (Some(username), Some(password)) => Ok(Some((Login { host: host.to_owned(), username, password }, source))),
            (None, None) => Ok(None),
            (username, _) => {
                let (given, missing) =
                    if username.is_some() { ("username", "password") } else { ("password", "username") };
                Err(format!(
                    "the secret connectors.{connector}.{given} is given, and connectors.{connector}.{missing} is not"
                ))
            }
        }
    }
}

/// Returns the host of an image's registry.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => canonical(host),
        _ => DOCKER_HUB,
    }
}

fn canonical(host: &str) -> &str {
    if DOCKER_HUB_TOO.contains(&host) { DOCKER_HUB } else { host }
}

/// Reads the credentials in the text of a Docker configuration (`config.json`). Those that a helper program keeps are left out.
///
/// # Errors
/// What is wrong with it, without any of its content.
pub fn logins(text: &str) -> Result<Vec<Login>, String> {
    let json: Value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
    let auths = json.get("auths").unwrap_or(&json).as_object().ok_or("holds no `auths`")?;
    let mut read = Vec::new();
    for (address, entry) in auths {
        let address = address.trim_start_matches("https://").trim_start_matches("http://");
        let host = canonical(address.split('/').next().unwrap_or_default()).to_owned();
        let field = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let (Some(username), Some(password)) = (field("username"), field("password")) {
            read.push(Login { host, username: username.to_owned(), password: password.to_owned() });
        } else if let Some(auth) = field("auth") {
            let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|pair| pair.split_once(':'));
            let (username, password) =
                pair.ok_or_else(|| format!("has an `auth` for {host} that is no name and password"))?;
            read.push(Login {
                host,
                username: username.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            });
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_images() {
        let check = |image: &str, expect: &str| assert_eq!(registry(image), expect, "{image}");
        check("redis", "docker.io");
        check("library/redis:7", "docker.io");
        check("index.docker.io/library/redis", "docker.io");
        check("localhost/x", "localhost");
        check("127.0.0.1:5000/a/b:1", "127.0.0.1:5000");
        check("quay.io/a/b@sha256:00", "quay.io");
    }

    #[test]
    fn credentials_of_a_docker_configuration() {
        let login = |host: &str, username: &str, password: &str| Login {
            host: host.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
        };
        let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6YTpi"}, "quay.io": {"username": "u", "password": "p"},
            "kept.example": {}}, "credHelpers": {"kept.example": "pass"}}"#;
        assert_eq!(logins(text), Ok(vec![login("docker.io", "me", "a:b"), login("quay.io", "u", "p")]));
        assert_eq!(logins(r#"{"r.example:5000": {"auth": "bWU6cA=="}}"#), Ok(vec![login("r.example:5000", "me", "p")]));
        for broken in
            ["", "[]", r#"{"auths": 1}"#, r#"{"auths": {"a": {"auth": "!"}}}"#, r#"{"auths": {"a": {"auth": "bWU="}}}"#]
        {
            assert!(logins(broken).is_err(), "{broken}");
        }
    }
}
