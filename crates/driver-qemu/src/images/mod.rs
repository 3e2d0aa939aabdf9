//! The images on this machine: made here, imported, listed, removed.

pub(crate) mod build;
mod examine;
mod import;
pub(crate) mod layer;
mod scratch;
mod sources;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use import::Source;
pub use layer::{ContainerImage, Layer};

use crate::error::QemuError;
use crate::host::files::{self, private_dir};
use crate::host::{aside, lock, unix};
use crate::paths::Layout;
use crate::progress::Listener;
use crate::settings::Settings;

/// How the directory of an image ends that is being made, and of one that is being removed.
const HALF: &str = ".half";
pub(crate) const REMOVED: &str = ".removed";
/// What is written beside an image's disk.
const RECORD: &str = "image.json";

/// An image that VMs can be made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name on this machine.
    pub name: String,
    /// SHA-256 of the disk file as stored.
    pub digest: String,
    /// Where it came from, for people.
    pub origin: String,
    /// Size of the disk as the guest sees it, in bytes.
    pub virtual_bytes: u64,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// When it was made or imported, seconds since 1970.
    pub created_unix_s: u64,
    /// Whether kernel and initrd lie beside it, so that QEMU starts the kernel without a boot loader.
    pub kernel: bool,
    /// What it was built from, as a digest; none of one that was imported, or made by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Container images that were put into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

impl Image {
    pub(crate) fn disk_file(&self) -> PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// Returns the disks that a VM's own disk rests on, each followed by the one that it rests on itself.
    pub(crate) fn disks(&self) -> Vec<PathBuf> {
        self.layer.iter().map(Layer::file).chain([self.disk_file()]).collect()
    }

    /// Returns what changes whenever a block of its disks does.
    pub(crate) fn identity(&self) -> String {
        match &self.layer {
            Some(layer) => format!("{}+{}", self.digest, layer.digest),
            None => self.digest.clone(),
        }
    }

    pub(crate) fn kernel_file(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(crate) fn initrd_file(&self) -> PathBuf {
        self.dir.join("initrd")
    }
}

/// The images below a cache directory.
#[derive(Clone)]
pub struct Images {
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) listener: Listener,
}

impl Images {
    /// Opens the store; nothing is created until an image is.
    #[must_use]
    pub fn new(layout: Layout, settings: Settings, listener: Listener) -> Self {
        Self { layout, settings, listener }
    }

    /// Lists every image, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, QemuError> {
        let dir = self.layout.images();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(QemuError::io("read", &dir)(error)),
        };
        let mut images: Vec<Image> = entries.flatten().filter_map(|entry| self.read(&entry.path())).collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// Returns one image.
    ///
    /// # Errors
    /// [`QemuError::UnknownImage`], which names those that exist.
    pub fn get(&self, name: &str) -> Result<Image, QemuError> {
        check_name(name)?;
        if let Some(image) = self.read(&self.layout.images().join(name)) {
            return Ok(image);
        }
        let known = self.list()?.into_iter().map(|image| image.name).collect();
        Err(QemuError::UnknownImage { name: name.to_owned(), known })
    }

    /// Guards the making and removing of one image among processes.
    pub(crate) async fn lock(&self, name: &str) -> Result<std::fs::File, QemuError> {
        private_dir(&self.layout.images())?;
        lock::exclusive(&self.lock_path(name), &self.listener, &format!("image {name}")).await
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.layout.images().join(format!(".{name}.lock"))
    }

    /// Removes what killed processes left half made or half removed. What somebody works on is locked, and stays.
    fn remove_leftovers(&self) {
        for entry in std::fs::read_dir(self.layout.images()).into_iter().flatten().flatten() {
            let file_name = entry.file_name();
            let name = file_name.to_str().and_then(|name| name.strip_prefix('.'));
            let name = name.and_then(|name| name.strip_suffix(HALF).or_else(|| name.strip_suffix(REMOVED)));
            if let Some(name) = name
                && let Some(_held) = lock::try_exclusive(&self.lock_path(name))
                && let Err(error) = lock::remove_tree(&entry.path())
            {
                tracing::warn!(%error, "what is left of an image stays");
            }
        }
    }

    /// Calls `make` with an empty directory and puts what it made into place under `name`, whole or not at all.
    async fn install<F>(&self, name: &str, make: F) -> Result<Image, QemuError>
    where
        F: AsyncFnOnce(&Path) -> Result<Image, QemuError>,
    {
        self.remove_leftovers();
        let half = self.layout.images().join(format!(".{name}{HALF}"));
        lock::remove_tree(&half)?;
        private_dir(&half)?;
        let outcome = match make(&half).await {
            Ok(image) => self.put_in_place(&half, image),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // The first failure is the one to tell; what remains is removed by the next attempt.
            let _ = lock::remove_tree(&half);
        }
        outcome
    }

    fn put_in_place(&self, half: &Path, mut image: Image) -> Result<Image, QemuError> {
        let dir = self.layout.images().join(&image.name);
        write_record(&image, &half.join(RECORD))?;
        image.dir = dir;
        if image.dir.exists() {
            unix::exchange(half, &image.dir).map_err(QemuError::io("replace", &image.dir))?;
            // What stays of the old one is removed with the next image.
            let _ = lock::remove_tree(half);
        } else {
            std::fs::rename(half, &image.dir).map_err(QemuError::io("move into place", &image.dir))?;
        }
        Ok(image)
    }

    /// Writes down what has changed about an image, whole or not at all.
    pub(crate) fn rewrite(&self, image: &Image) -> Result<(), QemuError> {
        let (new, record) = (image.dir.join("image.json.new"), image.dir.join(RECORD));
        write_record(image, &new)?;
        std::fs::rename(&new, &record).map_err(QemuError::io("move into place", &record))
    }

    fn read(&self, dir: &Path) -> Option<Image> {
        let mut image: Image = serde_json::from_slice(&std::fs::read(dir.join(RECORD)).ok()?).ok()?;
        // A directory that is being made or removed starts with a dot and is no image.
        (dir.file_name()?.to_str()? == image.name).then(|| {
            image.dir = dir.to_owned();
            image.layer = image.layer.map(|layer| layer.below(&self.layout.layers()));
            image
        })
    }
}

