//! The program, held to the protocol from outside.

#[path = "rig/program.rs"]
mod program;
mod rig;

use kiln_agent_conformance::{Target, run};
use kiln_engine_rig::Engine;
use program::Program;

/// What depends on the machine that the tests run on; everything else must be looked at.
const MAY_BE_SKIPPED: [&str; 3] = [
    "variables_of_python_become_outputs",
    "a_user_by_name_is_that_user_or_is_ignored",
    "the_egress_policy_configures_the_container_engine",
];

/// What is said of containers alone, without the word in its name.
const OF_CONTAINERS: [&str; 6] = [
    "a_stage_has_a_network_in_which_names_are_found",
    "volumes_and_networks_are_made_and_removed",
    "a_folder_and_a_device_of_the_machine_are_seen",
    "a_volume_in_memory_has_its_size",
    "files_are_exchanged_at_the_same_path",
    "the_engines_socket_is_seen_unless_it_is_not_to_be",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_keeps_the_protocol() {
    // Never the machine's own: the checks make and remove things there.
    let engine = Engine::shared();
    let socket = engine.map_or_else(|| "/nowhere".to_owned(), |engine| engine.socket().display().to_string());
    let settings = format!("DOCKER_HOST=unix://{socket}\n");
    let program = Program::start_with(env!("CARGO_BIN_EXE_kiln-agent"), "--env-file", &settings);
    let mut target = Target::new(&format!("https://{}", program.address)).expect("a target");
    target.server_name = Some(rig::NAME.to_owned());
    target.ca_pem = program.runner.ca.clone();
    target.cert_pem = program.runner.cert.clone();
    target.key_pem = program.runner.key.clone();
    let report = run(&target, &[], |_| {}).await.expect("an agent that answers");
    let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{report}\n{}", failures.join("\n"));
    assert!(report.is_kept() && report.count("passed") > 80, "{report}");
    let skipped =
        report.verdicts.iter().filter(|verdict| verdict.outcome.word() == "skipped").map(|verdict| verdict.name);
    let of_containers =
        |name: &str| name.contains("container") || name.contains("image") || OF_CONTAINERS.contains(&name);
    let may_be = |name: &&str| MAY_BE_SKIPPED.contains(name) || engine.is_none() && of_containers(name);
    let unexpected: Vec<_> = skipped.filter(|name| !may_be(name)).collect();
    assert!(unexpected.is_empty(), "not looked at: {unexpected:?}");
}
