//! The self-test: a step on the very path that a stage's steps take, which leaves nothing behind.
//!
//! ```text
//! turn (setup and destroy wait) ─► stage::prepare ─► spool ─► supervise::run ─► result, output and hand-over are compared
//! ```
//! What setup and the step make lies in a folder of its own below the engine directory, which goes with it. The step is in no
//! registry, has secrets of its own and does not count as a start, so what comes afterwards sees nothing of it. The requests
//! are read from their text, as those of callers are.

mod error;
mod trace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_wire::agent::kiln::SelfTestResponse;
use kiln_wire::agent::{Cause, PollStepResponse, RunConfig, SetupRequest, StartStepRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Agent, AgentError};
use crate::ending::Stop;
use crate::host::HostError;
use crate::machine::random_hex;
use crate::spool::Spool;
use crate::stage;
use crate::supervise::{self, Job};
use kiln_mask::{MASK, Secrets};

pub use error::SelfTestError;
use trace::{Folder, Kept, Missing};

/// The step, and its folder.
const ID: &str = "kiln-self-test";
/// The variable that the step is given a random value in,
const GIVEN: &str = "KILN_SELF_TEST";
/// and the one in which it hands it over.
const HANDED_OVER: &str = "KILN_SELF_TEST_VALUE";
/// Prints the value, which is to come back masked, and hands it over from a process of the shell's own.
const SCRIPT: &str = r#"KILN_SELF_TEST_VALUE=$(echo "$KILN_SELF_TEST"); echo "value: $KILN_SELF_TEST""#;
/// Random bytes of the value.
const VALUE_BYTES: usize = 16;
/// More of the output is not read.
const OUTPUT_MAX_BYTES: usize = 4096;

impl Agent {
    /// Carries out a step as a stage's first one is, and leaves nothing of it behind. Setup and destroy wait meanwhile.
    ///
    /// # Errors
    /// When a stage was set up, or the machine cannot carry out the step within [`crate::settings::Settings::self_test_within`].
    pub async fn self_test(&self) -> Result<SelfTestResponse, AgentError> {
        let _turn = self.turn.lock().await;
        if self.in_use() {
            return Err(AgentError::InUse);
        }
        let began = Instant::now();
        self.carry_out().await.map_err(AgentError::SelfTest)?;
        Ok(SelfTestResponse { duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }

    /// Prepares a stage in a folder of its own, and runs the step there.
    async fn carry_out(&self) -> Result<(), SelfTestError> {
        let dir = self.settings.engine_dir.join(ID);
        let _made = Missing::of([self.settings.engine_dir.as_path(), &self.spool_dir()]);
        let folder = Folder(dir.clone());
        let setup = read_back(&SetupRequest::default())?;
        let account = self.step_account().map_err(SelfTestError::Setup)?;
        let prepared = tokio::task::spawn_blocking(move || {
            stage::prepare(&setup, &folder.0, None, account.as_ref()).map(|()| folder)
        });
        let broken = |e: tokio::task::JoinError| HostError::File { path: dir.clone(), source: e.into() };
        let _folder = prepared.await.map_err(broken).and_then(|prepared| prepared).map_err(SelfTestError::Setup)?;
        let value = random_hex(VALUE_BYTES);
        let request = read_back(&request(&value))?;
        let new = self.new_step(&request, format!("{}-{ID}", self.mark));
        let (step, output) = new.map_err(|source| SelfTestError::NoOutput { dir: self.spool_dir(), source })?;
        let step = Arc::new(step);
        let _kept = Kept(Arc::clone(&step.spool));
        let secrets = Arc::<Secrets>::default();
        secrets.add([&value]);
        let job = Job { engine_dir: dir.clone(), ..self.job(Arc::clone(&step), request, Some(output), secrets) };
        let running = tokio::spawn(supervise::run(job, |_| {}));
        let within = self.settings.self_test_within;
        if tokio::time::timeout(within, step.wait()).await.is_err() {
            step.stop(Stop { cause: Cause::Timeout, reason: String::new(), grace: Duration::ZERO });
        }
        let end = step.wait().await;
        // It has given its result, so nothing of it is left to be done.
        drop(running.await);
        self.judge(&value, &end.response, &step.spool, dir).await
    }

    async fn judge(
        &self,
        value: &str,
        result: &PollStepResponse,
        spool: &Spool,
        dir: PathBuf,
    ) -> Result<(), SelfTestError> {
        let spool_dir = self.spool_dir();
        let read = read(spool).await;
        let printed = || match read.as_deref() {
            Ok(text) if !text.is_empty() => format!("; it printed {text:?}"),
            Ok(_) | Err(_) => String::new(),
        };
        let error = match result.cause {
            Cause::Exited if result.exit_code == 0 => None,
            Cause::Timeout => {
                return Err(SelfTestError::TimedOut { within: self.settings.self_test_within, output: printed() });
            }
            Cause::Exited => Some(format!("exit status {}", result.exit_code)),
            Cause::Signal => Some(format!("signal {} ended it", result.signal)),
            Cause::OutOfMemory => Some("memory ran out".to_owned()),
            Cause::Unknown
            | Cause::Cancelled
            | Cause::Destroyed
            | Cause::Failed
            | Cause::AgentRestarted
            | Cause::Tampered
            | Cause::OtherEpoch => Some(result.error.clone()),
        };
        if let Some(error) = error {
            return Err(SelfTestError::Step { error, output: printed() });
        }
        if spool.progress().cut {
            let reserve_mib = self.settings.disk_reserve_bytes >> 20;
            return Err(SelfTestError::OutputDropped { dir: spool_dir, reserve_mib });
        }
        let got = read.map_err(|source| SelfTestError::OutputUnread { dir: spool_dir, source })?;
        let wanted = format!("value: {MASK}\n");
        if got != wanted {
            return Err(SelfTestError::Output { wanted, got });
        }
        let got = result.outputs.get(HANDED_OVER).cloned().unwrap_or_default();
        if got != value {
            return Err(SelfTestError::HandOver { dir, wanted: value.to_owned(), got });
        }
        Ok(())
    }
}

fn request(value: &str) -> StartStepRequest {
    StartStepRequest {
        id: ID.into(),
        log_drone: true,
        run: RunConfig { entrypoint: vec!["sh".into(), "-c".into()], commands: vec![SCRIPT.into()] },
        environment: BTreeMap::from([(GIVEN.to_owned(), value.to_owned())]),
        output_vars: vec![HANDED_OVER.into()],
        ..StartStepRequest::default()
    }
}

/// A request as the agent reads it.
fn read_back<T: Serialize + DeserializeOwned + PartialEq>(request: &T) -> Result<T, SelfTestError> {
    let read = serde_json::to_vec(request).and_then(|text| serde_json::from_slice::<T>(&text));
    let read = read.map_err(|error| SelfTestError::Request(error.to_string()))?;
    if read == *request { Ok(read) } else { Err(SelfTestError::Request("its fields differ".to_owned())) }
}

/// The beginning of a step's output, as its readers get it.
async fn read(spool: &Spool) -> std::io::Result<String> {
    let mut reader = spool.reader()?;
    let mut bytes = Vec::new();
    while bytes.len() < OUTPUT_MAX_BYTES {
        let more = reader.read(bytes.len() as u64, OUTPUT_MAX_BYTES - bytes.len()).await?;
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
