//! Scripts that are too long for a command line.
//!
//! Linux takes at most 128 KiB for one argument or variable (`MAX_ARG_STRLEN`, execve(2)), and a script into which an
//! earlier step's output was put is easily longer. A shell reads it from a file then.

use std::io::{self, Write as _};
use std::path::Path;

use crate::os::account::Account;
use crate::os::files;

/// Longest argument, its terminating zero included.
const ARG_MAX_BYTES: usize = 128 << 10;
/// Programs that run a file as they run the argument of `-c`.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "python", "python3"];

/// Moves the script of `SHELL ... -c SCRIPT` to the file `path` when it is too long for an argument; anything else is
/// left as it is. The file can be read by the step's account alone.
pub(crate) fn spill(
    entrypoint: &mut Vec<String>,
    commands: &mut Vec<String>,
    path: &Path,
    account: Option<&Account>,
) -> io::Result<()> {
    let shell = entrypoint.first().and_then(|program| program.rsplit('/').next());
    let takes_script =
        shell.is_some_and(|shell| SHELLS.contains(&shell)) && entrypoint.last().is_some_and(|f| f == "-c");
    let [script] = commands.as_slice() else { return Ok(()) };
    if !takes_script || script.len() < ARG_MAX_BYTES {
        return Ok(());
    }
    let mut file = files::create_private(path)?;
    file.write_all(script.as_bytes())?;
    if let Some(account) = account {
        account.own_file(&file)?;
    }
    entrypoint.pop();
    *commands = vec![path.to_string_lossy().into_owned()];
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entrypoint: &[&str], script_bytes: usize, expect: &[&str]) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("script");
        let mut words: Vec<String> = entrypoint.iter().map(ToString::to_string).collect();
        let mut commands = vec!["x".repeat(script_bytes)];
        spill(&mut words, &mut commands, &path, None).expect("a file");
        let spilled = commands[0] == path.to_string_lossy();
        assert_eq!(words, expect);
        assert_eq!(spilled.then(|| std::fs::read(&path).expect("a script").len()), spilled.then_some(script_bytes));
        assert_eq!(spilled, words.len() < entrypoint.len());
    }

    #[test]
    fn only_what_is_too_long_and_can_be_a_file_becomes_one() {
        check(&["sh", "-e", "-c"], ARG_MAX_BYTES - 1, &["sh", "-e", "-c"]);
        check(&["sh", "-e", "-c"], ARG_MAX_BYTES, &["sh", "-e"]);
        check(&["/usr/bin/python3", "-u", "-c"], 1 << 20, &["/usr/bin/python3", "-u"]);
        check(&["pwsh", "-Command"], 1 << 20, &["pwsh", "-Command"]);
        check(&["cat", "-c"], 1 << 20, &["cat", "-c"]);
    }
}
