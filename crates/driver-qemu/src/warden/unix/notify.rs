//! The calls that a filter hands over, and the process that makes them: its descriptors and its memory.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::warden) struct Call {
    /// Names it in the answer.
    pub(in crate::warden) id: u64,
    /// Which system call.
    pub(in crate::warden) number: libc::c_long,
    /// As they were passed.
    pub(in crate::warden) args: [u64; 6],
}

/// The end of a filter that hears of calls.
#[derive(Debug)]
pub(in crate::warden) struct Calls(OwnedFd);

impl AsFd for Calls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Calls {
    pub(in crate::warden) fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Waits for the next call. None where its caller has ended meanwhile.
    pub(in crate::warden) fn next(&self) -> io::Result<Option<Call>> {
        // SAFETY: all of it are integers, and the kernel wants it to be zero.
        let mut told: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut told) {
            Ok(_) => Ok(Some(Call { id: told.id, number: libc::c_long::from(told.data.nr), args: told.data.args })),
            Err(Errno::ENOENT | Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a call still waits: what was read of its caller's memory meanwhile was its caller's.
    pub(in crate::warden) fn waits(&self, call: &Call) -> bool {
        let mut id = call.id;
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
    }

    /// Gives a call its result. One that does not wait any more needs none.
    pub(in crate::warden) fn answer(&self, call: &Call, result: Result<i64, Errno>) -> io::Result<()> {
        let (val, error) = match result {
            Ok(value) => (value, 0),
            Err(errno) => (0, -(errno as i32)),
        };
        let mut answer = libc::seccomp_notif_resp { id: call.id, val, error, flags: 0 };
        match self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) {
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a descriptor of this process in the place of one of the caller's.
    pub(in crate::warden) fn put(&self, call: &Call, ours: BorrowedFd<'_>, theirs: i32) -> Result<(), Errno> {
        let newfd = u32::try_from(theirs).map_err(|_| Errno::EBADF)?;
        let mut added = libc::seccomp_notif_addfd {
            id: call.id,
            flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
            srcfd: ours.as_raw_fd() as u32,
            newfd,
            newfd_flags: libc::O_CLOEXEC as u32,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &mut added).map(drop)
    }

    fn ioctl<T>(&self, request: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
        // SAFETY: each caller passes the structure that its request reads and writes, and it lives until the call returns.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(argument)) })
    }
}

/// The process under the filter.
#[derive(Debug)]
pub(in crate::warden) struct Target {
    pid: Pid,
    handle: OwnedFd,
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Target {
    /// The process with that pid, which must be a parent or child of this one that has not been reaped.
    pub(in crate::warden) fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: the call takes two integers and touches no memory.
        let made = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
        Ok(Self { pid, handle: owned(made)? })
    }

    /// Takes a copy of one of its descriptors.
    pub(in crate::warden) fn take(&self, theirs: i32) -> Result<OwnedFd, Errno> {
        // SAFETY: the call takes three integers and touches no memory.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.handle.as_raw_fd(), theirs, 0) };
        owned(Errno::result(taken)?).map_err(|_| Errno::EBADF)
    }

    /// Reads its memory into all of `into`.
    pub(in crate::warden) fn read(&self, from: u64, into: &mut [u8]) -> Result<(), Errno> {
        if into.is_empty() {
            return Ok(());
        }
        let base = usize::try_from(from).map_err(|_| Errno::EFAULT)?;
        let (len, remote) = (into.len(), [RemoteIoVec { base, len: into.len() }]);
        match process_vm_readv(self.pid, &mut [IoSliceMut::new(into)], &remote)? {
            read if read == len => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }
}

fn owned(made: libc::c_long) -> io::Result<OwnedFd> {
    let made = i32::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it. It closes on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}
