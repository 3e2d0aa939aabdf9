//! The archive that the engine in the VM reads, as a raw disk: a tar of what `docker load` takes, and of what tells the VM
//! what to do with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use tar::{EntryType, Header};

/// Sizes in a tar are whole blocks of this.
const BLOCK_BYTES: u64 = 512;
/// The size of the whole is a multiple of this, so that any disk can have it.
const ALIGN_BYTES: u64 = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive that is being written.
pub(super) struct Archive {
    file: File,
    /// Unpacked size of each layer, by its id.
    layers: BTreeMap<String, u64>,
    images: Vec<Value>,
}

impl Archive {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: crate::host::files::create_private(path)?, layers: BTreeMap::new(), images: Vec::new() })
    }

    /// Adds a small file.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.entry(name, |file| io::copy(&mut &*bytes, file)).map(drop)
    }

    /// Size of a layer that is in it.
    pub(super) fn layer(&self, id: &str) -> Option<u64> {
        self.layers.get(id).copied()
    }

    /// Adds a layer, unpacked: decompressing it takes the VM much longer. Its id is the digest of what is unpacked, which the
    /// engine checks.
    pub(super) fn add_layer(&mut self, id: &str, blob: &Path, most_bytes: u64) -> io::Result<u64> {
        let bytes = self.entry(&layer_name(id), |file| {
            let mut unpacked = decompressed(blob)?.take(most_bytes + 1);
            io::copy(&mut unpacked, file)
        })?;
        if bytes > most_bytes {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it unpacks to over {most_bytes} bytes")));
        }
        self.layers.insert(id.to_owned(), bytes);
        Ok(bytes)
    }

    /// Adds an image whose layers are in it. `config` is what the image's id is the digest of.
    pub(super) fn add_image(&mut self, name: &str, id: &str, config: &[u8], layers: &[String]) -> io::Result<()> {
        let file = format!("{}.json", hex_of(id));
        self.add(&file, config)?;
        let layers: Vec<String> = layers.iter().map(|layer| layer_name(layer)).collect();
        self.images.push(json!({ "Config": file, "RepoTags": [name], "Layers": layers }));
        Ok(())
    }

    /// Writes the list of images, and the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let manifest = serde_json::to_vec(&self.images)?;
        self.add("manifest.json", &manifest)?;
        let end = self.file.stream_position()? + 2 * BLOCK_BYTES;
        self.file.set_len(end.next_multiple_of(ALIGN_BYTES))
    }

    /// Writes an entry whose size is known only when its content is written.
    fn entry(&mut self, name: &str, content: impl FnOnce(&mut File) -> io::Result<u64>) -> io::Result<u64> {
        let start = self.file.stream_position()?;
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        self.file.write_all(header.as_bytes())?;
        let bytes = content(&mut self.file)?;
        header.set_size(bytes);
        header.set_cksum();
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(header.as_bytes())?;
        let end = (start + BLOCK_BYTES + bytes).next_multiple_of(BLOCK_BYTES);
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end))?;
        Ok(bytes)
    }
}

fn layer_name(id: &str) -> String {
    format!("{}/layer.tar", hex_of(id))
}

fn hex_of(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}

/// Returns what a blob holds, whatever it says that it is.
fn decompressed(blob: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(blob)?;
    let mut magic = Vec::with_capacity(ZSTD.len());
    Read::by_ref(&mut file).take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::new(file);
    if magic.starts_with(&GZIP) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else if magic.starts_with(&ZSTD) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?))
    } else {
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Vec<u8> {
        (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("gzip");
        encoder.finish().expect("gzip")
    }

    #[test]
    fn layers_of_every_compression_lie_unpacked_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.tar");
        let blobs = [gzip(&layer()), zstd::encode_all(&*layer(), 1).expect("zstd"), layer()];
        let mut archive = Archive::create(&path).expect("create");
        archive.add("first", b"1").expect("add");
        let ids: Vec<String> = (0..blobs.len()).map(|n| format!("sha256:{n}")).collect();
        for (id, bytes) in ids.iter().zip(&blobs) {
            let blob = dir.path().join("blob");
            std::fs::write(&blob, bytes).expect("write");
            assert_eq!(archive.add_layer(id, &blob, 400_000).expect("add"), 400_000);
            let error = archive.add_layer("x", &blob, 399_999).expect_err("too large").to_string();
            assert_eq!(error, "it unpacks to over 399999 bytes");
        }
        archive.add_image("a.example/b:1", "sha256:c0ffee", b"{}", &ids).expect("add");
        archive.finish().expect("finish");
        assert_eq!(path.metadata().expect("size").len() % ALIGN_BYTES, 0);
        let mut found = BTreeMap::new();
        let mut archive = tar::Archive::new(File::open(&path).expect("open"));
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read");
            found.insert(entry.path().expect("a path").display().to_string(), bytes);
        }
        for n in 0..blobs.len() {
            assert!(found[&format!("{n}/layer.tar")] == layer(), "{n}");
        }
        let manifest: Value = serde_json::from_slice(&found["manifest.json"]).expect("JSON");
        let layers = ["0/layer.tar", "1/layer.tar", "2/layer.tar"];
        let expect = json!([{ "Config": "c0ffee.json", "RepoTags": ["a.example/b:1"], "Layers": layers }]);
        assert_eq!((&found["first"][..], &found["c0ffee.json"][..], manifest), (&b"1"[..], &b"{}"[..], expect));
    }
}
