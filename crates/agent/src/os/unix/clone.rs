//! `clone3` for a child that shares this process's memory until it executes its program.
//!
//! The C libraries have no function for it. The child needs a stack of its own, so it cannot return from the call: it
//! starts in a function, which takes a few instructions of each processor.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use nix::libc;

/// What the child runs. It never returns.
pub(super) type Entry = extern "C" fn(*mut c_void) -> !;

/// `struct clone_args` of linux/sched.h, in its third form (88 bytes).
#[repr(C)]
#[derive(Debug, Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_bytes: u64,
    tls: u64,
    set_tid: u64,
    set_tid_count: u64,
    cgroup: u64,
}

const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a child on this stack, in the cgroup of this descriptor if one is given. Returns its number and a descriptor of it
/// when it has executed a program or ended.
///
/// # Safety
/// `entry` may only make system calls and touch what `argument` points to, both without a change to what else the
/// process holds in memory, and it must end by executing a program or by `_exit`.
pub(super) unsafe fn in_memory(
    stack: &mut [MaybeUninit<u128>],
    cgroup: Option<RawFd>,
    entry: Entry,
    argument: *mut c_void,
) -> io::Result<(i32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let mut arguments = Arguments {
        flags: CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_bytes: size_of_val(stack) as u64,
        ..Arguments::default()
    };
    if let Some(cgroup) = cgroup.and_then(|fd| u64::try_from(fd).ok()) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup;
    }
    // SAFETY: the arguments are those that the kernel reads, and the stack is as long as they say.
    let pid = unsafe { call(&raw const arguments, entry, argument) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or(libc::EINVAL)));
    }
    // SAFETY: the kernel just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((i32::try_from(pid).map_err(io::Error::other)?, pidfd))
}

/// The system call. In this process it gives the child's number, or an error below zero.
#[cfg(target_arch = "x86_64")]
unsafe fn call(arguments: *const Arguments, entry: Entry, argument: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the kernel changes rax, rcx and r11. The child has all other registers, and the end of its stack, which is
    // aligned to 16 bytes as a call wants it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<Arguments>(),
            in("r8") entry,
            in("r9") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Other processors start their steps by `fork`, as long as nobody has run the few instructions that they need here.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn call(_arguments: *const Arguments, _entry: Entry, _argument: *mut c_void) -> i64 {
    -i64::from(libc::ENOSYS)
}
