//! Steps that build container images.

use kiln_document::diagnostic::Location;

use super::{Credentials, Process};
use crate::expr::Template;

/// Builds a container image and pushes it, with `docker` on the host of the instance.
#[derive(Debug, Clone)]
pub struct BuildImage {
    /// The image with its registry and without a tag, in parts that are joined by `/`; empty ones are left out.
    pub repository: Vec<Template>,
    /// Its tags.
    pub tags: Vec<Template>,
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: Option<Template>,
    /// Directory that is sent to the build, relative to the workspace; the workspace when absent.
    pub context: Option<Template>,
    /// Labels of the image.
    pub labels: Vec<(String, Template)>,
    /// Values of the Dockerfile's `ARG`s.
    pub build_args: Vec<(String, Template)>,
    /// Stage of the Dockerfile that is built.
    pub target: Option<Template>,
    /// Images, or caches in BuildKit's words, whose layers are used.
    pub cache_from: Vec<Template>,
    /// Where the layers are kept for later builds, in BuildKit's words.
    pub cache_to: Vec<Template>,
    /// Whose credentials the registry is asked with.
    pub credentials: Credentials,
    /// Kind of registry, for what people are told.
    pub registry: Registry,
    /// What goes with it.
    pub process: Process,
    /// Where it stands in the file.
    pub location: Location,
}

/// Kinds of container registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registry {
    /// Docker Hub, or any other that takes a name and a password.
    Docker,
    /// Amazon's.
    Ecr,
    /// Google's container registry.
    Gcr,
    /// Google's artifact registry.
    Gar,
    /// Azure's.
    Acr,
}
