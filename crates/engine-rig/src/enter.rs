//! Being inside an engine's machine.

use std::fs::File;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Engine;

impl Engine {
    /// Does something in the engine's network and with its files, see [`Engine::machine`], and returns what came of it. Threads that are
    /// started meanwhile are there as well.
    ///
    /// # Errors
    /// When the machine cannot be entered.
    ///
    /// # Panics
    /// When what is done panics.
    pub fn enter<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T, String> {
        let inside = || {
            // Only a thread that shares its folder with no other one can change its mounts.
            unshare(CloneFlags::CLONE_FS)?;
            for (kind, flag) in [("net", CloneFlags::CLONE_NEWNET), ("mnt", CloneFlags::CLONE_NEWNS)] {
                setns(File::open(format!("/proc/{}/ns/{kind}", self.init())).map_err(errno)?, flag)?;
            }
            // The processes that are seen there are those of the engine; these threads need their own.
            unshare(CloneFlags::CLONE_NEWNS)?;
            let nothing = None::<&str>;
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?;
            mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), nothing)?;
            Ok::<_, nix::Error>(())
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| match inside() {
                Ok(()) => Ok(what()),
                Err(error) => Err(format!("cannot enter the machine of a container engine: {error}")),
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn errno(error: std::io::Error) -> nix::Error {
    error.raw_os_error().map_or(nix::Error::EIO, nix::Error::from_raw)
}
