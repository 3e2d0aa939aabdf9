//! Says whose caches those of a run are. Pipeline files have no say in it: whoever could choose an owner could read what others keep.

use std::path::Path;

use kiln_cache::Scope;
use kiln_pipeline::facts::Facts;

/// Returns whose caches those of a run in a directory are: the repository's that the directory has as its origin, else the directory's.
pub(super) fn scope(facts: &Facts, workspace: &Path, bucket: String) -> Scope {
    let owner = match facts.get("remote_url") {
        "" => directory(workspace),
        remote => repository(remote),
    };
    Scope { owner, bucket }
}

/// Returns what all addresses of one repository have in common: host and path.
fn repository(remote: &str) -> String {
    let (rest, is_url) = match remote.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (remote, false),
    };
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix(".git").unwrap_or(rest);
    let Some((host, path)) = rest.split_once(if is_url { '/' } else { ':' }) else { return rest.to_owned() };
    if host.contains('/') {
        // A path of this machine with a colon in it.
        return rest.to_owned();
    }
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{}/{}", host.to_ascii_lowercase(), path.trim_start_matches('/'))
}

fn directory(workspace: &Path) -> String {
    let path = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_one_repository_are_one_owner() {
        for remote in [
            "https://GitHub.com/octo/hello.git",
            "https://github.com/octo/hello",
            "https://me@github.com/octo/hello/",
            "ssh://git@github.com/octo/hello.git",
            "git@github.com:octo/hello.git",
            "git@github.com:/octo/hello",
        ] {
            assert_eq!(repository(remote), "github.com/octo/hello", "{remote}");
        }
        assert_eq!(repository("https://git.example:8443/a/b.git"), "git.example:8443/a/b");
        assert_eq!(repository("/srv/git/a:b.git"), "/srv/git/a:b");
    }

    #[test]
    fn two_hosts_two_paths_and_two_directories_are_two_owners() {
        let of = |remote: &str, workspace: &str| {
            let facts = Facts::default().with("remote_url", remote).with("repo", "octo/hello");
            scope(&facts, Path::new(workspace), String::new()).owner
        };
        let owners = [
            of("https://github.com/octo/hello", "/w"),
            of("https://gitlab.com/octo/hello", "/w"),
            of("https://github.com/octo/other", "/w"),
            of("", "/nowhere/github.com/octo/hello"),
            of("", "/nowhere/w"),
        ];
        let all: std::collections::BTreeSet<&String> = owners.iter().collect();
        assert_eq!(all.len(), owners.len(), "{owners:?}");
    }
}
