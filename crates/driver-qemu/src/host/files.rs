//! Files and directories that only their owner may read, and digests.

use std::io::Write as _;
use std::path::Path;

use crate::error::QemuError;

/// Makes a directory that only its owner may enter: memory files hold whatever a VM's memory held.
pub(crate) fn private_dir(path: &Path) -> Result<(), QemuError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(QemuError::io("create", path))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
