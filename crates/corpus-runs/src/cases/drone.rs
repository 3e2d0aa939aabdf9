//! Files of Drone.

use crate::case::{Case, drone};
use crate::tree::Tree;

/// Why stages do not run.
const ELSEWHERE: &str = "its other stages build for other processors or systems, or join what all of them have built";

/// What a list of images is made from.
const KUBE: &str =
    "image: drone/drone-runner-kube:latest\nmanifests:\n  - image: drone/drone-runner-kube:linux-amd64\n";

/// Returns the cases.
pub fn cases() -> Vec<Case> {
    [plain(), go(), images(), messages(), dapper()].concat()
}

fn plain() -> Vec<Case> {
    vec![
        drone(
            "HYY-yu__seckill.shop.yml",
            Tree::Image,
            "en.greeting passed
             en.greeting | hello world
             fr.greeting passed
             fr.greeting | bonjour monde",
        )
        .only_prints(),
        drone(
            "Hub-OS__Hub-OS.yml",
            Tree::C,
            "progsman-build.compile passed
             progsman-build.compile | The C compiler identification is GNU
             progsman-build.compile | Build files have been written to",
        ),
        drone(
            "drone__go-convert__variable_2.yml",
            Tree::Image,
            "default.example passed
             default.example | this is the commit sha 8e0c1b1f
             default.example | this is the removing 2 character off branch ma",
        )
        .only_prints(),
        drone(
            "drone__go-convert__variable_3.yml",
            Tree::Image,
            "default.example passed
             default.example | feature_x",
        )
        .fact("branch", "feature.x")
        .only_prints(),
        drone(
            "drone__go-convert__workspace.yml",
            Tree::Image,
            "default.workspace passed
             default.workspace | Dockerfile",
        )
        .only_prints(),
        drone(
            "drone__go-convert__gradle.yml",
            Tree::Gradle,
            "default.test passed
             default.test | BUILD SUCCESSFUL",
        ),
    ]
}

fn go() -> Vec<Case> {
    vec![
        drone(
            "drone__go-convert.yml",
            Tree::Go,
            "default.test passed
             default.test | coverage:
             default.test | total:
             default.build passed",
        ),
        drone(
            "drone-runners__drone-runner-macstadium.yml",
            Tree::Go,
            "linux.test passed
             linux.test | ok  \texample.org/hello
             linux.publish passed",
        )
        .secrets(&["docker_username", "docker_password"])
        .pushes(&["drone/drone-runner-macstadium:latest"]),
        drone(
            "drone-runners__drone-runner-kube__5311c7b.yml",
            Tree::Go,
            "linux.test passed
             linux.test | ok  \texample.org/hello
             linux.publish passed
             linux.publish_arm passed
             linux.publish_arm64 passed
             linux.manifest passed",
        )
        .secrets(&["docker_username", "docker_password"])
        .file("docker/manifest.tmpl", KUBE)
        .pushes(&["drone/drone-runner-kube:linux-amd64", "drone/drone-runner-kube:latest"]),
        drone(
            "drone-runners__drone-runner-kube.yml",
            Tree::Go,
            "testing.test passed
             testing.test | ok  \texample.org/hello
             linux-amd64.build passed
             linux-amd64.build | hello
             linux-amd64.publish passed",
        )
        .only(&["testing", "linux-amd64"], ELSEWHERE)
        .secrets(&["docker_username", "docker_password"])
        .pushes(&["drone/drone-runner-kube:linux-amd64"]),
        drone(
            "drone-runners__drone-runner-kube__e4df3dc.yml",
            Tree::Go,
            "testing.test passed
             testing.test | ok  \texample.org/hello
             linux-amd64 skipped
             linux-arm64 skipped
             manifest skipped",
        )
        .secrets(&["config_json"]),
    ]
    .into_iter()
    .chain(fixtures())
    .collect()
}

