//! QEMU's command line. A golden VM and its clones must have the same devices, so both come from here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_driver::user_data::AGENT_PORT;
use serde::{Deserialize, Serialize};

use crate::vm::accel::Accel;

/// The kernel line for images whose kernel we start directly.
pub(crate) const KERNEL_LINE: &str = "root=LABEL=root rootfstype=ext4 rw console=ttyS0 quiet random.trust_cpu=on \
    mitigations=off nokaslr tsc=reliable audit=0 apparmor=0 cryptomgr.notests no_timer_check panic=-1 net.ifnames=0";

/// A kernel that QEMU loads by itself, without a boot loader.
#[derive(Debug, Clone)]
pub(crate) struct DirectKernel {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) line: String,
}

/// The size of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Smallest size of the root disk in GiB.
    pub disk_gib: u32,
}

/// What a VM is made of.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) qemu: PathBuf,
    pub(crate) name: String,
    pub(crate) accel: Accel,
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u32,
    /// The guest's memory; written by the golden VM, mapped copy-on-write by clones.
    pub(crate) memory: PathBuf,
    pub(crate) disk: PathBuf,
    pub(crate) seed: PathBuf,
    pub(crate) kernel: Option<DirectKernel>,
    pub(crate) firmware: Option<PathBuf>,
    pub(crate) role: Role,
    pub(crate) life: Life,
}

/// The name of a clone's disk, in its instance's directory.
pub(crate) const OVERLAY: &str = "overlay.qcow2";

/// What becomes of a VM when the process that made it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It ends too. Its monitor is one connection, on its standard input.
    Tied,
    /// It goes on. Its monitor listens on the socket that is its standard input.
    Lasting,
}

/// Which of the two VMs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Boots, and writes its memory to the file.
    Golden,
    /// Waits for the golden VM's state, and keeps its changes to the memory to itself.
    Clone,
}

impl Machine {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        command.args(self.arguments());
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let share = if self.role == Role::Golden { "on" } else { "off" };
        let cpu = self.accel.qemu_cpu();
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        add(&["-name", &self.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-machine", "q35,usb=off,smbus=off,vmport=off,memory-backend=ram"]);
        add(&["-accel", self.accel.qemu_accel(), "-cpu", cpu, "-smp", &self.cpus.to_string()]);
        add(&["-m", &format!("{}M", self.memory_mib)]);
        let memory = option_value(&self.memory);
        add(&[
            "-object",
            &format!("memory-backend-file,id=ram,size={}M,mem-path={memory},share={share}", self.memory_mib),
        ]);
        let (monitor, console) = match self.life {
            Life::Tied => ("socket,id=monitor,fd=0", "file,id=console,path=/dev/stdout"),
            // Opened anew it would be emptied, and written from a place of its own.
            Life::Lasting => {
                ("socket,id=monitor,fd=0,server=on,wait=off", "file,id=console,path=/dev/stdout,append=on")
            }
        };
        add(&["-chardev", monitor, "-mon", "chardev=monitor,mode=control"]);
        add(&["-chardev", console, "-serial", "chardev:console"]);
        let disk = option_value(&self.disk);
        add(&["-drive", &format!("if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,file={disk}")]);
        // On a full disk of the host the guest gets an error, which ends a step; the default would stop it without a word.
        add(&["-device", "virtio-blk-pci,drive=root,bootindex=1,werror=report,rerror=report"]);
        let seed = option_value(&self.seed);
        add(&["-drive", &format!("if=none,id=seed,format=raw,readonly=on,file={seed}")]);
        add(&["-device", "virtio-blk-pci,drive=seed"]);
        add(&["-netdev", &format!("user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-:{AGENT_PORT}")]);
        add(&["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]);
        if let Some(firmware) = &self.firmware {
            add(&["-bios", &firmware.to_string_lossy()]);
        }
        if let Some(direct) = &self.kernel {
            add(&["-kernel", &direct.kernel.to_string_lossy(), "-initrd", &direct.initrd.to_string_lossy()]);
            add(&["-append", &direct.line]);
        }
        if self.role == Role::Clone {
            add(&["-incoming", "defer"]);
        }
        args
    }
}

/// The instance below `owner` that a command line made by us starts. Not by any mention of a file of it: a person may look
/// at one.
pub(crate) fn instance_of(words: &[String], owner: &Path) -> Option<String> {
    let id = words.iter().skip_while(|word| *word != "-name").nth(1)?;
    let disk = format!(",file={}", option_value(&owner.join(id).join(OVERLAY)));
    words.iter().any(|word| word.ends_with(&disk)).then(|| id.clone())
}

/// A path inside an option: QEMU reads a comma as the end of it unless it is doubled.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(role: Role) -> Machine {
        Machine {
            qemu: "qemu".into(),
            name: "x".into(),
            accel: Accel::Tcg,
            cpus: 2,
            memory_mib: 512,
            memory: "/a,b/memory".into(),
            disk: "/d".into(),
            seed: "/s".into(),
            kernel: None,
            firmware: None,
            role,
            life: Life::Tied,
        }
    }

    #[test]
    fn a_clone_has_the_golden_devices_and_its_own_memory() {
        let words =
            |role| machine(role).arguments().iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let (golden, clone) = (words(Role::Golden), words(Role::Clone));
        let differing: Vec<_> = clone.iter().filter(|word| !golden.contains(word)).collect();
        let memory = "memory-backend-file,id=ram,size=512M,mem-path=/a,,b/memory,share=off";
        assert_eq!(differing, [memory, "-incoming", "defer"]);
    }

    #[test]
    fn an_instance_is_known_by_its_command_line() {
        let words = |id: &str, disk: &str| {
            let made = Machine { name: id.into(), disk: disk.into(), life: Life::Lasting, ..machine(Role::Clone) };
            made.arguments().iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        let check = |words: &[String], expect: Option<&str>| {
            assert_eq!(instance_of(words, "/s,t/named-x".as_ref()).as_deref(), expect, "{words:?}");
        };
        check(&words("i-1", "/s,t/named-x/i-1/overlay.qcow2"), Some("i-1"));
        check(&words("i-2", "/s,t/named-x/i-1/overlay.qcow2"), None);
        check(&words("i-1", "/s,t/named-y/i-1/overlay.qcow2"), None);
        check(&["less".to_owned(), "/s,t/named-x/i-1/overlay.qcow2".to_owned()], None);
        check(&[], None);
    }
}
