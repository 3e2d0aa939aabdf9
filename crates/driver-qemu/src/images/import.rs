//! Taking a cloud image from a file or a URL into the store.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Image, Images, check_name, digest, now_unix_s};
use crate::error::QemuError;
use crate::host::aside;
use crate::host::files::{STAT_BLOCK_BYTES, hex};
use crate::host::program::{self, Needs};
use crate::host::room;
use crate::progress::Task;

/// The largest download.
const DOWNLOAD_LIMIT_BYTES: u64 = 20 << 30;
/// A compressed image grows when it is converted: twice to three times is usual.
const CONVERTED_TIMES: u64 = 3;
/// The largest disk as the guest sees it.
const VIRTUAL_LIMIT_BYTES: u64 = 1 << 40;
/// How much of a file is copied at once; a chunk of zeros becomes a hole.
const COPY_CHUNK_BYTES: usize = 1 << 20;
/// A download that brings nothing for this long has failed.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file on this machine, and its SHA-256 if it is to be checked.
    File(PathBuf, Option<String>),
    /// A URL, and the SHA-256 that the file must have.
    Url(String, String),
}

impl Source {
    /// Reads what a person gave: `file_or_url` and the `--sha256` beside it, which a URL needs.
    ///
    /// # Errors
    /// When the digest is missing for a URL, or is not one.
    pub fn parse(file_or_url: &str, sha256: Option<&str>) -> Result<Self, QemuError> {
        let sha256 = sha256.map(str::to_ascii_lowercase);
        if let Some(bad) = sha256.as_deref().filter(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(QemuError::Invalid(format!("`{bad}` is not a SHA-256: give its 64 hexadecimal digits")));
        }
        if !file_or_url.starts_with("https://") && !file_or_url.starts_with("http://") {
            return Ok(Self::File(file_or_url.into(), sha256));
        }
        let sha256 = sha256.ok_or_else(|| QemuError::Fetch {
            url: file_or_url.to_owned(),
            reason: "a download needs --sha256, so that what runs is what its publisher signed: take it from the \
                     publisher's list of checksums"
                .to_owned(),
        })?;
        Ok(Self::Url(file_or_url.to_owned(), sha256))
    }
}

impl Images {
    /// Takes an image into the store as `name`. It must be qcow2 or raw, stand alone, and boot through cloud-init.
    ///
    /// # Errors
    /// When it cannot be fetched, has another digest, or is not fit to be an image.
    pub async fn import(&self, name: &str, source: &Source) -> Result<Image, QemuError> {
        check_name(name)?;
        let _held = self.lock(name).await?;
        if self.get(name).is_ok() {
            return Err(QemuError::ImageExists(name.to_owned()));
        }
        let task = Task::begin(&self.listener, format!("importing image {name}"));
        let image = self.install(name, async |half| self.import_in(name, half, source, &task).await).await?;
        task.done();
        Ok(image)
    }

    async fn import_in(&self, name: &str, half: &Path, source: &Source, task: &Task<'_>) -> Result<Image, QemuError> {
        let disk = half.join("disk.qcow2");
        // What is looked at and converted is a file that nobody else can change or replace meanwhile.
        let file = half.join("source");
        let origin = match source {
            Source::File(path, sha256) => {
                let path = std::path::absolute(path).map_err(QemuError::io("find", path))?;
                task.step("copying it");
                let found = copy(&path, &file).await?;
                if let Some(expected) = sha256.as_ref().filter(|expected| **expected != found) {
                    let reason = format!("its SHA-256 is {found}, not the expected {expected}");
                    return Err(QemuError::BadImage { path, reason });
                }
                path.display().to_string()
            }
            Source::Url(url, sha256) => {
                fetch(url, sha256, &file, task).await?;
                url.clone()
            }
        };
        let facts = self.inspect(&file, &origin).await?;
        room::require_for_file(half, facts.file_bytes.saturating_mul(CONVERTED_TIMES), "converting the image")?;
        task.step("converting it");
        // Converting also proves that every cluster of it can be read, and leaves out snapshots and other baggage.
        let mut convert = program::command(&self.settings.qemu_img, Needs::Nothing);
        convert.args(["convert", "-f", facts.format, "-O", "qcow2"]).arg(&file).arg(&disk);
        program::output(convert, program::INSTALL_QEMU).await?;
        std::fs::remove_file(&file).map_err(QemuError::io("remove", &file))?;
        task.step("taking its digest");
        Ok(Image {
            name: name.to_owned(),
            digest: digest(&disk).await?,
            origin,
            virtual_bytes: facts.virtual_bytes,
            file_bytes: disk.metadata().map_err(QemuError::io("look at", &disk))?.len(),
            created_unix_s: now_unix_s(),
            kernel: false,
            recipe: None,
            layer: None,
            dir: half.to_owned(),
        })
    }

