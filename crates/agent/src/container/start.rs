//! From a step's request to a container that runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, NetworkConnectRequest};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use kiln_wire::agent::StartStepRequest;

use super::config::{self, Networks, Surroundings};
use super::error::{ContainerError, EngineError};
use super::image::Image;
use super::pull::Pull;
use super::running::{Container, Kept};
use super::stage::Stage;
use super::{Containers, attach, labels};
use crate::host::{HostError, banner, make_dir, make_file, spill, words};
use crate::lock::lock;
use crate::os::files::set_mode;
use crate::os::output::Output;
use crate::supervise::{Order, Started};

/// Steps of any user put files there; the sticky bit keeps them from removing each other's.
const SHARED_MODE: u32 = 0o1777;
/// A script that is too long for an argument is read by whatever user the image has.
const SCRIPT_MODE: u32 = 0o644;

/// A step's command in its container: the words of the program, and those after it.
type Command = (Vec<String>, Vec<String>);

impl Containers {
    pub(super) async fn begin(&self, order: &Order<'_>) -> Result<Started, ContainerError> {
        let request = order.request;
        if request.terminal.is_some() {
            return Err(ContainerError::Terminal);
        }
        let (entrypoint, commands) = words(request)?;
        let banner = if request.log_drone { String::new() } else { banner(&commands) };
        let command = prepare(order, (entrypoint, commands))?;
        let stage = lock(&self.stage).clone();
        let (image, networks) = (Image::of(&request.image), Networks::of(request, stage.network())?);
        let socket = self.engine.socket()?;
        let seen = self.shows_socket(request, &stage).then(|| real(&socket));
        let around = Surroundings {
            owner: &self.mark,
            volumes: &stage.volumes,
            engine_dir: order.engine_dir,
            mint_dir: &self.mint_dir,
            socket: seen.as_deref(),
            tty: stage.tty,
        };
        // What has no meaning is told before anything is waited for.
        let body = config::of(order, image.name(), command, &networks, &around)?;

        let docker = self.engine.ready(order.prelude).await?;
        self.used.store(true, Ordering::Release);
        self.make(&stage, &docker).await?;
        let pull = Pull::new(&docker, &image, request, order.prelude);
        pull.first().await?;
        let kept = create(&docker, order, &pull, body).await?;
        for network in &networks.further {
            let config =
                NetworkConnectRequest { container: kept.id.clone(), endpoint_config: Some(networks.endpoint()) };
            let connected = docker.connect_network(network, config).await;
            connected.map_err(|error| EngineError::of("connect the container to a network", &error))?;
        }
        let attached = attach::attach(&socket, &kept.id, stage.tty).await.map_err(ContainerError::Output)?;
        let output = Output::new(attached.output).map_err(ContainerError::Output)?;
        let started = docker.start_container(&kept.id, None::<StartContainerOptions>).await;
        started.map_err(|error| EngineError::of("start the container", &error))?;
        let running = Box::new(Container::new(kept, attached.relay, request.soft_stop));
        Ok(Started { running, output, keyboard: None, banner })
    }

    /// Makes what the containers of the stage share, unless that was done.
    async fn make(&self, stage: &Stage, docker: &Docker) -> Result<(), ContainerError> {
        let mut made = self.made.lock().await;
        if !*made {
            stage.make(docker, &self.mark).await?;
            *made = true;
        }
        Ok(())
    }

    fn shows_socket(&self, request: &StartStepRequest, stage: &Stage) -> bool {
        let wanted = request.mount_docker_socket != Some(false) && stage.mount_docker_socket != Some(false);
        wanted && self.socket.load(Ordering::Acquire)
    }
}

/// Makes the files of a step on the machine, and returns its command with what they need.
fn prepare(order: &Order<'_>, (mut entrypoint, mut commands): Command) -> Result<Command, ContainerError> {
    for file in &order.request.files {
        make_file(file, None)?;
    }
    if !order.engine_dir.exists() {
        make_dir(order.engine_dir, SHARED_MODE)?;
    }
    let in_dir =
        |path: &Path, made: io::Result<()>| made.map_err(|source| HostError::File { path: path.into(), source });
    let vars_dir = order.hand_over.prepare().and_then(|dir| dir.map_or(Ok(()), |dir| set_mode(dir, SHARED_MODE)));
    in_dir(order.engine_dir, vars_dir)?;
    if let Some(dir) = order.hand_over.scratch().filter(|dir| !dir.exists()) {
        // Whatever user the image has works there.
        make_dir(dir, SHARED_MODE)?;
    }
    order.hand_over.instrument(&entrypoint, &mut commands);
    let script = order.engine_dir.join(format!("{}-script", order.mark));
    let spilled = spill(&mut entrypoint, &mut commands, &script, None);
    let readable = spilled.and_then(|()| if script.exists() { set_mode(&script, SCRIPT_MODE) } else { Ok(()) });
    in_dir(&script, readable)?;
    Ok((entrypoint, commands))
}

/// Creates the container; a missing image is pulled, if it may be.
async fn create(
    docker: &Docker,
    order: &Order<'_>,
    pull: &Pull<'_>,
    body: ContainerCreateBody,
) -> Result<Kept, ContainerError> {
    let name = labels::container_name(order.mark);
    // From now on it may be there, whatever becomes of the answer.
    let mut kept = Kept { docker: docker.clone(), id: name.clone() };
    let create = async |body: ContainerCreateBody| {
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let created = docker.create_container(Some(options), body).await;
        created.map_err(|error| EngineError::of("create the container", &error))
    };
    let created = match create(body.clone()).await {
        Err(error) if error.is_missing() => {
            pull.missing().await?;
            create(body).await?
        }
        created => created?,
    };
    kept.id = created.id;
    for warning in created.warnings {
        order.prelude.say(&format!("the container engine warns: {}", warning.trim()));
    }
    Ok(kept)
}

/// Past symbolic links, as a mount needs it.
fn real(socket: &Path) -> PathBuf {
    socket.canonicalize().unwrap_or_else(|_| socket.into())
}
