//! The way to a runner, from the command line's arguments, and errors of calls to it.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use kiln_runner_client::{BadSetting, Runner, RunnerError};

use crate::args::operator::{Access, Asking};
use crate::exit::Usage;

/// The variable with the token when there is no file. There is no option for it, because command lines are public on a
/// machine.
const TOKEN_VARIABLE: &str = "KILN_RUNNER_TOKEN";
/// Size of the largest token or certificate file.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Returns the runner that a command calls. It connects at the first call.
pub fn asked(asking: &Asking) -> Result<Runner, RunnerError> {
    at(&asking.url, &asking.access)
}

/// Returns the runner at a URL. It connects at the first call.
pub fn at(url: &str, access: &Access) -> Result<Runner, RunnerError> {
    let token = token(access.token_file.as_deref(), std::env::var_os(TOKEN_VARIABLE))?;
    let authority_pem = access.runner_ca.as_deref().map(read).transpose()?;
    let identity_pem = match (&access.runner_cert, &access.runner_key) {
        (Some(certificate), Some(key)) => Some(format!("{}\n{}", read(certificate)?, read(key)?)),
        _ => None,
    };
    let (token, place) = token.unzip();
    let shown = kiln_runner_client::Access { token, authority_pem, identity_pem };
    let shows =
        |path: &Option<std::path::PathBuf>| path.as_deref().map(|p| p.display().to_string()).unwrap_or_default();
    Runner::new(url, &shown).map_err(|error| match error {
        RunnerError::Setting(BadSetting::Token) => {
            file(format!("{} holds no token: a token is one line of text", place.unwrap_or_default()))
        }
        RunnerError::Setting(BadSetting::Authority) => {
            file(format!("{} holds no certificate in PEM", shows(&access.runner_ca)))
        }
        RunnerError::Setting(BadSetting::Identity) => file(format!(
            "{} and {} are not a certificate and its key in PEM",
            shows(&access.runner_cert),
            shows(&access.runner_key)
        )),
        error => error,
    })
}

/// Returns the token and its origin: the file, or else the variable.
fn token(file_with: Option<&Path>, variable: Option<OsString>) -> Result<Option<(String, String)>, RunnerError> {
    let (token, place) = match (file_with, variable) {
        (Some(path), _) => (read(path)?, path.display().to_string()),
        (None, Some(value)) => (value.to_string_lossy().into_owned(), TOKEN_VARIABLE.to_owned()),
        (None, None) => return Ok(None),
    };
    let token = token.trim();
    if token.is_empty() {
        return Err(file(format!("{place} is empty; it must contain the runner's token")));
    }
    Ok(Some((token.to_owned(), place)))
}

fn read(path: &Path) -> Result<String, RunnerError> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES).read_to_string(&mut text));
    read.map_err(|error| file(format!("could not read {}: {error}", path.display())))?;
    Ok(text)
}

fn file(message: String) -> RunnerError {
    Usage(message).into()
}

impl From<Usage> for RunnerError {
    fn from(Usage(message): Usage) -> Self {
        BadSetting::Argument(message).into()
    }
}

/// A failed call with advice for the caller.
#[derive(Debug)]
struct Told {
    error: RunnerError,
    advice: String,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.error, self.advice)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Returns the error as the program reports it. An error that the caller can correct by calling differently is wrong
/// usage.
pub fn report(error: RunnerError) -> anyhow::Error {
    let advice = advice(&error);
    match error {
        RunnerError::Setting(_) | RunnerError::Unauthorized { .. } | RunnerError::Refused { status: 400..500, .. } => {
            Usage(format!("{error}{advice}")).into()
        }
        error => Told { error, advice }.into(),
    }
}

/// Returns advice. A runner that requires a certificate and gets none closes the connection without a message.
fn advice(error: &RunnerError) -> String {
    match error {
        RunnerError::Absent { .. } => "; start one with `kiln runner --pool FILE`, or name another with --runner".into(),
        RunnerError::Connection { url, .. } if url.starts_with("https:") => {
            "; it may have a certificate of an authority that only --runner-ca can name, want a certificate of ours (--runner-cert \
             and --runner-key), or speak plain HTTP (http://)"
                .into()
        }
        RunnerError::Connection { .. } => "; it may speak HTTPS only (https://)".into(),
        RunnerError::Unauthorized { url, .. } => {
            format!("; give {url} its token with --token-file FILE or in the variable {TOKEN_VARIABLE}")
        }
        RunnerError::Stranger { .. } => "; name another with --runner".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_token(file: Option<&str>, variable: Option<&str>, expected: Result<Option<&str>, &str>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        if let Some(content) = file {
            std::fs::write(&path, content).expect("written");
        }
        let found = token(file.map(|_| path.as_path()), variable.map(OsString::from));
        let found = found.map(|found| found.map(|(token, _)| token));
        let expected = expected.map(|token| token.map(str::to_owned));
        assert_eq!(
            found.map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE")),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn tokens() {
        check_token(None, None, Ok(None));
        check_token(None, Some("abc"), Ok(Some("abc")));
        check_token(Some("abc\n"), Some("other"), Ok(Some("abc")));
        check_token(Some("\n"), None, Err("FILE is empty; it must contain the runner's token"));
        check_token(None, Some(""), Err("KILN_RUNNER_TOKEN is empty; it must contain the runner's token"));
    }
}
