//! Identities of steps, for which they may ask for tokens.
//!
//! ```text
//!  step ──handle, name──► socket (who asks?) ──► Identities (what may this handle ask for?) ──workload token──► broker
//! ```
//! A step is given a random handle and the place to ask at, and never the workload token itself. The handle is good as
//! long as the step runs, for its own user where the step runs on the host, for the audiences that its identities were
//! made for, and for a bounded number of tokens. What it may not ask for is answered as what is not known, so that
//! nothing can be found out by asking.

mod broker;
mod serve;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_wire::agent::{MintWorkloadTokenRequest, MintWorkloadTokenResponse, StartStepRequest, WorkloadIdentity};

use crate::agent::Agent;
use crate::host::account_of;
use crate::lock::lock;
use crate::machine::random_hex;
use crate::os::local;
use crate::settings::Settings;
use crate::web::Web;

pub(crate) use serve::Asks;

/// Variable that tells a step its handle.
const HANDLE: &str = "HARNESS_WI_HANDLE";
/// Variable that tells a step where to ask.
const ASK_AT: &str = "HARNESS_WI_MINT_URL";
/// Setting of another place where steps ask.
const ASK_AT_OTHER: &str = "HARNESS_WI_MINT_URL_OVERRIDE";
/// Number of random bytes in a handle.
const HANDLE_BYTES: usize = 16;
/// Largest number of tokens for a handle. All output is searched for each of them.
const TOKENS: u32 = 200;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    /// The handle or the name does not exist, or whoever asks may not use it.
    #[error("unknown workload identity")]
    Unknown,
    /// The identity is not for this audience.
    #[error(
        "the workload identity is not for this audience; leave audience_override out, or give one of the step's audiences"
    )]
    Audience,
    /// The step was given too many tokens.
    #[error("this step was given {TOKENS} tokens already; use one of them again")]
    TooMany,
    /// The broker gives no token. Only the agent's log tells why, because steps do not see what services say.
    #[error("failed to mint workload identity token")]
    Broker,
}

/// What a handle stands for.
#[derive(Debug, Clone)]
struct Entry {
    step: String,
    identities: Vec<WorkloadIdentity>,
    broker: String,
    /// User who may ask, beside root. None means anybody, because users in containers are not those of the machine.
    user: Option<u32>,
    given: u32,
}

/// The identities of the steps that run.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    entries: Mutex<HashMap<String, Entry>>,
    listening: Mutex<bool>,
}

/// The right of a step to ask. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    identities: Arc<Identities>,
    handle: String,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.identities.entries).remove(&self.handle);
    }
}

