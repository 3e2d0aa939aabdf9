//! Names of container images and of registries, as people write them.

use oci_client::Reference;

use super::error::ContainerError;

/// Reads the name of a container image. Without a tag it is `latest`.
///
/// # Errors
/// When it is none, or has a digest: the engine knows what it loads by its tag alone.
pub(crate) fn parse(text: &str) -> Result<Reference, ContainerError> {
    let bad = |reason: String| ContainerError::BadReference { reference: text.to_owned(), reason };
    let reference: Reference = text
        .parse()
        .map_err(|error| bad(format!("{error}; write it as in `alpine:3.20` or `ghcr.io/owner/name:tag`")))?;
    match reference.digest() {
        Some(_) => Err(bad("a preloaded image is known by its tag: write the tag instead of the digest".to_owned())),
        None => Ok(reference),
    }
}

/// Reads the name of a repository that holds images under tags that Kiln chooses.
///
/// # Errors
/// When it is none, or has a tag or a digest.
pub(crate) fn parse_repository(text: &str) -> Result<Reference, ContainerError> {
    let reference = parse(text)?;
    // The last colon separates a port where a slash follows.
    match text.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => Err(ContainerError::BadReference {
            reference: text.to_owned(),
            reason: "each image that is built has a tag of its own there: leave the tag out".to_owned(),
        }),
        Some(_) | None => Ok(reference),
    }
}

/// Reads the URL of a registry that mirrors another one, and returns its host and whether it speaks plain HTTP.
///
/// # Errors
/// When it is no URL of a host alone.
pub(crate) fn check_mirror(url: &str) -> Result<(String, bool), ContainerError> {
    let (rest, plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return Err(bad_registry(url, "write a URL, as in `http://10.0.2.2:5000`")),
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if !is_host(host) {
        return Err(bad_registry(url, "write a URL of a host alone, without a path, as in `http://10.0.2.2:5000`"));
    }
    Ok((host.to_owned(), plain))
}

/// Checks the name of a registry: a host, and a port if need be.
///
/// # Errors
/// When it is none.
pub(crate) fn check_registry(name: &str) -> Result<(), ContainerError> {
    match is_host(name) {
        true => Ok(()),
        false => Err(bad_registry(name, "write a host and its port, as in `registry.example:5000`")),
    }
}

/// Whether Docker, too, speaks plain HTTP with it without being told to.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    !host.is_empty() && host.len() <= 253 && host.chars().all(letters) && port_ok
}

fn bad_registry(given: &str, reason: &'static str) -> ContainerError {
    ContainerError::BadRegistry { given: given.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let check = |text: &str, expect: &str| {
            let found = parse(text).map_or_else(|error| error.to_string(), |reference| reference.whole());
            assert!(found.starts_with(expect), "{text}: {found}");
        };
        check("alpine", "docker.io/library/alpine:latest");
        check("plugins/docker:18", "docker.io/plugins/docker:18");
        check("localhost:5000/a/b:1", "localhost:5000/a/b:1");
        check("Alpine:3", "`Alpine:3` names no container image: ");
        check("", "`` names no container image: ");
        check("a b", "`a b` names no container image: ");
        let digest = format!("alpine@sha256:{}", "a".repeat(64));
        check(&digest, &format!("`{digest}` names no container image: a preloaded image is known by its tag"));
    }

    #[test]
    fn registries_are_hosts() {
        for (url, expect) in [
            ("http://10.0.2.2:5000", Some(("10.0.2.2:5000", true))),
            ("https://mirror.example/", Some(("mirror.example", false))),
            ("mirror.example", None),
            ("https://mirror.example/v2", None),
            ("https://", None),
            ("https://user@mirror.example", None),
            ("http://a:0", None),
        ] {
            let expect = expect.map(|(host, plain)| (host.to_owned(), plain));
            assert_eq!(check_mirror(url).ok(), expect, "{url}");
        }
        assert!(check_registry("localhost:5000").is_ok() && check_registry("http://a").is_err());
        for (registry, loopback) in [("localhost:5000", true), ("127.0.0.2", true), ("localhost.example", false)] {
            assert_eq!(is_loopback(registry), loopback, "{registry}");
        }
    }
}
