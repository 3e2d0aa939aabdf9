//! What a step's reader has to know about its pipeline.

use crate::plan::{Arch, Credentials, Os};

/// Where steps of a pipeline run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    /// In containers, all of them.
    Containers,
    /// On the machine, and in a container where the step has an image.
    Either,
    /// On the machine, all of them.
    Host,
}

/// What a step has to know about its pipeline.
pub(super) struct Surroundings {
    pub machine: Machine,
    /// The pipeline's type, for messages.
    pub kind: String,
    pub os: Os,
    pub arch: Arch,
    /// Names of the volumes that steps can mount.
    pub volumes: Vec<String>,
    /// Whose credentials images are pulled with.
    pub credentials: Credentials,
}
