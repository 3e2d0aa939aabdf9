//! Files of Harness.

use crate::case::{Case, harness};
use crate::tree::Tree;

/// Why stages do not run.
const DEPLOYS: &str = "its other stage deploys";
const ARM: &str = "its other stage builds for Arm64";

/// Returns the cases.
pub fn cases() -> Vec<Case> {
    [whole(), java(), parts(), docker_plugins()].concat()
}

/// Those that run with all their stages.
fn whole() -> Vec<Case> {
    vec![
        harness(
            "drone-runners__drone-runner-aws__drone-runner-aws-1682518363044.yml",
            Tree::Image,
            "Build.Echo_Welcome_Message passed
             Build.Echo_Welcome_Message | Welcome to Harness CI",
        )
        .only_prints(),
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
    ]
}

/// Those that build one Java project.
fn java() -> Vec<Case> {
    let built = "Build.Build passed
                 Build.Build | BUILD SUCCESS";
    let tested = "Build.runTestWithTestIntelligence passed
                  Build.runTestWithTestIntelligence | Tests run: 1
                  Build.Build passed
                  Build.Build | BUILD SUCCESS
                  Build.pushToDockerHub passed";
    vec![
        harness("wings-software__harness-cie-lab__harness_CIE_Pipeline_ONLY.yml", Tree::Java, built),
        harness("wings-software__harness-cie-lab__CIE_Pipeline_ONLY.yml", Tree::Java, built)
            .give("pipeline.variables.seusername", "ada")
            .only(&["Build"], DEPLOYS),
        harness("wings-software__harness-cie-lab__harness_paymentservice.yml", Tree::Java, tested)
            .pushes(&["nikpap/payment-service:csouza-harness-latest"]),
        harness("wings-software__harness-cie-lab__paymentservice.yml", Tree::Java, tested)
            .give("pipeline.variables.seusername", "ada")
            .only(&["Build"], DEPLOYS)
            .pushes(&["nikpap/payment-service:csouza-harness-latest"]),
        harness(
            "wings-software__harness-cie-lab__harnesscielab.yml",
            Tree::Java,
            "Build.runTestsWithIntelligence passed
             Build.runTestsWithIntelligence | Tests run: 1
             Build.Build passed
             Build.Build | BUILD SUCCESS
             Build.pushToDockerHub passed",
        )
        .give("pipeline.variables.seusername", "ada")
        .only(&["Build"], DEPLOYS)
        .pushes(&["nikpap/payment-service:atomicmarshy-latest"]),
    ]
}

/// Those of which some stages run.
fn parts() -> Vec<Case> {
    vec![
        harness(
            "wings-software__harness-cie-lab__Cibuildpod.yml",
            Tree::Image,
            "buildpod.test passed
             buildpod.test | 8e0c1b1f9d1f4f0b8a6f6c0a5d0e9c3b2a1f0e9d",
        )
        .only(&["buildpod"], DEPLOYS)
        .only_prints(),
        harness(
            "drone-runners__drone-runner-kube__harness.yml",
            Tree::Go,
            "testing.Run_Tests passed
             testing.Run_Tests | ok  \texample.org/hello
             Pull_and_Push.Build_Linux_binary passed
             Pull_and_Push.Plugin_1 skipped
             Pull_and_Push.Linux_AMD64 passed
             security_scan.Manifest passed
             security_scan.Manifest | Login Succeeded",
        )
        .only(&["testing", "Pull_and_Push", "security_scan"], ARM)
        .secrets(&["Plugins_Docker_Hub_Pat"])
        .file("docker/manifest.tmpl", "image: drone/drone-runner-kube:latest\nmanifests:\n  - image: drone/drone-runner-kube:linux-amd64\n  - image: drone/drone-runner-kube:linux-arm64\n")
        .pushes(&["drone/drone-runner-kube:linux-amd64", "drone/drone-runner-kube:latest"]),
        harness(
            "drone-runners__drone-runner-aws__harness.yml",
            Tree::Go,
            "Linux_AMD64.Run_1 passed
             Linux_AMD64.publish_to_docker skipped
             Linux_AMD64.BuildAndPushDockerRegistry_1 passed
             Manifest_and_Release.manifest passed
             Manifest_and_Release.manifest | Login Succeeded
             Manifest_and_Release.Run_1 skipped
             Manifest_and_Release.Release skipped",
        )
        .only(
            &["Linux_AMD64", "Manifest_and_Release"],
            "of its other stages one builds for Arm64, and one calls golangci-lint, which is no package of the distribution",
        )
        .secrets(&["Drone_Docker_Hub_PAT", "ci_job_github_pat"])
        .file("docker/Dockerfile.linux.amd64", "FROM alpine:3\nCOPY release/linux/amd64/drone-runner-aws-linux-amd64 /bin/hello\nRUN /bin/hello\n")
        .file("docker/manifest.tmpl", "image: drone/drone-runner-aws:latest\nmanifests:\n  - image: drone/drone-runner-aws:linux-amd64\n  - image: drone/drone-runner-aws:linux-arm64\n")
        .pushes(&["drone/drone-runner-aws:linux-amd64", "drone/drone-runner-aws:latest"]),
        harness(
            "harness__lite-engine__harness.yml",
            Tree::GoServer,
            "linuxamd64.Build passed
             linuxamd64.ServerStep passed
             linuxamd64.Client passed
             linuxamd64.Client | hello from the server",
        )
        .only(
            &["linuxamd64"],
            "its other stages are for Arm64 and Windows, call golangci-lint, which is no package of the distribution, or are made of a \
             template that is not in the repository",
        ),
    ]
}

/// The two of one repository, whose steps run once for each kind of registry.
fn docker_plugins() -> Vec<Case> {
    let run = |file| {
        harness(
            file,
            Tree::GoPrograms,
            "Test.Run_1 passed
             Test.Run_2 passed
             Test.Run_2 | ok  \texample.org/hello
             linamd64.Build_Push_0 passed
             linamd64.Build_Push_1 passed
             linamd64.Build_Push_2 passed
             linamd64.Build_Push_3 passed
             linamd64.Build_Push_4 passed
             linamd64.Build_Push_5 passed
             linamd64.push_docker_base_amd64 passed
             linamd64.Docker_Build_and_Push_0 skipped
             linamd64.Docker_Build_and_Push_1 skipped
             linamd64.Docker_Build_and_Push_2 skipped
             linamd64.Docker_Build_and_Push_3 skipped
             linamd64.Docker_Build_and_Push_4 skipped
             linamd64.Docker_Build_and_Push_5 skipped
             linamd64.BuildAndPushDockerRegistry_1_0 passed
             linamd64.BuildAndPushDockerRegistry_1_1 passed
             linamd64.BuildAndPushDockerRegistry_1_2 passed
             linamd64.BuildAndPushDockerRegistry_1_3 passed
             linamd64.BuildAndPushDockerRegistry_1_4 passed",
        )
        .only(
            &["Test", "linamd64"],
            "its other stages are for Arm64 and Windows, clone a second repository through a connector, or join what all have built",
        )
        .secrets(&["Plugins_Docker_Hub_Pat"])
        .pushes(&["plugins/docker:linux-amd64", "plugins/gcr:linux-amd64", "plugins/acr:linux-amd64"])
    };
    vec![run("drone-plugins__drone-docker__harness.yml"), run("drone-plugins__drone-docker__harness__b7ef37f.yml")]
}
