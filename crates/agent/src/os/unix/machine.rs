//! What only the kernel has, or can change.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

/// Bytes of entropy that one call to the kernel takes.
const POOL_BYTES: usize = 256;
const NANOS: i64 = 1_000_000_000;

/// `struct rand_pool_info` of linux/random.h with room for the bytes.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    bytes: i32,
    pool: [u8; POOL_BYTES],
}

mod ioctl {
    // Both of linux/random.h. The size of the header alone is part of the first one's number.
    nix::ioctl_write_ptr!(add_entropy, b'R', 0x03, [i32; 2]);
    nix::ioctl_none!(reseed, b'R', 0x07);
}

/// Mixes the bytes into the kernel's generator, counted as full entropy, and makes it draw new keys from them.
pub(crate) fn add_entropy(bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let random = File::options().read(true).write(true).open("/dev/urandom")?;
    for part in bytes.chunks(POOL_BYTES) {
        let mut info =
            PoolInfo { entropy_bits: part.len() as i32 * 8, bytes: part.len() as i32, pool: [0; POOL_BYTES] };
        info.pool[..part.len()].copy_from_slice(part);
        // SAFETY: the pointer is to a live structure with the layout the kernel reads: two ints and `bytes` bytes,
        // which is at most the length of `pool`.
        unsafe { ioctl::add_entropy(random.as_raw_fd(), (&raw const info).cast()) }?;
    }
    // SAFETY: this request takes no argument.
    unsafe { ioctl::reseed(random.as_raw_fd()) }?;
    Ok(())
}

/// Sets the wall clock.
pub(crate) fn set_clock(unix_time_ns: i64) -> io::Result<()> {
    Ok(clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(unix_time_ns / NANOS, unix_time_ns % NANOS))?)
}

/// Milliseconds by the clock that stands still while the machine sleeps, from some moment of the boot on.
pub(crate) fn since_boot_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or(TimeSpec::new(0, 0));
    u64::try_from(time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000).unwrap_or(0)
}

/// Sets the kernel's host name.
pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}

/// Fills the buffer with random bytes.
pub(crate) fn random(into: &mut [u8]) -> io::Result<()> {
    use std::io::Read as _;
    File::open("/dev/urandom")?.read_exact(into)
}