/// The five of one repository.
fn fixtures() -> Vec<Case> {
    let files = [
        "drone__drone-git.yml",
        "drone__drone-git__106226f.yml",
        "drone__drone-git__1c59599.yml",
        "drone__drone-git__8e94744.yml",
    ];
    let run = |file| {
        drone(
            file,
            Tree::GoWithFixtures,
            "linux-amd64.build passed
             linux-amd64.build | --- PASS: TestFixture
             linux-amd64.publish passed",
        )
    };
    let last = drone(
        "drone__drone-git__8f0278c.yml",
        Tree::GoWithFixtures,
        "linux-amd64.test passed
         linux-amd64.test | --- PASS: TestFixture
         linux-amd64.push passed",
    );
    let all = files.into_iter().map(run).chain([last]);
    all.map(|case| {
        case.only(&["linux-amd64"], ELSEWHERE)
            .secrets(&["docker_username", "docker_password"])
            .pushes(&["drone/git:linux-amd64"])
    })
    .collect()
}

fn images() -> Vec<Case> {
    vec![
        drone(
            "IronCore864__drone-helm3-s3.yml",
            Tree::Image,
            "default.docker passed
             default.docker | Login Succeeded",
        )
        .secrets(&["docker_username", "docker_password"])
        .pushes(&["ironcore864/drone-helm3-s3:latest"]),
        drone("drone__go-convert__org-secret.yml", Tree::Image, "default.docker passed")
            .secrets(&["FIRST_ORG_SECRET", "private_key"])
            .pushes(&["foo/bar:latest", "foo/bar:main"]),
        drone(
            "coen17st__prd-node-red.yml",
            Tree::Image,
            "default.publish passed
             default.build passed
             default.build | Login Succeeded",
        )
        .secrets(&["docker-registry-username", "docker-registry-password"])
        .pushes(&["docker-registry.theautomation.nl/coen/prd-node-red:latest"]),
        drone(
            "andreipoe__buildpack-cpp.yml",
            Tree::Image,
            "build-amd64.build passed
             build-amd64.build | Login Succeeded",
        )
        .only(&["build-amd64"], ELSEWHERE)
        .secrets(&["docker_token"])
        .pushes(&["andreipoe/buildpack-cpp:20.04-amd64", "andreipoe/buildpack-cpp:latest-amd64"]),
        drone(
            "drone__go-convert__docker.yml",
            Tree::Image,
            "default.test passed
             default.test | CONTAINER ID",
        ),
        drone(
            "drone__go-convert__docker_dind.yml",
            Tree::Image,
            "default.docker passed
             default.test passed
             default.test | CONTAINER ID",
        ),
    ]
}

fn messages() -> Vec<Case> {
    vec![
        drone("drone__go-convert__slack.yml", Tree::Image, "default.slack passed")
            .secret("MY-SLACK-WEBHOOK", "https://hooks.slack.com/services/T0/B0/hush")
            .sends("POST hooks.slack.com/services/T0/B0/hush"),
        drone(
            "drone__go-convert__test.yml",
            Tree::GoWithRedis,
            "test-name.redis passed
             test-name.test-step-1 passed
             test-name.test-step-1 | PASS
             test-name.test-plugin-1 passed",
        )
        .fact("branch", "main")
        .secret("test-slack-token", "hush-hush")
        .sends("\"channel\": \"test-channel\""),
        drone(
            "drone__go-convert__service.yml",
            Tree::GoWithRedis,
            "test-name.redis passed
             test-name.test-step-1 passed
             test-name.test-step-1 | PASS
             test-name.test-plugin-1 passed",
        )
        .fact("branch", "main")
        .secret("SECOND_ORG_SECRET", "hush-hush")
        .secret("test-slack-token", "hush-hush")
        .sends("POST slack.com/api/chat.postMessage"),
        drone(
            "drone__go-convert__variable.yml",
            Tree::Image,
            "default.example passed
             default.example | this is build number 7
             default.example | commit author is Ada
             default.publish passed
             default.notify failed
             default.notify | neither a webhook nor a token is given",
        )
        .pushes(&["gcr.io/example/repo:1.0.7"]),
        drone(
            "drone__go-convert__variable_1.yml",
            Tree::Image,
            "default.example passed
             default.example | branch is master
             default.publish passed
             default.notify failed
             default.notify | neither a webhook nor a token is given
             default.envinfo skipped",
        )
        .secret("THE_ORG_SECRET", "hush-hush")
        .pushes(&["gcr.io/example/repo:1.0.7"]),
    ]
}

