//! Converts a request for an instance to a demand for the engine.

use kiln_engine::Demand;
use kiln_pool::{Config, Request, StageId};
use kiln_wire::agent::SetupRequest;
use kiln_wire::runner::SetupVmRequest;

use super::Settings;
use super::reply::Refusal;

/// Tag in which older callers name the account.
const ACCOUNT_TAG: &str = "accountID";
/// Longest id and name in a request. They become part of paths and of keys.
const NAME_MAX_BYTES: usize = 512;
/// Longest time for which a stage may wait, whatever its request says.
const WAIT_MAX_MS: i64 = 24 * 3600 * 1000;
/// Longest time for which a stage may keep its instance, whatever its request says. The pool's greatest age is shorter.
const RUN_MAX_MS: i64 = 30 * 24 * 3600 * 1000;

/// Reads the demand of a `/setup` request.
///
/// # Errors
/// 400 for a mandatory field that is empty, a name that is too long, a negative time, or an unsupported field.
pub(super) fn of(
    request: &SetupVmRequest,
    setup: &SetupRequest,
    settings: &Settings,
    config: &Config,
) -> Result<Demand, Refusal> {
    mandatory("id", &request.id)?;
    mandatory("pool_id", &request.pool_id)?;
    name("id", &request.id)?;
    refuse_unsupported(request)?;
    let account = if request.context.account_id.is_empty() {
        request.tags.get(ACCOUNT_TAG).cloned().unwrap_or_default()
    } else {
        request.context.account_id.clone()
    };
    let asked: Vec<String> = request.fallback_pool_ids.iter().filter(|pool| !pool.is_empty()).cloned().collect();
    // An empty list stands for the pool file's fallbacks, which take precedence over the runner's own.
    let in_file = config.pools.get(&request.pool_id).is_some_and(|pool| !pool.fallbacks.is_empty());
    let fallbacks = if asked.is_empty() && !in_file { settings.fallback_pools.clone() } else { asked };
    let images = [&setup.vm_image_config.image_name, &request.vm_image_config.image_name];
    let wait_ms = match request.timeout {
        0 => i64::try_from(settings.wait.as_millis()).unwrap_or(i64::MAX),
        wait_ms => wait_ms,
    };
    if wait_ms < 0 || setup.timeout < 0 {
        return Err(Refusal::bad("`timeout` must not be negative; leave it out for the runner's own"));
    }
    let image = images.into_iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
    for (field, value) in
        [("account_id", &account), ("resource_class", &request.resource_class), ("image_name", &image)]
    {
        name(field, value)?;
    }
    Ok(Demand {
        id: StageId::new(&request.id),
        request: Request {
            pool: request.pool_id.clone(),
            fallbacks,
            account,
            resource_class: request.resource_class.clone(),
            nested_virtualization: request.nested_virtualization,
            image,
        },
        wait_ms: wait_ms.min(WAIT_MAX_MS),
        run_ms: setup.timeout.saturating_mul(1000).min(RUN_MAX_MS),
    })
}

/// Refuses an empty mandatory field, in the incumbent's words.
pub(super) fn mandatory(field: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::bad(format!("mandatory field '{field}' in the request body is empty")));
    }
    Ok(())
}

fn name(field: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > NAME_MAX_BYTES || value.chars().any(char::is_control) {
        return Err(Refusal::bad(format!(
            "`{field}` must be at most {NAME_MAX_BYTES} bytes without control characters"
        )));
    }
    Ok(())
}

/// Refuses unsupported fields that would change how the stage runs.
fn refuse_unsupported(request: &SetupVmRequest) -> Result<(), Refusal> {
    let (gitspace, storage) = (&request.gitspace_agent_config, &request.storage_config);
    let wanted = [
        ("gitspace_agent_config.ports", !gitspace.ports.is_empty()),
        ("gitspace_agent_config.vm_init_script", !gitspace.vm_init_script.is_empty()),
        ("storage_config", *storage != kiln_wire::runner::StorageConfig::default()),
        ("is_marked_for_infra_reset", request.is_marked_for_infra_reset),
        ("skip_cloud_vm_cleanup", request.skip_cloud_vm_cleanup),
        ("instance_info", !request.instance_info.id.is_empty()),
    ];
    let Some((field, _)) = wanted.into_iter().find(|(_, wanted)| *wanted) else { return Ok(()) };
    let instead = match field {
        "storage_config" => "give the pool a larger disk",
        "skip_cloud_vm_cleanup" => "hold the instance with POST /kiln/v1/instances/{id}/hold",
        _ => "leave it out",
    };
    Err(Refusal::bad(format!("`{field}` is not supported by this runner: {instead}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOLS: &str = "instances:\n- {name: a, type: amazon, spec: {ami: i, size: s}, kiln: {fallbacks: [b]}}\n\
                         - {name: b, type: amazon, spec: {ami: i, size: s}}\n- {name: c, type: amazon, spec: {ami: i, size: s}}\n";

    fn asked(request: &str) -> Result<Request, Refusal> {
        let options = kiln_pool_file::Options { env: &|_| None, sections: &[&kiln_pool_file::amazon::Amazon] };
        let config = kiln_pool_file::load("pool.yml", POOLS.as_bytes(), &options).config.expect("a configuration");
        let settings = Settings { fallback_pools: vec!["c".to_owned()], ..Settings::default() };
        let request = serde_json::from_str(request).expect("a request");
        of(&request, &SetupRequest::default(), &settings, &config).map(|demand| demand.request)
    }

    #[track_caller]
    fn check(request: &str, fallbacks: &[&str]) {
        assert_eq!(asked(request).expect("a demand").fallbacks, fallbacks, "{request}");
    }

    #[test]
    fn fallbacks_are_the_requests_then_the_pool_files_then_the_runners() {
        check(r#"{"id": "s", "pool_id": "a", "fallback_pool_ids": ["c", ""]}"#, &["c"]);
        // An empty list means the file's fallbacks.
        check(r#"{"id": "s", "pool_id": "a", "fallback_pool_ids": [""]}"#, &[]);
        check(r#"{"id": "s", "pool_id": "b"}"#, &["c"]);
    }

    #[test]
    fn names_that_no_key_may_hold_are_refused() {
        for field in [r#""resource_class": "a\u0000""#, r#""vm_image_config": {"image_name": "a\nb"}"#] {
            let request = format!(r#"{{"id": "s", "pool_id": "b", {field}}}"#);
            assert_eq!(asked(&request).expect_err("a refusal").status, 400, "{request}");
        }
        let long = format!(r#"{{"id": "s", "pool_id": "b", "context": {{"account_id": "{}"}}}}"#, "a".repeat(513));
        assert_eq!(asked(&long).expect_err("a refusal").status, 400);
    }
}
