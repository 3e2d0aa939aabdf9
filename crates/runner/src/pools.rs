//! The pool file on disk, which is read at the start and whenever it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_engine::Engine;
use kiln_pool::{Config, SiteId};
use kiln_pool_file::Section;

/// Poll interval for changes of the file.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Longest file that is read.
const MAX_BYTES: u64 = kiln_pool_file::MAX_BYTES as u64;

/// A pool file.
#[derive(Debug, Clone)]
pub struct PoolFile {
    /// Its path.
    pub path: PathBuf,
    /// Sections of the drivers that this program has.
    pub sections: Vec<&'static dyn Section>,
    /// The site of each driver that has only one, by the driver's name in the file.
    pub sites: BTreeMap<String, SiteId>,
}

/// Time and size of a file. The time alone is not enough, because editors and configuration maps replace files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64)>);

/// The reason why a pool file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolFileError {
    /// It cannot be read.
    #[error("the pool file {path} cannot be read")]
    Read {
        /// Its expected path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is too long.
    #[error("the pool file {path} has over {MAX_BYTES} bytes, which is no pool file")]
    TooLong {
        /// Its path.
        path: PathBuf,
    },
    /// Its content is not valid.
    #[error("the pool file {path} cannot be used:\n{findings}")]
    Findings {
        /// Its path.
        path: PathBuf,
        /// The findings, with places.
        findings: String,
    },
}

impl PoolFile {
    /// Reads the file, and returns its configuration and the warnings about it, for people.
    ///
    /// # Errors
    /// When it cannot be read or is not valid.
    pub fn read(&self) -> Result<(Config, String), PoolFileError> {
        let path = self.path.clone();
        let unreadable = |source| PoolFileError::Read { path: path.clone(), source };
        if std::fs::metadata(&self.path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(PoolFileError::TooLong { path });
        }
        let bytes = std::fs::read(&self.path).map_err(unreadable)?;
        let env = |name: &str| std::env::var(name).ok();
        let options = kiln_pool_file::Options { env: &env, sections: &self.sections };
        let loaded = kiln_pool_file::load(&path.display().to_string(), &bytes, &options);
        let findings = loaded.report.text(false);
        match loaded.config.clone() {
            Some(mut config) if loaded.is_ok() => {
                config.locate(&self.sites);
                Ok((config, findings))
            }
            _ => Err(PoolFileError::Findings { path, findings }),
        }
    }

    /// Returns the stamp of the file's present content. Take it before the file is read.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok();
        Stamp(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))))
    }

    /// Passes the file's new content to the engine whenever it changes, for ever. A file that cannot be used changes
    /// nothing.
    pub async fn follow(self, mut seen: Stamp, engine: Arc<Engine>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.stamp();
            if now == seen {
                continue;
            }
            seen = now;
            match self.read() {
                Ok((config, findings)) => {
                    let pools = config.pools.len();
                    tracing::info!(file = %self.path.display(), pools, findings, "the pool file changed and is in force");
                    engine.set_config(config);
                }
                Err(error) => {
                    tracing::error!(%error, "the changed pool file is not valid; its former content stays");
                }
            }
        }
    }
}
