//! From a step's request to the configuration of a container. What has no meaning is refused, and nothing is left out silently.

mod limits;
mod network;
mod volumes;

pub(super) use network::{Networks, is_name};
pub(super) use volumes::is_of_the_engine;

use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use kiln_wire::agent::{StartStepRequest, Volume};

use super::error::ContainerError;
use super::labels;
use crate::host::container_environment;
use crate::supervise::Order;

/// What the agent reads from its connection to the container is all that is kept: a log of the engine's own would fill the disk.
const NO_LOG: &str = "none";

/// What a container is put into.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The agent's mark.
    pub(super) owner: &'a str,
    /// The volumes of the stage.
    pub(super) volumes: &'a [Volume],
    /// Where steps exchange files with the agent.
    pub(super) engine_dir: &'a Path,
    /// The folder of the socket at which steps ask for tokens of their identities.
    pub(super) mint_dir: &'a Path,
    /// The engine's socket, if the container is to see it.
    pub(super) socket: Option<&'a Path>,
    /// Whether it has a terminal.
    pub(super) tty: bool,
}

/// The configuration of the container of a step.
pub(super) fn of(
    order: &Order<'_>,
    image: &str,
    (entrypoint, commands): (Vec<String>, Vec<String>),
    networks: &Networks,
    around: &Surroundings<'_>,
) -> Result<ContainerCreateBody, ContainerError> {
    let request = order.request;
    let mut host = HostConfig {
        network_mode: networks.first.clone(),
        privileged: Some(request.privileged),
        log_config: Some(HostConfigLogConfig { typ: Some(NO_LOG.into()), config: None }),
        ..HostConfig::default()
    };
    limits::put(request, &mut host)?;
    network::put(request, &mut host)?;
    volumes::put(request, around, &mut host)?;
    let (exposed_ports, port_bindings) = network::ports(request)?.unzip();
    host.port_bindings = port_bindings;
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let env = container_environment(order).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        env: Some(env),
        entrypoint: Some(entrypoint).filter(|words| !words.is_empty()),
        cmd: Some(commands).filter(|words| !words.is_empty()),
        working_dir: some(&request.working_dir),
        user: some(&request.user),
        tty: Some(around.tty),
        labels: Some(labels_of(request, order.mark, around.owner)),
        exposed_ports,
        host_config: Some(host),
        networking_config: networks.config(),
        ..ContainerCreateBody::default()
    })
}

fn labels_of(request: &StartStepRequest, mark: &str, owner: &str) -> std::collections::HashMap<String, String> {
    let mut all = labels::of(&request.labels, owner);
    all.insert(labels::STEP.to_owned(), mark.to_owned());
    all
}

fn wrong(field: &'static str, value: impl ToString, wanted: &'static str) -> ContainerError {
    ContainerError::Value { field, value: value.to_string(), wanted }
}
