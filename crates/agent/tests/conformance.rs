//! The program, held to the protocol from outside.

#[path = "rig/program.rs"]
mod program;
mod rig;

use kiln_agent_conformance::{Target, run};
use program::Program;

/// What depends on the machine that the tests run on; everything else must be looked at.
const MAY_BE_SKIPPED: [&str; 2] = ["variables_of_python_become_outputs", "a_user_by_name_is_that_user_or_is_ignored"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_keeps_the_protocol() {
    let program = Program::start(env!("CARGO_BIN_EXE_kiln-agent"), "--env-file");
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
    let unexpected: Vec<_> = skipped.filter(|name| !MAY_BE_SKIPPED.contains(name)).collect();
    assert!(unexpected.is_empty(), "not looked at: {unexpected:?}");
}
