//! The QEMU that is installed here.

use std::path::Path;

use crate::error::QemuError;
use crate::host::program::{self, INSTALL_QEMU, Needs};
use crate::vm::confinement::SANDBOX;

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    /// The first line of its `-version`.
    pub(crate) version: String,
    /// Whether it was built with a sandbox of system calls.
    pub(crate) sandbox: bool,
}

impl Binary {
    /// Asks it.
    ///
    /// # Errors
    /// When it is not installed, or cannot even tell its version.
    pub(crate) async fn look(qemu: &Path) -> Result<Self, QemuError> {
        // Options are read in order, so that one that it does not know comes before the answer.
        match version(qemu, &["-sandbox", SANDBOX, "-version"]).await {
            Ok(version) => Ok(Self { version, sandbox: true }),
            Err(QemuError::ProgramFailed { .. }) => {
                Ok(Self { version: version(qemu, &["-version"]).await?, sandbox: false })
            }
            Err(error) => Err(error),
        }
    }
}

async fn version(qemu: &Path, args: &[&str]) -> Result<String, QemuError> {
    let mut command = program::command(qemu, Needs::Nothing);
    command.args(args);
    let text = program::output(command, INSTALL_QEMU).await?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_qemu_without_a_sandbox_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let check = async |name: &str, script: &str, expect: Option<(&str, bool)>| {
            let (path, text) = (dir.path().join(name), dir.path().join("text"));
            std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("write");
            std::fs::set_permissions(&text, std::fs::Permissions::from_mode(0o755)).expect("chmod");
            // By another process: a file that this one has written may still be open in a child of another test.
            assert!(std::process::Command::new("cp").arg(&text).arg(&path).status().expect("cp").success());
            let found = Binary::look(&path).await.ok().map(|found| (found.version, found.sandbox));
            assert_eq!(found, expect.map(|(version, sandbox)| (version.to_owned(), sandbox)), "{script}");
        };
        check("with", "echo QEMU 7; echo more", Some(("QEMU 7", true))).await;
        check("without", "[ $1 = -version ] && echo QEMU 8", Some(("QEMU 8", false))).await;
        check("broken", "exit 1", None).await;
    }
}
