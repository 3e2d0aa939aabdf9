//! The images that the files ask for, under their names: real tools of the distribution, in a few layers.
//!
//! A plugin is the distribution's program with a script before it that reads the plugin's settings.

use kiln_engine_rig::layers::{Layer, layer};
use kiln_engine_rig::registry::Image;

/// What an image has over `base`, and how it starts.
#[derive(Clone, Copy)]
enum Kind {
    /// Nothing but `base`.
    Base,
    Go,
    C,
    Java,
    Docker,
    Dind,
    DockerPlugin,
    ManifestPlugin,
    SlackPlugin,
    CodecovPlugin,
    Dapper,
    Redis,
    Postgres,
    Recorder,
}

/// All names, by what they have.
const NAMES: &[(Kind, &[&str])] = &[
    (
        Kind::Base,
        &[
            "alpine",
            "alpine:3",
            "busybox",
            "ubuntu",
            "ubuntu:18.04",
            "ubuntu:22.04",
            "alpine/git",
            "curlimages/curl:7.73.0",
        ],
    ),
    (
        Kind::Go,
        &[
            "golang",
            "golang:1.10",
            "golang:1.12",
            "golang:1.15",
            "golang:1.16",
            "golang:1.18",
            "golang:1.19",
            "golang:1.23.0",
            "golang:1.26.5",
        ],
    ),
    (Kind::C, &["grafana/ci-build-windows"]),
    (Kind::Java, &["nikpap/mvn-openjdk-8:harness", "maven:3.9.9-amazoncorretto-17-al2023", "gradle:jdk10"]),
    (Kind::Docker, &["docker"]),
    (Kind::Dind, &["docker:dind"]),
    (Kind::DockerPlugin, &["plugins/docker", "plugins/docker:18", "plugins/docker:20.13"]),
    (Kind::ManifestPlugin, &["plugins/manifest", "plugins/manifest:1", "plugins/manifest:1.0.2"]),
    (Kind::SlackPlugin, &["plugins/slack"]),
    (Kind::CodecovPlugin, &["robertstettner/drone-codecov"]),
    (
        Kind::Dapper,
        &[
            "rancher/dapper:v0.4.1",
            "rancher/dapper:v0.5.0",
            "rancher/dapper:v0.5.3",
            "rancher/dapper:v0.5.6",
            "rancher/dapper:v0.5.7",
            "rancher/dapper:v0.5.8",
            "rancher/dapper:v0.6.0",
            "rancher/dapper:1.11.2",
        ],
    ),
    (Kind::Redis, &["redis"]),
    (Kind::Postgres, &["postgres", "postgres:9.5"]),
    (Kind::Recorder, &[RECORDER]),
];

/// The image of what answers in the place of services that files send to.
pub const RECORDER: &str = "tests/recorder";

/// Returns all images.
///
/// # Errors
/// When their layers cannot be made.
pub fn all() -> Result<Vec<Image>, String> {
    let base = layer("base")?;
    let mut images = Vec::new();
    for (kind, names) in NAMES {
        let over = kind.layers().iter().map(|name| layer(name)).collect::<Result<Vec<_>, _>>()?;
        let layers: Vec<Layer> = [vec![base.clone()], over].concat();
        images.extend(names.iter().map(|name| kind.finish(Image::new(name, &layers))));
    }
    Ok(images)
}

impl Kind {
    fn layers(self) -> &'static [&'static str] {
        match self {
            Self::Base | Self::SlackPlugin | Self::CodecovPlugin => &[],
            Self::Go => &["go"],
            Self::C => &["c"],
            Self::Java => &["java"],
            Self::Docker | Self::Dind | Self::DockerPlugin | Self::ManifestPlugin | Self::Dapper => &["docker"],
            Self::Redis | Self::Postgres => &["data"],
            Self::Recorder => &["python"],
        }
    }

    fn finish(self, image: Image) -> Image {
        let plugin =
            |image: Image, script| image.file("/usr/local/bin/plugin", script).entrypoint(&["/usr/local/bin/plugin"]);
        match self {
            Self::Base | Self::Docker => image,
            Self::C => image,
            Self::Go => image.env("GOPATH", "/go").env("GOFLAGS", "-mod=mod").env("GOPROXY", "off"),
            // The distribution's packages of Maven have a repository of their own, and settings that lead there.
            Self::Java => image
                .file("/root/.m2/settings.xml", MAVEN)
                .file("/root/.gradle/gradle.properties", "org.gradle.daemon=false\n"),
            Self::Dind => image
                .file("/usr/local/bin/dockerd-entrypoint.sh", include_str!("scripts/dind.sh"))
                .volume("/var/lib/docker")
                .entrypoint(&["dockerd-entrypoint.sh"]),
            Self::DockerPlugin => plugin(image, include_str!("scripts/plugin-docker.sh")).volume("/var/lib/docker"),
            Self::ManifestPlugin => plugin(image, include_str!("scripts/plugin-manifest.sh")),
            Self::SlackPlugin => plugin(image, include_str!("scripts/plugin-slack.sh")),
            Self::CodecovPlugin => plugin(image, include_str!("scripts/plugin-codecov.sh")),
            Self::Dapper => {
                image.file("/usr/local/bin/dapper", include_str!("scripts/dapper.sh")).entrypoint(&["dapper"])
            }
            Self::Redis => image.entrypoint(&["redis-server", "--protected-mode", "no", "--save", ""]),
            Self::Postgres => image
                .file("/usr/local/bin/serve-postgres", include_str!("scripts/postgres.sh"))
                .entrypoint(&["serve-postgres"]),
            Self::Recorder => image.file("/recorder.py", include_str!("scripts/recorder.py")),
        }
    }
}

const MAVEN: &str =
    "<settings><localRepository>/usr/share/maven-repo</localRepository><offline>true</offline></settings>\n";
