//! Putting container images into a VM image, and into the VMs of one pool.

use std::path::{Path, PathBuf};

use super::error::ContainerError;
use super::fetch::fetch;
use super::registry::{Registries, Resolved, read_names};
use super::shelf::{self, Record};
use super::wish::Wish;
use super::{loader, parse};
use crate::error::QemuError;
use crate::host::files::private_dir;
use crate::host::program::{self, Needs};
use crate::host::{aside, lock};
use crate::images::{ContainerImage, Image, Images, Layer, digest};
use crate::progress::Task;

/// What the disk of a VM image needs beside container images.
const DISK_RESERVE_BYTES: u64 = 2 << 30;
/// Loading takes each byte twice: in the engine's archive, and unpacked.
const TIMES_UNPACKED: u64 = 2;
/// Length of a layer's name.
const KEY_DIGITS: usize = 24;

/// How container images are fetched.
#[derive(Debug, Clone, Default)]
pub struct Pull {
    /// Docker's configuration file, whose credentials may be used; none: registries are asked by nobody in particular.
    pub docker_config: Option<PathBuf>,
    /// Registries that are spoken to without TLS, as `HOST:PORT`. Those on this host's loopback always are.
    pub insecure: Vec<String>,
    /// URL of a registry that is asked for images of Docker Hub.
    pub mirror: Option<String>,
}

/// What a VM image holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preloaded {
    /// The image.
    pub image: Image,
    /// What was put into it by this call.
    pub added: Vec<ContainerImage>,
}

impl Images {
    /// Puts container images into a VM image, so that the engine of each VM has them from the start. One that it holds already
    /// is fetched again only when its registry has another one under that name. VMs that run keep what they have.
    ///
    /// # Errors
    /// When there is no such image, it was imported, a container image cannot be had, or there is no room. Then nothing has
    /// changed.
    pub async fn preload(&self, name: &str, references: &[String], pull: &Pull) -> Result<Preloaded, QemuError> {
        for reference in references {
            parse(reference)?;
        }
        self.get(name)?;
        let _image = self.lock(name).await?;
        let _layers = self.lock_layers().await?;
        let mut image = self.get(name)?;
        let task = Task::begin(&self.listener, format!("putting container images into image {name}"));
        let made = self.make(&image, references, Vec::new(), pull, &task).await?;
        let mut added = Vec::new();
        if let Some((layer, new)) = made {
            image.layer = Some(layer);
            self.rewrite(&image)?;
            shelf::prune(self);
            added = new;
        }
        task.done();
        Ok(Preloaded { image, added })
    }

    /// Returns the image with what a pool wants in it: the image itself where it holds that already. What a pool wants is fetched
    /// once for each image.
    pub(crate) async fn with_containers(&self, image: Image, wish: &Wish) -> Result<Image, QemuError> {
        let names = read_names(&wish.preload)?.into_iter().map(|name| name.whole());
        let missing: Vec<String> =
            names.filter(|name| image.layer.as_ref().is_none_or(|layer| layer.get(name).is_none())).collect();
        if missing.is_empty() {
            return Ok(image);
        }
        let on = image.identity();
        let with = |layer: Layer| Image { layer: Some(layer), ..image.clone() };
        if let Some(layer) = shelf::find(&self.layout, &on, &missing) {
            return Ok(with(layer));
        }
        let _layers = self.lock_layers().await?;
        if let Some(layer) = shelf::find(&self.layout, &on, &missing) {
            return Ok(with(layer));
        }
        let task = Task::begin(&self.listener, format!("putting container images into VMs of image {}", image.name));
        let pull = Pull {
            docker_config: self.settings.docker_config.clone().filter(|_| wish.host_credentials),
            insecure: wish.insecure_registries.clone(),
            mirror: wish.registry_mirror.clone(),
        };
        let made = self.make(&image, &missing, missing.clone(), &pull, &task).await?;
        shelf::prune(self);
        task.done();
        Ok(made.map_or_else(|| image.clone(), |(layer, _)| with(layer)))
    }

    async fn lock_layers(&self) -> Result<std::fs::File, QemuError> {
        private_dir(&self.layout.layers())?;
        lock::exclusive(&shelf::lock_path(&self.layout), &self.listener, "container images").await
    }

