//! Small source trees, one for each language, in a git repository that the runs make.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A source tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// A Go module with a test, images and manifests, and what `dapper` builds it by.
    Go,
    /// The same, with several programs in `cmd` and an image for each.
    GoPrograms,
    /// The same, whose program is a server and its client.
    GoServer,
    /// The same, with a test that talks to a Redis.
    GoWithRedis,
    /// What tests unpack at the root first.
    GoWithFixtures,
    /// A program in C, built by CMake.
    C,
    /// A Java library in the folder `payment-service`, built by Maven, and one at the top.
    Java,
    /// A Java library, built by Gradle.
    Gradle,
    /// A package for Node.js without dependencies.
    Node,
    /// An image with nothing to build.
    Image,
}

impl Tree {
    /// Writes the tree and some more files into a folder, as the one commit of a repository whose remote is itself.
    pub fn write(self, folder: &Path, more: &[(&str, &str)]) -> Result<()> {
        match self {
            Self::Go => go(folder, GO_TEST)?,
            Self::GoPrograms => programs(folder)?,
            Self::GoServer => {
                go(folder, SERVER_TEST)?;
                write(folder, &[("main.go", SERVER)])?;
            }
            Self::GoWithRedis => go(folder, REDIS_TEST)?,
            Self::GoWithFixtures => fixtures(folder)?,
            Self::C => write(folder, &[("CMakeLists.txt", CMAKE), ("main.c", "int main(void) { return 0; }\n")])?,
            Self::Java => {
                for at in ["", "payment-service/"] {
                    write(folder, &java(at).iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>())?;
                }
            }
            Self::Gradle => {
                write(folder, &[("build.gradle", "apply plugin: 'java'\n"), ("src/main/java/Hello.java", HELLO_JAVA)])?
            }
            Self::Node => write(
                folder,
                &[
                    ("package.json", PACKAGE),
                    ("build.js", "console.log('built by node ' + process.version)\n"),
                    ("Dockerfile", IMAGE),
                ],
            )?,
            Self::Image => write(folder, &[("Dockerfile", IMAGE)])?,
        }
        write(folder, more)?;
        commit(folder)
    }
}

/// The commit's message and author.
pub const AUTHOR: &str = "Ada";

