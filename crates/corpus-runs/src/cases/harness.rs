//! Files of Harness.

use crate::case::{Case, harness};
use crate::tree::Tree;

/// Returns the cases.
pub fn cases() -> Vec<Case> {
    vec![
        harness(
            "drone-runners__drone-runner-aws__drone-runner-aws-1682518363044.yml",
            Tree::Image,
            "Build.Echo_Welcome_Message passed
             Build.Echo_Welcome_Message | Welcome to Harness CI",
        ),
        harness(
            "anilkumbala__react-pipeline-sample__pipeline.yml",
            Tree::Node,
            "Build.Run_1 passed
             Build.Run_1 | up to date
             Build.build_app passed
             Build.build_app | built by node v
             Build.BuildAndPushDockerRegistry_1 passed",
        )
        .give("pipeline.stages.Build.spec.execution.steps.BuildAndPushDockerRegistry_1.spec.repo", "ada/react")
        .pushes(&["ada/react:latest"]),
        harness(
            "gtbanfield__java-library__pipeline.yml",
            Tree::Java,
            "Build.Run_1 passed
             Build.Run_1 | openjdk 17
             Build.Run_1 | BUILD SUCCESS
             Build.BuildAndPushDockerRegistry_1 failed",
        ),
        harness(
            "markoskandylis__go-pipeline-sample__build.yml",
            Tree::Go,
            "build_test_and_run.run_unit_test passed
             build_test_and_run.run_unit_test | PASS: TestGreeting
             build_test_and_run.go_build passed
             build_test_and_run.Build_And_Push_Docker_Registry passed",
        )
        .give(
            "pipeline.stages.build_test_and_run.spec.execution.steps.Build_And_Push_Docker_Registry.spec.repo",
            "ada/sample",
        )
        .pushes(&["ada/sample:latest"]),
        harness("tuffacton__plugin-artifact-register__build.yml", Tree::Image, "Build.Build_and_Push passed")
            .pushes(&["ldhertert/harness-buildpacks:latest"]),
        harness(
            "wings-software__harness-cie-lab__harness_CIE_Pipeline_ONLY.yml",
            Tree::Java,
            "Build.Build passed
             Build.Build | BUILD SUCCESS",
        ),
        harness(
            "wings-software__harness-cie-lab__harness_paymentservice.yml",
            Tree::Java,
            "Build.runTestWithTestIntelligence passed
             Build.runTestWithTestIntelligence | Tests run: 1
             Build.Build passed
             Build.Build | BUILD SUCCESS
             Build.pushToDockerHub passed",
        )
        .pushes(&["nikpap/payment-service:csouza-harness-latest"]),
        harness(
            "drone-runners__drone-runner-kube__harness.yml",
            Tree::Go,
            "testing.Run_Tests passed
             testing.Run_Tests | ok  \texample.org/hello
             Pull_and_Push.Build_Linux_binary passed
             Pull_and_Push.Plugin_1 skipped
             Pull_and_Push.Linux_AMD64 passed",
        )
        .only(&["testing", "Pull_and_Push"])
        .secrets(&["Plugins_Docker_Hub_Pat"])
        .pushes(&["drone/drone-runner-kube:linux-amd64"]),
    ]
}
