//! The files that say who a machine is.

use std::fs;
use std::io;
use std::path::Path;

/// The host name: the kernel's, or that of the file when the kernel's is not ours to set.
pub(crate) fn hostname(root: &Path, of_kernel: bool) -> String {
    let of_file = || fs::read_to_string(root.join("etc/hostname")).unwrap_or_default().trim().to_owned();
    if !of_kernel {
        return of_file();
    }
    nix::unistd::gethostname().map_or_else(|_| of_file(), |name| name.to_string_lossy().into_owned())
}

/// The machine id; empty when there is none.
pub(crate) fn machine_id(root: &Path) -> String {
    fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default().trim().to_owned()
}

/// The id of the kernel's boot. It is part of the kernel's memory, so clones of a snapshot share it.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Draws a new machine id.
pub(crate) fn write_machine_id(root: &Path) -> io::Result<()> {
    let id = crate::machine::random_hex(16);
    replace(&root.join("etc/machine-id"), format!("{id}\n"))?;
    let dbus = root.join("var/lib/dbus/machine-id");
    // Usually a link to the other one.
    if dbus.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        replace(&dbus, format!("{id}\n"))?;
    }
    Ok(())
}

/// Writes the host name, and lets it resolve.
pub(crate) fn write_hostname(root: &Path, name: &str) -> io::Result<()> {
    replace(&root.join("etc/hostname"), format!("{name}\n"))?;
    let hosts = root.join("etc/hosts");
    // Lines may be in any encoding, and are kept as they are.
    let present = match fs::read(&hosts) {
        Ok(present) => present,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        // Written anew, it would lose its lines.
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    for line in present.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"127.0.1.1")) {
        text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        text.push(b'\n');
    }
    text.extend_from_slice(format!("127.0.1.1 {name}\n").as_bytes());
    replace(&hosts, text)
}

/// Writes beside and renames, so that nobody reads a half; where that is not possible, as on a mounted file, in place.
fn replace(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("kiln-new");
    fs::write(&beside, &text)?;
    fs::rename(&beside, path).or_else(|_| {
        drop(fs::remove_file(&beside));
        fs::write(path, &text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_name_takes_the_place_of_the_one_before_and_other_lines_stay_as_they_are() {
        let root = tempfile::tempdir().expect("a directory");
        let hosts = root.path().join("etc/hosts");
        fs::create_dir(root.path().join("etc")).expect("a directory");
        fs::write(&hosts, b"127.0.0.1 localhost\n127.0.1.1 before\n10.0.0.1 registry # caf\xe9").expect("a file");
        for name in ["first", "second"] {
            write_hostname(root.path(), name).expect("a host name");
        }
        let expected = b"127.0.0.1 localhost\n10.0.0.1 registry # caf\xe9\n127.0.1.1 second\n";
        assert_eq!(fs::read(&hosts).expect("a file"), expected);
        assert_eq!(fs::read_to_string(root.path().join("etc/hostname")).expect("a file"), "second\n");
    }
}
