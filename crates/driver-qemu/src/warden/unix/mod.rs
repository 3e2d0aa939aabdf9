//! What needs the kernel's own calls: namespaces, rights, descriptors, and who dies with whom.
#![allow(unsafe_code)]
// Numbers of the kernel's interface change their width between its structures.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

pub(super) mod filter;
pub(super) mod notify;
pub(super) mod socket;

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc::{self, c_int, c_ulong};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid};

use crate::host::ids::Ids;

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITIES_VERSION: u32 = 0x2008_0522;
/// The bit of CAP_SYS_ADMIN, which namespaces take.
const SYS_ADMIN: u32 = 1 << 21;

#[repr(C)]
struct CapabilitiesOf {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn prctl(what: c_int, value: c_ulong) -> io::Result<()> {
    // SAFETY: the calls of this module take integers and touch no memory.
    Errno::result(unsafe { libc::prctl(what, value, 0, 0, 0) }).map(drop).map_err(io::Error::from)
}

/// A descriptor that this process was given by its number.
pub(super) fn given(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD touches no memory, and says whether there is such a descriptor.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, and whoever passed it on by its number has named it once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets a program that this process becomes have a descriptor, or keeps it from it.
pub(super) fn inherit(descriptor: impl AsFd, inherits: bool) -> io::Result<()> {
    let flags = if inherits { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Closes all descriptors but these. Whoever owns another one must not use it any more, nor close it.
pub(super) fn close_all_but(kept: &mut [RawFd]) -> io::Result<()> {
    kept.sort_unstable();
    let mut first: u32 = 0;
    for number in kept.iter().map(|number| *number as u32).chain([u32::MAX]) {
        if first < number {
            // SAFETY: the call takes three integers and touches no memory.
            Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) })?;
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// Becomes another user for ever, but keeps the rights of this one until a program is started.
pub(super) fn become_user(ids: Ids) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1)?;
    nix::unistd::setgroups(&[])?;
    nix::unistd::setgid(ids.gid.into())?;
    nix::unistd::setuid(ids.uid.into())?;
    let mut rights = capabilities()?;
    for half in &mut rights {
        half.effective = half.permitted;
    }
    let of = CapabilitiesOf { version: CAPABILITIES_VERSION, pid: 0 };
    // SAFETY: both structures are as the kernel lays them out, and live until the call returns.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const of, rights.as_ptr()) })?;
    // Its own files in /proc are its own again.
    prctl(libc::PR_SET_DUMPABLE, 1)
}

fn capabilities() -> io::Result<[Capabilities; 2]> {
    let mut rights = [Capabilities::default(); 2];
    let mut of = CapabilitiesOf { version: CAPABILITIES_VERSION, pid: 0 };
    // SAFETY: both structures are as the kernel lays them out, and live until the call returns.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut of, rights.as_mut_ptr()) })?;
    Ok(rights)
}

/// Makes a user namespace in which every user is who it was, and this process has all rights. Whoever has the rights without one
/// needs none.
pub(super) fn own_users() -> io::Result<()> {
    let (uid, gid, needs_it) = (geteuid(), getegid(), !may_make_namespaces());
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Err(_) if !needs_it => return Ok(()),
        made => made?,
    }
    match std::fs::write("/proc/self/setgroups", "deny") {
        // Kernels before 3.19 have none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        written => written?,
    }
    std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Whether this process may make namespaces without one of users.
fn may_make_namespaces() -> bool {
    capabilities().is_ok_and(|rights| rights[0].effective & SYS_ADMIN != 0)
}

/// Makes a network of this process's own, which nothing leads out of, brings up its loopback, and returns what names it.
pub(super) fn own_network() -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    raise_loopback()?;
    // Lets QEMU ask for the sockets of pings, which the warden makes if the host allows its user to. Without it they fail.
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{0} {0}", getegid()));
    Ok(std::fs::File::open("/proc/self/ns/net")?.into())
}

fn raise_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all of it are integers and a union of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is as the kernel lays it out, and lives until the call returns.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw mut request) })?;
    Ok(())
}

/// Moves this thread into a network.
pub(super) fn enter_network(network: impl AsFd) -> io::Result<()> {
    Ok(setns(network, CloneFlags::CLONE_NEWNET)?)
}

/// Lets the kernel kill this process when the other end of a pipe is closed, whatever program it becomes.
pub(super) fn die_when_closed(pipe: &OwnedFd) -> io::Result<()> {
    const F_SETSIG: c_int = 10;
    let number = pipe.as_raw_fd();
    // SAFETY: the calls take integers and touch no memory.
    unsafe {
        Errno::result(libc::fcntl(number, F_SETSIG, libc::SIGKILL))?;
        Errno::result(libc::fcntl(number, libc::F_SETOWN, libc::getpid()))?;
        Errno::result(libc::fcntl(number, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK))?;
    }
    inherit(pipe, true)
}

/// Lets the kernel kill this process when its parent dies. False when that is not `parent` any more: it has died.
pub(super) fn die_with(parent: Pid) -> io::Result<bool> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong)?;
    Ok(nix::unistd::getppid() == parent)
}

/// No program that this process becomes has more rights than it.
pub(super) fn gain_nothing() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Being root gives a program no rights by itself. What may not be set leaves what was.
pub(super) fn root_is_nobody() {
    let _ = prctl(libc::PR_SET_SECUREBITS, (libc::SECBIT_NOROOT | libc::SECBIT_NOROOT_LOCKED) as c_ulong);
}

/// Keeps this process's memory and descriptors from others of its user.
pub(super) fn hide() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Sets what the kernel calls this process.
pub(super) fn call_itself(name: &std::ffi::CStr) {
    // SAFETY: the name ends with a zero and lives until the call returns. What fails changes only what people see.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Divides this process, which must have one thread. `child` runs in a new process, which ends with it.
pub(super) fn divide(child: impl FnOnce() -> ExitStatus) -> io::Result<Pid> {
    // SAFETY: there is one thread, so the child finds no lock taken by another one, and may do whatever its parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let ExitStatus(status) = child();
            // SAFETY: it ends this process without running what its parent is to run at its own end.
            unsafe { libc::_exit(status) }
        }
    }
}

/// A status for the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExitStatus(pub(super) c_int);

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.0 as u8)
    }
}
