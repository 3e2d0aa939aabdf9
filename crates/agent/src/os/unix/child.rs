//! What must happen in the child between fork and exec.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write as _};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid, write};
use tokio::process::Command;

use super::account::Account;

nix::ioctl_write_int_bad!(take_as_terminal, nix::libc::TIOCSCTTY);

/// Makes the child the leader of a session whose terminal is its standard input.
pub(super) fn in_terminal(command: &mut Command) {
    let enter = || -> io::Result<()> {
        nix::unistd::setsid()?;
        // SAFETY: descriptor 0 is open in the child by now; the request takes no memory.
        unsafe { take_as_terminal(0, 0) }?;
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid and ioctl are.
    unsafe {
        command.pre_exec(enter);
    }
}

/// Puts the child in the cgroup, makes it a candidate when memory runs out, then gives it the account's identity.
pub(super) fn enter(command: &mut Command, cgroup: Option<File>, account: Option<&Account>) {
    let identity = account.map(|a| {
        let groups: Vec<Gid> = a.groups.iter().copied().map(Gid::from_raw).collect();
        (Uid::from_raw(a.uid), Gid::from_raw(a.gid), groups)
    });
    let enter = move || -> io::Result<()> {
        if let Some(mut procs) = cgroup.as_ref() {
            // "0" stands for the writing process. Supervision without the cgroup still works, so a refusal must not
            // keep the step from running.
            let _ = procs.write(b"0");
        }
        // What its descendants leave behind becomes its child, and so stays below it as long as it lives. Kept over
        // exec and not inherited. Without it they are found by the other means.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        // The agent is spared when memory runs out, its steps are not. Without /proc both are alike.
        if let Ok(score) = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY, Mode::empty()) {
            let _ = write(&score, b"0");
        }
        if let Some((uid, gid, groups)) = &identity {
            setgroups(groups)?;
            setgid(*gid)?;
            setuid(*uid)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes only the system
    // calls open, write, close, prctl, setgroups, setgid and setuid, on memory that was allocated before the fork.
    unsafe {
        command.pre_exec(enter);
    }
}
