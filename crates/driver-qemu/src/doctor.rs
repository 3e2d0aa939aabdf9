//! What works on this host, what is missing, and the command that mends it. Changes nothing.

use std::path::Path;

use crate::host::cgroup::Base;
use crate::host::ids;
use crate::host::proc;
use crate::host::program::{self, INSTALL_BUILDERS, INSTALL_QEMU, Needs};
use crate::host::unix;
use crate::images;
use crate::paths::Layout;
use crate::settings::Settings;
use crate::vm::binary::Binary;
use crate::vm::isolation;
use crate::vm::kvm::{self, Trouble};

/// The oldest QEMU whose snapshots are known to load.
const OLDEST_QEMU: (u32, u32) = (6, 2);
/// Room for an image, a golden VM and some clones.
const COMFORTABLE_DISK_MIB: u64 = 8 * 1024;
/// Room for one VM of 2 GiB.
const COMFORTABLE_MEMORY_MIB: u64 = 2560;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What, in a word or two.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether VMs work without it (KVM: slower; builders: import an image instead).
    pub optional: bool,
    /// What was found.
    pub detail: String,
    /// The command that mends it; empty where there is none or none is needed.
    pub remedy: String,
}

/// Looks at everything that local VMs need.
pub async fn doctor(layout: &Layout, settings: &Settings) -> Vec<Check> {
    let binary = Binary::look(&settings.qemu).await.ok();
    let qemu = binary.as_ref().map(|binary| binary.version.clone());
    let qemu_img = version_of(&settings.qemu_img, &["--version"]).await;
    let version = qemu.clone().unwrap_or_default();
    let mut checks = vec![
        qemu_check(qemu),
        required("qemu-img", qemu_img, INSTALL_QEMU),
        kvm_check(layout, &version),
        sandbox_check(binary.as_ref()),
        isolation_check(settings).await,
        own_uid_check(),
        bounds_check(),
        builder("mmdebstrap", version_of(Path::new("mmdebstrap"), &["--version"]).await),
        builder("mkfs.ext4", found("mkfs.ext4")),
    ];
    if !unix::is_root() {
        checks.push(builder("fakeroot", version_of(Path::new("fakeroot"), &["--version"]).await));
        checks.push(builder("newuidmap", found("newuidmap")));
        checks.push(subuid_check());
    }
    checks.push(registry_check());
    checks.push(disk_check(layout));
    checks.push(memory_check());
    checks.push(images_check(layout, settings));
    checks
}

fn found(program: &str) -> Option<String> {
    program::find(Path::new(program)).map(|path| path.display().to_string())
}

