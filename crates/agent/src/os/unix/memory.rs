//! What the agent keeps of memory that it has used and needs no more.
//!
//! The C library keeps it for the next time, apart for each thread that ever asked at the same time as another. That is
//! quick, and in a machine that is a stage's it is megabytes which nobody else has.
#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
use nix::libc;

/// Parts that memory is kept in. Each has gaps of its own; threads that ask for more than they keep themselves wait for each other.
#[cfg(target_env = "gnu")]
const PARTS: i32 = 1;
/// Free memory at the end of a part that is given back at once, in bytes. Less than what output needs on its way would be taken
/// and given back over and over.
#[cfg(target_env = "gnu")]
const GIVEN_BACK_BYTES: i32 = 1 << 20;
/// Size, in bytes, from which an allocation goes back to the system as soon as it is freed. The buffers of threads that carry
/// output are larger.
#[cfg(target_env = "gnu")]
const APART_BYTES: i32 = 256 << 10;

/// Keeps little. To be called before there are threads.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls take numbers only.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, PARTS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, GIVEN_BACK_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, APART_BYTES);
    }
}

/// Pieces of memory.
pub(crate) type Pieces = Vec<Vec<u8>>;

/// Pieces that the C library keeps for each thread of each size, and the sizes of what it keeps, in bytes (malloc.c,
/// `TCACHE_FILL_COUNT` and `TCACHE_MAX_BINS`).
#[cfg(target_env = "gnu")]
const KEPT: usize = 7;
#[cfg(target_env = "gnu")]
const KEPT_BYTES: std::ops::RangeInclusive<usize> = 24..=1032;

/// Takes the pieces that the calling thread keeps for itself. Scattered as they are, a few hundred of them hold as many pages. They
/// are free when a thread drops them that ends then.
pub(crate) fn take_own() -> Pieces {
    #[cfg(target_env = "gnu")]
    return KEPT_BYTES.step_by(16).flat_map(|bytes| (0..KEPT).map(move |_| Vec::with_capacity(bytes))).collect();
    #[cfg(not(target_env = "gnu"))]
    Pieces::new()
}

/// Gives back what is free, also between what is in use.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number only.
    unsafe {
        libc::malloc_trim(0);
    }
}
