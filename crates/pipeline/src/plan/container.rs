//! Containers of steps, and what they share in a stage.

use kiln_document::diagnostic::Location;

use super::{EnvVar, Process};
use crate::expr::Template;

/// A plugin: an image whose own program reads its settings in the environment.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its container, with its settings.
    pub container: Container,
    /// What goes with it.
    pub process: Process,
}

/// A container that a step runs in.
#[derive(Debug, Clone)]
pub struct Container {
    /// Image reference.
    pub image: Template,
    /// When the image is pulled.
    pub pull: Pull,
    /// Whose credentials the image is pulled with, as the file names them.
    pub credentials: Credentials,
    /// Program instead of the image's own, empty for the image's own.
    pub entrypoint: Vec<Template>,
    /// Arguments instead of the image's own, empty for the image's own. A script comes before them.
    pub args: Vec<Template>,
    /// Plugin settings, already spelled as `PLUGIN_*` variables. In Drone, steps with commands may have some too.
    pub settings: Vec<EnvVar>,
    /// Whether it may do all that the machine's root may.
    pub privileged: bool,
    /// What it may use of the machine.
    pub limits: Limits,
    /// Ports of the machine that lead to ports of the container.
    pub ports: Vec<PortBinding>,
    /// Volumes of the stage that it sees.
    pub volumes: Vec<Mount>,
    /// Devices of the machine that it sees.
    pub devices: Vec<Mount>,
    /// What else it has to do with networks.
    pub net: Net,
    /// Where the request stands in the file.
    pub location: Location,
}

impl Container {
    /// Returns a container of an image, with nothing else asked for.
    #[must_use]
    pub fn new(image: Template, location: Location) -> Self {
        Self {
            image,
            pull: Pull::default(),
            credentials: Credentials::default(),
            entrypoint: Vec::new(),
            args: Vec::new(),
            settings: Vec::new(),
            privileged: false,
            limits: Limits::default(),
            ports: Vec::new(),
            volumes: Vec::new(),
            devices: Vec::new(),
            net: Net::default(),
            location,
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When the tag is `latest` or absent, or the image is missing.
    #[default]
    Default,
    /// Always.
    Always,
    /// When it is missing.
    IfMissing,
    /// Never.
    Never,
}

/// Whose credentials a registry is asked with. None of them is known to the file itself.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Nobody's.
    #[default]
    Nobody,
    /// Those of a connector of the Harness platform; its name may be an expression.
    Connector(Template),
    /// Those in secrets that hold Docker's `config.json`, in order.
    Configs(Vec<Template>),
}

/// What a container may use of the machine. Zero is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory and swap in bytes.
    pub memory_and_swap_bytes: u64,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Length of a period of processor time in microseconds.
    pub cpu_period_us: u64,
    /// Processor time in each period in microseconds.
    pub cpu_quota_us: u64,
    /// Weight against other containers.
    pub cpu_shares: u64,
    /// Processors that it may use, as the file has them: `0,1` or `0-3`.
    pub cpu_set: Vec<String>,
}

/// A port of the machine that leads to one of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortBinding {
    /// Port of the machine.
    pub host: String,
    /// Port of the container, with its protocol unless that is TCP: `53/udp`.
    pub container: String,
}

/// Where a container sees a volume or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Name of the volume in its stage.
    pub volume: String,
    /// Path in the container.
    pub path: String,
}

/// What a container has to do with networks, beside that of its stage.
#[derive(Debug, Clone, Default)]
pub struct Net {
    /// Network mode in the place of the stage's network: `host`, `none`.
    pub mode: Option<String>,
    /// Names on the stage's network beside those that come from the step's own.
    pub aliases: Vec<String>,
    /// Name servers.
    pub dns: Vec<Template>,
    /// Search domains.
    pub dns_search: Vec<Template>,
    /// `host:address` pairs.
    pub extra_hosts: Vec<Template>,
}

/// A volume of a stage, which its containers can see.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Name by which steps mount it.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
    /// Path at which every container of the stage sees it, whether or not its step says so.
    pub everywhere: Option<String>,
}

/// What a volume is.
#[derive(Debug, Clone)]
pub enum VolumeSource {
    /// A path of the instance; it lives as long as that.
    Host(Template),
    /// Starts empty and is gone with the stage.
    Temp {
        /// Whether it is kept in memory.
        memory: bool,
        /// Its size, 0 for no limit.
        size_bytes: u64,
    },
}
