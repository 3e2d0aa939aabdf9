//! What a step reads from and writes to: a pipe, or a terminal of its own that takes input.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, PipeReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use kiln_wire::agent::kiln::Terminal;
use nix::pty::{Winsize, openpty};

nix::ioctl_write_ptr_bad!(set_window_size, nix::libc::TIOCSWINSZ, Winsize);

/// Both ends of a step's output, and its input where it has one.
pub(super) struct Ends {
    pub(super) reader: PipeReader,
    pub(super) stdout: OwnedFd,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) keyboard: Option<Keyboard>,
}

impl Ends {
    /// A pipe, or a terminal whose other side is the [`Keyboard`].
    pub(super) fn open(terminal: Option<&Terminal>) -> io::Result<Self> {
        let Some(terminal) = terminal else {
            let (reader, writer) = io::pipe()?;
            return Ok(Self { reader, stdout: writer.into(), stdin: None, keyboard: None });
        };
        let pair = openpty(Some(&winsize(terminal)), None)?;
        // The step must not inherit our side: it would hold its own terminal open.
        close_on_exec(&pair.master)?;
        close_on_exec(&pair.slave)?;
        let keyboard = Keyboard { terminal: File::from(pair.master.try_clone()?) };
        let (stdout, stdin) = (pair.slave.try_clone()?, Some(pair.slave));
        Ok(Self { reader: pair.master.into(), stdout, stdin, keyboard: Some(keyboard) })
    }
}

/// Our side of a step's terminal.
#[derive(Debug)]
pub struct Keyboard {
    terminal: File,
}

impl Keyboard {
    /// A second one for the same terminal.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self { terminal: self.terminal.try_clone()? })
    }

    /// Types bytes. Waits while the step does not read what was typed before.
    ///
    /// # Errors
    /// When the step has ended.
    pub fn type_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.terminal.write_all(bytes)
    }

    /// Tells the terminal its size.
    ///
    /// # Errors
    /// When the step has ended.
    pub fn resize(&self, terminal: &Terminal) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the structure is the one that the request reads.
        unsafe { set_window_size(self.terminal.as_raw_fd(), &winsize(terminal)) }?;
        Ok(())
    }
}

fn winsize(terminal: &Terminal) -> Winsize {
    let side = |n: u32, otherwise: u16| if n == 0 { otherwise } else { u16::try_from(n).unwrap_or(u16::MAX) };
    Winsize { ws_row: side(terminal.rows, 24), ws_col: side(terminal.cols, 80), ws_xpixel: 0, ws_ypixel: 0 }
}

fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}
