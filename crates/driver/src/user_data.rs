//! The cloud-init user data that turns a stock cloud image into an instance with an agent.
//!
//! The same text serves EC2 and local VMs. It holds the instance's own server key and no other secret. The document is
//! JSON, which is YAML to cloud-init, so no quoting rule of YAML can be got wrong.
//!
//! ```text
//! cloud-init ─► bootstrap.sh ─► kiln-agent.service (port 9079, Restart=always, own delegated cgroup)
//!                          └──► kiln-settled.service ─► "kiln: settled" on the console
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

/// The agent's port inside an instance; the same as lite-engine's.
pub const AGENT_PORT: u16 = 9079;
/// EC2's limit on user data, in bytes before base64.
pub const MAX_USER_DATA_BYTES: usize = 16 * 1024;
/// The line that an instance writes on its console when its first boot has finished.
pub const SETTLED_LINE: &str = "kiln: settled";
/// Name of the agent's file on a seed disk.
pub const AGENT_FILE_ON_SEED: &str = "kiln-agent";
/// Label of a seed disk, as cloud-init's NoCloud source expects it.
pub const SEED_LABEL: &str = "CIDATA";

const BOOTSTRAP: &str = include_str!("../assets/bootstrap.sh");
const SETTLED: &str = include_str!("../assets/settled.sh");
const AGENT_UNIT: &str = include_str!("../assets/kiln-agent.service");
const SETTLED_UNIT: &str = include_str!("../assets/kiln-settled.service");
const MAX_AGE_SERVICE: &str = "[Unit]\nDescription=Ends an instance that outlived its maximum age\n\n\
                               [Service]\nType=oneshot\nExecStart=/bin/systemctl poweroff --no-wall\n";

/// The data for an instance's first boot.
#[derive(Debug, Clone)]
pub struct UserData {
    /// The certificate authority of the clients that the agent serves, PEM.
    pub ca_pem: String,
    /// The instance's server certificate, PEM.
    pub server_cert_pem: String,
    /// The key of that certificate, PEM. The only secret in the document.
    pub server_key_pem: String,
    /// SHA-256 of the agent's binary, 64 lower-case hexadecimal digits.
    pub agent_sha256: String,
    /// The URL of the agent, for an instance where it is neither installed nor on a seed disk.
    pub agent_url: Option<String>,
    /// Time without an authenticated call after which the agent powers the instance off. None: never.
    pub lease: Option<Duration>,
    /// Age at which the instance powers itself off. None: never.
    pub max_age: Option<Duration>,
    /// Further settings of the agent, by the names of its environment.
    pub agent_env: BTreeMap<String, String>,
    /// What the Docker Engine is told, where the image has one.
    pub engine: Engine,
}

/// Settings of the Docker Engine in an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Engine {
    /// URLs of registries that are asked for images of Docker Hub before that is.
    pub registry_mirrors: Vec<String>,
    /// Registries, as `HOST:PORT`, that may be spoken to without TLS.
    pub insecure_registries: Vec<String>,
}

impl Engine {
    /// Its configuration file; none where there is nothing to say, so that the image's own stays.
    fn file(&self) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let mut object = json!({});
        for (key, values) in
            [("registry-mirrors", &self.registry_mirrors), ("insecure-registries", &self.insecure_registries)]
        {
            if !values.is_empty() {
                object[key] = json!(values);
            }
        }
        Some(format!("{object}\n"))
    }
}

/// The reason why user data cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserDataError {
    /// The document is larger than [`MAX_USER_DATA_BYTES`].
    #[error(
        "the user data is {bytes} bytes and the limit is {MAX_USER_DATA_BYTES}: shorten the agent's extra settings"
    )]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// The digest has not 64 hexadecimal digits.
    #[error("`{0}` is not a SHA-256: give the 64 hexadecimal digits that sha256sum prints for the agent's binary")]
    BadSha256(String),
    /// A setting cannot be written to an env file.
    #[error(
        "the agent's setting `{0}` cannot be put in an env file: use A-Z, 0-9 and _ in the name, one line in the value"
    )]
    BadSetting(String),
    /// A URL has characters with a meaning to a shell.
    #[error("`{0}` is not a URL for the agent: give http:// or https:// without spaces or quotes")]
    BadUrl(String),
}

