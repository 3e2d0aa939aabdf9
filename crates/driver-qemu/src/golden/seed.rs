//! The seed disk: a small FAT file system that cloud-init's NoCloud source reads, with the agent on it.

use std::io::{Cursor, Write};
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use kiln_driver::user_data::{AGENT_FILE_ON_SEED, SEED_LABEL};

use crate::error::QemuError;
use crate::host::files;

/// Room for the file system's own tables beside the files.
const SLACK_BYTES: usize = 1024 * 1024;

/// What the seed disk says and carries.
pub(crate) struct Seed<'a> {
    /// cloud-init works once per instance id.
    pub(crate) instance_id: &'a str,
    pub(crate) user_data: &'a str,
    pub(crate) agent: &'a [u8],
}

impl Seed<'_> {
    /// Writes the disk image to `path`, readable by its owner alone: it holds the golden VM's server key.
    pub(crate) fn write(&self, path: &Path) -> Result<(), QemuError> {
        let bytes = self.image().map_err(QemuError::io("fill the seed disk", path))?;
        files::write_private(path, &bytes).map_err(QemuError::io("write the seed disk", path))
    }

    fn image(&self) -> std::io::Result<Vec<u8>> {
        let meta_data = format!("instance-id: {0}\nlocal-hostname: {0}\n", self.instance_id);
        let size = self.agent.len() + self.user_data.len() + SLACK_BYTES;
        let mut disk = Cursor::new(vec![0_u8; size.next_multiple_of(64 * 1024)]);
        let mut label = [b' '; 11];
        label[..SEED_LABEL.len()].copy_from_slice(SEED_LABEL.as_bytes());
        fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(label))?;
        {
            let volume = FileSystem::new(&mut disk, FsOptions::new())?;
            let root = volume.root_dir();
            let files = [
                ("meta-data", meta_data.as_bytes()),
                ("user-data", self.user_data.as_bytes()),
                (AGENT_FILE_ON_SEED, self.agent),
            ];
            for (name, content) in files {
                let mut file = root.create_file(name)?;
                file.write_all(content)?;
                file.flush()?;
            }
        }
        Ok(disk.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_disk_reads_back_with_its_label_and_files() {
        let agent = vec![7_u8; 3_000_000];
        let seed = Seed { instance_id: "kiln-1", user_data: "#cloud-config\n{}\n", agent: &agent };
        let volume = FileSystem::new(Cursor::new(seed.image().expect("an image")), FsOptions::new()).expect("a volume");
        assert_eq!(volume.volume_label(), "CIDATA");
        assert_eq!(volume.read_volume_label_from_root_dir().expect("a label").as_deref(), Some("CIDATA"));
        let read = |name: &str| {
            let mut bytes = Vec::new();
            volume.root_dir().open_file(name).expect(name).read_to_end(&mut bytes).expect(name);
            bytes
        };
        assert_eq!(read("meta-data"), b"instance-id: kiln-1\nlocal-hostname: kiln-1\n");
        assert_eq!(read("user-data"), b"#cloud-config\n{}\n");
        assert_eq!(read("kiln-agent"), agent);
    }
}
