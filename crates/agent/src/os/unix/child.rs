//! What the child does until it executes its program.
//!
//! It may share the agent's memory, in which other threads go on. So it makes system calls only, and where the C library
//! has more in mind than the call (`setuid` changes all threads of the process), it makes the bare call.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_long, c_uint};
use std::os::fd::RawFd;
use std::ptr;

use nix::libc;

/// All that the child needs, as the system calls take it.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) program: *const c_char,
    pub(super) arguments: *const *const c_char,
    pub(super) environment: *const *const c_char,
    pub(super) dir: *const c_char,
    pub(super) input: RawFd,
    pub(super) output: RawFd,
    pub(super) terminal: bool,
    /// User and group.
    pub(super) identity: Option<(u32, u32)>,
    pub(super) groups: *const u32,
    pub(super) group_count: usize,
    pub(super) procs: Option<RawFd>,
    /// Where an error is written to, for a parent that does not share this memory.
    pub(super) report: Option<RawFd>,
    /// Why the program was not executed; 0 while nothing failed.
    pub(super) error: c_int,
}

/// Signals that the agent handles or ignores.
const CHANGED: [c_int; 4] = [libc::SIGPIPE, libc::SIGTERM, libc::SIGINT, libc::SIGCHLD];

/// Becomes the program.
///
/// # Safety
/// Only in a child that is about to execute a program; the pointers are those of live strings and lists.
pub(super) unsafe fn enter(child: &mut Child) -> ! {
    // SAFETY: as of this function.
    let failed = unsafe { prepare(child) }.err();
    let failed = failed.unwrap_or_else(|| {
        // SAFETY: the lists end with a null.
        unsafe { libc::execve(child.program, child.arguments, child.environment) };
        errno()
    });
    child.error = failed;
    if let Some(report) = child.report {
        let bytes = failed.to_ne_bytes();
        // SAFETY: the descriptor is open, and the bytes live. Nobody else could be told of a failure.
        unsafe { libc::write(report, bytes.as_ptr().cast(), bytes.len()) };
    }
    // SAFETY: it ends this process without any of the agent's own clean-up.
    unsafe { libc::_exit(127) }
}

unsafe fn prepare(child: &Child) -> Result<(), c_int> {
    // SAFETY: all are system calls on memory that is live or the call's own.
    unsafe {
        if child.terminal {
            check(libc::setsid())?;
        } else {
            check(libc::setpgid(0, 0))?;
        }
        check(libc::dup2(child.input, 0))?;
        check(libc::dup2(child.output, 1))?;
        check(libc::dup2(child.output, 2))?;
        if child.terminal {
            check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
        }
        if let Some(procs) = child.procs {
            // "0" stands for the writing process. Supervision without the cgroup still works, so a refusal must not keep
            // the step from running.
            libc::write(procs, c"0".as_ptr().cast(), 1);
        }
        // What its descendants leave behind becomes its child, and so stays below it as long as it lives. Kept over exec
        // and not inherited. Without it they are found by the other means.
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        // The agent is spared when memory runs out, its steps are not. Without /proc both are alike.
        let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if score >= 0 {
            libc::write(score, c"0".as_ptr().cast(), 1);
        }
        check(libc::chdir(child.dir))?;
        if let Some((user, group)) = child.identity {
            check_long(libc::syscall(libc::SYS_setgroups, child.group_count, child.groups))?;
            check_long(libc::syscall(libc::SYS_setgid, c_uint::from(group)))?;
            check_long(libc::syscall(libc::SYS_setuid, c_uint::from(user)))?;
        }
        default_signals();
    }
    Ok(())
}

/// Signals as a program expects them: with the system's effects, and none blocked.
unsafe fn default_signals() {
    // SAFETY: the structures are zeroed as the calls want them, and live.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in CHANGED {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

fn check(result: c_int) -> Result<(), c_int> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn check_long(result: c_long) -> Result<(), c_int> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// The error of the last call. It lies in the storage of the thread that waits for this child, which reads its own errors
/// only after its own calls.
fn errno() -> c_int {
    nix::errno::Errno::last_raw()
}
