//! What an image of the registry is.

use serde_json::{Value, json};

use super::Reference;
use crate::layers::Layer;

/// Where Debian and its like keep whom they trust.
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";
/// Folders of programs, as in most images.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image: layers of real tools, perhaps files of its own over them, and how it starts.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name.
    pub reference: Reference,
    /// Its layers, from the lowest.
    pub layers: Vec<Layer>,
    /// Files over them: path, mode, content.
    pub files: Vec<(String, u32, Vec<u8>)>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: Vec<String>,
    volumes: Vec<String>,
}

impl Image {
    /// An image of these layers, which starts a shell.
    #[must_use]
    pub fn new(name: &str, layers: &[Layer]) -> Self {
        Self {
            reference: Reference::parse(name),
            layers: layers.to_vec(),
            files: Vec::new(),
            entrypoint: Vec::new(),
            command: vec!["sh".to_owned()],
            environment: vec![PATH.to_owned()],
            volumes: Vec::new(),
        }
    }

    /// With a file of its own; a script where it begins like one.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        self.files.push((path.to_owned(), mode, content.as_bytes().to_vec()));
        self
    }

    /// With a program that it starts.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self.command = Vec::new();
        self
    }

    /// With arguments that it starts with.
    #[must_use]
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// With a folder that is a volume of its own.
    #[must_use]
    pub fn volume(mut self, path: &str) -> Self {
        self.volumes.push(path.to_owned());
        self
    }

    /// Lets its programs trust an authority, and nobody else.
    pub(super) fn trust(&mut self, authority: &str) {
        self.files.push((TRUSTED.to_owned(), 0o644, authority.as_bytes().to_vec()));
    }

    /// Its configuration, with the digests of its layers.
    pub(super) fn config(&self, diffs: &[String]) -> Value {
        let volumes: serde_json::Map<_, _> = self.volumes.iter().map(|path| (path.clone(), json!({}))).collect();
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": self.environment,
                "Entrypoint": if self.entrypoint.is_empty() { Value::Null } else { json!(self.entrypoint) },
                "Cmd": if self.command.is_empty() { Value::Null } else { json!(self.command) },
                "Volumes": volumes,
            },
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": diffs.iter().map(|_| json!({"created_by": "tests"})).collect::<Vec<_>>(),
        })
    }
}
