//! What the removal of an image means for its golden VMs.

use crate::error::QemuError;
use crate::golden::shelf;
use crate::host::lock;
use crate::images::Images;

impl Images {
    /// Removes an image and the golden VMs made from it. Running clones keep their files until they end.
    ///
    /// # Errors
    /// When there is no such image, or it cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), QemuError> {
        let image = self.get(name)?;
        let _held = self.lock(name).await?;
        let doomed = self.layout.images().join(format!(".{name}.removed"));
        lock::remove_tree(&doomed)?;
        std::fs::rename(&image.dir, &doomed).map_err(QemuError::io("remove", &image.dir))?;
        lock::remove_tree(&doomed)?;
        if !self.list()?.iter().any(|other| other.digest == image.digest) {
            shelf::forget_image(&self.layout, &image.digest);
        }
        Ok(())
    }
}
