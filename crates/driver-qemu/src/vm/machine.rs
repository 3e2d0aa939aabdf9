//! QEMU's command line. A golden VM and its clones must have the same devices, so both come from here.

use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_driver::user_data::AGENT_PORT;
use kiln_pool::Network;
use serde::{Deserialize, Serialize};

use crate::error::QemuError;
use crate::host::cgroup::Bounds;
use crate::vm::accel::Accel;
use crate::vm::confinement::Confinement;
use crate::vm::descriptors::{Descriptors, option_value};
use crate::vm::monitor;
use crate::warden::WardenProgram;

/// The kernel line for images whose kernel QEMU starts without a boot loader.
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
    /// The disk that it rests on, the one below that, and so on. They are only read.
    pub(crate) backing: Vec<PathBuf>,
    pub(crate) seed: PathBuf,
    pub(crate) kernel: Option<DirectKernel>,
    pub(crate) firmware: Option<PathBuf>,
    pub(crate) role: Role,
    pub(crate) life: Life,
    pub(crate) link: Link,
    pub(crate) confinement: Confinement,
}

/// How a VM is connected.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// Not at all.
    None,
    /// To the host's network, as the host is itself. Its agent answers on a port of the host's loopback.
    Open,
    /// To what its warden lets it reach. Its agent answers on a socket.
    Isolated(Isolation),
}

impl Link {
    /// That of a VM whose files are in `dir`.
    pub(crate) fn of(warden: &WardenProgram, network: &Network, dir: &Path) -> Self {
        match network.isolated {
            true => Self::Isolated(Isolation { warden: warden.clone(), network: network.clone(), dir: dir.to_owned() }),
            false => Self::Open,
        }
    }
}

/// What isolates a VM.
#[derive(Debug, Clone)]
pub(crate) struct Isolation {
    pub(crate) warden: WardenProgram,
    /// What is open.
    pub(crate) network: Network,
    /// The directory in which the socket of its agent is made.
    pub(crate) dir: PathBuf,
}

/// What a warden takes beside QEMU's command line.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) warden: WardenProgram,
    pub(crate) network: Network,
    /// The socket on which the agent is asked for; none of a VM without one.
    pub(crate) agent: Option<OwnedFd>,
    /// The descriptor that is kept as long as the VM lives.
    pub(crate) sign_of_life: Option<RawFd>,
}

/// Memory of QEMU itself: its code, its caches of disks, and pages of files that count as its own.
const QEMU_MIB: u64 = 512;
/// Further memory for translated code, which QEMU bounds to this.
const TRANSLATED_MIB: u64 = 1024;
/// Threads of QEMU beside those of the guest's processors: at most 64 for its disks, and some.
const QEMU_THREADS: u32 = 128;

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

/// A QEMU that is about to be started.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) command: Command,
    /// Descriptors that keep their numbers in the child.
    pub(crate) inherit: Vec<OwnedFd>,
    pub(crate) confinement: Confinement,
    /// What it may take of the host; none: whatever it likes.
    pub(crate) bounds: Option<Bounds>,
    /// Its warden; none: it is in this process's network.
    pub(crate) guard: Option<Guard>,
}

/// How QEMU names the files of a machine.
#[derive(Debug, Default)]
struct Names {
    memory: String,
    /// The disk, and each that the one before rests on.
    disks: Vec<String>,
    seed: String,
    firmware: Option<String>,
    /// Kernel and initrd.
    kernel: Option<[String; 2]>,
    sets: Vec<String>,
}

