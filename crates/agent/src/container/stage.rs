//! What the containers of a stage share: its network and its volumes.

use bollard::Docker;
use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::InspectNetworkOptions;
use kiln_wire::agent::{Network, SetupRequest, Volume, VolumeEmptyDir};

use super::config::{is_name, is_of_the_engine};
use super::error::{ContainerError, EngineError};
use super::labels;

/// How a network connects the containers of one machine.
const DRIVER: &str = "bridge";

/// The part of a setup that concerns containers.
#[derive(Debug, Clone, Default)]
pub(super) struct Stage {
    network: Network,
    pub(super) volumes: Vec<Volume>,
    pub(super) mount_docker_socket: Option<bool>,
    pub(super) tty: bool,
}

impl Stage {
    pub(super) fn of(request: &SetupRequest) -> Self {
        let SetupRequest { network, volumes, mount_docker_socket, tty, .. } = request;
        Self {
            network: network.clone(),
            volumes: volumes.clone(),
            mount_docker_socket: *mount_docker_socket,
            tty: *tty,
        }
    }

    /// The name of the network; empty when the stage has none.
    pub(super) fn network(&self) -> &str {
        &self.network.id
    }

    /// Whether something is to be made before its first container.
    pub(super) fn needs_something(&self) -> bool {
        !self.network.id.is_empty() || self.folders().next().is_some()
    }

    fn folders(&self) -> impl Iterator<Item = &VolumeEmptyDir> {
        self.volumes.iter().filter_map(|volume| volume.temp.as_ref()).filter(|volume| is_of_the_engine(volume))
    }

    /// Makes what is missing. May be repeated.
    pub(super) async fn make(&self, docker: &Docker, owner: &str) -> Result<(), ContainerError> {
        if !self.network.id.is_empty() {
            self.make_network(docker, owner).await?;
        }
        for volume in self.folders() {
            make_volume(docker, volume, owner).await?;
        }
        Ok(())
    }

    async fn make_network(&self, docker: &Docker, owner: &str) -> Result<(), ContainerError> {
        let Network { id, labels, options } = &self.network;
        if !is_name(id) {
            let wanted = "name of a network: letters, digits and _.-";
            return Err(ContainerError::Value { field: "network", value: id.clone(), wanted });
        }
        let looked = docker.inspect_network(id, None::<InspectNetworkOptions>).await;
        match looked.map_err(|error| EngineError::of("look for the stage's network", &error)) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        let options = options.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let wanted = NetworkCreateRequest {
            name: id.clone(),
            driver: Some(DRIVER.into()),
            options: Some(options),
            labels: Some(labels::of(labels, owner)),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(wanted).await.map_err(|error| EngineError::of("create the stage's network", &error))
        {
            Ok(_) => Ok(()),
            // Somebody else was faster.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn make_volume(docker: &Docker, volume: &VolumeEmptyDir, owner: &str) -> Result<(), ContainerError> {
    if !is_name(&volume.id) {
        let wanted = "id of a volume: letters, digits and _.-";
        return Err(ContainerError::Value { field: "volumes", value: volume.id.clone(), wanted });
    }
    let wanted = VolumeCreateRequest {
        name: Some(volume.id.clone()),
        labels: Some(labels::of(&volume.labels, owner)),
        ..VolumeCreateRequest::default()
    };
    docker.create_volume(wanted).await.map_err(|error| EngineError::of("create a volume of the stage", &error))?;
    Ok(())
}
