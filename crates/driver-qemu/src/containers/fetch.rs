//! Fetching container images into the archive for the VM.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use oci_client::manifest::OciDescriptor;
use serde::Deserialize;

use super::archive::Archive;
use super::error::ContainerError;
use super::registry::{Registries, Resolved};
use crate::error::QemuError;
use crate::host::{aside, room};
use crate::images::ContainerImage;
use crate::progress::Task;

/// The largest description of an image that is read; usual ones have some KiB.
const CONFIG_MAX_BYTES: i64 = 4 << 20;
/// Disk that fetched layers take for each of their bytes: fetched, unpacked, loaded in the VM, and in the final layer.
const TIMES_FETCHED: u64 = 8;
const SCRIPT: &str = include_str!("../../assets/load_containers.sh");
/// Name of the script in the archive.
pub(super) const SCRIPT_NAME: &str = "load.sh";

/// What an image's description says of it.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
struct Rootfs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// An archive that is ready, and what is in it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) archive: PathBuf,
    pub(super) containers: Vec<ContainerImage>,
    /// Size of all layers, each once.
    pub(super) unpacked_bytes: u64,
}

/// Fetches images into an archive in `half`. Fails when the layers unpack to more than `most_bytes`.
pub(super) async fn fetch(
    registries: &Registries,
    images: &[Resolved],
    half: &Path,
    most_bytes: u64,
    task: &Task<'_>,
) -> Result<Fetched, QemuError> {
    let sizes: BTreeMap<_, _> =
        images.iter().flat_map(|image| &image.manifest.layers).map(|part| (&part.digest, part.size)).collect();
    let bytes: u64 = sizes.values().map(|size| u64::try_from(*size).unwrap_or_default()).sum();
    room::require_for_file(half, bytes.saturating_mul(TIMES_FETCHED), "fetching container images")?;
    let path = half.join("archive.tar");
    let io = QemuError::io;
    let mut archive = Archive::create(&path).map_err(io("create", &path))?;
    archive.add(SCRIPT_NAME, SCRIPT.as_bytes()).map_err(io("write", &path))?;
    let expected: String =
        images.iter().map(|image| format!("{} {}\n", image.name, image.manifest.config.digest)).collect();
    archive.add("expected", expected.as_bytes()).map_err(io("write", &path))?;
    let (mut containers, mut unpacked_bytes) = (Vec::new(), 0);
    for image in images {
        let (config, layers) = describe(registries, image, half).await?;
        let mut container = ContainerImage {
            reference: image.name.clone(),
            digest: image.digest.clone(),
            id: image.manifest.config.digest.clone(),
            bytes: 0,
        };
        let count = layers.len();
        for (number, (id, part)) in layers.iter().zip(&image.manifest.layers).enumerate() {
            let mib = u64::try_from(part.size).unwrap_or_default() >> 20;
            task.step(format!("fetching {}, layer {} of {count} ({mib} MiB)", image.name, number + 1));
            if let Some(bytes) = archive.layer(id) {
                container.bytes += bytes;
                continue;
            }
            let bytes;
            (archive, bytes) = add(registries, image, part, id, archive, half, most_bytes - unpacked_bytes).await?;
            unpacked_bytes += bytes;
            container.bytes += bytes;
        }
        archive.add_image(&image.name, &container.id, &config, &layers).map_err(io("write", &path))?;
        containers.push(container);
    }
    aside(move || archive.finish().map_err(QemuError::io("write", "the archive of container images"))).await?;
    Ok(Fetched { archive: path, containers, unpacked_bytes })
}

/// Fetches the description of an image, and returns it with the ids of its layers.
async fn describe(registries: &Registries, image: &Resolved, half: &Path) -> Result<(Vec<u8>, Vec<String>), QemuError> {
    let unusable = |reason: String| ContainerError::Unusable { reference: image.name.clone(), reason };
    let part = &image.manifest.config;
    if part.size > CONFIG_MAX_BYTES {
        return Err(unusable(format!("its description has {} bytes", part.size)).into());
    }
    let path = half.join("config");
    registries.fetch(image, part, &path).await?;
    let bytes = std::fs::read(&path).map_err(QemuError::io("read", &path))?;
    let config = read_config(&bytes, image.manifest.layers.len()).map_err(unusable)?;
    Ok((bytes, config.rootfs.diff_ids))
}

fn read_config(bytes: &[u8], layers: usize) -> Result<Config, String> {
    let config: Config =
        serde_json::from_slice(bytes).map_err(|error| format!("its description is not that of an image: {error}"))?;
    let (os, architecture, ids) = (&config.os, &config.architecture, config.rootfs.diff_ids.len());
    if (os.as_str(), architecture.as_str()) != ("linux", "amd64") {
        return Err(format!("it is for {os}/{architecture}, and the VMs are linux/amd64"));
    }
    let is_id = |id: &String| id.strip_prefix("sha256:").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if ids != layers || !config.rootfs.diff_ids.iter().all(is_id) {
        return Err(format!("it has {layers} layers and describes {ids}"));
    }
    Ok(config)
}

async fn add(
    registries: &Registries,
    image: &Resolved,
    part: &OciDescriptor,
    id: &str,
    mut archive: Archive,
    half: &Path,
    most_bytes: u64,
) -> Result<(Archive, u64), QemuError> {
    let blob = half.join("blob");
    registries.fetch(image, part, &blob).await?;
    let (id, name) = (id.to_owned(), image.name.clone());
    let work = move || {
        let bytes = archive.add_layer(&id, &blob, most_bytes).map_err(|error| told(error, name, &blob))?;
        std::fs::remove_file(&blob).map_err(QemuError::io("remove", &blob))?;
        Ok((archive, bytes))
    };
    aside(work).await
}

/// An error of a host without room is the host's; every other one is the blob's.
fn told(error: io::Error, reference: String, blob: &Path) -> QemuError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => QemuError::io("unpack", blob)(error),
        _ => {
            ContainerError::Unusable { reference, reason: format!("a layer of it cannot be unpacked: {error}") }.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_of_other_machines_are_refused() {
        let check = |text: &str, expect: Result<usize, &str>| {
            let found = read_config(text.as_bytes(), 1).map(|config| config.rootfs.diff_ids.len());
            match (&found, expect) {
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                _ => assert_eq!(found.as_ref().ok(), expect.as_ref().ok(), "{text}"),
            }
        };
        let of = |arch: &str, ids: &str| {
            format!("{{\"os\": \"linux\", \"architecture\": \"{arch}\", \"rootfs\": {{\"diff_ids\": [{ids}]}}}}")
        };
        check(&of("amd64", "\"sha256:0a\""), Ok(1));
        check(&of("arm64", "\"sha256:0a\""), Err("it is for linux/arm64"));
        check(&of("amd64", ""), Err("it has 1 layers and describes 0"));
        check(&of("amd64", "\"sha256:../x\""), Err("it has 1 layers"));
        check("\"x\"", Err("its description is not that of an image"));
        check("{}", Err("it is for /, and"));
    }
}