impl Machine {
    /// Opens the files and writes the command line. `inherit` are further descriptors for the child.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub(crate) fn assemble(&self, inherit: Vec<OwnedFd>) -> Result<Assembled, QemuError> {
        let mut files = Descriptors::default();
        for descriptor in inherit {
            files.inherit(descriptor);
        }
        let memory = files.reopened(self.memory_file()?);
        let mut disks = vec![files.writable_disk(&self.disk)?];
        for path in &self.backing {
            disks.push(files.read_only_disk(path)?);
        }
        let seed = files.read_only_disk(&self.seed)?;
        let firmware = self.firmware.as_deref().map(|path| files.file(path)).transpose()?;
        let kernel = match &self.kernel {
            Some(direct) => Some([files.file(&direct.kernel)?, files.file(&direct.initrd)?]),
            None => None,
        };
        let sets = files.sets().to_vec();
        let names = Names { memory, disks, seed, firmware, kernel, sets };
        let mut command = self.confinement.command(&self.qemu);
        command.args(self.arguments(&names));
        let guard = match &self.link {
            Link::None | Link::Open => None,
            Link::Isolated(Isolation { warden, network, dir }) => Some(Guard {
                warden: warden.clone(),
                network: network.clone(),
                agent: Some(monitor::listen_for_agent(dir)?),
                sign_of_life: None,
            }),
        };
        Ok(Assembled {
            command,
            inherit: files.into_inherited(),
            confinement: self.confinement,
            bounds: Some(self.bounds()),
            guard,
        })
    }

    fn bounds(&self) -> Bounds {
        let own_mib = match self.accel {
            Accel::Kvm => QEMU_MIB,
            Accel::Tcg => QEMU_MIB + TRANSLATED_MIB,
        };
        Bounds { memory_mib: u64::from(self.memory_mib) + own_mib, pids: self.cpus + QEMU_THREADS }
    }

    fn memory_file(&self) -> Result<File, QemuError> {
        let mut options = File::options();
        options.read(true).write(true).create(self.role == Role::Golden).mode(0o600);
        let shared = options.open(&self.memory).and_then(|file| {
            self.confinement.share(&file)?;
            Ok(file)
        });
        shared.map_err(QemuError::io("open", &self.memory))
    }

    fn arguments(&self, names: &Names) -> Vec<String> {
        let share = if self.role == Role::Golden { "on" } else { "off" };
        let cpu = self.accel.qemu_cpu();
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-name", &self.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-machine", "q35,usb=off,smbus=off,vmport=off,memory-backend=ram"]);
        add(&["-accel", self.accel.qemu_accel(), "-cpu", cpu, "-smp", &self.cpus.to_string()]);
        add(&["-m", &format!("{}M", self.memory_mib)]);
        let memory = format!("memory-backend-file,id=ram,size={}M,mem-path={}", self.memory_mib, names.memory);
        add(&["-object", &format!("{memory},share={share}")]);
        let (monitor, console) = match self.life {
            Life::Tied => ("socket,id=monitor,fd=0", "file,id=console,path=/dev/stdout"),
            // Opened anew it would be emptied, and written from a place of its own.
            Life::Lasting => {
                ("socket,id=monitor,fd=0,server=on,wait=off", "file,id=console,path=/dev/stdout,append=on")
            }
        };
        add(&["-chardev", monitor, "-mon", "chardev=monitor,mode=control"]);
        add(&["-chardev", console, "-serial", "chardev:console"]);
        for set in &names.sets {
            add(&["-add-fd", set]);
        }
        add(&["-drive", &format!("if=none,id=root,cache=unsafe,discard=unmap,{}", chain(&names.disks))]);
        // On a full disk of the host the guest gets an error, which ends a step; the default would stop it without a word.
        add(&["-device", "virtio-blk-pci,drive=root,bootindex=1,werror=report,rerror=report"]);
        add(&["-drive", &format!("if=none,id=seed,format=raw,readonly=on,file={}", names.seed)]);
        add(&["-device", "virtio-blk-pci,drive=seed"]);
        let host_port = match self.link {
            Link::None => None,
            // The kernel chooses one that is free.
            Link::Open => Some(0),
            // Nobody else is in its network.
            Link::Isolated(_) => Some(AGENT_PORT),
        };
        if let Some(port) = host_port {
            add(&["-netdev", &format!("user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:{AGENT_PORT}")]);
            add(&["-device", "virtio-net-pci,netdev=net,romfile="]);
        }
        add(&["-device", "virtio-rng-pci"]);
        if let Some(firmware) = &names.firmware {
            add(&["-bios", firmware]);
        }
        if let (Some(direct), Some([kernel, initrd])) = (&self.kernel, &names.kernel) {
            add(&["-kernel", kernel, "-initrd", initrd, "-append", &direct.line]);
        }
        if self.role == Role::Clone {
            add(&["-incoming", "defer"]);
        }
        args
    }
}

