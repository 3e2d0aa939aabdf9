//! Files that do not count, and why.

use crate::left::{Left, Reason};

/// By kind, reason, and what exactly.
const LEFT: &[(&str, Reason, &str, &[&str])] = &[
    (
        "harness",
        Reason::NoCiStage,
        "",
        &[
            "DigiGoon__riceDroid-Builder__.drone.yml",
            "harness-automation__PipelinesNgAutomation__ParentPipeline1.yml",
            "harness-automation__PipelinesNgAutomation__Repo2mainCDpipe.yml",
            "harness-automation__PipelinesNgAutomation__Repo2test2CDpipe2.yml",
            "harness-automation__PipelinesNgAutomation__RishiRemotetest.yml",
            "harness-automation__PipelinesNgAutomation__pipeline.yml",
            "harness-automation__PipelinesNgAutomation__pipelineTarun.yml",
            "harness-automation__PipelinesNgAutomation__pipelinnetarurs.yml",
            "harness-automation__PipelinesNgAutomation__sample.yml",
            "harness-automation__PipelinesNgAutomation__sedrfvs.yml",
            "harness-automation__PipelinesNgAutomation__validate_ticket.yml",
            "wings-software__harness-cie-lab__CD_Pipeline_ONLY.yml",
            "wings-software__harness-cie-lab__Circle_Helm_Sandbox.yml",
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
        Reason::OnlyATemplate,
        "",
        &[
            "harness-automation__PipelinesNgAutomation__PipelineA.yml",
            "harness-automation__PipelinesNgAutomation__samplseer.yml",
            "harness-automation__PipelinesNgAutomation__test4.yml",
            "harness-automation__PipelinesNgAutomation__test4_bb.yml",
            "wings-software__harness-cie-lab__GitExpTest.yml",
        ],
    ),
    ("harness", Reason::OtherMachine, "Arm64", &["jimsheldon-sandbox__drone-testing__ci.yml"]),
    (
        "harness",
        Reason::OtherMachine,
        "macOS; its other stage is made of a template that is not in its repository",
        &["mansong1__mastodon-ios__ci.yml"],
    ),
    ("harness", Reason::NotPackaged, "ko, cosign", &["kameshsampath__go-hello-world__build.yml"]),
    ("harness", Reason::NeedsNetwork, "`go get` of a module", &["foxutech__harness-goHelloWorldServer__pipeline.yml"]),
    ("harness", Reason::Refused, "Action: it runs an action of GitHub", &["splitio__javascript-commons__ci.yml"]),
    (
        "harness",
        Reason::Refused,
        "Owasp, AquaTrivy: scanners of Harness",
        &["wings-software__harness-cie-lab__springboot-app-demo.yml"],
    ),
    ("drone", Reason::NotPackaged, "Flutter", &["0x1a8510f2__syphon.yml"]),
    (
        "drone",
        Reason::NotPackaged,
        "docker buildx, for several processors",
        &["0xJacky__drone-bark.yml", "DmitryRomanov__rusty-zenith.yml", "grafana__beyla.yml"],
    ),
    ("drone", Reason::NotPackaged, "Spark, dbt", &["DayMarket__ml-feature-platform.yml"]),
    ("drone", Reason::NotPackaged, "rustup", &["breadrock1__doc-searcher.yml"]),
    ("drone", Reason::NotPackaged, "apk", &["grafana__cortex-tools.yml"]),
    ("drone", Reason::NotPackaged, "golangci-lint", &["wings-software__dlite.yml"]),
    ("drone", Reason::NotPackaged, "SQL Server, TiDB, CockroachDB", &["xorm__xorm.yml"]),
    ("drone", Reason::NeedsNetwork, "hosts to deploy to over SSH", &["Diesel-Net__traefik.yml"]),
    ("drone", Reason::NeedsNetwork, "it fetches Helm", &["grafana__tanka.yml"]),
    ("drone", Reason::NeedsNetwork, "`go get` of a module", &["xorm__builder.yml"]),
    ("drone", Reason::Broken, "text in the place of a list of commands", &["4nte__mqtt-mirror.yml"]),
    (
        "drone",
        Reason::Broken,
        "the whole command line is one word, and no program is called that",
        &["harness-community__python-pipeline-samples__harness-drone.yml"],
    ),
];

/// Returns all of them.
pub fn files() -> Vec<Left> {
    let all = LEFT.iter();
    all.flat_map(|(kind, reason, what, files)| files.iter().map(|file| Left { kind, file, reason: *reason, what }))
        .collect()
}
