//! Removing what an agent made in the engine, found by its labels.

use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::error::EngineError;
use super::labels::{filter, owned_by};

/// What cannot be removed within this time is left to the machine's end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether all is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What has exited, as the engine's filter calls it.
const EXITED: &str = "exited";

/// Removes all that belongs to an owner, or to any: containers first, because they hold the rest.
pub(super) async fn all(docker: &Docker, owner: Option<&str>) {
    let start = Instant::now();
    loop {
        let left = match once(docker, owner).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "what is left of containers is not known");
                return;
            }
        };
        if left == 0 {
            return;
        }
        if start.elapsed() >= PATIENCE {
            tracing::warn!(left, "containers, networks or volumes cannot be removed");
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Removes what can be removed, and counts what is left.
async fn once(docker: &Docker, owner: Option<&str>) -> Result<usize, EngineError> {
    let label = owned_by(owner);
    let found = containers(docker, [label.clone()], None).await?;
    join_all(found.iter().map(|id| remove(docker, id))).await;
    // What goes with a container, as the volumes of its image, may take a moment.
    let mut left = containers(docker, [label.clone()], None).await?.len();
    if left > 0 {
        return Ok(left);
    }
    let options = ListNetworksOptions { filters: Some(filter([label.clone()])) };
    let networks = docker.list_networks(Some(options)).await.map_err(|e| EngineError::of("list networks", &e))?;
    for network in networks.into_iter().filter_map(|network| network.id) {
        left += usize::from(is_left(docker.remove_network(&network).await));
    }
    let options = ListVolumesOptions { filters: Some(filter([label])) };
    let volumes = docker.list_volumes(Some(options)).await.map_err(|e| EngineError::of("list volumes", &e))?;
    for volume in volumes.volumes.unwrap_or_default() {
        let options = RemoveVolumeOptions { force: true };
        left += usize::from(is_left(docker.remove_volume(&volume.name, Some(options)).await));
    }
    Ok(left)
}

/// Removes the containers that have exited and carry all of these labels.
pub(super) async fn exited(docker: &Docker, labels: impl IntoIterator<Item = String>) -> Result<(), EngineError> {
    for id in containers(docker, labels, Some(EXITED)).await? {
        let options = RemoveContainerOptions { v: true, ..RemoveContainerOptions::default() };
        match docker.remove_container(&id, Some(options)).await.map_err(|e| EngineError::of("remove a container", &e)) {
            Ok(()) => {}
            Err(error) if error.is_missing() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn containers(
    docker: &Docker,
    labels: impl IntoIterator<Item = String>,
    status: Option<&str>,
) -> Result<Vec<String>, EngineError> {
    let mut filters = filter(labels);
    if let Some(status) = status {
        filters.insert("status".to_owned(), vec![status.to_owned()]);
    }
    let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    let found = docker.list_containers(Some(options)).await.map_err(|e| EngineError::of("list containers", &e))?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}

async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    if let Err(error) = docker.remove_container(id, Some(options)).await {
        // It may be gone, or being removed; it is looked for again.
        tracing::debug!(id, %error, "a container was not removed");
    }
}

/// Whether something is still there after it was to be removed.
fn is_left(removed: Result<(), bollard::errors::Error>) -> bool {
    match removed.map_err(|error| EngineError::of("remove", &error)) {
        Ok(()) => false,
        Err(error) => !error.is_missing(),
    }
}
