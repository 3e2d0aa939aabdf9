//! The pool file on disk, which is read at the start and whenever it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_engine::Engine;
use kiln_pool::{Config, SiteId};
use kiln_pool_file::Section;

use crate::http::{Exposed, Settings};

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
    /// The API that has its pools.
    pub http: Settings,
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
    /// Its instances could call the API.
    #[error("the pool file {path} does not go together with the API")]
    Exposed {
        /// Its path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Exposed,
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
    /// When it cannot be read, is not valid, or describes instances that could call the API.
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
                self.http.check_pools(&config).map_err(|source| PoolFileError::Exposed { path, source })?;
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
                    let error = kiln_engine::chain(&error);
                    tracing::error!(error, "the changed pool file cannot be used; its former content stays");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_document::schema::Shape;
    use kiln_document::yaml::Node;
    use kiln_pool_file::section::{Instances, Reader, Variant};
    use serde_json::Value;

    use super::*;
    use crate::http::Token;

    /// A driver that isolates.
    #[derive(Debug)]
    struct Shed;

    impl Section for Shed {
        fn name(&self) -> &'static str {
            "shed"
        }

        fn example(&self) -> &'static str {
            "{}"
        }

        fn shape(&self) -> Shape {
            Shape::Any
        }

        fn check(&self, _: &Node, _: bool, _: &mut Reader<'_>) {}

        fn isolates(&self) -> bool {
            true
        }

        fn vary(&self, _: &mut Value, _: &Variant, _: &mut Reader<'_>) {}

        fn instances(&self, _: Value) -> Instances {
            Instances::default()
        }
    }

    #[track_caller]
    fn check(network: &str, http: Settings, refusal: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pool.yml");
        let text =
            format!("instances: [{{name: a, type: shed}}, {{name: b, type: shed, kiln: {{network: {network}}}}}]");
        std::fs::write(&path, text).expect("written");
        let file = PoolFile { path, sections: vec![&Shed], sites: BTreeMap::new(), http };
        let told = file.read().map_or_else(|error| kiln_engine::chain(&error), |(_, findings)| findings);
        assert!(if refusal.is_empty() { told.is_empty() } else { told.contains(refusal) }, "{network}: {told}");
    }

    #[test]
    fn no_step_may_call_an_api_that_asks_nobody_who_they_are() {
        let open = Settings::default;
        let off = "`b` reach 127.0.0.1:3000, where this runner answers without a token, so every step could run anything on \
                   every instance: remove `isolation: off`";
        check("{isolation: off}", open(), off);
        check("{allow_hosts: ['127.0.0.1:3000']}", open(), "remove what opens this address");
        check("{allow: [127.0.0.0/8]}", open(), "give the runner a token (KILN_API_TOKEN)");
        check("{allow: [10.0.0.0/8], allow_hosts: ['127.0.0.1:3001']}", open(), "");
        check("{isolation: off}", Settings { token: Some(Token::new("0123456789abcdef")), ..open() }, "");
    }
}