/// Those of Rancher and its like: `dapper` builds an image with the sources and runs a script in it.
fn dapper() -> Vec<Case> {
    vec![
        drone(
            "longhorn__backupstore.yml",
            Tree::Go,
            "default.fetch passed
             default.build passed
             default.build | ok  \texample.org/hello",
        ),
        drone(
            "rancher__gitwatcher.yml",
            Tree::Go,
            "amd64.build passed
             amd64.build | ok  \texample.org/hello
             amd64.docker-publish skipped",
        )
        .only(&["amd64"], ELSEWHERE)
        .secrets(&["docker_username", "docker_password"]),
        drone(
            "rancher__k3os.yml",
            Tree::Go,
            "amd64.build passed
             amd64.build | ok  \texample.org/hello
             amd64.github_binary_release skipped
             amd64.docker-publish skipped",
        )
        .only(&["amd64"], ELSEWHERE)
        .secrets(&["docker_username", "docker_password", "github_token"]),
        drone(
            "k3s-io__kine.yml",
            Tree::Go,
            "amd64.build passed
             amd64.build | ok  \texample.org/hello
             amd64.github_binary_release skipped
             amd64.docker-publish skipped
             amd64.test-image skipped
             amd64.test-sqlite skipped
             amd64.test-mysql skipped
             amd64.test-postgres skipped
             amd64.test-cockroachdb skipped
             amd64.test-schema-migration skipped
             amd64.test-nats skipped
             amd64.test-libsql skipped",
        )
        .only(&["amd64"], ELSEWHERE)
        .secrets(&["docker_username", "docker_password", "github_token"]),
        drone(
            "rancher__fleet.yml",
            Tree::Go,
            "linux-amd64.build passed
             linux-amd64.build | ok  \texample.org/hello
             linux-amd64.fossa skipped
             linux-amd64.github_binary_release skipped
             linux-amd64.upload-tag skipped
             linux-amd64.upload-latest skipped
             linux-amd64.docker-publish-agent skipped
             linux-amd64.docker-publish skipped",
        )
        .only(&["linux-amd64"], ELSEWHERE)
        .secrets(&[
            "docker_username",
            "docker_password",
            "github_token",
            "FOSSA_API_KEY",
            "fossa_api_key",
            "google_auth_key",
        ]),
        longhorn("longhorn__longhorn-manager.yml", true),
        longhorn("longhorn__longhorn-manager__f3966db.yml", true),
        longhorn("longhorn__longhorn-manager__c7c9565.yml", false),
    ]
}

fn longhorn(file: &'static str, reports: bool) -> Case {
    let case = drone(
        file,
        Tree::Go,
        if reports {
            "default-amd64.fetch passed
             default-amd64.build passed
             default-amd64.build | ok  \texample.org/hello
             default-amd64.codecov passed
             default-amd64.fossa skipped
             default-amd64.publish-image passed
             default-amd64.publish-tagged-image skipped
             default-amd64.slack_notify skipped"
        } else {
            "default-amd64.fetch passed
             default-amd64.build passed
             default-amd64.build | ok  \texample.org/hello
             default-amd64.publish-image passed
             default-amd64.publish-tagged-image skipped
             default-amd64.slack_notify skipped"
        },
    );
    let case = if reports { case.sends("POST codecov.io/upload/v4") } else { case };
    case.only(&["default-amd64"], ELSEWHERE).secrets(&[
        "docker_username",
        "docker_password",
        "slack_webhook",
        "codecov_token",
        "FOSSA_API_KEY",
    ])
}
