//! Programs of the machine that the agent asks something of.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::orphans;

/// More of what a program prints is not read.
const OUTPUT_BYTES: u64 = 64 << 10;

/// What a program did.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whether it succeeded.
    pub(crate) success: bool,
    /// What it printed.
    pub(crate) output: String,
}

/// Runs a program, without input, and ends it when it takes too long.
///
/// # Errors
/// When it cannot be started, or took too long.
pub(crate) async fn run(program: &str, arguments: &[&str], within: Duration) -> io::Result<Done> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = orphans::start_tool(|| {
        let child = command.spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok((child, pid.unwrap_or_default()))
    })?;
    let output = child.value.stdout.take();
    let ended = async {
        let mut read = Vec::new();
        if let Some(output) = output {
            output.take(OUTPUT_BYTES).read_to_end(&mut read).await?;
        }
        let status = child.value.wait().await?;
        Ok(Done { success: status.success(), output: String::from_utf8_lossy(&read).into_owned() })
    };
    timeout(within, ended).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_run_and_ended_when_it_takes_too_long() {
        const LONG: Duration = Duration::from_secs(30);
        let done = run("sh", &["-c", "echo said; exit 3"], LONG).await.expect("a program");
        assert_eq!((done.success, done.output.as_str()), (false, "said\n"));
        assert!(run("true", &[], LONG).await.expect("a program").success);
        assert_eq!(run("no-such-program", &[], LONG).await.expect_err("none").kind(), io::ErrorKind::NotFound);
        let slow = run("sleep", &["1000"], Duration::from_millis(50)).await;
        assert_eq!(slow.expect_err("too slow").kind(), io::ErrorKind::TimedOut);
    }
}
