//! The container engine: where it is, and whether it answers.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::time::{Instant, sleep, timeout};

use super::error::{EngineError, chain, is_forbidden};
use crate::host::is_installed;
use crate::lock::lock;
use crate::settings::Settings;
use crate::supervise::Prelude;

/// Where Docker's engine listens.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// What runs an engine. Where one of them is installed, a missing socket is one that is still to come.
const PROGRAMS: [&str; 2] = ["dockerd", "podman"];
/// How long an answer to an ordinary call may take.
const ANSWER_S: u64 = 120;
/// How long the answer to the question whether it is there may take.
const PING_WITHIN: Duration = Duration::from_secs(5);
/// How often an engine that does not answer is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// After this time it is told that the step waits.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// The engine of this machine.
#[derive(Debug)]
pub(super) struct Engine {
    /// As `DOCKER_HOST` has it; empty for Docker's own.
    host: String,
    /// How long one that is being started is waited for.
    patience: Duration,
    client: Mutex<Option<Docker>>,
}

impl Engine {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { engine_host, engine_patience, .. } = settings;
        Self { host: engine_host.clone(), patience: *engine_patience, client: Mutex::default() }
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> Result<PathBuf, EngineError> {
        if self.host.is_empty() {
            return Ok(DEFAULT_SOCKET.into());
        }
        let path = self.host.strip_prefix("unix://").map(Path::new).filter(|path| path.is_absolute());
        path.map(Path::to_owned).ok_or_else(|| EngineError::Address { host: self.host.clone() })
    }

    /// The engine, if it answers now.
    pub(super) async fn at_once(&self, within: Duration) -> Option<Docker> {
        let socket = self.socket().ok()?;
        if !socket.exists() {
            return None;
        }
        self.ask(&socket, within).await.ok()
    }

    /// The engine when it answers. One that is being started is waited for.
    pub(super) async fn ready(&self, prelude: &Prelude) -> Result<Docker, EngineError> {
        let socket = self.socket()?;
        let (start, mut told) = (Instant::now(), false);
        loop {
            let error = match self.ask(&socket, PING_WITHIN).await {
                Ok(docker) => return Ok(docker),
                Err(error) => error,
            };
            if matches!(error, EngineError::Forbidden { .. }) {
                return Err(error);
            }
            if !socket.exists() && !PROGRAMS.into_iter().any(is_installed) {
                return Err(EngineError::Absent { socket });
            }
            if start.elapsed() >= self.patience {
                return Err(match error {
                    EngineError::Silent { socket, error, .. } => {
                        EngineError::Silent { socket, error, after: self.patience }
                    }
                    error => error,
                });
            }
            if !told && start.elapsed() >= TELL_AFTER {
                told = true;
                prelude.say(&format!("waiting for the container engine at {}", socket.display()));
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, socket: &Path, within: Duration) -> Result<Docker, EngineError> {
        let silent = |error: String| EngineError::Silent { socket: socket.into(), after: Duration::ZERO, error };
        let docker = self.client(socket).map_err(|error| silent(chain(&error)))?;
        match timeout(within, docker.ping()).await {
            Ok(Ok(_)) => Ok(docker),
            Ok(Err(error)) if is_forbidden(&error) => {
                Err(EngineError::Forbidden { socket: socket.into(), error: chain(&error) })
            }
            Ok(Err(error)) => Err(silent(chain(&error))),
            Err(_) => Err(silent(format!("no answer within {} s", within.as_secs()))),
        }
    }

    fn client(&self, socket: &Path) -> Result<Docker, bollard::errors::Error> {
        let mut client = lock(&self.client);
        if let Some(docker) = &*client {
            return Ok(docker.clone());
        }
        let docker = Docker::connect_with_unix(&socket.to_string_lossy(), ANSWER_S, API_DEFAULT_VERSION)?;
        Ok(client.insert(docker).clone())
    }
}