impl Identities {
    /// Listens at the socket where steps ask, unless it does already.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub(crate) fn listen(&self, path: &Path, agent: &Arc<Agent>) -> std::io::Result<()> {
        let mut listening = lock(&self.listening);
        if *listening && local::is_there(path) {
            return Ok(());
        }
        let listener = local::listen(path)?;
        tokio::spawn(serve::serve(listener, Arc::downgrade(agent)));
        *listening = true;
        Ok(())
    }

    /// Takes the tokens of a step's identities out of its request, and tells the step how to ask.
    pub(crate) fn register(self: &Arc<Self>, request: &mut StartStepRequest, settings: &Settings) -> Ticket {
        let handle = random_hex(HANDLE_BYTES);
        let on_host = request.image.is_empty();
        // A step with an unknown user does not start.
        let account = account_of(settings, &request.user).ok().flatten();
        let entry = Entry {
            step: request.id.clone(),
            identities: request.workload_identities.clone(),
            broker: std::mem::take(&mut request.wi_token_generate_url),
            user: on_host.then(|| account.map_or(0, |account| account.uid)),
            given: 0,
        };
        for identity in &mut request.workload_identities {
            identity.workload_token.clear();
        }
        lock(&self.entries).insert(handle.clone(), entry);
        let at = settings.base_env.get(ASK_AT_OTHER).filter(|at| !at.is_empty()).cloned();
        let at = at.unwrap_or_else(|| format!("unix://{}", settings.mint_socket.display()));
        request.environment.extend([(HANDLE.to_owned(), handle.clone()), (ASK_AT.to_owned(), at)]);
        Ticket { identities: Arc::clone(self), handle }
    }

    /// Gives a token.
    ///
    /// # Errors
    /// When whoever asks may not have the token, or the broker gives none.
    pub(crate) async fn mint(
        &self,
        request: &MintWorkloadTokenRequest,
        user: Option<u32>,
        web: Arc<Web>,
    ) -> Result<MintWorkloadTokenResponse, MintError> {
        let (entry, identity, audience) = self.claim(request, user)?;
        let asked = broker::ask(web, &entry.broker, &identity, &audience).await;
        let token = asked.map_err(|error| {
            tracing::warn!(step = entry.step, name = identity.name, %error, "a workload token is not minted");
            MintError::Broker
        })?;
        tracing::info!(step = entry.step, name = identity.name, audience, "a workload token was minted");
        Ok(token)
    }

    /// Finds what a request may have, and counts the token.
    fn claim(
        &self,
        request: &MintWorkloadTokenRequest,
        user: Option<u32>,
    ) -> Result<(Entry, WorkloadIdentity, String), MintError> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(&request.handle).ok_or(MintError::Unknown)?;
        let may_ask = match (entry.user, user) {
            // Whoever asks over TLS has shown a certificate; a container may have any user.
            (_, None) | (None, _) => true,
            (Some(of), Some(user)) => user == of || user == 0,
        };
        let identity =
            entry.identities.iter().find(|identity| !identity.name.is_empty() && identity.name == request.name);
        let identity = identity.filter(|_| may_ask).cloned().ok_or(MintError::Unknown)?;
        let audience = match request.audience_override.as_str() {
            "" => identity.audience.clone(),
            // An identity without an audience leaves the choice to the step.
            other if identity.audience.is_empty() || entry.identities.iter().any(|i| i.audience == other) => {
                other.to_owned()
            }
            _ => return Err(MintError::Audience),
        };
        if entry.given >= TOKENS {
            return Err(MintError::TooMany);
        }
        entry.given += 1;
        Ok((entry.clone(), identity, audience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities() -> (Arc<Identities>, Ticket, String) {
        let identities = Arc::<Identities>::default();
        let identity = |name: &str, audience: &str| WorkloadIdentity {
            name: name.into(),
            workload_token: "opaque".into(),
            audience: audience.into(),
            token_mode: "STANDARD".into(),
        };
        let mut request = StartStepRequest {
            id: "s1".into(),
            workload_identities: vec![identity("aws", "sts"), identity("any", ""), identity("", "x")],
            ..StartStepRequest::default()
        };
        let ticket = identities.register(&mut request, &Settings::default());
        // A container engine is told what stands in a request.
        assert!(request.workload_identities.iter().all(|identity| identity.workload_token.is_empty()));
        assert_eq!(request.environment[ASK_AT], "unix:///tmp/harness-wi/wi.sock");
        let handle = request.environment[HANDLE].clone();
        assert!(handle.len() == 32 && handle.bytes().all(|b| b.is_ascii_hexdigit()));
        (identities, ticket, handle)
    }

    #[test]
    fn security_defect_a_handle_is_good_for_its_own_step_and_audiences_alone() {
        let (identities, ticket, handle) = identities();
        let claim = |handle: &str, name: &str, audience: &str, user| {
            let request = MintWorkloadTokenRequest {
                handle: handle.into(),
                name: name.into(),
                audience_override: audience.into(),
            };
            identities.claim(&request, user).map(|(.., audience)| audience).map_err(|error| error.to_string())
        };
        let unknown = Err("unknown workload identity".to_owned());
        assert_eq!(claim(&handle, "aws", "", Some(0)), Ok("sts".into()));
        assert_eq!(claim(&handle, "aws", "sts", None), Ok("sts".into()));
        assert_eq!(claim(&handle, "any", "elsewhere", None), Ok("elsewhere".into()));
        assert!(claim(&handle, "aws", "elsewhere", None).expect_err("refused").contains("not for this audience"));
        assert_eq!(claim(&handle, "aws", "", Some(54_321)), unknown, "another user");
        assert_eq!(claim(&handle, "other", "", None), unknown);
        assert_eq!(claim(&handle, "", "", None), unknown);
        assert_eq!(claim("0123456789abcdef0123456789abcdef", "aws", "", None), unknown);
        drop(ticket);
        assert_eq!(claim(&handle, "aws", "", None), unknown, "the step has ended");
    }

    #[test]
    fn the_tokens_of_a_handle_are_bounded() {
        let (identities, _ticket, handle) = identities();
        let request = MintWorkloadTokenRequest { handle, name: "aws".into(), audience_override: String::new() };
        for _ in 0..TOKENS {
            identities.claim(&request, None).expect("a token");
        }
        assert!(matches!(identities.claim(&request, None), Err(MintError::TooMany)));
    }
}
