//! Secrets from the command line, the environment and files.

use std::path::Path;

use anyhow::Context as _;

use crate::exit::Usage;

/// Reads `--secret NAME[=VALUE]` and `--secret-file`; the command line stands over the file.
pub fn read(words: &[String], file: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let mut secrets = words.iter().map(|word| from_word(word)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                // The line itself may be a secret, so it is not shown.
                let place = format!("{}:{}", path.display(), at + 1);
                return Err(Usage(format!("{place}: expected NAME=VALUE")).into());
            };
            secrets.push((name.trim().to_owned(), unquote(value.trim()).to_owned()));
        }
    }
    Ok(secrets)
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

fn unquote(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}
