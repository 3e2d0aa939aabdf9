//! Plugins that build container images inside of their own container, for which that has to be privileged. Drone's runners make it
//! so for these images without being asked; the list is theirs, with the images that came later.

use crate::expr::Template;

const IMAGES: [&str; 9] = [
    "plugins/docker",
    "plugins/acr",
    "plugins/ecr",
    "plugins/gcr",
    "plugins/gar",
    "plugins/heroku",
    "plugins/buildx",
    "plugins/buildx-ecr",
    "plugins/buildx-gcr",
];

/// Returns whether a plugin's image is one of those, whatever its tag.
pub(crate) fn is_one(image: &Template) -> bool {
    image.is_literal() && IMAGES.contains(&name(image.text()))
}

/// Returns the name of an image without Docker Hub's address, tag and digest.
fn name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or_default();
    let image = image.strip_prefix("docker.io/").or_else(|| image.strip_prefix("index.docker.io/")).unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_plugins_that_build_images() {
        for image in
            ["plugins/docker", "plugins/docker:20", "docker.io/plugins/ecr:1@sha256:00", "plugins/gcr@sha256:0"]
        {
            assert!(is_one(&Template::literal(image)), "{image}");
        }
        for image in ["plugins/slack", "localhost:5000/plugins/docker", "me/plugins/docker", "docker"] {
            assert!(!is_one(&Template::literal(image)), "{image}");
        }
    }
}
