//! Steps that build container images: `docker` with BuildKit on the host of the instance.
//!
//! Passwords are in the environment of the step and go to `docker login` by its standard input, so that no command line shows them.
//! What `docker` writes down about them is in a folder that ends with the step.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_pipeline::expr::Template;
use kiln_pipeline::plan::{BuildImage, Shell};
use kiln_wire::agent::StartStepRequest;

use super::shell::{line, needs, quoted};
use super::{Prepared, Turn, credentials, run};

/// The variables that plugins take the credentials of a base image's registry from.
const BASE: [&str; 3] = ["PLUGIN_BASE_IMAGE_REGISTRY", "PLUGIN_BASE_IMAGE_USERNAME", "PLUGIN_BASE_IMAGE_PASSWORD"];
const USERNAME: &str = "KILN_REGISTRY_USERNAME";
const PASSWORD: &str = "KILN_REGISTRY_PASSWORD";

/// Works out the request that builds and pushes an image.
pub(super) fn prepare(turn: &Turn<'_, '_>, build: &BuildImage) -> Result<Prepared, String> {
    let image = Image::of(turn, build)?;
    let login = turn.login(&build.credentials, &image.name)?;
    let mut request = run::request(turn, &build.process)?;
    if let Some(login) = &login {
        request.environment.insert(USERNAME.to_owned(), login.username.clone());
        request.environment.insert(PASSWORD.to_owned(), login.password.clone());
    }
    let host = login.as_ref().map(|_| credentials::registry(&image.name));
    let script = script(&image, host, &request);
    request.run = run::script(Shell::Sh, script);
    run::prepared(turn, &build.process, request)
}

/// What is built, with all values.
#[derive(Default)]
struct Image {
    name: String,
    tags: Vec<String>,
    /// Arguments of the build.
    args: Vec<String>,
    cache_to: Vec<String>,
    context: String,
}

impl Image {
    fn of(turn: &Turn<'_, '_>, build: &BuildImage) -> Result<Self, String> {
        let text = |what: &str, template: &Template| Ok::<_, String>(turn.text(what, template)?.trim().to_owned());
        let mut parts = Vec::new();
        for part in &build.repository {
            parts.push(text("repo", part)?.trim_matches('/').to_owned());
        }
        parts.retain(|part| !part.is_empty());
        let mut image = Self { name: parts.join("/"), context: ".".to_owned(), ..Self::default() };
        for tag in &build.tags {
            // An expression can stand for several.
            let tags = text("tags", tag)?;
            image.tags.extend(tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned));
        }
        if image.name.is_empty() || image.tags.is_empty() {
            let what = if image.name.is_empty() { "name" } else { "tag" };
            return Err(format!("line {}: the image has no {what}", build.location.line));
        }
        let mut option = |name: &str, value: String| image.args.extend([name.to_owned(), value]);
        for (what, flag, template) in
            [("dockerfile", "--file", &build.dockerfile), ("target", "--target", &build.target)]
        {
            if let Some(value) = template.as_ref().map(|template| text(what, template)).transpose()?
                && !value.is_empty()
            {
                option(flag, value);
            }
        }
        for (what, flag, pairs) in
            [("labels", "--label", &build.labels), ("buildArgs", "--build-arg", &build.build_args)]
        {
            for (name, value) in pairs {
                option(flag, format!("{name}={}", turn.text(what, value)?));
            }
        }
        for from in &build.cache_from {
            option("--cache-from", text("cacheFrom", from)?);
        }
        for to in &build.cache_to {
            image.cache_to.push(text("cacheTo", to)?);
        }
        if let Some(context) = &build.context {
            image.context = text("context", context)?;
        }
        Ok(image)
    }
}

/// Returns the script. Where caches are exported, a builder of its own is needed: the engine's cannot do that.
fn script(image: &Image, host: Option<&str>, request: &StartStepRequest) -> String {
    let mut out = needs("docker");
    let builder = if image.cache_to.is_empty() { "" } else { "docker buildx rm kiln >/dev/null 2>&1 || true; " };
    let _ = write!(
        out,
        "DOCKER_CONFIG=$(mktemp -d)\nexport DOCKER_CONFIG\ntrap '{builder}rm -rf \"$DOCKER_CONFIG\"' EXIT\n"
    );
    if let Some(host) = host {
        login(&mut out, host, USERNAME, PASSWORD);
    }
    if let Some(registry) = base(&request.environment) {
        login(&mut out, &registry, BASE[1], BASE[2]);
    }
    let _ = writeln!(out, "unset {USERNAME} {PASSWORD} {}", BASE[2]);
    let references: Vec<String> = image.tags.iter().map(|tag| format!("{}:{tag}", image.name)).collect();
    let tags = line(references.iter().flat_map(|reference| ["--tag", reference.as_str()]));
    let args = line(&image.args);
    let context = quoted(&image.context);
    if image.cache_to.is_empty() {
        let _ = write!(
            out,
            "if docker buildx version >/dev/null 2>&1; then\n  docker buildx build --load {args} {tags} {context}\n\
             else\n  case $(docker version --format '{{{{.Client.Version}}}}') in\n\
             \x20   1[89].* | 20.*) export DOCKER_BUILDKIT=1 ;;\n\
             \x20   *) echo 'this machine has no docker buildx: the image is built without BuildKit' ;;\n  esac\n\
             \x20 docker build {args} {tags} {context}\nfi\n"
        );
        for reference in &references {
            let _ = writeln!(out, "docker push {}", quoted(reference));
        }
        return out;
    }
    let to = line(image.cache_to.iter().flat_map(|to| ["--cache-to", to.as_str()]));
    let _ = write!(
        out,
        "docker buildx create --name kiln --driver docker-container --driver-opt network=host >/dev/null\n\
         docker buildx build --builder kiln --push {args} {to} {tags} {context}\n"
    );
    out
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