fn write(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn commit(folder: &Path) -> Result<()> {
    let git = |arguments: &[&str]| -> Result<()> {
        let named = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"];
        let output = Command::new("git").args(named).args(arguments).current_dir(folder).output()?;
        ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    git(&["init", "--quiet"])?;
    git(&["add", "--all", "--force"])?;
    git(&["commit", "--quiet", "--message", "A tree"])?;
    git(&["tag", "v1.2.3"])?;
    git(&["remote", "add", "origin", "."])
}

fn go(folder: &Path, test: &str) -> Result<()> {
    write(
        folder,
        &[
            ("go.mod", "module example.org/hello\n\ngo 1.19\n"),
            (
                "main.go",
                "package main\n\nimport \"fmt\"\n\nfunc greeting() string { return \"hello\" }\n\nfunc main() { fmt.Println(greeting()) }\n",
            ),
            ("main_test.go", test),
            ("scripts/build.sh", "#!/bin/sh\nset -e\nCGO_ENABLED=0 go build -o release/hello .\nrelease/hello\n"),
            ("Dockerfile", IMAGE),
            ("docker/Dockerfile.linux.amd64", BUILT),
            ("docker/Dockerfile.linux.arm", BUILT),
            ("docker/Dockerfile.linux.arm64", BUILT),
            ("package/Dockerfile", IMAGE),
            ("Dockerfile.dapper", DAPPER),
            ("scripts/entry", "#!/bin/sh\nset -e\nexec ./scripts/\"$1\"\n"),
            (
                "scripts/ci",
                "#!/bin/sh\nset -e\ngo vet ./...\ngo test -coverprofile coverage.out ./...\nmkdir -p bin\ngo build -o bin/hello .\nbin/hello\n",
            ),
        ],
    )
}

/// A module with a program for each kind of registry.
fn programs(folder: &Path) -> Result<()> {
    go(folder, GO_TEST)?;
    for name in ["docker", "gcr", "gar", "ecr", "heroku", "acr"] {
        let image =
            format!("FROM alpine:3\nCOPY release/linux/amd64/drone-{name} /bin/\nENTRYPOINT [\"/bin/drone-{name}\"]\n");
        let main = format!("package main\n\nimport \"fmt\"\n\nfunc main() {{ fmt.Println(\"pushes to {name}\") }}\n");
        let (of_main, of_image) =
            (format!("cmd/drone-{name}/main.go"), format!("docker/{name}/Dockerfile.linux.amd64"));
        write(folder, &[(&of_main, &main), (&of_image, &image)])?;
    }
    Ok(())
}

/// A module of its own in `posix`, whose test reads what was unpacked at the root.
fn fixtures(folder: &Path) -> Result<()> {
    go(folder, GO_TEST)?;
    let image = ("docker/Dockerfile.linux.amd64", "FROM alpine:3\nCOPY posix/ /posix/\n");
    write(folder, &[("posix/fixture_test.go", FIXTURE_TEST), image])?;
    let mut tar = tar::Builder::new(std::fs::File::create(folder.join("posix/fixtures.tar"))?);
    let mut header = tar::Header::new_gnu();
    let text = b"from the fixture\n";
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "tmp/fixtures/greeting", text.as_slice())?;
    tar.finish()?;
    Ok(())
}

fn java(at: &str) -> [(String, &'static str); 4] {
    [
        (format!("{at}pom.xml"), POM),
        (format!("{at}src/main/java/Hello.java"), HELLO_JAVA),
        (format!("{at}src/test/java/HelloTest.java"), HELLO_TEST_JAVA),
        (format!("{at}Dockerfile"), IMAGE),
    ]
}

const GO_TEST: &str = "package main\n\nimport \"testing\"\n\nfunc TestGreeting(t *testing.T) {\n\tif greeting() != \"hello\" {\n\t\tt.Fatal(greeting())\n\t}\n}\n";
const REDIS_TEST: &str = include_str!("trees/redis_test.go.txt");
const SERVER: &str = include_str!("trees/server.go.txt");
const SERVER_TEST: &str = "package main\n\nimport \"testing\"\n\nfunc TestSetting(t *testing.T) {\n\tif setting(\"A=b\\n\", \"A\") != \"b\" {\n\t\tt.Fatal()\n\t}\n}\n";
const FIXTURE_TEST: &str = include_str!("trees/fixture_test.go.txt");
const IMAGE: &str = "FROM busybox\nCOPY . /sources\nRUN ls /sources >/list\n";
const BUILT: &str = "FROM alpine:3\nCOPY release/ /release/\nCMD [\"/release/hello\"]\n";
const DAPPER: &str = "FROM golang:1.19\nENV DAPPER_SOURCE /source\nENV DAPPER_OUTPUT=\"bin coverage.out\"\nENV DAPPER_ENV ARCH\nWORKDIR /source\nENTRYPOINT [\"./scripts/entry\"]\nCMD [\"ci\"]\n";
const CMAKE: &str = "cmake_minimum_required(VERSION 3.10)\nproject(hello C)\nadd_executable(hello main.c)\n";
const PACKAGE: &str =
    "{\"name\": \"hello\", \"version\": \"1.0.0\", \"private\": true, \"scripts\": {\"build\": \"node build.js\"}}\n";
const HELLO_JAVA: &str = "public class Hello {\n    public static String greeting() { return \"hello\"; }\n}\n";
const HELLO_TEST_JAVA: &str = include_str!("trees/HelloTest.java.txt");
const POM: &str = include_str!("trees/pom.xml");
