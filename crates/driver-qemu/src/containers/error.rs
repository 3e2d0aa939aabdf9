//! How container images do not get into a VM image.

use std::error::Error;

use kiln_driver::ErrorClass;

/// Why a container image is not in a VM image.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// A text that names no container image.
    #[error("`{reference}` names no container image: {reason}")]
    BadReference {
        /// What was given.
        reference: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// A text that names no registry.
    #[error("`{given}` is no registry: {reason}")]
    BadRegistry {
        /// What was given.
        given: String,
        /// What is wrong, and what to write.
        reason: &'static str,
    },
    /// A text that names no place for the layers of image builds.
    #[error("`{given}` is no place for the layers of image builds: {reason}")]
    BadBuildCache {
        /// What was given, without secrets.
        given: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// The registry answers, and does not have it.
    #[error(
        "there is no container image `{0}`: its registry answers and does not know that name and tag for linux/amd64"
    )]
    Unknown(String),
    /// The registry does not give it to us.
    #[error(
        "the registry does not give `{reference}` to {who}: see whether the name is right; of a private image, log in with \
         `docker login` and allow the use of that ({allow})"
    )]
    Denied {
        /// The image.
        reference: String,
        /// As whom the registry was asked.
        who: &'static str,
        /// How the use of credentials is allowed.
        allow: &'static str,
    },
    /// The registry does not answer.
    #[error("the registry `{registry}` does not answer, asked for `{reference}`")]
    Unreachable {
        /// The registry.
        registry: String,
        /// The image.
        reference: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The registry answers that it cannot serve now.
    #[error(
        "the registry `{registry}` does not serve `{reference}` now ({answer}): try again later, or use a `registry_mirror`"
    )]
    Busy {
        /// The registry.
        registry: String,
        /// The image.
        reference: String,
        /// What it answers.
        answer: String,
    },
    /// The registry answers something that cannot be used.
    #[error("what the registry gives for `{reference}` cannot be used: {reason}")]
    Unusable {
        /// The image.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's Docker configuration cannot be used.
    #[error("the Docker configuration has no usable credentials for `{registry}`: {reason}")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// An image that was imported.
    #[error(
        "container images are put into images that `kiln image build` made, and `{0}` was imported: put them in before it is \
         imported, or build an image"
    )]
    Imported(String),
    /// The disk of the VM image is too small.
    #[error(
        "the container images take {need_mib} MiB while they are unpacked, and the disk of image `{image}` has room for \
         {room_mib} MiB: preload fewer or smaller ones"
    )]
    TooLarge {
        /// The VM image.
        image: String,
        /// What they take.
        need_mib: u64,
        /// What there is.
        room_mib: u64,
    },
    /// The engine did not load them.
    #[error("the engine of image `{image}` did not load the container images; {evidence}")]
    NotLoaded {
        /// The VM image.
        image: String,
        /// The end of its console.
        evidence: String,
    },
}

impl ContainerError {
    /// The class that a pool acts on.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::BadReference { .. }
            | Self::BadBuildCache { .. }
            | Self::BadRegistry { .. }
            | Self::Unusable { .. }
            | Self::Imported(_)
            | Self::TooLarge { .. } => ErrorClass::Invalid,
            Self::Unknown(_) => ErrorClass::NotFound,
            Self::Denied { .. } | Self::Credentials { .. } => ErrorClass::Auth,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::NotLoaded { .. } => ErrorClass::Transient,
        }
    }
}
