//! Images and the golden VMs that were made from them.

use crate::containers;
use crate::error::QemuError;
use crate::golden::shelf::{self, Usage};
use crate::host::lock;
use crate::images::{Image, Images, REMOVED};

/// Disk that golden VMs take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoldenUse(Usage);

impl GoldenUse {
    /// That of an image's golden VMs, in bytes. Images with the same content share them.
    #[must_use]
    pub fn of(&self, image: &Image) -> u64 {
        self.0.by_image.get(&image.digest).copied().unwrap_or_default()
    }

    /// That of all others, in bytes: of images that are gone, being built, or left over from a build that was broken off.
    #[must_use]
    pub fn besides(&self, images: &[Image]) -> u64 {
        let known = |digest: &String| images.iter().any(|image| image.digest == *digest);
        let others = self.0.by_image.iter().filter(|(digest, _)| !known(digest));
        others.map(|(_, bytes)| bytes).sum::<u64>() + self.0.unfinished_bytes
    }
}

impl Images {
    /// Disk that golden VMs take now.
    #[must_use]
    pub fn golden_use(&self) -> GoldenUse {
        GoldenUse(shelf::usage(&self.layout))
    }

    /// Removes an image, the container images in it and the golden VMs made from it. Running clones keep their files until they end.
    ///
    /// # Errors
    /// When there is no such image, or it cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), QemuError> {
        let image = self.get(name)?;
        let _held = self.lock(name).await?;
        let doomed = self.layout.images().join(format!(".{name}{REMOVED}"));
        lock::remove_tree(&doomed)?;
        std::fs::rename(&image.dir, &doomed).map_err(QemuError::io("remove", &image.dir))?;
        lock::remove_tree(&doomed)?;
        let others: Vec<String> = self.list()?.iter().map(Image::identity).collect();
        shelf::forget_image(&self.layout, &image.digest, &others);
        containers::forget_unused(self);
        Ok(())
    }
}
