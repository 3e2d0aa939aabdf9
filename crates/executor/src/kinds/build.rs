//! Steps that build container images: `docker` with BuildKit on the host of the instance.
//!
//! Passwords are in the environment of the step and go to `docker login` by its standard input, so that no command line shows them.
//! What `docker` writes down about them is in a folder that ends with the step.

use kiln_pipeline::expr::Template;
use kiln_pipeline::plan::{BuildImage, Shell};

use super::build_script::{PASSWORD, USERNAME, script};
use super::{Prepared, Turn, credentials, run};

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
pub(super) struct Image {
    pub(super) name: String,
    pub(super) tags: Vec<String>,
    /// Arguments of the build, other than those about caches.
    pub(super) args: Vec<String>,
    pub(super) cache_from: Vec<String>,
    pub(super) cache_to: Vec<String>,
    pub(super) context: String,
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
        let mut option = |flag: &str, value: String| image.args.extend([flag.to_owned(), value]);
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
            image.cache_from.push(text("cacheFrom", from)?);
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