impl UserData {
    /// Returns the document: `#cloud-config` and one JSON object.
    ///
    /// # Errors
    /// When a value cannot be written, or the document is too long for EC2.
    pub fn render(&self) -> Result<String, UserDataError> {
        let sha256 = &self.agent_sha256;
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(UserDataError::BadSha256(sha256.clone()));
        }
        let mut files = vec![
            file("/etc/kiln/ca-cert.pem", "0644", &self.ca_pem),
            file("/etc/kiln/server-cert.pem", "0644", &self.server_cert_pem),
            file("/etc/kiln/server-key.pem", "0600", &self.server_key_pem),
            file("/etc/kiln/agent.env", "0600", &self.env_file()?),
            file("/etc/kiln/bootstrap.conf", "0644", &self.bootstrap_conf()?),
            file("/etc/kiln/bootstrap.sh", "0755", BOOTSTRAP),
            file("/etc/kiln/settled.sh", "0755", SETTLED),
            file("/etc/systemd/system/kiln-agent.service", "0644", AGENT_UNIT),
            file("/etc/systemd/system/kiln-settled.service", "0644", SETTLED_UNIT),
        ];
        // cloud-init writes it before the network is up, and the engine starts after that.
        files.extend(self.engine.file().map(|text| file("/etc/docker/daemon.json", "0644", &text)));
        if let Some(age) = self.max_age {
            let timer = format!(
                "[Unit]\nDescription=Maximum age of this instance\n\n[Timer]\nOnActiveSec={}s\nAccuracySec=1s\n",
                age.as_secs()
            );
            files.push(file("/etc/systemd/system/kiln-max-age.service", "0644", MAX_AGE_SERVICE));
            files.push(file("/etc/systemd/system/kiln-max-age.timer", "0644", &timer));
        }
        let document = json!({
            "package_update": false,
            "package_upgrade": false,
            "ssh_pwauth": false,
            "write_files": files,
            "runcmd": [["sh", "/etc/kiln/bootstrap.sh"]],
        });
        let text = format!("#cloud-config\n{document}\n");
        if text.len() > MAX_USER_DATA_BYTES {
            return Err(UserDataError::TooLong { bytes: text.len() });
        }
        Ok(text)
    }

    fn env_file(&self) -> Result<String, UserDataError> {
        let mut env = BTreeMap::from([
            ("HTTPS_BIND", format!(":{AGENT_PORT}")),
            ("SERVER_CERT_FILE", "/etc/kiln/server-cert.pem".to_owned()),
            ("SERVER_KEY_FILE", "/etc/kiln/server-key.pem".to_owned()),
            // In server mode this variable names the authority of the clients. The name is lite-engine's choice.
            ("CLIENT_CERT_FILE", "/etc/kiln/ca-cert.pem".to_owned()),
            ("SKIP_PREPARE_SERVER", "true".to_owned()),
            // Whoever launches machines by this text may say otherwise, in it or by a claim.
            ("KILN_DOCKER_SOCKET", "false".to_owned()),
        ]);
        if let Some(lease) = self.lease {
            env.insert("KILN_LEASE_S", lease.as_secs().to_string());
        }
        for (name, value) in &self.agent_env {
            let name_ok =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if !name_ok || value.contains(['\n', '\r', '\0', '\'', '"', '\\', '$', '#']) {
                return Err(UserDataError::BadSetting(name.clone()));
            }
            env.insert(name, value.clone());
        }
        Ok(env.iter().map(|(name, value)| format!("{name}={value}\n")).collect())
    }

    fn bootstrap_conf(&self) -> Result<String, UserDataError> {
        let url = self.agent_url.as_deref().unwrap_or_default();
        let scheme_ok = url.is_empty() || url.starts_with("https://") || url.starts_with("http://");
        if !scheme_ok || url.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\$`".contains(c)) {
            return Err(UserDataError::BadUrl(url.to_owned()));
        }
        let max_age = self.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default();
        Ok(format!("KILN_AGENT_SHA256='{}'\nKILN_AGENT_URL='{url}'\nKILN_MAX_AGE_S='{max_age}'\n", self.agent_sha256))
    }
}

fn file(path: &str, mode: &str, content: &str) -> serde_json::Value {
    json!({ "path": path, "permissions": mode, "owner": "root:root", "content": content })
}
