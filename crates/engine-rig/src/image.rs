//! Images without a registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Engine;

/// The name of a small image with a shell and the usual small tools, see [`Engine::busybox`].
pub const BUSYBOX: &str = "busybox:test";
/// Debian's static one, of the package `busybox-static`.
const PROGRAM: &str = "/bin/busybox";

impl Engine {
    /// Makes an image of a folder that is its root, under this name.
    ///
    /// # Panics
    /// When the engine does not take it.
    #[track_caller]
    pub fn import(&self, name: &str, root: &Path) {
        self.import_with(name, root, &[]);
    }

    /// Makes an image of a folder, with instructions of a Dockerfile such as `ENTRYPOINT ["/bin/tool"]`.
    ///
    /// # Panics
    /// As [`Engine::import`].
    #[track_caller]
    pub fn import_with(&self, name: &str, root: &Path, instructions: &[&str]) {
        self.try_import(name, root, instructions)
            .unwrap_or_else(|error| panic!("cannot make the image {name}: {error}"));
    }

    /// Returns the name of an image with Debian's busybox, [`BUSYBOX`], which the first call makes.
    ///
    /// # Panics
    /// When the package `busybox-static` is missing.
    #[track_caller]
    pub fn busybox(&self) -> &'static str {
        // A test that failed in here left nothing half done: the next one tries again.
        let mut made = self.busybox.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*made {
            let root = tempfile::tempdir().expect("a folder");
            busybox_root(root.path()).unwrap_or_else(|error| {
                panic!(
                    "cannot make {BUSYBOX}: {error}. It needs the package busybox-static (tools/packages installs it)"
                )
            });
            self.import(BUSYBOX, root.path());
            *made = true;
        }
        BUSYBOX
    }

    fn try_import(&self, name: &str, root: &Path, instructions: &[&str]) -> Result<(), String> {
        let said = |error: std::io::Error| format!("cannot pack {}: {error}", root.display());
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "-C"]).arg(root).args(["-c", "."]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut packing = tar.spawn().map_err(said)?;
        let output = packing.stdout.take().expect("the output is piped");
        let mut arguments = vec!["import"];
        arguments.extend(instructions.iter().flat_map(|instruction| ["--change", instruction]));
        arguments.extend(["-", name]);
        let taken = self.docker_with(&arguments, output.into());
        let packed = packing.wait().map_err(said)?;
        taken?;
        if packed.success() { Ok(()) } else { Err(format!("cannot pack {}: tar ended with {packed}", root.display())) }
    }
}

/// Fills a folder with a root: busybox under the name of each of its tools, and the few files that tools look for.
fn busybox_root(root: &Path) -> std::io::Result<()> {
    for folder in ["bin", "etc", "root", "tmp", "usr/bin", "var/tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(folder), std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    fs::copy(PROGRAM, root.join("bin/busybox"))?;
    symlink("/bin/env", root.join("usr/bin/env"))?;
    let listed = Command::new(PROGRAM).arg("--list").output()?;
    for tool in String::from_utf8_lossy(&listed.stdout).lines().filter(|tool| *tool != "busybox") {
        symlink("busybox", root.join("bin").join(tool))?;
    }
    Ok(())
}
