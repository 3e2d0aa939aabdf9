//! Reads the file of a step's secrets while the step runs.
//!
//! A step may print a secret right after it has written it down there. The file is looked at before each part of the
//! output is masked, so it holds everything that was written before that part was printed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use kiln_mask::Secrets;

use super::hand_over::read;
use crate::dotenv;

/// A larger file is read only at the end of the step, because reading it for each part of the output would slow the
/// step down.
const MOST_BYTES: u64 = 1 << 20;

/// The file, and its size and time at the last look.
#[derive(Debug)]
pub(super) struct SecretsFile {
    path: PathBuf,
    secrets: Arc<Secrets>,
    seen: Option<(u64, Option<SystemTime>)>,
}

impl SecretsFile {
    pub(super) fn new(path: PathBuf, secrets: Arc<Secrets>) -> Self {
        Self { path, secrets, seen: None }
    }

    /// Adds the values of a file that has changed to the secrets.
    pub(super) fn look(&mut self) {
        let Ok(meta) = self.path.metadata() else { return };
        let now = Some((meta.len(), meta.modified().ok()));
        if self.seen == now || !meta.is_file() || meta.len() > MOST_BYTES {
            return;
        }
        // A file that could not be read is read at the next look, even if it has not changed since.
        let Some(text) = read(&self.path) else { return };
        self.seen = now;
        self.secrets.add(dotenv::parse(&text).into_iter().map(|(_, value)| value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_known_at_the_next_look() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, secrets) = (dir.path().join("secrets"), Arc::<Secrets>::default());
        let mut file = SecretsFile::new(path.clone(), Arc::clone(&secrets));
        let known = |secrets: &Secrets| secrets.values().join(" ");
        file.look();
        assert_eq!(known(&secrets), "");
        std::fs::write(&path, "A=first-value\n").expect("a file");
        file.look();
        std::fs::write(&path, "A=first-value\nB=second-value").expect("a file");
        file.look();
        assert_eq!(known(&secrets), "first-value second-value");
        // A pipe in its place does not block.
        std::fs::remove_file(&path).expect("a file");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        file.look();
    }
}
