//! What lies in an image beside its own disk: container images, in an overlay of their own on that disk.
//!
//! ```text
//! cache/images/NAME/disk.qcow2  ◄── cache/layers/KEY/disk.qcow2  ◄── the golden VM's disk  ◄── a clone's
//! ```
//! A layer is written once. An image that gets further container images gets another layer.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A container image that the engine of each VM has from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Its name in full: registry, repository and tag.
    pub reference: String,
    /// Digest of the manifest that the registry gave for it.
    pub digest: String,
    /// Id that the engine knows it by.
    pub id: String,
    /// Size of its layers unpacked, in bytes. What several images share counts for each.
    pub bytes: u64,
}

/// A saved set of container images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name of its directory.
    pub(crate) key: String,
    /// SHA-256 of its file. The state of golden VMs depends on every block of it.
    pub digest: String,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// What it holds, by reference.
    pub containers: Vec<ContainerImage>,
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

impl Layer {
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(DISK)
    }

    /// Returns the layer with its directory, below that of all layers.
    pub(crate) fn below(mut self, layers: &Path) -> Self {
        self.dir = layers.join(&self.key);
        self
    }

    /// The container image of that reference.
    pub(crate) fn get(&self, reference: &str) -> Option<&ContainerImage> {
        self.containers.iter().find(|container| container.reference == reference)
    }
}

/// Name of a layer's disk in its directory.
pub(crate) const DISK: &str = "disk.qcow2";