    /// Makes a layer on the disk of `image` that holds what its present layer does, and `references`. None when that is the
    /// same.
    async fn make(
        &self,
        image: &Image,
        references: &[String],
        wanted: Vec<String>,
        pull: &Pull,
        task: &Task<'_>,
    ) -> Result<Option<(Layer, Vec<ContainerImage>)>, QemuError> {
        if !image.kernel {
            return Err(ContainerError::Imported(image.name.clone()).into());
        }
        let names = read_names(references)?;
        let registries = Registries::new(&names, pull).await?;
        let mut new = Vec::new();
        for name in &names {
            task.step(format!("asking for {}", name.whole()));
            let resolved = registries.resolve(name).await?;
            let held = image.layer.as_ref().and_then(|layer| layer.get(&resolved.name));
            if held.is_none_or(|held| held.id != resolved.manifest.config.digest) {
                new.push(resolved);
            }
        }
        if new.is_empty() {
            return Ok(None);
        }
        let half = shelf::half_path(&self.layout);
        lock::remove_tree(&half)?;
        private_dir(&half)?;
        let outcome = self.make_in(&half, image, &registries, &new, wanted, task).await;
        if outcome.is_err() {
            // The first failure is the one to tell; what remains is removed by the next attempt.
            let _ = lock::remove_tree(&half);
        }
        outcome.map(Some)
    }

    async fn make_in(
        &self,
        half: &Path,
        image: &Image,
        registries: &Registries,
        new: &[Resolved],
        wanted: Vec<String>,
        task: &Task<'_>,
    ) -> Result<(Layer, Vec<ContainerImage>), QemuError> {
        let room = room_in(image);
        let sizes = new.iter().flat_map(|image| &image.manifest.layers).map(|part| part.size);
        let bytes: u64 = sizes.map(|size| u64::try_from(size).unwrap_or_default()).sum();
        let too_large = |bytes: u64| ContainerError::TooLarge {
            image: image.name.clone(),
            need_mib: (bytes * TIMES_UNPACKED) >> 20,
            room_mib: room >> 20,
        };
        if bytes > room / TIMES_UNPACKED {
            return Err(too_large(bytes).into());
        }
        let fetched = fetch(registries, new, half, room / TIMES_UNPACKED, task).await?;
        let overlay = loader::load(self, image, half, &fetched, task).await?;
        task.step("packing the layer");
        if image.layer.is_some() {
            // Between two disks `convert` copies only what the upper one holds itself, and not what the layer before does.
            let mut rebase = program::command(&self.settings.qemu_img, Needs::Nothing);
            rebase.args(["rebase", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(image.disk_file()).arg(&overlay);
            program::output(rebase, program::INSTALL_QEMU).await?;
        }
        let disk = half.join(crate::images::layer::DISK);
        let mut convert = program::command(&self.settings.qemu_img, Needs::Nothing);
        convert.args(["convert", "-f", "qcow2", "-O", "qcow2", "-F", "qcow2", "-B"]).arg(image.disk_file());
        convert.arg(&overlay).arg(&disk);
        program::output(convert, program::INSTALL_QEMU).await?;
        for left in [overlay, fetched.archive, half.join("memory"), half.join("config")] {
            std::fs::remove_file(&left).map_err(QemuError::io("remove", &left))?;
        }
        let digest = digest(&disk).await?;
        let file = disk.clone();
        let file_bytes = aside(move || {
            let synced = std::fs::File::open(&file).and_then(|open| open.sync_all().and_then(|()| open.metadata()));
            synced.map(|meta| meta.len()).map_err(QemuError::io("write through", &file))
        })
        .await?;
        let mut containers = fetched.containers.clone();
        let kept = image.layer.iter().flat_map(|layer| &layer.containers);
        containers.extend(kept.filter(|held| new.iter().all(|new| new.name != held.reference)).cloned());
        containers.sort_by(|a, b| a.reference.cmp(&b.reference));
        let key = digest[..KEY_DIGITS].to_owned();
        let layer = Layer { key, digest, file_bytes, containers, dir: PathBuf::new() };
        let record = Record { on: image.identity(), wanted, layer };
        Ok((record.put_in_place(&self.layout, half)?, fetched.containers))
    }
}

/// What is left of the disk of an image.
fn room_in(image: &Image) -> u64 {
    let used = image.file_bytes + image.layer.as_ref().map_or(0, |layer| layer.file_bytes);
    image.virtual_bytes.saturating_sub(used + DISK_RESERVE_BYTES)
}