    async fn inspect(&self, file: &Path, origin: &str) -> Result<Facts, QemuError> {
        let file_bytes = file.metadata().map_err(QemuError::io("read", file))?.len();
        let mut command = program::command(&self.settings.qemu_img, Needs::Nothing);
        command.args(["info", "--output=json"]).arg(file);
        let text = program::output(command, program::INSTALL_QEMU).await?;
        let bad = |reason: String| QemuError::BadImage { path: origin.into(), reason };
        let info =
            serde_json::from_str(&text).map_err(|e| bad(format!("qemu-img's description of it is not JSON: {e}")))?;
        judge(&info, file_bytes).map_err(bad)
    }
}

/// What is known of a disk file.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    format: &'static str,
    virtual_bytes: u64,
    file_bytes: u64,
}

/// Decides on qemu-img's description. A disk that names other files is refused: it could read any file of the user's.
fn judge(info: &Value, file_bytes: u64) -> Result<Facts, String> {
    let format = match info["format"].as_str() {
        Some("qcow2") => "qcow2",
        Some("raw") => "raw",
        other => {
            let other = other.unwrap_or("unknown");
            return Err(format!("its format is {other}: convert it with `qemu-img convert -O qcow2`"));
        }
    };
    if !info["backing-filename"].is_null() || !info["full-backing-filename"].is_null() {
        return Err("it is an overlay on another file: flatten it with `qemu-img convert -O qcow2`".to_owned());
    }
    let data = &info["format-specific"]["data"];
    if !data["data-file"].is_null() {
        return Err("it keeps its data in another file: flatten it with `qemu-img convert -O qcow2`".to_owned());
    }
    if !data["encrypt"].is_null() || info["encrypted"] == true {
        return Err("it is encrypted: decrypt it first".to_owned());
    }
    let virtual_bytes = info["virtual-size"].as_u64().unwrap_or(0);
    if virtual_bytes < 1 << 20 {
        return Err("it is smaller than 1 MiB, so it is no disk".to_owned());
    }
    if virtual_bytes > VIRTUAL_LIMIT_BYTES {
        return Err(format!("its disk is larger than {} GiB", VIRTUAL_LIMIT_BYTES >> 30));
    }
    Ok(Facts { format, virtual_bytes, file_bytes })
}

/// Copies a file, holes as holes, and returns the SHA-256 of what was copied.
async fn copy(from: &Path, to: &Path) -> Result<String, QemuError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let work = move || {
        let mut source = File::open(&from).map_err(QemuError::io("read", &from))?;
        let taken_bytes = source.metadata().map_err(QemuError::io("read", &from))?.blocks() * STAT_BLOCK_BYTES;
        room::require_for_file(to.parent().unwrap_or(&to), taken_bytes, "copying the image")?;
        let mut target = File::create(&to).map_err(QemuError::io("create", &to))?;
        let (mut hasher, mut chunk, mut length) = (Sha256::new(), vec![0; COPY_CHUNK_BYTES], 0);
        loop {
            let read = source.read(&mut chunk).map_err(QemuError::io("read", &from))?;
            if read == 0 {
                break;
            }
            hasher.update(&chunk[..read]);
            length += read as u64;
            let put = match chunk[..read].iter().all(|byte| *byte == 0) {
                true => target.seek(SeekFrom::Start(length)).map(drop),
                false => target.write_all(&chunk[..read]),
            };
            put.map_err(QemuError::io("write", &to))?;
        }
        target.set_len(length).map_err(QemuError::io("write", &to))?;
        Ok(hex(&hasher.finalize()))
    };
    aside(work).await
}

