//! The script that builds an image and pushes it.
//!
//! Layers of earlier builds come from where the file says, and are kept there. When it says nothing, the pool's `build_cache` counts,
//! which steps see as `KILN_BUILD_CACHE`: a repository, or a bucket in BuildKit's words. Each image has a name of its own in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_wire::agent::StartStepRequest;

use super::build::Image;
use super::shell::{line, needs, quoted};

/// The variables that plugins take the credentials of a base image's registry from.
const BASE: [&str; 3] = ["PLUGIN_BASE_IMAGE_REGISTRY", "PLUGIN_BASE_IMAGE_USERNAME", "PLUGIN_BASE_IMAGE_PASSWORD"];
pub(super) const USERNAME: &str = "KILN_REGISTRY_USERNAME";
pub(super) const PASSWORD: &str = "KILN_REGISTRY_PASSWORD";
/// Longest tag that a registry takes.
const LONGEST_TAG: usize = 128;

/// Makes a builder that can export caches, which the engine's own cannot, and removes it at the end.
const BUILDER: &str = "\
trap 'docker buildx rm kiln >/dev/null 2>&1 || true; rm -rf \"$DOCKER_CONFIG\"' EXIT
docker buildx create --name kiln --driver docker-container --driver-opt network=host >/dev/null
";

/// Turns on BuildKit where the command `docker` has it inside.
const BUILDKIT: &str = "\
case $(docker version --format '{{.Client.Version}}') in
  1[89].* | 20.*) export DOCKER_BUILDKIT=1 ;;
  *) echo 'this machine has no docker buildx: the image is built without BuildKit' ;;
esac
";

/// Returns the script.
pub(super) fn script(image: &Image, host: Option<&str>, request: &StartStepRequest) -> String {
    let mut out = needs("docker");
    out.push_str("DOCKER_CONFIG=$(mktemp -d)\nexport DOCKER_CONFIG\ntrap 'rm -rf \"$DOCKER_CONFIG\"' EXIT\n");
    if let Some(host) = host {
        login(&mut out, host, USERNAME, PASSWORD);
    }
    if let Some(registry) = base(&request.environment) {
        login(&mut out, &registry, BASE[1], BASE[2]);
    }
    let _ = writeln!(out, "unset {USERNAME} {PASSWORD} {}", BASE[2]);
    let references: Vec<String> = image.tags.iter().map(|tag| format!("{}:{tag}", image.name)).collect();
    let tags = line(references.iter().flat_map(|reference| ["--tag", reference.as_str()]));
    let from = line(image.cache_from.iter().flat_map(|from| ["--cache-from", from.as_str()]));
    let build = Build { args: format!("{} {from}", line(&image.args)), tags, context: quoted(&image.context) };
    if !image.cache_to.is_empty() {
        let to = line(image.cache_to.iter().flat_map(|to| ["--cache-to", to.as_str()]));
        out.push_str(BUILDER);
        let _ = writeln!(out, "docker buildx build --builder kiln --push {}", build.with(&to));
        return out;
    }
    let pushes: String = references.iter().map(|reference| format!("docker push {}\n", quoted(reference))).collect();
    if image.cache_from.is_empty() {
        out.push_str(&with_cache_of_pool(&image.name, &build, &pushes));
    }
    let _ = write!(
        out,
        "if docker buildx version >/dev/null 2>&1; then\ndocker buildx build --load {}\nelse\n{BUILDKIT}docker build {}\nfi\n{pushes}",
        build.with(""),
        build.with("")
    );
    out
}

/// The arguments of a build.
struct Build {
    args: String,
    tags: String,
    context: String,
}

impl Build {
    /// Returns all of them, and others.
    fn with(&self, more: &str) -> String {
        format!("{} {more} {} {}", self.args, self.tags, self.context)
    }
}

/// Returns the part that builds with the cache of the pool, if it has one, and ends the script then. Layers that cannot be read or
/// kept do no harm to the image.
fn with_cache_of_pool(image: &str, build: &Build, pushes: &str) -> String {
    let name = cache_name(image);
    let exported = build.with("--cache-from \"$from\" --cache-to \"$from,mode=max,ignore-error=true\"");
    let inside = build.with("--cache-from \"$ref\" --build-arg BUILDKIT_INLINE_CACHE=1 --tag \"$ref\"");
    format!(
        "if [ -n \"${{KILN_BUILD_CACHE:-}}\" ]; then
ref=
case $KILN_BUILD_CACHE in
  type=*) from=\"$KILN_BUILD_CACHE,name={name}\" ;;
  *) ref=\"$KILN_BUILD_CACHE:{name}\" from=\"type=registry,ref=$KILN_BUILD_CACHE:{name}\" ;;
esac
if docker buildx version >/dev/null 2>&1; then
{BUILDER}docker buildx build --builder kiln --push {exported}
exit
fi
{BUILDKIT}if [ -n \"$ref\" ] && [ -n \"${{DOCKER_BUILDKIT:-}}\" ]; then
docker build {inside}
{pushes}docker push \"$ref\" || echo \"the layers of this build are not kept: $ref cannot be pushed\" >&2
exit
fi
echo \"layers of image builds are not kept: for $KILN_BUILD_CACHE this machine needs docker buildx\" >&2
fi
"
    )
}

/// Returns the name of an image in the cache of a pool, which is a tag that registries take.
fn cache_name(image: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = image.chars().map(plain).collect();
    // What tells images from each other stands at their end.
    let from = name.len().saturating_sub(LONGEST_TAG);
    name[from..].trim_start_matches(['.', '-']).to_owned()
}

fn login(out: &mut String, host: &str, username: &str, password: &str) {
    let host = if host == "docker.io" { String::new() } else { quoted(host) };
    let _ = writeln!(
        out,
        "printf '%s' \"${password}\" | docker login --username \"${username}\" --password-stdin {host} >/dev/null"
    );
}

/// Returns the registry of base images whose credentials the file gives.
fn base(environment: &BTreeMap<String, String>) -> Option<String> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (registry, _, _) = (get(BASE[0]), get(BASE[1])?, get(BASE[2])?);
    Some(
        registry.map_or_else(
            || "docker.io".to_owned(),
            |registry| registry.split('/').next().unwrap_or_default().to_owned(),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::cache_name;

    #[test]
    fn each_image_has_a_tag_of_its_own_in_the_cache() {
        assert_eq!(cache_name("registry.example:5000/me/it"), "registry.example-5000-me-it");
        assert_eq!(cache_name(&format!("-x/{}", "a".repeat(128))), "a".repeat(128));
        assert_eq!(cache_name(&format!("r.example/{}/b", "a".repeat(125))), format!("{}-b", "a".repeat(125)));
    }
}
