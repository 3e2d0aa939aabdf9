//! Secrets from the command line, the environment and files.

mod file;

use std::path::Path;

use anyhow::Context as _;
use kiln_executor::Login;

use crate::exit::Usage;

/// Reads `--secret NAME[=VALUE]` and `--secret-file`. The command line overrides the file.
pub fn read(words: &[String], file: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let mut secrets = words.iter().map(|word| from_word(word)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let read = file::parse(&text);
        secrets.extend(read.map_err(|error| Usage(format!("{}:{}: {}", path.display(), error.line, error.kind)))?);
    }
    Ok(secrets)
}

/// Reads the credentials of registries in a Docker configuration.
pub fn logins(path: &Path) -> anyhow::Result<Vec<Login>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    kiln_executor::logins(&text).map_err(|why| Usage(format!("--docker-config {} {why}", path.display())).into())
}

fn from_word(word: &str) -> anyhow::Result<(String, String)> {
    if let Some((name, value)) = word.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    match std::env::var(word) {
        Ok(value) => Ok((word.to_owned(), value)),
        Err(_) => {
            Err(Usage(format!("--secret {word}: no such environment variable; or give --secret {word}=VALUE")).into())
        }
    }
}
