//! What of a request is secret by what it is, whether or not its caller lists it.

use std::collections::BTreeMap;

use kiln_wire::agent::{Auth, EgressPolicy, LogConfig, MtlsConfig, SetupRequest, StartStepRequest, TiConfig};

/// Where the password for git stands.
const NETRC_PASSWORD: &str = "DRONE_NETRC_PASSWORD";

/// Returns the secrets of a stage.
pub fn of_setup(request: &SetupRequest) -> Vec<&str> {
    let mut found: Vec<&str> = request.secrets.iter().map(String::as_str).collect();
    found.extend(netrc(&request.envs));
    found.extend(services(
        &request.log_config,
        &request.ti_config,
        &request.mtls_config,
        request.egress_policy.as_ref(),
    ));
    let image = &request.vm_image_config;
    found.push(&image.password);
    found.extend(registry(image.auth.as_ref()));
    given(found)
}

/// Returns the secrets of a step.
pub fn of_step(request: &StartStepRequest) -> Vec<&str> {
    let mut found: Vec<&str> = request.secrets.iter().map(String::as_str).collect();
    found.extend(netrc(&request.environment));
    found.extend(services(
        &request.log_config,
        &request.ti_config,
        &request.mtls_config,
        request.egress_policy.as_ref(),
    ));
    found.extend(registry(request.auth.as_ref()));
    found.push(&request.annotations_config.token);
    found.push(&request.step_status.token);
    found.extend(request.workload_identities.iter().map(|identity| identity.workload_token.as_str()));
    given(found)
}

fn netrc(envs: &BTreeMap<String, String>) -> Option<&str> {
    envs.get(NETRC_PASSWORD).map(String::as_str)
}

fn registry(auth: Option<&Auth>) -> Option<&str> {
    auth.map(|auth| auth.password.as_str())
}

fn services<'a>(
    log: &'a LogConfig,
    tests: &'a TiConfig,
    mtls: &'a MtlsConfig,
    egress: Option<&'a EgressPolicy>,
) -> impl Iterator<Item = &'a str> {
    [&log.token, &tests.token, &mtls.client_cert_key]
        .into_iter()
        .map(String::as_str)
        .chain(egress.map(|e| &*e.password))
}

fn given(found: Vec<&str>) -> Vec<&str> {
    found.into_iter().filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_protocol_calls_a_password_a_token_or_a_key_is_secret() {
        let stage = json!({
            "secrets": ["a", ""], "envs": {NETRC_PASSWORD: "b", "OTHER": "x"}, "log_config": {"token": "c", "url": "x"},
            "ti_config": {"token": "d"}, "mtls_config": {"client_cert": "x", "client_cert_key": "e"},
            "egress_policy": {"username": "x", "password": "f"}, "vm_image_config": {"password": "g", "auth": {"password": "h"}},
        });
        let stage: SetupRequest = serde_json::from_value(stage).expect("a request");
        assert_eq!(of_setup(&stage), ["a", "b", "c", "d", "e", "f", "g", "h"]);
        let step = json!({
            "secrets": ["a"], "environment": {NETRC_PASSWORD: "b"}, "log_config": {"token": "c"}, "ti_config": {"token": "d"},
            "mtls_config": {"client_cert_key": "e"}, "egress_policy": {"password": "f"}, "auth": {"username": "x", "password": "g"},
            "annotations_config": {"token": "h"}, "step_status": {"token": "i"}, "workload_identities": [{"name": "x", "workload_token": "j"}],
        });
        let step: StartStepRequest = serde_json::from_value(step).expect("a request");
        assert_eq!(of_step(&step), ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    }
}
