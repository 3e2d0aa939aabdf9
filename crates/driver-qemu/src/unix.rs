//! What needs the kernel's own words: children that die with us, signals, free space.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getppid};

type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

/// What the kernel does to a child when this process ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// SIGKILL: for VMs, which have nothing to put in order.
    Kill,
    /// SIGTERM: for programs that take down what they set up.
    Terminate,
}

/// Starts a child that the kernel ends when this process ends, however it ends.
///
/// The parent-death signal is tied to the *thread* that forks, so all such children are started by one thread that lives
/// as long as the process. The child leaves our process group, so that a Ctrl-C in the terminal does not reach it.
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
            return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
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

fn spawner() -> &'static mpsc::Sender<Order> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        let body = move || {
            for (mut command, answer) in inbox {
                // The asker waits for the answer; should it be gone, the child is ended rather than left alone.
                if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                    // Nobody is left to tell; the child is ours, so it is ended and reaped.
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
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
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

/// Waits for a child's end and leaves it a zombie, so that its pid stays its own until it is reaped.
pub(crate) fn wait_without_reaping(pid: u32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    loop {
        match waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(nix::errno::Errno::EINTR) => {}
            // An error means that it is no longer our child; the caller's own wait tells.
            Ok(_) | Err(_) => return,
        }
    }
}

/// Bytes that an unprivileged user may still write below `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    #[allow(clippy::useless_conversion)] // These are narrower on other platforms.
    Ok(u64::from(stat.blocks_available()) * u64::from(stat.fragment_size()))
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
