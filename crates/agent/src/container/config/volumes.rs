//! What a container sees of the machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bollard::models::{DeviceMapping, HostConfig, Mount, MountTmpfsOptions, MountType};
use kiln_wire::agent::{StartStepRequest, Volume, VolumeEmptyDir, VolumeHostPath};

use super::network::is_name;
use super::{Surroundings, wrong};
use crate::container::error::ContainerError;
use crate::os::files::is_device;

/// Names that steps may give to what each container sees anyway.
const OF_THE_AGENT: [&str; 2] = ["_engine", "_docker"];
/// Where a container looks for the engine's socket.
const SOCKET: &str = "/var/run/docker.sock";
/// A tool of the platform, which steps of its own expect at the same place.
const PLATFORM_TOOL: &str = "/usr/bin/hcli";
/// Mode of a volume in memory: all users of a container may write to it, as to `/tmp`.
const MEMORY_MODE: i64 = 0o1777;
/// In words, what a container may do to a device.
const ALL_OF_A_DEVICE: &str = "rwm";
const READING_A_DEVICE: &str = "r";

/// What `medium` calls a volume in memory.
const MEMORY: &str = "memory";

/// A volume is a folder of the engine's, unless it is in memory; then each container has its own.
pub(in crate::container) fn is_of_the_engine(volume: &VolumeEmptyDir) -> bool {
    volume.medium != MEMORY
}

/// Puts the volumes of a step into the configuration of its container.
pub(super) fn put(
    request: &StartStepRequest,
    around: &Surroundings<'_>,
    config: &mut HostConfig,
) -> Result<(), ContainerError> {
    let mut seen = Seen::default();
    for mount in request.volumes.iter().filter(|mount| !OF_THE_AGENT.contains(&mount.name.as_str())) {
        seen.volume(around.volume(&mount.name)?, &mount.name, &mount.path)?;
    }
    for device in &request.devices {
        let volume = around.volume(&device.name)?;
        let Some(host) = &volume.host else {
            return Err(ContainerError::NoDevice { name: device.name.clone(), path: PathBuf::new() });
        };
        let path = real(&device.name, host)?;
        if !is_device(&path) {
            return Err(ContainerError::NoDevice { name: device.name.clone(), path });
        }
        seen.device(&path, &device.device_path, host.read_only);
    }
    seen.same(around.engine_dir, false);
    if let Some(socket) = around.socket {
        seen.bind(socket, SOCKET, false);
    }
    if Path::new(PLATFORM_TOOL).is_file() {
        seen.same(Path::new(PLATFORM_TOOL), true);
    }
    if !request.workload_identities.is_empty() {
        seen.same(around.mint_dir, false);
    }
    config.mounts = Some(seen.mounts);
    config.devices = Some(seen.devices).filter(|devices| !devices.is_empty());
    Ok(())
}

impl Surroundings<'_> {
    fn volume(&self, name: &str) -> Result<&Volume, ContainerError> {
        let found = self.volumes.iter().find(|volume| name_of(volume) == Some(name));
        found.ok_or_else(|| ContainerError::NoVolume {
            name: name.into(),
            known: self.volumes.iter().filter_map(name_of).map(str::to_owned).collect(),
        })
    }
}

/// Returns the name of a volume; none for one that is neither of the host nor temporary.
fn name_of(volume: &Volume) -> Option<&str> {
    let host = volume.host.as_ref().map(|host| host.name.as_str());
    host.or_else(|| volume.temp.as_ref().map(|temp| temp.name.as_str()))
}

/// What a container sees so far.
#[derive(Debug, Default)]
struct Seen {
    mounts: Vec<Mount>,
    devices: Vec<DeviceMapping>,
    targets: BTreeSet<String>,
}

impl Seen {
    fn volume(&mut self, volume: &Volume, name: &str, target: &str) -> Result<(), ContainerError> {
        if !Path::new(target).is_absolute() {
            return Err(wrong("volumes", target, "path in a container, which begins with /"));
        }
        match volume {
            Volume { host: Some(host), .. } => {
                let path = real(name, host)?;
                if is_device(&path) {
                    self.device(&path, target, host.read_only);
                } else {
                    self.bind(&path, target, host.read_only);
                }
            }
            Volume { temp: Some(temp), .. } if is_of_the_engine(temp) => {
                if !is_name(&temp.id) {
                    return Err(wrong("volumes", &temp.id, "id of a volume: letters, digits and _.-"));
                }
                let source = Some(temp.id.clone());
                self.mount(target, Mount { source, typ: Some(MountType::VOLUME), ..Mount::default() });
            }
            Volume { temp: Some(temp), .. } => {
                if temp.size_limit < 0 {
                    return Err(wrong("volumes", temp.size_limit, "size in bytes"));
                }
                let size_bytes = Some(temp.size_limit).filter(|size| *size > 0);
                let options = MountTmpfsOptions { size_bytes, mode: Some(MEMORY_MODE), ..MountTmpfsOptions::default() };
                let tmpfs_options = Some(options);
                self.mount(target, Mount { typ: Some(MountType::TMPFS), tmpfs_options, ..Mount::default() });
            }
            Volume { host: None, temp: None } => {}
        }
        Ok(())
    }

    fn device(&mut self, path: &Path, target: &str, read_only: bool) {
        let path = path.to_string_lossy().into_owned();
        let target = if target.is_empty() { path.clone() } else { target.to_owned() };
        let may = if read_only { READING_A_DEVICE } else { ALL_OF_A_DEVICE };
        self.devices.push(DeviceMapping {
            path_on_host: Some(path),
            path_in_container: Some(target),
            cgroup_permissions: Some(may.into()),
        });
    }

    /// Shows something at the path that it has on the machine.
    fn same(&mut self, path: &Path, read_only: bool) {
        let target = path.to_string_lossy().into_owned();
        self.bind(path, &target, read_only);
    }

    fn bind(&mut self, path: &Path, target: &str, read_only: bool) {
        let source = Some(path.to_string_lossy().into_owned());
        self.mount(
            target,
            Mount { source, typ: Some(MountType::BIND), read_only: Some(read_only), ..Mount::default() },
        );
    }

    /// The first one at a path counts, so that a step may put something else where the agent puts something.
    fn mount(&mut self, target: &str, mount: Mount) {
        if self.targets.insert(target.trim_end_matches('/').to_owned()) {
            self.mounts.push(Mount { target: Some(target.to_owned()), ..mount });
        }
    }
}

/// Where a volume is, past symbolic links.
fn real(name: &str, host: &VolumeHostPath) -> Result<PathBuf, ContainerError> {
    let path = Path::new(&host.path);
    let real = if path.is_absolute() { path.canonicalize() } else { Err(std::io::ErrorKind::InvalidInput.into()) };
    real.map_err(|source| ContainerError::Path { name: name.into(), path: path.into(), source })
}