async fn version_of(program: &Path, args: &[&str]) -> Option<String> {
    let mut command = program::command(program, Needs::Path);
    command.args(args);
    let text = program::output(command, "").await.ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn required(name: &'static str, found: Option<String>, remedy: &str) -> Check {
    let ok = found.is_some();
    let remedy = if ok { String::new() } else { remedy.to_owned() };
    Check { name, ok, optional: false, detail: found.unwrap_or_else(|| "not found".to_owned()), remedy }
}

fn registry_check() -> Check {
    let found = found("docker-registry");
    let ok = found.is_some();
    let detail = found.unwrap_or_else(|| {
        "not found; only a cache of container images on this host needs it (`registry_mirror` of a pool)".to_owned()
    });
    let remedy = if ok { String::new() } else { "sudo apt-get install docker-registry".to_owned() };
    Check { name: "registry", ok, optional: true, detail, remedy }
}

fn builder(name: &'static str, found: Option<String>) -> Check {
    let mut check = required(name, found, INSTALL_BUILDERS);
    check.optional = true;
    if !check.ok {
        check.detail = "not found; needed only by `kiln image build`".to_owned();
    }
    check
}

fn qemu_check(found: Option<String>) -> Check {
    let mut check = required("qemu", found, INSTALL_QEMU);
    if check.ok && parse_version(&check.detail).is_none_or(|version| version < OLDEST_QEMU) {
        check.ok = false;
        check.detail = format!("{}: too old, {}.{} or newer is needed", check.detail, OLDEST_QEMU.0, OLDEST_QEMU.1);
    }
    check
}

fn parse_version(line: &str) -> Option<(u32, u32)> {
    let number = line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn kvm_check(layout: &Layout, qemu_version: &str) -> Check {
    let (ok, detail, denied) = match kvm::known(layout, qemu_version) {
        Some(Ok(())) => (true, "a kernel boots with it".to_owned(), false),
        Some(Err(trouble)) => (false, format!("{trouble}; VMs run in software emulation"), trouble == Trouble::Denied),
        None => (true, "/dev/kvm is there; whether a kernel boots with it is tried at the first VM".to_owned(), false),
    };
    let remedy = if denied { "sudo usermod -aG kvm $USER".to_owned() } else { String::new() };
    Check { name: "kvm", ok, optional: true, detail, remedy }
}

fn sandbox_check(binary: Option<&Binary>) -> Check {
    let ok = binary.is_some_and(|binary| binary.sandbox);
    let detail = match binary {
        Some(_) if ok => "QEMU may not start programs, change who it is, or use obsolete system calls",
        Some(_) => "this QEMU was built without seccomp: a guest that breaks out of it may use any system call",
        None => "without QEMU there is nothing to lock up",
    };
    Check { name: "sandbox", ok, optional: true, detail: detail.to_owned(), remedy: String::new() }
}

/// Tries whether VMs can be isolated here: starts a warden, with its namespaces and its filter, and a QEMU that only tells its version.
pub async fn isolation_check(settings: &Settings) -> Check {
    let (warden, qemu) = (settings.warden.clone(), settings.qemu.clone());
    let tried = tokio::task::spawn_blocking(move || isolation::try_out(&warden, &qemu)).await;
    let tried = tried.unwrap_or_else(|error| Err(error.to_string()));
    let ok = tried.is_ok();
    let detail = tried.err().unwrap_or_else(|| {
        "a VM reaches the public internet, and nothing of this host and its networks that is not opened".to_owned()
    });
    let remedy = if ok {
        String::new()
    } else {
        "kiln run --without-isolation, or `isolation: off` in the pool file".to_owned()
    };
    Check { name: "isolation", ok, optional: false, detail, remedy }
}

fn own_uid_check() -> Check {
    let (ok, detail) = match ids::available() {
        Ok(()) => (true, "each VM runs as a user of its own, which no account has".to_owned()),
        // A plain user's VMs have no more rights than that user.
        Err(why) => (why == ids::Shared::NotRoot, why.to_string()),
    };
    Check { name: "own uid", ok, optional: true, detail, remedy: String::new() }
}

fn bounds_check() -> Check {
    let (ok, detail) = match Base::of_host() {
        Ok(base) if base.io => (true, "memory, threads and disk traffic of each VM are bounded".to_owned()),
        Ok(_) => (true, "memory and threads of each VM are bounded, disk traffic is not".to_owned()),
        Err(why) => (false, format!("what a VM takes of the host is not bounded: {why}")),
    };
    Check { name: "bounds", ok, optional: true, detail, remedy: String::new() }
}

fn subuid_check() -> Check {
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_else(|| uid.to_string());
    let has = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.split(':').next().is_some_and(|who| who == name || who == uid.to_string()))
    };
    let ok = has("/etc/subuid") && has("/etc/subgid");
    let detail = if ok {
        format!("{name} has subordinate ids")
    } else {
        format!("{name} has no line in /etc/subuid or /etc/subgid")
    };
    let remedy = if ok {
        String::new()
    } else {
        format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}")
    };
    Check { name: "subuid", ok, optional: true, detail, remedy }
}

fn disk_check(layout: &Layout) -> Check {
    // The directory may not be there yet: its nearest ancestor tells.
    let dir = layout.cache.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let free_mib = unix::free_bytes(dir).map_or(0, |bytes| bytes >> 20);
    let ok = free_mib >= COMFORTABLE_DISK_MIB;
    let detail = format!("{free_mib} MiB free below {} ({COMFORTABLE_DISK_MIB} MiB wanted)", layout.cache.display());
    let remedy = if ok { String::new() } else { "kiln image list; kiln image rm NAME".to_owned() };
    Check { name: "disk", ok, optional: false, detail, remedy }
}

fn memory_check() -> Check {
    let available = proc::memory_mib().available.unwrap_or(0);
    let ok = available >= COMFORTABLE_MEMORY_MIB;
    let detail = format!("{available} MiB available ({COMFORTABLE_MEMORY_MIB} MiB wanted)");
    Check { name: "memory", ok, optional: false, detail, remedy: String::new() }
}

fn images_check(layout: &Layout, settings: &Settings) -> Check {
    let store = images::Images::new(layout.clone(), settings.clone(), std::sync::Arc::new(|_| {}));
    let (ok, detail) = match store.list() {
        Ok(images) if images.is_empty() => (false, "none yet".to_owned()),
        Ok(images) => (true, images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join(", ")),
        Err(error) => (false, error.to_string()),
    };
    let remedy = if ok { String::new() } else { "kiln image build".to_owned() };
    Check { name: "images", ok, optional: true, detail, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told() {
        let check = |line: &str, ok: bool| {
            let check = qemu_check(Some(line.to_owned()));
            assert_eq!((check.ok, check.remedy.is_empty()), (ok, true), "{line}: {check:?}");
        };
        check("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", true);
        check("QEMU emulator version 10.0.2", true);
        check("QEMU emulator version 6.1.0", false);
        check("who knows", false);
        let missing = qemu_check(None);
        assert!(!missing.ok && missing.remedy == INSTALL_QEMU);
    }
}
