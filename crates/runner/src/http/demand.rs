//! From a request for an instance to what the engine is asked for.

use kiln_engine::Demand;
use kiln_pool::{Request, StageId};
use kiln_wire::agent::SetupRequest;
use kiln_wire::runner::SetupVmRequest;

use super::Settings;
use super::reply::Refusal;

/// Tag of older callers that names the account.
const ACCOUNT_TAG: &str = "accountID";
/// Longest id and name in a request; they become part of paths and of keys.
const NAME_MAX_BYTES: usize = 512;
/// A stage waits no longer than this, whatever its request says.
const WAIT_MAX_MS: i64 = 24 * 3600 * 1000;
/// A stage keeps its instance no longer than this, whatever its request says; the pool's greatest age is shorter.
const RUN_MAX_MS: i64 = 30 * 24 * 3600 * 1000;

/// What a request asks for.
pub(super) fn of(request: &SetupVmRequest, setup: &SetupRequest, settings: &Settings) -> Result<Demand, Refusal> {
    mandatory("id", &request.id)?;
    mandatory("pool_id", &request.pool_id)?;
    name("id", &request.id)?;
    refuse_unsupported(request)?;
    let account = if request.context.account_id.is_empty() {
        request.tags.get(ACCOUNT_TAG).cloned().unwrap_or_default()
    } else {
        request.context.account_id.clone()
    };
    let fallbacks =
        if request.fallback_pool_ids.is_empty() { &settings.fallback_pools } else { &request.fallback_pool_ids };
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
            fallbacks: fallbacks.clone(),
            account,
            resource_class: request.resource_class.clone(),
            nested_virtualization: request.nested_virtualization,
            image,
        },
        wait_ms: wait_ms.min(WAIT_MAX_MS),
        run_ms: setup.timeout.saturating_mul(1000).min(RUN_MAX_MS),
    })
}

/// The incumbent's words for a field that must not be empty.
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

/// What would change how the stage runs is carried out or refused, never ignored.
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
