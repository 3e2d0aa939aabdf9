//! Results of earlier runs, one file each in the user's cache folder, so that a run repeats only what has changed.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::case::Case;

/// What is kept of a file that ran as expected.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Digest of the file, what is given to it and expected of it, and the images.
    asked: String,
    /// The program that ran it.
    build: String,
    took: Duration,
}

/// The results, as this program sees them.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    build: String,
    images: String,
    any_build: bool,
}

impl Results {
    /// Opens them. `images` is what the registry has; with `any_build` the results of other builds of this program count.
    pub fn open(images: &str, any_build: bool) -> Result<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
        let folder =
            cache.context("neither XDG_CACHE_HOME nor HOME says where results may be kept")?.join("kiln/corpus-runs");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let program =
            std::env::current_exe().and_then(|path| path.metadata()).context("cannot look at this program")?;
        let made = program.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { folder, build: format!("{}-{}", program.len(), made.as_nanos()), images: hex(images), any_build })
    }

    /// Returns how long a file took when it last ran as expected, unless something has changed since.
    pub fn find(&self, case: &Case, content: &[u8]) -> Option<Duration> {
        // A result that cannot be read is none: the file runs again.
        let kept: Kept = serde_json::from_slice(&std::fs::read(self.path(case)).ok()?).ok()?;
        let same = kept.asked == self.asked(case, content) && (self.any_build || kept.build == self.build);
        same.then_some(kept.took)
    }

    /// Keeps that a file ran as expected, or forgets that it once did.
    pub fn note(&self, case: &Case, content: &[u8], took: Option<Duration>) -> Result<()> {
        let path = self.path(case);
        let Some(took) = took else {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        };
        let kept = Kept { asked: self.asked(case, content), build: self.build.clone(), took };
        std::fs::write(&path, serde_json::to_vec(&kept)?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn asked(&self, case: &Case, content: &[u8]) -> String {
        hex(&format!("{case:?} {} {}", self.images, String::from_utf8_lossy(content)))
    }

    fn path(&self, case: &Case) -> PathBuf {
        self.folder.join(format!("{}-{}.json", case.kind, case.file))
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
