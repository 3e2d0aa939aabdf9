//! The ends of the program.

use std::process::ExitCode;

use crate::hidden;

/// The regular ends of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Ok,
    /// The pipeline failed, or a file is not ok.
    Failed,
    /// Wrong usage, or a file that cannot be read or run.
    Usage,
    /// Ended by Ctrl-C.
    Interrupted,
    /// The exit code of a command in a shell.
    Code(u8),
}

impl Exit {
    /// Returns the worse of two ends of parts of the work. Work that could not be done at all is worse than a fault
    /// that was found.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let weight = |exit| match exit {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted | Self::Code(_) => 3,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// An error that the caller can correct by calling differently.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Prints an error, once, with its whole chain, and turns the result into an exit code.
pub fn report(result: anyhow::Result<Exit>) -> ExitCode {
    match result {
        Ok(Exit::Ok) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Ok(Exit::Usage) => ExitCode::from(2),
        Ok(Exit::Interrupted) => ExitCode::from(130),
        Ok(Exit::Code(code)) => ExitCode::from(code),
        Err(error) => {
            // Failed work leaves its moving line. It is removed, so that the error stands alone.
            drop(crate::ui::bars().clear());
            anstream::eprintln!("\u{1b}[1;31merror\u{1b}[0m: {}", hidden::mask(error.to_string()));
            for cause in error.chain().skip(1) {
                anstream::eprintln!("  because: {}", hidden::mask(cause.to_string()));
            }
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::from(3) }
        }
    }
}
