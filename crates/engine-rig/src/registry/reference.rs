//! Names of images, as `docker pull` reads them.

/// A name of an image, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    host: String,
    repository: String,
    tag: String,
}

impl Reference {
    /// Takes a name apart, as in `golang:1.21` or `quay.io/some/tool`.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", name),
        };
        let (path, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
        let official = host == "docker.io" && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        Self { host: host.to_owned(), repository, tag: tag.to_owned() }
    }

    /// The hosts that are asked for it.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let host = self.host.split(':').next().unwrap_or_default().to_owned();
        // What an engine asks for its default registry: for images, and for who somebody is.
        if host == "docker.io" {
            vec!["registry-1.docker.io".to_owned(), "index.docker.io".to_owned()]
        } else {
            vec![host]
        }
    }

    /// Its repository at that host.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, hosts: &[&str], repository: &str, tag: &str) {
        let reference = Reference::parse(name);
        assert_eq!(
            (reference.hosts(), reference.repository(), reference.tag()),
            (hosts.iter().map(|h| (*h).to_owned()).collect(), repository, tag)
        );
    }

    #[test]
    fn names_are_read_as_an_engine_does() {
        let hub = &["registry-1.docker.io", "index.docker.io"];
        check("golang", hub, "library/golang", "latest");
        check("golang:1.21", hub, "library/golang", "1.21");
        check("plugins/docker:18", hub, "plugins/docker", "18");
        check("quay.io/a/b/c", &["quay.io"], "a/b/c", "latest");
        check("gcr.io/tool:1", &["gcr.io"], "tool", "1");
        check("localhost:5000/x", &["localhost"], "x", "latest");
    }
}
