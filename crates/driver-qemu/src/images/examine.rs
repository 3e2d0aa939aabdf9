//! Whether an image is what it was when it was made.

use std::path::Path;

use super::{Image, Images, digest};
use crate::error::QemuError;

impl Images {
    /// Returns the image of that name, after reading its disks whole: nothing else looks at every block of them.
    ///
    /// # Errors
    /// [`QemuError::UnknownImage`], or [`QemuError::BadImage`] when a disk is not what was recorded of it.
    pub async fn examine(&self, name: &str) -> Result<Image, QemuError> {
        let image = self.get(name)?;
        check(name, &image.disk_file(), image.file_bytes, &image.digest).await?;
        if let Some(layer) = &image.layer {
            check(name, &layer.file(), layer.file_bytes, &layer.digest).await?;
        }
        Ok(image)
    }
}

async fn check(name: &str, disk: &Path, bytes: u64, sha256: &str) -> Result<(), QemuError> {
    let bad = |what: String| QemuError::BadImage {
        path: disk.to_owned(),
        reason: format!(
            "{what}, so VMs of it would read wrong data: remove it with `kiln image rm {name}`, and make it anew with \
             `kiln image build --name {name}` or `kiln image import`"
        ),
    };
    let now = match std::fs::metadata(disk) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(bad("it is gone".to_owned())),
        looked => looked.map_err(QemuError::io("look at", disk))?.len(),
    };
    if now != bytes {
        return Err(bad(format!("it has {now} bytes, and had {bytes} when it was made")));
    }
    match digest(disk).await? == sha256 {
        true => Ok(()),
        false => Err(bad("its content has changed since it was made".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::paths::Layout;
    use crate::settings::Settings;

    #[tokio::test]
    async fn a_disk_that_changed_is_told_with_the_way_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().to_owned(), state: dir.path().to_owned() };
        let store = Images::new(layout.clone(), Settings::default(), Arc::new(|_| {}));
        let home = layout.images().join("debian");
        std::fs::create_dir_all(&home).expect("a folder");
        let disk = home.join("disk.qcow2");
        std::fs::write(&disk, "whole").expect("write");
        let record = serde_json::json!({
            "name": "debian", "digest": digest(&disk).await.expect("a digest"), "origin": "a test", "virtual_bytes": 5,
            "file_bytes": 5, "created_unix_s": 0, "kernel": false,
        });
        std::fs::write(home.join("image.json"), record.to_string()).expect("write");
        assert_eq!(store.examine("debian").await.expect("whole").name, "debian");
        let broken = [
            (Some("wh"), "it has 2 bytes, and had 5"),
            (Some("other"), "its content has changed"),
            (None, "it is gone"),
        ];
        for (content, expect) in broken {
            match content {
                Some(content) => std::fs::write(&disk, content).expect("write"),
                None => std::fs::remove_file(&disk).expect("remove"),
            }
            let told = store.examine("debian").await.expect_err("it is broken").to_string();
            assert!(told.contains(expect) && told.contains("kiln image rm debian"), "{told}");
        }
        assert!(matches!(store.examine("other").await, Err(QemuError::UnknownImage { .. })));
    }
}
