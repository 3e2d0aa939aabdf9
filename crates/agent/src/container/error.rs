//! Why a container could not be run.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error as ApiError;

use crate::host::HostError;

/// The engine was not to be had, or refused something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is none of a socket on this machine.
    #[error("DOCKER_HOST={host:?} of the agent's settings is not usable: give the engine's socket as unix:///PATH")]
    Address {
        /// As given.
        host: String,
    },
    /// There is no engine.
    #[error(
        "there is no container engine on this machine: {socket} is missing, and so are dockerd and podman; install Docker \
         in the image of the VM (Debian: docker.io), or name another engine's socket by DOCKER_HOST in the agent's settings"
    )]
    Absent {
        /// Its socket.
        socket: PathBuf,
    },
    /// It does not answer.
    #[error(
        "the container engine at {socket} does not answer{}: {error}; see `systemctl status docker` and `journalctl -u docker` there",
        waited(.after)
    )]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
        /// The last error.
        error: String,
    },
    /// The agent may not use it.
    #[error(
        "the agent may not use the container engine at {socket}: {error}; run it as root, or as a member of the socket's group"
    )]
    Forbidden {
        /// Its socket.
        socket: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It does not answer any more.
    #[error("the container engine went away when it was to {what}: {error}")]
    Gone {
        /// Call to the engine, in words for people.
        what: &'static str,
        /// Text of the error, as the engine or the connection gave it.
        error: String,
    },
    /// It said no.
    #[error("the container engine refuses to {what}: {message}")]
    Refused {
        /// Call to the engine, in words for people.
        what: &'static str,
        /// The status of its answer.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Its answer is none.
    #[error("the container engine answers something else when it is to {what}: {error}")]
    Unreadable {
        /// Call to the engine, in words for people.
        what: &'static str,
        /// Text of the error, as the engine or the connection gave it.
        error: String,
    },
}

fn waited(after: &Duration) -> String {
    if after.is_zero() { String::new() } else { format!(" within {} s", after.as_secs()) }
}

impl EngineError {
    /// What became of `what`, such as "create the container".
    pub(super) fn of(what: &'static str, error: &ApiError) -> Self {
        match error {
            ApiError::DockerResponseServerError { status_code, message } => {
                Self::Refused { what, status: *status_code, message: message.trim().to_owned() }
            }
            error if is_of_connection(error) => Self::Gone { what, error: chain(error) },
            error => Self::Unreadable { what, error: chain(error) },
        }
    }

    /// Whether it was refused because something it needs is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether it was refused because it is there already, or is being done.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

/// Whether an error tells that nobody answered, rather than what was answered.
pub(super) fn is_of_connection(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::SocketNotFoundError(_)
            | ApiError::HyperLegacyError { .. }
            | ApiError::HyperResponseError { .. }
            | ApiError::IOError { .. }
            | ApiError::RequestTimeoutError
    )
}

/// Whether the system did not let the agent open the socket.
pub(super) fn is_forbidden(error: &ApiError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Why a step in a container could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something around it on the host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A value has no meaning.
    #[error("{field} of the step holds {value:?}, which is no {wanted}; correct it")]
    Value {
        /// The field, as the protocol calls it.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A volume is mounted that the stage does not have.
    #[error("the step mounts the volume {name:?}, which its stage does not have; it has {}", listed(.known))]
    NoVolume {
        /// Its name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A volume's path is not there.
    #[error("the volume {name:?} cannot be mounted: {path} on the machine: {source}")]
    Path {
        /// The volume.
        name: String,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device of the step is none.
    #[error("the step is given the volume {name:?} as a device, and {path} is none")]
    NoDevice {
        /// The volume.
        name: String,
        /// Its path.
        path: PathBuf,
    },
    /// The image is not on the machine and may not be pulled.
    #[error(
        "the image {image} is not on this machine, and the step's pull policy is Never; pull or load it before, or change the policy"
    )]
    NoImage {
        /// The image.
        image: String,
    },
    /// The image cannot be pulled.
    #[error("cannot pull the image {image}: {error}{}", advice(*.denied))]
    Pull {
        /// The image.
        image: String,
        /// What the engine says.
        error: String,
        /// Whether the registry knows no such image, or not for us.
        denied: bool,
    },
    /// A terminal with input.
    #[error("a step in a container takes no input yet; leave kiln_terminal out")]
    Terminal,
    /// Its output cannot be carried.
    #[error("cannot read what the container prints: {0}")]
    Output(#[source] io::Error),
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn advice(denied: bool) -> &'static str {
    if denied { "; check its name and tag, and the credentials that the step gives for its registry" } else { "" }
}
