//! From what the command line says to a client.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Identity, Url};

use super::{CONNECT_WITHIN, RunnerError};
use crate::args::operator::Access;
use crate::exit::Usage;

/// The variable that holds the token when no file does. There is no option for it: command lines are public on a machine.
pub(super) const TOKEN_VARIABLE: &str = "KILN_RUNNER_TOKEN";
/// Longer files hold something else.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// A stream that is silent for this long is dead: a living one says so every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The client for all questions; a patient one waits for an answer as long as it takes.
pub(super) fn client(access: &Access, patient: bool) -> Result<reqwest::Client, RunnerError> {
    // A redirect would carry the token somewhere else, and a proxy has no business between us and a runner on loopback.
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN);
    if patient {
        let token = token(access.token_file.as_deref(), std::env::var_os(TOKEN_VARIABLE))?;
        builder = builder.default_headers(token.map(|token| (AUTHORIZATION, token)).into_iter().collect());
    } else {
        builder = builder.read_timeout(SILENCE_MAX);
    }
    if let Some(path) = &access.runner_ca {
        let authority = Certificate::from_pem_bundle(read(path)?.as_bytes()).ok().filter(|found| !found.is_empty());
        let authority = authority.ok_or_else(|| Usage(format!("{} holds no certificate in PEM", path.display())))?;
        builder = builder.tls_certs_only(authority);
    }
    if let (Some(certificate), Some(key)) = (&access.runner_cert, &access.runner_key) {
        let pem = format!("{}\n{}", read(certificate)?, read(key)?);
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| {
            Usage(format!("{} and {} are not a certificate and its key in PEM", certificate.display(), key.display()))
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(RunnerError::Client)
}

/// The runner's URL, without a slash at its end.
pub(super) fn base(text: &str) -> Result<String, Usage> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err(Usage(format!("`{text}` is not the URL of a runner; write it like http://127.0.0.1:3000")));
    };
    if url.password().is_some() || !url.username().is_empty() {
        return Err(Usage("a runner's URL holds no password; give a token with --token-file FILE".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Usage(format!("`{text}` is more than the URL of a runner: leave out what follows the path")));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// What is sent with each question, from the file or else the variable.
pub(super) fn token(file: Option<&Path>, variable: Option<OsString>) -> Result<Option<HeaderValue>, Usage> {
    let (token, place) = match (file, variable) {
        (Some(path), _) => (read(path)?, path.display().to_string()),
        (None, Some(value)) => (value.to_string_lossy().into_owned(), TOKEN_VARIABLE.to_owned()),
        (None, None) => return Ok(None),
    };
    let token = token.trim();
    if token.is_empty() {
        return Err(Usage(format!("{place} is empty; it is to hold the runner's token")));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Usage(format!("{place} holds no token: a token is one line of text")))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn read(path: &Path) -> Result<String, Usage> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES).read_to_string(&mut text));
    read.map_err(|error| Usage(format!("could not read {}: {error}", path.display())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(text: &str, expected: Result<&str, &str>) {
        assert_eq!(base(text).map_err(|e| e.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn urls() {
        check_url("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000"));
        check_url("https://runner.internal/kiln/", Ok("https://runner.internal/kiln"));
        let not = |text: &str| format!("`{text}` is not the URL of a runner; write it like http://127.0.0.1:3000");
        for text in ["", "localhost:3000", "127.0.0.1:3000", "ftp://x"] {
            check_url(text, Err(&not(text)));
        }
        check_url("http://a:b@x", Err("a runner's URL holds no password; give a token with --token-file FILE"));
        let more = "`http://x/?a` is more than the URL of a runner: leave out what follows the path";
        check_url("http://x/?a", Err(more));
    }

    #[track_caller]
    fn check_token(file: Option<&str>, variable: Option<&str>, expected: Result<Option<&str>, &str>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        if let Some(content) = file {
            std::fs::write(&path, content).expect("written");
        }
        let found = token(file.map(|_| path.as_path()), variable.map(OsString::from));
        let found = found.map(|header| header.map(|h| h.to_str().expect("text").to_owned()));
        let expected = expected.map(|token| token.map(str::to_owned));
        assert_eq!(
            found.map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE")),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn tokens() {
        check_token(None, None, Ok(None));
        check_token(None, Some("abc"), Ok(Some("Bearer abc")));
        check_token(Some("abc\n"), Some("other"), Ok(Some("Bearer abc")));
        check_token(Some("\n"), None, Err("FILE is empty; it is to hold the runner's token"));
        check_token(None, Some(""), Err("KILN_RUNNER_TOKEN is empty; it is to hold the runner's token"));
        check_token(Some("a\nb"), None, Err("FILE holds no token: a token is one line of text"));
    }
}
