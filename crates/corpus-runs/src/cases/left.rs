//! Files that do not count, and why.

use crate::case::Left;

/// Why a file does not count, with the files.
const LEFT: &[(&str, &str, &[&str])] = &[
    (
        "harness",
        "it has no stage of type CI: it deploys, or runs on the platform itself",
        &[
            "DigiGoon__riceDroid-Builder__.drone.yml",
            "harness-automation__PipelinesNgAutomation__ParentPipeline1.yml",
            "harness-automation__PipelinesNgAutomation__PipelineA.yml",
            "harness-automation__PipelinesNgAutomation__Repo2mainCDpipe.yml",
            "harness-automation__PipelinesNgAutomation__Repo2test2CDpipe2.yml",
            "harness-automation__PipelinesNgAutomation__RishiRemotetest.yml",
            "harness-automation__PipelinesNgAutomation__pipeline.yml",
            "harness-automation__PipelinesNgAutomation__pipelineTarun.yml",
            "harness-automation__PipelinesNgAutomation__pipelinnetarurs.yml",
            "harness-automation__PipelinesNgAutomation__sample.yml",
            "harness-automation__PipelinesNgAutomation__samplseer.yml",
            "harness-automation__PipelinesNgAutomation__sedrfvs.yml",
            "harness-automation__PipelinesNgAutomation__test4.yml",
            "harness-automation__PipelinesNgAutomation__test4_bb.yml",
            "harness-automation__PipelinesNgAutomation__validate_ticket.yml",
            "wings-software__harness-cie-lab__CD_Pipeline_ONLY.yml",
            "wings-software__harness-cie-lab__Circle_Helm_Sandbox.yml",
            "wings-software__harness-cie-lab__GitExpTest.yml",
            "wings-software__harness-cie-lab__pipelineStoredInGit.yml",
            "wings-software__harness-cie-lab__pipelines_CD_Pipeline_ONLY.yml",
            "wings-software__harness-cie-lab__testBBTrigger.yml",
            "wings-software__harness-cie-lab__testPipeline.yml",
            "wings-software__harness-cie-lab__testPipeline2.yml",
            "wings-software__harness-cie-lab__testPushToGit.yml",
        ],
    ),
    (
        "harness",
        "stages that deploy are among its stages, and Kiln refuses the file for them",
        &[
            "wings-software__harness-cie-lab__CIE_Pipeline_ONLY.yml",
            "wings-software__harness-cie-lab__Cibuildpod.yml",
            "wings-software__harness-cie-lab__harnesscielab.yml",
            "wings-software__harness-cie-lab__paymentservice.yml",
            "wings-software__harness-cie-lab__springboot-app-demo.yml",
        ],
    ),
    (
        "harness",
        "golangci-lint is no package of the distribution",
        &["drone-runners__drone-runner-aws__harness.yml", "harness__lite-engine__harness.yml"],
    ),
    ("harness", "`go get` of a module needs the network", &["foxutech__harness-goHelloWorldServer__pipeline.yml"]),
    (
        "harness",
        "its stages build for Windows too, and clone through connectors",
        &["drone-plugins__drone-docker__harness.yml", "drone-plugins__drone-docker__harness__b7ef37f.yml"],
    ),
    ("harness", "its platform is Arm64", &["jimsheldon-sandbox__drone-testing__ci.yml"]),
    ("harness", "ko and cosign are no packages of the distribution", &["kameshsampath__go-hello-world__build.yml"]),
    ("harness", "its platform is macOS", &["mansong1__mastodon-ios__ci.yml"]),
    ("harness", "it runs an action of GitHub", &["splitio__javascript-commons__ci.yml"]),
    ("drone", "Flutter is no package of the distribution", &["0x1a8510f2__syphon.yml"]),
    (
        "drone",
        "it builds for several architectures with docker buildx, which is no package of the distribution",
        &["0xJacky__drone-bark.yml", "DmitryRomanov__rusty-zenith.yml", "grafana__beyla.yml"],
    ),
    ("drone", "Drone refuses it: text in the place of a list of commands", &["4nte__mqtt-mirror.yml"]),
    ("drone", "Spark is no package of the distribution", &["DayMarket__ml-feature-platform.yml"]),
    ("drone", "it deploys to hosts over SSH", &["Diesel-Net__traefik.yml"]),
    ("drone", "rustup is no package of the distribution", &["breadrock1__doc-searcher.yml"]),
    ("drone", "apk is no package of the distribution", &["grafana__cortex-tools.yml"]),
    ("drone", "it fetches Helm from the network", &["grafana__tanka.yml"]),
    ("drone", "golangci-lint is no package of the distribution", &["wings-software__dlite.yml"]),
    ("drone", "`go get` of a module needs the network", &["xorm__builder.yml"]),
    ("drone", "SQL Server, TiDB and CockroachDB are no packages of the distribution", &["xorm__xorm.yml"]),
    (
        "drone",
        "its container starts no program: the whole command line is one word",
        &["harness-community__python-pipeline-samples__harness-drone.yml"],
    ),
];

/// Returns all of them.
pub fn files() -> Vec<Left> {
    LEFT.iter().flat_map(|(kind, why, files)| files.iter().map(|file| Left { kind, file, why })).collect()
}