/// Disks that rest on one another, each named here: the paths that they hold themselves may not be open to QEMU.
fn chain(disks: &[String]) -> String {
    let mut text = String::new();
    for (depth, disk) in disks.iter().enumerate() {
        let prefix = "backing.".repeat(depth);
        let driver = if depth == 0 { "format" } else { "driver" };
        let comma = if depth == 0 { "" } else { "," };
        let file = if depth == 0 {
            format!("file={disk}")
        } else {
            format!("{prefix}file.driver=file,{prefix}file.filename={disk}")
        };
        text.push_str(&format!("{comma}{prefix}{driver}=qcow2,{file}"));
    }
    text
}

/// Returns the instance below `owner` that a command line of this module starts. Any mention of its files does not do: a person may look
/// at one.
pub(crate) fn instance_of(words: &[String], owner: &Path) -> Option<String> {
    let id = words.iter().skip_while(|word| *word != "-name").nth(1)?;
    let disk = format!(",opaque={}", option_value(&owner.join(id).join(OVERLAY)));
    words.iter().any(|word| word.ends_with(&disk)).then(|| id.clone())
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
            memory: "/memory".into(),
            disk: "/d".into(),
            backing: Vec::new(),
            seed: "/s".into(),
            kernel: None,
            firmware: None,
            role,
            life: Life::Tied,
            link: Link::Open,
            confinement: Confinement { sandbox: true, ids: None },
        }
    }

    #[test]
    fn a_clone_has_the_golden_devices_and_its_own_memory() {
        let words = |role| machine(role).arguments(&Names { memory: "/m".into(), ..Names::default() });
        let (golden, clone) = (words(Role::Golden), words(Role::Clone));
        let differing: Vec<_> = clone.iter().filter(|word| !golden.contains(word)).collect();
        assert_eq!(differing, ["memory-backend-file,id=ram,size=512M,mem-path=/m,share=off", "-incoming", "defer"]);
    }

    #[test]
    fn the_agent_is_forwarded_to_where_the_link_says() {
        let check = |link: Link, expect: &[&str]| {
            let made = Machine { link, ..machine(Role::Clone) };
            let words = made.arguments(&Names::default());
            let found: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("user,id=net,ipv6=off,")).collect();
            assert_eq!(found, expect);
            assert_eq!(words.iter().any(|word| word.starts_with("virtio-net")), !expect.is_empty());
        };
        let link = |network: &Network| Link::of(&WardenProgram::default(), network, "/i".as_ref());
        check(Link::None, &[]);
        check(link(&Network::open()), &["hostfwd=tcp:127.0.0.1:0-:9079"]);
        check(link(&Network::default()), &["hostfwd=tcp:127.0.0.1:9079-:9079"]);
    }

    #[test]
    fn disks_name_all_that_they_rest_on() {
        let check = |disks: &[&str], expect: &str| {
            assert_eq!(chain(&disks.iter().map(|disk| (*disk).to_owned()).collect::<Vec<_>>()), expect);
        };
        check(&["/0"], "format=qcow2,file=/0");
        check(
            &["/0", "/1", "/2"],
            "format=qcow2,file=/0,backing.driver=qcow2,backing.file.driver=file,backing.file.filename=/1,\
             backing.backing.driver=qcow2,backing.backing.file.driver=file,backing.backing.file.filename=/2",
        );
    }

    #[test]
    fn a_qemu_has_no_environment_and_its_sandbox_denies_all_it_can() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, b"x").expect("write");
            path
        };
        let (memory, disk, seed) = (file("memory"), file("disk"), file("seed"));
        let made = Machine { memory, disk, seed, ..machine(Role::Clone) };
        let assembled = made.assemble(Vec::new()).expect("a command");
        assert_eq!(assembled.command.get_envs().count(), 0);
        let words: Vec<_> = assembled.command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words[..2], ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
        let folder = dir.path().to_str().expect("a path");
        let naming: Vec<_> = words.iter().filter(|word| word.contains(folder)).collect();
        assert!(naming.iter().all(|word| word.contains(",opaque=")), "it needs no path: {naming:?}");
        assert_eq!(assembled.inherit.len(), 4);
    }

    #[test]
    fn an_instance_is_known_by_its_command_line() {
        let words = |id: &str, disk: &str| {
            let made = Machine { name: id.into(), life: Life::Lasting, ..machine(Role::Clone) };
            let sets = vec![format!("fd=3,set=0,opaque={}", option_value(disk.as_ref()))];
            made.arguments(&Names { sets, ..Names::default() })
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
