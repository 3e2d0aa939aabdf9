//! Making an image from the distribution's packages, as root or as a plain user.
//!
//! ```text
//! mmdebstrap ─► root.tar ─► make_disk.sh (mkfs.ext4 -d) ─► disk.raw ─► qemu-img convert ─► disk.qcow2
//!                                                    └─► vmlinuz, initrd
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::scratch::{self, Scratch};
use super::sources::Archives;
use super::{Image, Images, check_name, digest, now_unix_s};
use crate::error::QemuError;
use crate::host::files::hex;
use crate::host::program::{self, INSTALL_BUILDERS, Needs};
use crate::host::room;
use crate::host::unix::{self, Death};
use crate::limits::DEFAULT_SHAPE;
use crate::progress::Task;

/// Disk that a build takes while it runs: archive, tree, raw and final disk.
const NEEDED_BYTES: u64 = 6 * 1024 * 1024 * 1024;
/// The tree alone.
const TREE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

const EARLY: &str = include_str!("../../assets/early.sh");
const CUSTOMIZE: &str = include_str!("../../assets/customize.sh");
const MAKE_DISK: &str = include_str!("../../assets/make_disk.sh");

/// What a stage may expect on any CI machine, beside a system that boots through cloud-init.
const PACKAGES: &str = "initramfs-tools systemd systemd-sysv systemd-resolved libpam-systemd udev dbus cloud-init \
    ca-certificates iproute2 iptables netbase kmod procps psmisc sudo e2fsprogs docker.io curl wget git make gcc g++ \
    libc6-dev dpkg-dev fakeroot pkg-config patch file python3 python3-venv python3-pip python3-pytest tar gzip bzip2 \
    xz-utils zstd unzip zip rsync jq less python-is-python3";

/// What an image can have in addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addition {
    /// `node` and `npm`.
    Node,
    /// `java`, `javac` and `mvn`.
    Jdk,
}

impl Addition {
    fn packages(self) -> &'static str {
        match self {
            Self::Node => "nodejs npm",
            Self::Jdk => "default-jdk-headless maven",
        }
    }
}

impl Images {
    /// Makes an image named `name` of the host's own distribution. An image of that name is an error.
    ///
    /// # Errors
    /// When a program is missing or fails, the host has no room, or its package sources cannot be told.
    pub async fn build(&self, name: &str) -> Result<Image, QemuError> {
        check_name(name)?;
        let _held = self.lock(name).await?;
        if self.get(name).is_ok() {
            return Err(QemuError::ImageExists(name.to_owned()));
        }
        self.build_locked(name).await
    }

    /// Returns the image of that name; built first if there is none, by one process only.
    ///
    /// # Errors
    /// As [`Images::build`].
    pub async fn ensure_built(&self, name: &str) -> Result<Image, QemuError> {
        if let Ok(image) = self.get(name) {
            return Ok(image);
        }
        check_name(name)?;
        let _held = self.lock(name).await?;
        match self.get(name) {
            Ok(image) => Ok(image),
            Err(_) => self.build_locked(name).await,
        }
    }

    /// Returns a digest of what an image is made from, but for the versions of its packages.
    pub(crate) fn recipe(&self) -> String {
        let parts = json!([EARLY, CUSTOMIZE, MAKE_DISK, self.packages(), self.settings.package_sources]);
        hex(&Sha256::digest(parts.to_string().as_bytes()))[..16].to_owned()
    }

    fn packages(&self) -> BTreeSet<&str> {
        let additions = self.settings.additions.iter().flat_map(|addition| addition.packages().split_whitespace());
        let further = self.settings.extra_packages.iter().map(String::as_str);
        PACKAGES.split_whitespace().chain(additions).chain(further).collect()
    }

    pub(crate) async fn build_locked(&self, name: &str) -> Result<Image, QemuError> {
        let archives = Archives::of_host(Path::new("/"), self.settings.package_sources.as_deref())?;
        room::require_for_file(&self.layout.images(), NEEDED_BYTES, "building an image")?;
        // mmdebstrap unpacks there, where apt's own unprivileged user and a user namespace are allowed in.
        room::require_for_file(Path::new("/tmp"), TREE_BYTES, "building an image")?;
        let task = Task::begin(
            &self.listener,
            format!("building image {name} ({} {})", archives.distribution, archives.codename),
        );
        let image = self.install(name, async |half| self.build_in(name, half, &archives, &task).await).await?;
        task.done();
        Ok(image)
    }

