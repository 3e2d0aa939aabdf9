//! Which requests are served: those for the stage that the agent serves, as long as it serves it.

use axum::http::HeaderMap;
use kiln_wire::agent::{self as wire, archive, kiln as own};

use super::reply::Refusal;
use crate::agent::Agent;

/// Requests that begin something, or change it.
const BEGINNINGS: [&str; 10] = [
    wire::SETUP,
    wire::START_STEP,
    wire::MINT_WORKLOAD_TOKEN,
    own::SELF_TEST,
    own::INPUT,
    own::RESIZE,
    own::WORKSPACE,
    own::FILES,
    archive::LOOK,
    archive::ARCHIVE,
];

/// Requests that may come before there is a stage. A setup brings the name of one, see [`epoch`].
const BEFORE_A_STAGE: [&str; 5] = [wire::HEALTHZ, own::IDENTITY, own::CLAIM, own::SELF_TEST, wire::SETUP];

/// How a caller names the stage; empty when it does not. What is no text names nothing that was ever set up.
pub(super) fn epoch(headers: &HeaderMap) -> &str {
    headers.get(own::EPOCH_HEADER).map_or("", |value| value.to_str().unwrap_or("\0"))
}

/// Refuses with 410 what is meant for another stage, or would begin something after the end.
pub(super) fn admit(agent: &Agent, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if BEGINNINGS.contains(&path) {
        agent.admit()?;
    }
    let epoch = epoch(headers);
    if !epoch.is_empty() && !BEFORE_A_STAGE.contains(&path) {
        agent.admit_epoch(epoch)?;
    }
    Ok(())
}
