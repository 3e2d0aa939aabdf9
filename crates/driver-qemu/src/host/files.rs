//! Files and directories that only their owner may read, and digests.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::error::QemuError;

/// The unit of `st_blocks`, whatever the file system's own is.
pub(crate) const STAT_BLOCK_BYTES: u64 = 512;

/// Makes a directory that only its owner may enter: memory files hold whatever a VM's memory held.
pub(crate) fn private_dir(path: &Path) -> Result<(), QemuError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(QemuError::io("create", path))
}

/// Makes or empties a file that only its owner may read.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