async fn fetch(url: &str, sha256: &str, path: &Path, task: &Task<'_>) -> Result<(), QemuError> {
    let failed = |reason: String| QemuError::Fetch { url: url.to_owned(), reason };
    kiln_tls::install_provider();
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(STALL_LIMIT)
        .build()
        .map_err(|e| failed(chain(&e)))?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|e| failed(chain(&e.without_url())))?;
    let total = answer.content_length();
    if let (Some(total), Some(dir)) = (total, path.parent()) {
        room::require_for_file(dir, total, "downloading the image")?;
    }
    let mut file = tokio::fs::File::create(path).await.map_err(QemuError::io("create", path))?;
    let (mut hasher, mut fetched, mut told) = (Sha256::new(), 0_u64, 0_u64);
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| failed(chain(&e.without_url())))?;
        fetched += chunk.len() as u64;
        if fetched > DOWNLOAD_LIMIT_BYTES {
            return Err(failed(format!("it is larger than {} GiB", DOWNLOAD_LIMIT_BYTES >> 30)));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(QemuError::io("write", path))?;
        if fetched - told >= 8 << 20 {
            told = fetched;
            task.step(match total {
                Some(total) => format!("{} of {} MiB", fetched >> 20, total >> 20),
                None => format!("{} MiB", fetched >> 20),
            });
        }
    }
    file.flush().await.map_err(QemuError::io("write", path))?;
    let found = hex(&hasher.finalize());
    if found != sha256 {
        return Err(failed(format!("its SHA-256 is {found}, not the expected {sha256}; nothing of it is kept")));
    }
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn disks_that_reach_outside_themselves_are_refused() {
        let check = |info: Value, expect: &str| {
            let text = match judge(&info, 5) {
                Ok(facts) => format!("{} {}", facts.format, facts.virtual_bytes),
                Err(reason) => reason,
            };
            assert!(text.starts_with(expect), "{info}: {text}");
        };
        let gib = 1_u64 << 30;
        check(json!({"format": "qcow2", "virtual-size": gib}), "qcow2 1073741824");
        check(json!({"format": "raw", "virtual-size": gib}), "raw 1073741824");
        check(json!({"format": "vmdk", "virtual-size": gib}), "its format is vmdk");
        check(json!({"virtual-size": gib}), "its format is unknown");
        check(json!({"format": "qcow2", "virtual-size": gib, "backing-filename": "/etc/shadow"}), "it is an overlay");
        let outside = json!({"data": {"data-file": "/etc/shadow"}});
        check(json!({"format": "qcow2", "virtual-size": gib, "format-specific": outside}), "it keeps its data");
        check(json!({"format": "qcow2", "virtual-size": gib, "encrypted": true}), "it is encrypted");
        check(json!({"format": "raw", "virtual-size": 512}), "it is smaller");
        check(json!({"format": "raw", "virtual-size": gib * 1025}), "its disk is larger");
    }

    #[test]
    fn a_url_needs_a_digest() {
        let digest = "A".repeat(64);
        let url = "https://example.test/i.qcow2";
        assert!(Source::parse(url, None).expect_err("no digest").to_string().contains("--sha256"));
        assert!(Source::parse(url, Some("12")).expect_err("short").to_string().contains("64"));
        assert_eq!(Source::parse(url, Some(&digest)).expect("both"), Source::Url(url.into(), "a".repeat(64)));
        assert_eq!(Source::parse("x.img", None).expect("a file"), Source::File("x.img".into(), None));
    }
}
