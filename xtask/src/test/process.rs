//! Runs one test program. It is killed when no test ends for too long.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::outcome::Outcome;
use crate::build::{Built, Kind};

/// Poll interval for its end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time for reading its output after its end.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// Runs it as `cargo test` would, in its package's folder, with these arguments.
pub fn run(program: &Built, args: &[&str], test_max: Duration) -> Outcome {
    let short = program.package.trim_start_matches("kiln-");
    let name = match program.kind {
        Kind::Tests => format!("{short}::{}", program.target),
        _ => format!("{short} ({})", program.target),
    };
    let mut command = Command::new(&program.path);
    command
        .args(args)
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .env("CARGO_PKG_NAME", &program.package);
    watch(command, Outcome::new(name), test_max)
}

fn watch(mut command: Command, mut outcome: Outcome, test_max: Duration) -> Outcome {
    // It gets a process group of its own, so that its children end with it.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            outcome.failed(&format!("cannot be started: {error}"));
            return outcome;
        }
    };
    let lines = lines_of(&mut child);
    let status = follow(&mut child, &lines, &mut outcome, test_max);
    outcome.took = began.elapsed();
    match status {
        Some(status) if status.success() && outcome.ended => {}
        Some(_) if outcome.ended && !outcome.failures.is_empty() => {}
        Some(status) => outcome.failed(&format!("the program ended with {status}")),
        None => outcome.failed(&format!("ended by force: no test ended for {} s", test_max.as_secs())),
    }
    outcome
}

/// Takes its lines until it has ended. Returns how it ended, unless it must be killed.
fn follow(
    child: &mut Child,
    lines: &Receiver<String>,
    outcome: &mut Outcome,
    test_max: Duration,
) -> Option<ExitStatus> {
    let (mut last, mut ended) = (Instant::now(), None);
    loop {
        let line = lines.recv_timeout(LOOK_EVERY);
        if ended.is_none() {
            // A process that cannot be awaited has not ended, and is killed.
            ended = child.try_wait().ok().flatten().map(|status| (status, Instant::now()));
        }
        match (line, ended) {
            (Ok(line), _) => {
                if outcome.line(line) {
                    last = Instant::now();
                }
            }
            (Err(RecvTimeoutError::Disconnected), Some((status, _))) => return Some(status),
            // A process that it left behind may hold its output open for ever.
            (Err(_), Some((status, since))) if since.elapsed() > OUTPUT_GRACE => return Some(status),
            (Err(RecvTimeoutError::Disconnected), None) => std::thread::sleep(LOOK_EVERY),
            (Err(_), _) => {}
        }
        if ended.is_none() && last.elapsed() > test_max {
            if !end(child) {
                outcome.failed("what it started could not be ended");
            }
            return None;
        }
    }
}

/// Kills it and all processes of its group. Returns whether that succeeded.
fn end(child: &mut Child) -> bool {
    // The group exists until its first process has been awaited.
    let group = format!("kill -KILL -{}", child.id());
    let ended = Command::new("sh").args(["-c", &group]).status().is_ok_and(|status| status.success());
    // It ended with its group, or is killed alone.
    let _ = child.kill();
    let _ = child.wait();
    ended
}

/// Returns its output line by line, from both of its streams.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, send.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, send);
    }
    receive
}

fn forward(from: impl Read + Send + 'static, to: Sender<String>) {
    // The thread ends with the output, or when nobody listens any more.
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            if to.send(text).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No script here takes this long by itself.
    const LONG: Duration = Duration::from_secs(60);

    #[track_caller]
    fn check(script: &str, test_max: Duration, passed: usize, failures: &[&str]) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let outcome = watch(command, Outcome::new("p".to_owned()), test_max);
        assert_eq!(
            (outcome.passed, outcome.failures.iter().map(String::as_str).collect::<Vec<_>>()),
            (passed, failures.to_vec())
        );
    }

    #[test]
    fn a_program_that_passes() {
        check("echo 'test a ... ok'; echo 'test result: ok. 1 passed'", LONG, 1, &[]);
    }

    #[test]
    fn a_test_that_fails() {
        check("echo 'test a ... FAILED'; echo 'test result: FAILED.'; exit 101", LONG, 0, &["p: a"]);
    }

    #[test]
    fn a_program_that_dies_midway() {
        check("echo 'test a ... ok'; kill -KILL $$", LONG, 1, &["p: the program ended with signal: 9 (SIGKILL)"]);
    }

    #[test]
    fn success_without_a_result_is_none() {
        check("echo 'test a ... ok'; exit 0", LONG, 1, &["p: the program ended with exit status: 0"]);
    }

    #[test]
    fn a_test_that_hangs_is_ended() {
        check("sleep 1000 & sleep 1000", Duration::ZERO, 0, &["p: ended by force: no test ended for 0 s"]);
    }

    #[test]
    fn what_is_left_behind_holds_nobody() {
        check("echo 'test a ... ok'; echo 'test result: ok.'; sleep 50 & exit 0", LONG, 1, &[]);
    }
}
