//! Processes of this machine, as an outside observer sees them.

use std::fs;
use std::path::Path;

/// Returns the pids of the living processes, except this one, that have a path below `dir` in their command line or in
/// their initial environment.
#[must_use]
pub fn naming(dir: &Path) -> Vec<u32> {
    // Programs are given canonical paths.
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let below = format!("{}/", dir.display()).into_bytes();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() && names(*pid, &below) && lives(*pid)).collect()
}

fn names(pid: u32, text: &[u8]) -> bool {
    ["cmdline", "environ"].iter().any(|file| {
        // A process that is gone names nothing.
        let words = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        words.windows(text.len()).any(|part| part == text)
    })
}

/// Returns whether a process lives. One that has ended and was not reaped does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name is in brackets and may itself contain brackets and spaces.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::naming;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_path_in_arguments_or_environment_names_a_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a");
        let start = |argument: &Path, variable: &Path| {
            let mut command = Command::new("sh");
            command.args(["-c", "read line", "sh"]).arg(argument).env("A", variable).stdin(Stdio::piped());
            command.spawn().expect("a process")
        };
        let other = dir.path().with_extension("b");
        let mut children = [start(&file, &other), start(&other, &file), start(&other, &other)];
        let mut found = naming(dir.path());
        found.sort_unstable();
        let mut expected = [children[0].id(), children[1].id()];
        expected.sort_unstable();
        for child in &mut children {
            child.kill().expect("it lives");
        }
        assert_eq!(found, expected);
        // None of them is reaped, and none lives.
        let since = Instant::now();
        while !naming(dir.path()).is_empty() {
            assert!(since.elapsed() < PATIENCE, "{:?} live", naming(dir.path()));
            std::thread::yield_now();
        }
        children.iter_mut().for_each(|child| drop(child.wait()));
    }
}