    async fn build_in(
        &self,
        name: &str,
        half: &Path,
        archives: &Archives,
        task: &Task<'_>,
    ) -> Result<Image, QemuError> {
        let make_disk = script(half, "make_disk.sh", MAKE_DISK)?;
        task.step("installing packages");
        let sources = half.join("sources.list");
        std::fs::write(&sources, archives.lines.join("\n") + "\n").map_err(QemuError::io("write", &sources))?;
        let scratch = Scratch::make(name).await?;
        let (mut bootstrap, death) = scratch::mmdebstrap().await;
        bootstrap.env("TMPDIR", scratch.dir());
        self.bootstrap_arguments(&mut bootstrap, half, archives);
        bootstrap.args(proxies().await.iter().map(|option| format!("--aptopt={option}")));
        let bootstrapped = program::watched(bootstrap, INSTALL_BUILDERS, death, |line| {
            // Hooks are told with their whole text.
            if let Some(line) = line.strip_prefix("I: ").filter(|line| !line.starts_with("running --")) {
                task.step(line);
            }
        })
        .await;
        scratch.remove().await?;
        bootstrapped?;
        task.step("making the disk");
        let mut command = program::command(if unix::is_root() { "sh" } else { "fakeroot" }, Needs::Path);
        if !unix::is_root() {
            command.args(["--", "sh"]);
        }
        command.arg(&make_disk).arg(half).arg(DEFAULT_SHAPE.disk_gib.to_string());
        program::watched(command, INSTALL_BUILDERS, Death::Terminate, |_| {}).await?;
        let (raw, disk) = (half.join("disk.raw"), half.join("disk.qcow2"));
        task.step("packing the disk");
        let mut convert = program::command(&self.settings.qemu_img, Needs::Nothing);
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&disk);
        program::output(convert, program::INSTALL_QEMU).await?;
        for left in [raw, make_disk, sources] {
            std::fs::remove_file(&left).map_err(QemuError::io("remove", &left))?;
        }
        task.step("taking its digest");
        Ok(Image {
            name: name.to_owned(),
            digest: digest(&disk).await?,
            origin: format!("built from {} {}", archives.distribution, archives.codename),
            virtual_bytes: u64::from(DEFAULT_SHAPE.disk_gib) << 30,
            file_bytes: disk.metadata().map_err(QemuError::io("look at", &disk))?.len(),
            created_unix_s: now_unix_s(),
            kernel: true,
            recipe: Some(self.recipe()),
            layer: None,
            dir: half.to_owned(),
        })
    }

    fn bootstrap_arguments(&self, command: &mut Command, half: &Path, archives: &Archives) {
        let mut packages: Vec<&str> = vec![archives.kernel_package()];
        packages.extend(self.packages());
        let mode = if unix::is_root() { "root" } else { "unshare" };
        command.arg(format!("--mode={mode}")).args(["--variant=minbase", "--format=tar"]);
        command.args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
        command.arg("--aptopt=Acquire::Retries \"3\"");
        for unwanted in ["man", "doc", "locale", "info"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unwanted}/*"));
        }
        command.arg(format!("--include={}", packages.join(",")));
        // The scripts go in as text: in a user namespace the hooks may not be allowed into the image's directory.
        let hook =
            |name: &str, text: &str| format!("--{name}-hook=sh -c '{}' {name} \"$1\"", text.replace('\'', r"'\''"));
        command.arg(hook("essential", EARLY)).arg(hook("customize", CUSTOMIZE));
        command.arg(&archives.codename).arg(half.join("root.tar")).arg(half.join("sources.list"));
    }
}

/// Returns the proxies that the host's apt uses, as options for the build's own apt, which does not read the host's.
async fn proxies() -> Vec<String> {
    let mut command = program::command("apt-config", Needs::Path);
    command.args(["dump", "--no-empty", "--format", "%f %v%n", "Acquire"]);
    // Without apt there is no proxy of apt.
    let text = program::output(command, INSTALL_BUILDERS).await.unwrap_or_default();
    let options = text.lines().filter_map(|line| line.split_once(' '));
    let proxies = options.filter(|(name, _)| name.contains("::Proxy") && !name.contains("Auto-Detect"));
    proxies.map(|(name, value)| format!("{name} \"{value}\"")).collect()
}

fn script(dir: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, QemuError> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(QemuError::io("write", &path))?;
    Ok(path)
}
