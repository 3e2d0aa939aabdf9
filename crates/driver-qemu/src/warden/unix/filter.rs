//! The filter of QEMU's system calls: what would reach out of the VM's network goes to the warden, which does it or refuses.
//!
//! ```text
//! connect, bind, listen, sendmsg, sendto with an address   the warden's
//! socket of another family than Unix, IPv4, IPv6           EAFNOSUPPORT
//! sendmmsg, the memory and descriptors of others           EPERM
//! io_uring, and calls of x32                               ENOSYS: a filter does not see what a ring is told to do
//! calls of another processor                               the end of the process
//! anything else                                            allowed; QEMU's own sandbox comes on top
//! ```

use std::io;
use std::mem::offset_of;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
/// The first call of x32, which is x86-64 with shorter pointers and other numbers.
const X32: u32 = 0x4000_0000;

/// What the warden decides.
const WARDENS: [c_long; 4] = [libc::SYS_connect, libc::SYS_bind, libc::SYS_listen, libc::SYS_sendmsg];
/// What QEMU does without. The memory and the descriptors of the user's other processes would lead out.
const DENIED: [c_long; 5] = [
    libc::SYS_sendmmsg,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
];
const ABSENT: [c_long; 3] = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

const fn step(code: u32, value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: then, jf: otherwise, k: value }
}

const fn fails(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn offset(field: usize) -> u32 {
    field as u32
}

/// The two halves of an argument, the lower one first.
fn argument(at: usize) -> [u32; 2] {
    let low = offset(offset_of!(libc::seccomp_data, args)) + 8 * at as u32;
    if cfg!(target_endian = "little") { [low, low + 4] } else { [low + 4, low] }
}

fn program() -> Vec<sock_filter> {
    let mut steps = vec![
        step(LOAD, offset(offset_of!(libc::seccomp_data, arch)), 0, 0),
        step(IF_EQUAL, ARCH, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(LOAD, offset(offset_of!(libc::seccomp_data, nr)), 0, 0),
    ];
    if cfg!(target_arch = "x86_64") {
        steps.extend([step(IF_AT_LEAST, X32, 0, 1), step(RETURN, fails(libc::ENOSYS), 0, 0)]);
    }
    let mut rule = |calls: &[c_long], action: u32| {
        for call in calls {
            steps.extend([step(IF_EQUAL, *call as u32, 0, 1), step(RETURN, action, 0, 0)]);
        }
    };
    rule(&WARDENS, libc::SECCOMP_RET_USER_NOTIF);
    rule(&DENIED, fails(libc::EPERM));
    rule(&ABSENT, fails(libc::ENOSYS));
    let [low, high] = argument(4);
    steps.extend([
        step(IF_EQUAL, libc::SYS_sendto as u32, 0, 6),
        step(LOAD, low, 0, 0),
        step(IF_EQUAL, 0, 0, 2),
        step(LOAD, high, 0, 0),
        step(IF_EQUAL, 0, 1, 0),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]);
    steps.extend([step(IF_EQUAL, libc::SYS_socket as u32, 0, 5), step(LOAD, argument(0)[0], 0, 0)]);
    for (at, family) in (0u8..).zip(FAMILIES) {
        let to_allowed = 3 - at;
        steps.push(step(IF_EQUAL, family as u32, to_allowed, 0));
    }
    steps.extend([step(RETURN, fails(libc::EAFNOSUPPORT), 0, 0), step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)]);
    steps
}

/// Puts this process under the filter, for ever, and returns where the warden hears of its calls.
///
/// # Errors
/// When the kernel knows no such filters, or this process is under one with a listener already.
pub(in crate::warden) fn install() -> io::Result<OwnedFd> {
    let mut steps = program();
    let length = u16::try_from(steps.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program and its steps live until the call returns, and the kernel copies them.
    let made = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let made = i32::try_from(Errno::result(made)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it. It closes on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of a call, by running its steps.
    fn verdict(arch: u32, nr: c_long, args: [u64; 6]) -> u32 {
        let mut data = vec![0u8; size_of::<libc::seccomp_data>()];
        data[..4].copy_from_slice(&(nr as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (at, value) in args.iter().enumerate() {
            data[16 + 8 * at..24 + 8 * at].copy_from_slice(&value.to_ne_bytes());
        }
        let (steps, mut at, mut loaded) = (program(), 0, 0);
        loop {
            let step = steps[at];
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            at += 1 + match u32::from(step.code) {
                LOAD => {
                    let from = step.k as usize;
                    loaded = u32::from_ne_bytes(data[from..from + 4].try_into().expect("four bytes"));
                    0
                }
                IF_EQUAL => jump(loaded == step.k),
                IF_AT_LEAST => jump(loaded >= step.k),
                RETURN => return step.k,
                code => panic!("step {at} has code {code}"),
            };
        }
    }

    #[test]
    fn calls_that_reach_out_are_the_wardens() {
        let check = |nr, args: [u64; 6], expect: u32| assert_eq!(verdict(ARCH, nr, args), expect, "{nr} {args:?}");
        for nr in WARDENS {
            check(nr, [0; 6], libc::SECCOMP_RET_USER_NOTIF);
        }
        check(libc::SYS_sendto, [0; 6], libc::SECCOMP_RET_ALLOW);
        for address in [1, 0x7fff_0000_0000, 1 << 32, u64::MAX] {
            check(libc::SYS_sendto, [0, 0, 0, 0, address, 0], libc::SECCOMP_RET_USER_NOTIF);
        }
        for nr in DENIED {
            check(nr, [0; 6], fails(libc::EPERM));
        }
        for nr in ABSENT {
            check(nr, [0; 6], fails(libc::ENOSYS));
        }
        for (family, expect) in [
            (libc::AF_UNIX, libc::SECCOMP_RET_ALLOW),
            (libc::AF_INET, libc::SECCOMP_RET_ALLOW),
            (libc::AF_INET6, libc::SECCOMP_RET_ALLOW),
            (libc::AF_VSOCK, fails(libc::EAFNOSUPPORT)),
            (libc::AF_NETLINK, fails(libc::EAFNOSUPPORT)),
            (libc::AF_PACKET, fails(libc::EAFNOSUPPORT)),
        ] {
            check(libc::SYS_socket, [family as u64, 0, 0, 0, 0, 0], expect);
        }
        for nr in [libc::SYS_read, libc::SYS_write, libc::SYS_execve, libc::SYS_recvfrom, libc::SYS_accept4] {
            check(nr, [7; 6], libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn another_way_of_calling_is_none() {
        assert_eq!(verdict(0x4000_0003, libc::SYS_connect, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(verdict(ARCH, libc::SYS_connect | c_long::from(X32), [0; 6]), fails(libc::ENOSYS));
        }
    }
}
