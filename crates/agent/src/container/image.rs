//! What the name of an image says: which registry it comes from, and whether it names one version.

use kiln_wire::agent::{Auth, PullPolicy};

/// The registry of a name that has none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Other names of that registry.
const DEFAULT_REGISTRIES: [&str; 4] =
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
/// The tag of a name that has none.
const DEFAULT_TAG: &str = "latest";

/// The name of an image, with its tag or digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image(String);

impl Image {
    /// Reads a name; one without a tag or digest gets the tag that it stands for.
    pub(super) fn of(name: &str) -> Self {
        let name = name.trim();
        let last = name.rsplit('/').next().unwrap_or(name);
        Self(if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:{DEFAULT_TAG}") })
    }

    /// It, with its tag or digest.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Whether another image may stand behind the name tomorrow by convention.
    fn is_latest(&self) -> bool {
        !self.0.contains('@') && self.0.rsplit(':').next() == Some(DEFAULT_TAG)
    }

    /// Its registry's host, with the port.
    fn registry(&self) -> &str {
        match self.0.split_once('/') {
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => DEFAULT_REGISTRY,
        }
    }

    /// Whether it is pulled whether or not it is on the machine.
    pub(super) fn is_pulled_first(&self, policy: PullPolicy) -> bool {
        match policy {
            PullPolicy::Always => true,
            PullPolicy::Default => self.is_latest(),
            PullPolicy::IfNotPresent | PullPolicy::Never => false,
        }
    }

    /// Whether credentials are for its registry. Those that name none are for any.
    pub(super) fn is_of(&self, auth: &Auth) -> bool {
        let address = auth.address.trim();
        let host = address.split_once("://").map_or(address, |(_, rest)| rest).split('/').next().unwrap_or_default();
        let (wanted, given) = (canonical(self.registry()), canonical(host));
        host.is_empty() || wanted == given
    }
}

fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if DEFAULT_REGISTRIES.contains(&host.as_str()) { DEFAULT_REGISTRY.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, full: &str, registry: &str, latest: bool) {
        let image = Image::of(name);
        assert_eq!((image.name(), image.registry(), image.is_latest()), (full, registry, latest), "{name}");
    }

    #[test]
    fn names_are_read_as_the_engine_reads_them() {
        check("alpine", "alpine:latest", "docker.io", true);
        check("plugins/docker:20", "plugins/docker:20", "docker.io", false);
        check("localhost/x", "localhost/x:latest", "localhost", true);
        check("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000", true);
        check("r.example/a/b:1", "r.example/a/b:1", "r.example", false);
        check("r.example/a@sha256:00", "r.example/a@sha256:00", "r.example", false);
        check("r.example/a:latest@sha256:00", "r.example/a:latest@sha256:00", "r.example", false);
        check(" busybox:latest\n", "busybox:latest", "docker.io", true);
    }

    #[test]
    fn only_what_may_have_changed_is_pulled_first() {
        let first = |name, policy| Image::of(name).is_pulled_first(policy);
        assert!(first("a", PullPolicy::Default) && first("a:1", PullPolicy::Always));
        assert!(!first("a:1", PullPolicy::Default) && !first("a@sha256:0", PullPolicy::Default));
        assert!(!first("a", PullPolicy::IfNotPresent) && !first("a", PullPolicy::Never));
    }

    #[test]
    fn credentials_go_to_their_registry_alone() {
        let check = |name: &str, address: &str, expected: bool| {
            let auth = Auth { address: address.into(), ..Auth::default() };
            assert_eq!(Image::of(name).is_of(&auth), expected, "{name} {address}");
        };
        check("a/b", "", true);
        check("a/b", "https://index.docker.io/v1/", true);
        check("a/b", "docker.io", true);
        check("r.example:5000/a", "https://R.example:5000/v2/", true);
        check("r.example/a", "https://other.example", false);
        check("evil.example/a", "https://index.docker.io/v1/", false);
    }
}
