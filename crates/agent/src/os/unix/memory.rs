//! What the agent keeps of memory that it has used and needs no more.
//!
//! The C library keeps it for the next time, apart for each thread that ever asked at the same time as another. That is
//! quick, and in a machine that is a stage's it is megabytes which nobody else has.
#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
use nix::libc;

/// Parts that memory is kept in: threads that ask at the same time wait for each other when there are more of them. The
/// agent's own hold what is small by themselves.
#[cfg(target_env = "gnu")]
const PARTS: i32 = 2;
/// Free memory at the end of a part that is given back at once, in bytes. When it is set, the library no longer raises it by
/// itself.
#[cfg(target_env = "gnu")]
const GIVEN_BACK_BYTES: i32 = 128 * 1024;

/// Keeps little. To be called before there are threads.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take numbers only.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, PARTS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, GIVEN_BACK_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK_BYTES);
    }
}

/// Gives back what is free, also between what is in use.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number only.
    unsafe {
        libc::malloc_trim(0);
    }
}