fn write_record(image: &Image, path: &Path) -> Result<(), QemuError> {
    let text = serde_json::to_vec_pretty(image).map_err(|e| QemuError::Invalid(e.to_string()))?;
    files::write_private(path, &text).map_err(QemuError::io("write", path))
}

pub(crate) fn check_name(name: &str) -> Result<(), QemuError> {
    let first_ok = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest_ok = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    if first_ok && rest_ok && name.len() <= 64 { Ok(()) } else { Err(QemuError::BadImageName(name.to_owned())) }
}

fn now_unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// SHA-256 of a file, on a thread of its own.
pub(crate) async fn digest(path: &Path) -> Result<String, QemuError> {
    use sha2::{Digest, Sha256};
    let path = path.to_owned();
    let work = move || {
        let mut hasher = Sha256::new();
        let mut file = std::fs::File::open(&path).map_err(QemuError::io("open", &path))?;
        std::io::copy(&mut file, &mut hasher).map_err(QemuError::io("read", &path))?;
        Ok(files::hex(&hasher.finalize()))
    };
    aside(work).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn store() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().join("cache"), state: dir.path().join("state") };
        (dir, Images::new(layout, Settings::default(), Arc::new(|_| {})))
    }

    fn image(name: &str) -> Image {
        Image {
            name: name.to_owned(),
            digest: "d".to_owned(),
            origin: "a test".to_owned(),
            virtual_bytes: 1,
            file_bytes: 1,
            created_unix_s: 1,
            kernel: false,
            recipe: None,
            layer: None,
            dir: PathBuf::new(),
        }
    }

    #[test]
    fn names_cannot_leave_the_store() {
        let check = |name: &str, ok: bool| assert_eq!(check_name(name).is_ok(), ok, "{name:?}");
        check("debian-12.4_x", true);
        for bad in ["", "..", ".x", "a/b", "A", "-x", "a b", &"a".repeat(65)] {
            check(bad, false);
        }
    }

    #[tokio::test]
    async fn what_killed_processes_left_goes_with_the_next_image() {
        let (_dir, images) = store();
        let folder = images.layout.images();
        for left in [".killed.half", ".killed.removed", ".busy.half"] {
            std::fs::create_dir_all(folder.join(left)).expect("create");
        }
        let busy = images.lock("busy").await.expect("lock");
        let make = async || images.install("a", async |_| Ok(image("a"))).await.expect("install");
        make().await;
        let there = [".killed.half", ".killed.removed", ".busy.half", "a"].map(|name| folder.join(name).exists());
        assert_eq!(there, [false, false, true, true]);
        drop(busy);
        std::fs::remove_dir_all(folder.join("a")).expect("remove");
        make().await;
        assert!(!folder.join(".busy.half").exists());
    }

    #[tokio::test]
    async fn an_image_appears_whole_or_not_at_all() {
        let (_dir, images) = store();
        assert_eq!(images.list().expect("list"), []);
        let failed = {
            let _held = images.lock("a").await.expect("lock");
            images
                .install("a", async |half| {
                    std::fs::write(half.join("disk.qcow2"), b"half").expect("write");
                    Err(QemuError::Invalid("stop".to_owned()))
                })
                .await
        };
        assert_eq!(failed.expect_err("an error").to_string(), "stop");
        let left: Vec<_> = std::fs::read_dir(images.layout.images())
            .expect("read")
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(left, [".a.lock"]);
        images.install("a", async |_| Ok(image("a"))).await.expect("install");
        assert_eq!(images.get("a").expect("get").name, "a");
        let newer = async |_: &Path| Ok(Image { origin: "another test".to_owned(), ..image("a") });
        images.install("a", newer).await.expect("install");
        assert_eq!(images.get("a").expect("get").origin, "another test");
        assert!(!images.layout.images().join(".a.half").exists(), "what it replaced is gone");
        let unknown = images.get("b").expect_err("unknown").to_string();
        assert_eq!(unknown, "there is no image `b`; there are: a (or make one with `kiln image build`)");
        images.remove("a").await.expect("remove");
        assert_eq!(images.list().expect("list"), []);
    }
}
