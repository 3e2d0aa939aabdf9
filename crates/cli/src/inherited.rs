//! Variables of `drone-runner-aws` that `kiln runner` ignores. A user who sets them expects an effect.

/// Variables with a replacement in Kiln.
const INSTEAD: &[(&str, &str)] = &[
    ("DRONE_RUNNER_VOLUMES", "no volume is added to steps; name them in the pipeline"),
    ("DRONE_RUNNER_HA", "runners that are given the same PostgreSQL by --database share its pools"),
    ("DRONE_DELEGATE_DISTRIBUTED_MODE", "runners that are given the same PostgreSQL by --database share its pools"),
    ("DRONE_DISTRIBUTED_DATASOURCE", "give --database or KILN_DATABASE"),
    ("DRONE_DATABASE_DRIVER", "give --database or KILN_DATABASE"),
    ("DRONE_DATABASE_DATASOURCE", "give --database or KILN_DATABASE"),
    ("DRONE_SETTINGS_BUSY_MAX_AGE", "write `kiln: {ages: {busy: 24h}}` in the pool file"),
    ("DRONE_SETTINGS_FREE_MAX_AGE", "write `kiln: {ages: {free: 72h}}` in the pool file"),
    ("DRONE_MIN_POOL_SIZE", "write `pool` in the pool file"),
    ("DRONE_MAX_POOL_SIZE", "write `limit` in the pool file"),
    ("HEALTH_CHECK_HOTPOOL_TIMEOUT", "write `kiln: {boot_timeout: 15m}` in the pool file"),
    ("HEALTH_CHECK_COLDSTART_TIMEOUT", "write `kiln: {boot_timeout: 15m}` in the pool file"),
    ("DRONE_DEBUG", "set KILN_LOG=info"),
    ("DRONE_TRACE", "set KILN_LOG=debug"),
];

/// Names, and prefixes of names, of the other variables.
const OTHERS: &[&str] = &[
    "DRONE_EGRESS_",
    "DRONE_RUNNER_",
    "DRONE_SETTINGS_",
    "DRONE_LIMIT_",
    "DRONE_RPC_",
    "DRONE_UI_",
    "DRONE_ENABLE_",
    "DRONE_REUSE_POOL",
    "DRONE_LITE_ENGINE_PATH",
    "DRONE_PURGER_TIME_MINUTES",
    "DRONE_PLUGIN_BINARY_",
    "DRONE_HARNESS_",
    "DRONE_ANNOTATIONS_",
    "DLITE_",
    "HEALTH_CHECK_",
    "START_STEP_TIMEOUT",
    "DRONE_DISTRIBUTED_",
    "DRONE_HTTP_",
    "DRONE_TMATE_",
    "DRONE_ENVMAN_",
    "DRONE_ENV_PLUGIN_",
    "DRONE_SECRET_PLUGIN_",
    "DRONE_REGISTRY_PLUGIN_",
    "DRONE_DOCKER_",
];
/// Variables that Kiln reads too.
const READ: &[&str] = &["DRONE_RUNNER_NAME", "DRONE_HTTP_BIND"];

/// Returns warnings about the variables that are set, by their names.
pub fn warnings(set: impl Iterator<Item = String>) -> Vec<String> {
    let mut set: Vec<String> = set.filter(|name| !READ.contains(&name.as_str())).collect();
    set.sort();
    let instead = |name: &str| INSTEAD.iter().find(|(known, _)| *known == name);
    let told = set.iter().filter_map(|name| instead(name));
    let mut warnings: Vec<String> =
        told.map(|(name, instead)| format!("{name} has no effect here: {instead}")).collect();
    let other = |name: &&String| instead(name).is_none() && OTHERS.iter().any(|begin| name.starts_with(begin));
    let others: Vec<&str> = set.iter().filter(other).map(String::as_str).collect();
    if !others.is_empty() {
        warnings.push(format!("{}: no effect here; docs/compatibility.md has the variables", others.join(", ")));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_and_not_read_is_told() {
        let set = ["PATH", "DRONE_RUNNER_NAME", "DRONE_UI_REALM", "DRONE_TRACE", "DLITE_NAME", "DRONE_COMMIT"];
        assert_eq!(
            warnings(set.iter().map(ToString::to_string)),
            [
                "DRONE_TRACE has no effect here: set KILN_LOG=debug",
                "DLITE_NAME, DRONE_UI_REALM: no effect here; docs/compatibility.md has the variables",
            ]
        );
    }
}
