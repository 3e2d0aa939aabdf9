//! Images and the golden VMs that were made from them.

use crate::containers;
use crate::error::QemuError;
use crate::golden::shelf::{self, Usage};
use crate::host::lock;
use crate::images::{Image, Images, REMOVED, check_name};

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
        self.forget(&image)
    }

    /// Makes an image named `name` unless there is one that was made alike: by this version, with the same packages. What is
    /// replaced loses the container images in it. Says whether it made one.
    ///
    /// # Errors
    /// As [`Images::build`]; then the image that was there stays.
    pub async fn update(&self, name: &str) -> Result<(Image, bool), QemuError> {
        check_name(name)?;
        let _held = self.lock(name).await?;
        let old = match self.get(name) {
            Ok(image) if image.recipe.as_ref() == Some(&self.recipe()) => return Ok((image, false)),
            Ok(image) => Some(image),
            Err(QemuError::UnknownImage { .. }) => None,
            Err(error) => return Err(error),
        };
        let new = self.build_locked(name).await?;
        old.map_or(Ok(()), |old| self.forget(&old))?;
        Ok((new, true))
    }

    /// Removes what was made from an image that is there no more.
    fn forget(&self, image: &Image) -> Result<(), QemuError> {
        let others: Vec<String> = self.list()?.iter().map(Image::identity).collect();
        shelf::forget_image(&self.layout, &image.digest, &others);
        containers::forget_unused(self);
        Ok(())
    }
}
