//! QEMU's command line. A golden VM and its clones must have the same devices, so both come from here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_driver::user_data::AGENT_PORT;

use crate::accel::Accel;

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
        add(&["-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"]);
        add(&["-chardev", "file,id=console,path=/dev/stdout", "-serial", "chardev:console"]);
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
}
