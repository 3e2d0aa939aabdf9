//! Ends the VM that has written most when the host is about to run out of disk.
//!
//! A reservation keeps room at the moment of a launch, and a guest goes on writing after it. A full disk would fail every
//! VM, and the database of whoever runs them, so one VM is ended while there is still some room. The largest goes: that gives
//! back most, and a VM that keeps to its reservation is the last to be hit.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clone::book::Book;
use crate::clone::instance::Instance;
use crate::host::unix;

/// Pause between two looks at the free disk. A fast disk takes 0.2 GB in it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The end of a VM that has written less than this part of the watermark would help nobody.
const WORTH_PART: u64 = 16;

/// A thread that looks at the free disk until this is dropped.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWatch {
    /// Starts to watch the disk of `dir`, which `book`'s VMs write to.
    pub(crate) fn start(dir: PathBuf, watermark_bytes: u64, book: Weak<Mutex<Book>>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let body = move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let Some(book) = book.upgrade() else { return };
                let started = || book.lock().unwrap_or_else(PoisonError::into_inner).started();
                look(&dir, watermark_bytes, started);
            }
        };
        let thread = std::thread::Builder::new().name("kiln-disk".to_owned()).spawn(body)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its only failure is a panic, which has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Looks once, and ends a VM if the disk is nearly full.
fn look(dir: &Path, watermark_bytes: u64, started: impl Fn() -> Vec<(String, Arc<Instance>)>) {
    let free_bytes = match unix::free_bytes(dir) {
        Ok(free) if free < watermark_bytes => free,
        Ok(_) => return,
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "the free disk cannot be looked at");
            return;
        }
    };
    let written = started().into_iter().map(|(id, instance)| (instance.written_bytes(), id, instance));
    let Some((written_bytes, id, hog)) = largest(written, watermark_bytes / WORTH_PART) else { return };
    tracing::warn!(instance = id, free_bytes, watermark_bytes, written_bytes, "ending the VM that has written most");
    hog.end_for_disk(&format!(
        "the host had {} MiB of free disk, less than the {} MiB that are kept free, and of its VMs this one had written most \
         ({} MiB)",
        free_bytes >> 20,
        watermark_bytes >> 20,
        written_bytes >> 20
    ));
}

/// The VM that has written most, if its end is worth it.
fn largest<T>(written: impl Iterator<Item = (u64, String, T)>, worth_bytes: u64) -> Option<(u64, String, T)> {
    written.filter(|(bytes, ..)| *bytes >= worth_bytes).max_by_key(|(bytes, ..)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_chosen_if_its_end_is_worth_it() {
        let check = |written_mib: &[u64], expect: Option<&str>| {
            let vms = written_mib.iter().enumerate().map(|(n, mib)| (mib << 20, format!("vm-{n}"), ()));
            assert_eq!(largest(vms, 32 << 20).map(|(_, id, ())| id).as_deref(), expect, "{written_mib:?}");
        };
        check(&[], None);
        check(&[1, 31], None);
        check(&[40, 500, 90], Some("vm-1"));
        check(&[0, 32], Some("vm-1"));
    }
}
