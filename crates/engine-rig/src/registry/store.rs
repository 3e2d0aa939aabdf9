//! The files of a registry, as `docker-registry` keeps them: blobs by digest, and links to them by repository and tag.
//!
//! They are written beforehand, so that a hundred names for one image cost no more than their links. The layout is that of the
//! project "distribution", version 2: `blobs/sha256/XX/DIGEST/data`, `repositories/NAME/_layers`, `_manifests/revisions` and
//! `_manifests/tags`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::layers::{Layer, hex};
use crate::registry::Image;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A folder of a registry's files.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A blob that a store has.
#[derive(Debug, Clone)]
struct Blob {
    digest: String,
    bytes: u64,
}

impl Store {
    /// Makes an empty one in a folder.
    pub fn create(folder: &Path) -> Self {
        Self { root: folder.join("docker/registry/v2") }
    }

    /// Adds an image under its name.
    pub fn add(&self, image: &Image) -> std::io::Result<()> {
        let own = self.packed(&image.files)?;
        let mut layers = Vec::new();
        for layer in image.layers.iter().chain(&own) {
            layers.push(self.linked(layer)?);
        }
        let diffs: Vec<_> = image.layers.iter().chain(&own).map(|layer| format!("sha256:{}", layer.diff)).collect();
        let config = self.written(image.config(&diffs).to_string().as_bytes())?;
        let describe = |kind: &str, blob: &Blob| json!({"mediaType": kind, "size": blob.bytes, "digest": format!("sha256:{}", blob.digest)});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(CONFIG, &config),
            "layers": layers.iter().map(|layer| describe(LAYER, layer)).collect::<Vec<Value>>(),
        });
        let manifest = self.written(manifest.to_string().as_bytes())?;
        let repository = self.root.join("repositories").join(image.reference.repository());
        for blob in layers.iter().chain([&config]) {
            link(&repository.join("_layers/sha256").join(&blob.digest), blob)?;
        }
        link(&repository.join("_manifests/revisions/sha256").join(&manifest.digest), &manifest)?;
        let tag = repository.join("_manifests/tags").join(image.reference.tag());
        link(&tag.join("current"), &manifest)?;
        link(&tag.join("index/sha256").join(&manifest.digest), &manifest)
    }

    /// Packs an image's own files into a layer of their own, if it has any.
    fn packed(&self, files: &[(String, u32, Vec<u8>)]) -> std::io::Result<Option<Layer>> {
        if files.is_empty() {
            return Ok(None);
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path.trim_start_matches('/'), content.as_slice())?;
        }
        // Who pulls it tells by its first bytes that it is not compressed.
        let blob = self.written(&tar.into_inner()?)?;
        Ok(Some(Layer {
            file: self.path(&blob.digest),
            diff: blob.digest.clone(),
            digest: blob.digest,
            bytes: blob.bytes,
        }))
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(&digest[..2]).join(digest).join("data")
    }

    fn written(&self, content: &[u8]) -> std::io::Result<Blob> {
        let digest = hex(content);
        let path = self.path(&digest);
        fs::create_dir_all(path.parent().expect("a blob has a folder"))?;
        fs::File::create(&path)?.write_all(content)?;
        Ok(Blob { digest, bytes: content.len() as u64 })
    }

    /// Puts a layer's file there as it is, without a copy where both are on one file system.
    fn linked(&self, layer: &Layer) -> std::io::Result<Blob> {
        let path = self.path(&layer.digest);
        if !path.exists() {
            fs::create_dir_all(path.parent().expect("a blob has a folder"))?;
            fs::hard_link(&layer.file, &path).or_else(|_| fs::copy(&layer.file, &path).map(drop))?;
        }
        Ok(Blob { digest: layer.digest.clone(), bytes: layer.bytes })
    }
}

fn link(folder: &Path, blob: &Blob) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("link"), format!("sha256:{}", blob.digest))
}
