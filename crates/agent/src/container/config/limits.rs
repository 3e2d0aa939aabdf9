//! What a container may use.

use bollard::models::HostConfig;
use kiln_wire::agent::StartStepRequest;

use super::wrong;
use crate::container::error::ContainerError;

/// Memory and swap without a limit.
const UNLIMITED: i64 = -1;

/// Puts the limits of a step into the configuration of its container.
pub(super) fn put(request: &StartStepRequest, config: &mut HostConfig) -> Result<(), ContainerError> {
    let amount = |field: &'static str, value: i64, least: i64| match value {
        0 => Ok(None),
        value if value < least => Err(wrong(field, value, "amount, which is at least 0")),
        value => Ok(Some(value)),
    };
    config.memory = amount("mem_limit", request.mem_limit, 0)?;
    config.memory_swap = amount("memswap_limit", request.memswap_limit, UNLIMITED)?;
    config.shm_size = amount("shm_size", request.shm_size, 0)?;
    config.cpu_period = amount("cpu_period", request.cpu_period, 0)?;
    config.cpu_quota = amount("cpu_quota", request.cpu_quota, UNLIMITED)?;
    config.cpu_shares = amount("cpu_shares", request.cpu_shares, 0)?;
    config.cpuset_cpus = cpus(&request.cpu_set)?;
    Ok(())
}

/// The processors, as numbers and ranges of numbers.
fn cpus(set: &[String]) -> Result<Option<String>, ContainerError> {
    let parts: Vec<&str> = set.iter().flat_map(|part| part.split(',')).map(str::trim).collect();
    let number = |text: &str| text.parse::<u16>().ok();
    for part in &parts {
        let is_set = match part.split_once('-') {
            Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
            None => number(part).is_some(),
        };
        if !is_set {
            return Err(wrong("cpu_set", part, "number of a processor, nor a range like 0-3"));
        }
    }
    Ok(Some(parts.join(",")).filter(|set| !set.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[&str], expected: Result<Option<&str>, &str>) {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        let got = cpus(&set).map_err(|error| error.to_string());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.as_deref(), expected),
            (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
            (got, expected) => panic!("{got:?} and not {expected:?}"),
        }
    }

    #[test]
    fn processors_are_numbers_and_ranges() {
        check(&[], Ok(None));
        check(&["0", "2-3"], Ok(Some("0,2-3")));
        check(&["0, 1"], Ok(Some("0,1")));
        check(&["3-1"], Err("3-1"));
        check(&["all"], Err("cpu_set of the step holds \"all\""));
        check(&[""], Err("cpu_set"));
    }

    #[test]
    fn amounts_below_nothing_are_refused() {
        let put = |request: StartStepRequest| put(&request, &mut HostConfig::default()).map_err(|e| e.to_string());
        assert_eq!(put(StartStepRequest { memswap_limit: -1, cpu_quota: -1, ..Default::default() }), Ok(()));
        for (request, field) in [
            (StartStepRequest { mem_limit: -1, ..Default::default() }, "mem_limit"),
            (StartStepRequest { memswap_limit: -2, ..Default::default() }, "memswap_limit"),
            (StartStepRequest { shm_size: -5, ..Default::default() }, "shm_size"),
            (StartStepRequest { cpu_shares: -1, ..Default::default() }, "cpu_shares"),
        ] {
            assert!(put(request).is_err_and(|error| error.starts_with(field)), "{field}");
        }
    }
}
