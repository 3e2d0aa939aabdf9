//! The forms of a repository's address.

/// Returns the address by which the repository is fetched over HTTP, if it has one: that of `git@host:path` and
/// `ssh://host/path` is `https://host/path`.
pub(super) fn http(remote: &str) -> Option<String> {
    if remote.starts_with("https://") || remote.starts_with("http://") {
        return Some(remote.to_owned());
    }
    let (host, path) = over_ssh(remote)?;
    Some(format!("https://{host}/{path}"))
}

/// Returns the address by which the repository is fetched over SSH, if it has one.
pub(super) fn ssh(remote: &str) -> Option<String> {
    if over_ssh(remote).is_some() {
        return Some(remote.to_owned());
    }
    let rest = remote.strip_prefix("https://").or_else(|| remote.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = host.split(':').next().unwrap_or(host);
    Some(format!("git@{host}:{path}"))
}

/// Returns the page of the repository.
pub(super) fn page(remote: &str) -> Option<String> {
    let http = http(remote)?;
    let http = http.trim_end_matches('/');
    Some(http.strip_suffix(".git").unwrap_or(http).to_owned())
}

/// Returns host and path of an address of SSH.
fn over_ssh(remote: &str) -> Option<(&str, &str)> {
    let (host, path) = match remote.strip_prefix("ssh://") {
        Some(rest) => {
            let (host, path) = rest.split_once('/')?;
            (host.rsplit('@').next()?.split(':').next()?, path)
        }
        None => {
            // A path of this machine may hold a colon, but not before its first slash.
            let (host, path) = remote.split_once(':').filter(|(host, _)| !host.contains('/'))?;
            (host.rsplit('@').next()?, path)
        }
    };
    (!host.is_empty() && !path.starts_with("//") && !path.is_empty()).then_some((host, path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_form_of_either_protocol() {
        let (http_form, ssh_form) = ("https://example.org/octo/spoon.git", "git@example.org:octo/spoon.git");
        for remote in [http_form, ssh_form, "ssh://git@example.org:2222/octo/spoon.git"] {
            assert_eq!(http(remote).as_deref(), Some(http_form), "{remote}");
            assert_eq!(page(remote).as_deref(), Some("https://example.org/octo/spoon"), "{remote}");
        }
        assert_eq!(ssh(http_form).as_deref(), Some(ssh_form));
        assert_eq!(ssh("https://me@example.org:8443/octo/spoon.git").as_deref(), Some(ssh_form));
        assert_eq!(ssh(ssh_form).as_deref(), Some(ssh_form));
        for remote in ["", "/srv/git/x.git", "../x", "./a:b", "file:///srv/x"] {
            assert_eq!((http(remote), ssh(remote), page(remote)), (None, None, None), "{remote}");
        }
    }
}
