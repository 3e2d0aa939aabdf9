//! Who the machine is, and how a clone becomes somebody of its own.
//!
//! ```text
//!   open ──claim(id)──► claimed(id) ──setup──► closed
//!     └──────────────setup────────────────────►
//! ```
//! A repeated claim with the same id is answered as the first was, in every state; any other one is refused once the
//! state is not open.

use std::path::PathBuf;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_wire::agent::kiln::{ClaimRequest, Identity};

use crate::journal::JournalError;
use crate::lock::lock;
use crate::os::{identity, machine};
use crate::settings::Settings;

/// A claim that is refused.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// No id was given.
    #[error("a claim needs an id")]
    NoId,
    /// The machine is somebody already.
    #[error("this machine serves {present:?} already and cannot become {wanted:?}; take a fresh one")]
    Taken {
        /// Who it is.
        present: String,
        /// Who it was asked to become.
        wanted: String,
    },
    /// The entropy is not base64.
    #[error("the entropy is not base64")]
    Entropy,
    /// The certificates cannot be used.
    #[error("the claim's certificates cannot be used: {0}")]
    Tls(#[from] kiln_tls::TlsError),
    /// It cannot be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Only some of the certificates were given.
    #[error("a claim brings certificate and key, or neither")]
    HalfTls,
    /// The present certificates cannot be read to complete the new ones.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    change_kernel: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    id: String,
    shortfalls: Vec<String>,
    closed: bool,
}

impl Machine {
    /// The machine as it was found.
    pub fn new(settings: &Settings) -> Self {
        Self { root: settings.root_dir.clone(), change_kernel: settings.change_kernel, state: Mutex::default() }
    }

    /// An earlier process of the agent made it somebody, or left it to a stage that named nobody: then the id is empty.
    pub(crate) fn take_up(&self, id: &str) {
        let mut state = lock(&self.state);
        id.clone_into(&mut state.id);
        state.closed = true;
    }

    /// A stage is set up: no claim is taken any more.
    pub fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// Who it is now.
    pub fn identity(&self) -> Identity {
        let state = lock(&self.state);
        Identity {
            id: state.id.clone(),
            hostname: identity::hostname(&self.root, self.change_kernel),
            machine_id: identity::machine_id(&self.root),
            boot_id: identity::boot_id(),
            version: crate::VERSION.into(),
            shortfalls: state.shortfalls.clone(),
            in_use: state.closed,
        }
    }

    /// Makes it somebody of its own. `accept` is called once, for a new claim only, before anything is changed; when
    /// it fails, nothing was. True when this was a new claim.
    pub fn claim(
        &self,
        request: &ClaimRequest,
        accept: impl FnOnce() -> Result<(), ClaimError>,
    ) -> Result<bool, ClaimError> {
        if request.id.is_empty() {
            return Err(ClaimError::NoId);
        }
        let mut state = lock(&self.state);
        if state.id == request.id {
            return Ok(false);
        }
        if state.closed || !state.id.is_empty() {
            let present = if state.id.is_empty() { "a stage" } else { &state.id };
            return Err(ClaimError::Taken { present: present.into(), wanted: request.id.clone() });
        }
        let entropy = STANDARD.decode(&request.entropy).map_err(|_| ClaimError::Entropy)?;
        accept()?;
        state.id = request.id.clone();
        state.shortfalls = self.change(request, &entropy);
        Ok(true)
    }

    /// Does all that can be done; what cannot is told, because a clone with the wrong host name still runs steps.
    fn change(&self, request: &ClaimRequest, entropy: &[u8]) -> Vec<String> {
        let mut shortfalls = Vec::new();
        let mut note = |what: &str, result: std::io::Result<()>| {
            if let Err(error) = result {
                tracing::warn!(what, %error, "part of a claim failed");
                shortfalls.push(format!("{what}: {error}"));
            }
        };
        // Entropy first: the machine id is drawn from it.
        if self.change_kernel {
            note("entropy", machine::add_entropy(entropy));
            if request.unix_time_ns > 0 {
                note("clock", machine::set_clock(request.unix_time_ns));
            }
            if !request.hostname.is_empty() {
                note("host name", machine::set_hostname(&request.hostname));
            }
        }
        note("machine id", identity::write_machine_id(&self.root));
        if !request.hostname.is_empty() {
            note("host name file", identity::write_hostname(&self.root, &request.hostname));
        }
        shortfalls
    }
}

/// Random hexadecimal digits from the kernel, two per byte.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    if machine::random(&mut buffer).is_err() {
        // Without /dev the names must still differ between processes of one machine.
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() ^ u128::from(std::process::id()) << 64;
        buffer.iter_mut().zip(now.to_le_bytes().iter().cycle()).for_each(|(to, from)| *to = *from);
    }
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
