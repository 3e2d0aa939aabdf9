//! What needs the kernel's own calls: children that die with this process and children that do not, descriptors of processes,
//! free space.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, FcntlArg, FdFlag, RenameFlags, fallocate, fcntl, renameat2};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid, getppid, setsid};

type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

/// How much less urgent than this process a VM is that outlives it. Each step is a factor of about 1.25 in the share of a
/// processor that both want. So a runner decides within milliseconds while every core computes for its VMs.
const NICER: u8 = 10;
/// How often the kernel is asked to make a session less urgent,
const SESSION_TRIES: u32 = 4;
/// and the pause between two times, which is that of the kernel.
const SESSION_PAUSE: Duration = Duration::from_millis(100);

/// What the kernel does to a child when this process ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// SIGKILL: for VMs, which have nothing to put in order.
    Kill,
    /// SIGTERM: for programs that take down what they set up.
    Terminate,
}

/// Lets two folders or files change places, in one go.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)?)
}

/// Starts a child that the kernel ends when this process ends, however it ends.
///
/// The parent-death signal is tied to the *thread* that forks, so all such children are started by one thread that lives
/// as long as the process. The child leaves this process's group, so that a Ctrl-C in the terminal does not reach it.
///
/// # Errors
/// As [`Command::spawn`].
pub(crate) fn spawn_tied(mut command: Command, inherit: Vec<OwnedFd>, death: Death) -> io::Result<Child> {
    let owner = getpid();
    let signal = match death {
        Death::Kill => Signal::SIGKILL,
        Death::Terminate => Signal::SIGTERM,
    };
    let tie = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // The owner may have died between the fork and the line above; then no signal will ever come.
        if getppid() != owner {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        for fd in &inherit {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    command.process_group(0);
    // SAFETY: between fork and exec the closure only calls prctl, getppid and fcntl, which are async-signal-safe, and it
    // allocates nothing. The descriptors it names are owned by the closure, so they are open.
    unsafe { command.pre_exec(tie) };
    let (answer, answered) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts children is gone");
    spawner().send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// Starts a child that goes on when this process ends: in a session of its own, so that neither a terminal nor a signal to
/// this process's group reaches it. The descriptors of `inherit` keep their numbers in the child.
///
/// # Errors
/// As [`Command::spawn`].
pub(crate) fn spawn_lasting(mut command: Command, inherit: Vec<OwnedFd>) -> io::Result<Child> {
    let detach = move || {
        setsid()?;
        // SAFETY: the call takes an integer and touches no memory. What is not granted changes nothing for the VM.
        unsafe { libc::nice(NICER.into()) };
        for fd in &inherit {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls, which is async-signal-safe, and it allocates
    // nothing. The descriptors it names are owned by the closure, so they are open.
    unsafe { command.pre_exec(detach) };
    let child = command.spawn()?;
    make_session_nicer(child.id());
    Ok(child)
}

/// Makes the session that this process leads [less urgent](NICER), where the kernel shares processors among sessions
/// (`sched_autogroup_enabled`): there a process's own niceness counts only within its session. What the kernel does not
/// grant changes nothing for the VM. Blocks for some tenths of a second where others ask at the same time.
///
/// Done by the parent: a child that has become another user may not.
fn make_session_nicer(leader: u32) {
    let path = format!("/proc/{leader}/autogroup");
    for _ in 0..SESSION_TRIES {
        match std::fs::write(&path, NICER.to_string()) {
            // The kernel takes few of these in a second from those who are not root.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(SESSION_PAUSE),
            Ok(()) | Err(_) => return,
        }
    }
}

/// A process by a descriptor, which never comes to mean another one as a pid does.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// # Errors
    /// When there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: the call takes two integers and touches no memory.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it. It closes on exec.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends SIGKILL. A process that is gone already is a success.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is allowed and means that of kill(2); the descriptor is open.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, nothing, 0) };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end, for ever if there is no limit, and reaps nothing. False when the limit came first.
    pub(crate) fn ended_within(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from).map_err(io::Error::other)?;
        loop {
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }
}

/// Gives back the disk of a file's first `bytes`, which read as zeros from then on; its length stays.
pub(crate) fn punch_hole(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(fallocate(file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes)?)
}

fn spawner() -> &'static mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        let body = move || {
            for (mut command, answer) in inbox {
                // The asker waits for the answer; should it be gone, the child is ended rather than left alone.
                if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                    // Nobody is left to tell; the child is this process's, so it is ended and reaped.
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        };
        // Without this thread every later spawn answers with an error, which is where it is reported.
        let _ = std::thread::Builder::new().name("kiln-spawner".to_owned()).spawn(body);
        orders
    })
}

/// Sends SIGKILL. A process that is gone already is a success.
pub(crate) fn kill_now(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks a child that leads its own group, and all in that group, to end.
pub(crate) fn terminate_group(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // The only error is that the group is gone.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Bytes that an unprivileged user may still write below `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    #[allow(clippy::useless_conversion)] // These are narrower on other platforms.
    Ok(u64::from(stat.blocks_available()) * u64::from(stat.fragment_size()))
}

/// Tells whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: u32 = 65534;

    #[test]
    fn what_outlives_its_owner_gives_way_to_it() {
        let mut command = Command::new("cat");
        command.stdin(std::process::Stdio::piped());
        if nix::unistd::geteuid().is_root() {
            // As a VM of a runner that is root does.
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = spawn_lasting(command, Vec::new()).expect("cat");
        let (own, its) = (niceness("self"), niceness(&child.id().to_string()));
        let session = std::fs::read_to_string(format!("/proc/{}/autogroup", child.id()));
        child.kill().expect("kill");
        child.wait().expect("wait");

        assert_eq!(its, (own + i64::from(NICER)).min(19));
        if let Ok(session) = session {
            assert!(session.trim_end().ends_with(&format!("nice {NICER}")), "{session}");
        }
    }

    /// The niceness of a process, as proc_pid_stat(5) tells it.
    fn niceness(pid: &str) -> i64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let after_name = stat.rsplit_once(") ").expect("a name").1;
        after_name.split(' ').nth(16).expect("a niceness").parse().expect("a number")
    }
}
