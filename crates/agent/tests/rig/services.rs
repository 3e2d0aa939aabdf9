//! A stage whose services are those of the conformance tests.
#![allow(dead_code)]

use std::time::Duration;

use kiln_agent::settings::Settings;
use kiln_agent_conformance::platform::{ACCOUNT, Platform, TOKEN};
use kiln_wire::agent::StartStepRequest;
use serde_json::{Value, json};

use super::rig::step;

/// The configuration of logs that go to these services.
pub fn config(platform: &Platform) -> Value {
    json!({"url": platform.logs(), "account_id": ACCOUNT, "token": TOKEN})
}

/// Loses no time with services.
pub fn hasty(settings: &mut Settings) {
    let pace = &mut settings.log_pace;
    pace.gather = Duration::from_millis(50);
    // The services of a test are slow themselves, with all that they look at.
    (pace.flush_within, pace.patience) = (Duration::from_secs(60), Duration::from_secs(20));
    (pace.first_pause, pace.longest_pause) = (Duration::from_millis(5), Duration::from_millis(50));
}

/// A step with a log of its own.
pub fn logged(id: &str, key: &str, script: &str) -> StartStepRequest {
    StartStepRequest { log_drone: false, log_key: key.into(), ..step(id, script) }
}
