//! The file of a step's secrets, while it runs.
//!
//! What a step wrote down there it may print in the next moment. A look before each part of its output is masked finds whatever was
//! written before that part was: both come from the step, one after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use kiln_mask::Secrets;

use super::hand_over::read;
use crate::dotenv;

/// A file that is larger is read at the end of the step alone: to read it for each part of the output would hold the step up.
const MOST_BYTES: u64 = 1 << 20;

/// The file, and what was seen of it.
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

    /// Takes the values that are new in it.
    pub(super) fn look(&mut self) {
        let Ok(meta) = self.path.metadata() else { return };
        let now = Some((meta.len(), meta.modified().ok()));
        if self.seen == now || !meta.is_file() || meta.len() > MOST_BYTES {
            return;
        }
        self.seen = now;
        let text = read(&self.path).unwrap_or_default();
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
        // A pipe in its place holds nobody.
        std::fs::remove_file(&path).expect("a file");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        file.look();
    }
}
