//! The machine on which files run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kiln_engine_rig::Engine;
use kiln_engine_rig::registry::{Image, OTHERS, Registry};

use crate::case::Case;
use crate::images;
use crate::run::{self, Told};

/// What files push to, beside the registries that their images come from.
const REGISTRIES: &[&str] = &["gcr.io", "docker-registry.theautomation.nl"];
/// What they send to.
const SERVICES: &[&str] = &["slack.com", "hooks.slack.com", "codecov.io"];

/// Starts what answers in the place of other services, and returns where it notes what was sent.
fn record(engine: &Engine, registry: &Registry) -> Result<PathBuf> {
    let folder = engine.folder().join("recorder");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("certificate.pem"), &registry.certificate)?;
    std::fs::write(folder.join("key.pem"), &registry.key)?;
    let volume = format!("{}:/recorder", folder.display());
    engine.docker(&[
        "run",
        "--detach",
        "--network",
        "host",
        "--volume",
        &volume,
        "--name",
        "recorder",
        images::RECORDER,
        "python3",
        "/recorder.py",
        OTHERS,
        "/recorder/certificate.pem",
        "/recorder/key.pem",
        "/recorder/log",
    ]);
    let log = folder.join("log");
    let begun = Instant::now();
    while !log.exists() {
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("what answers for other services does not: {}", engine.docker(&["logs", "recorder"]));
        }
        // What asks shows in the log itself.
        engine
            .inside("curl")
            .args(["--silent", "--output", "/dev/null", "--max-time", "2", &format!("http://{OTHERS}/ready")])
            .status()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(log)
}

/// The machine on which files run: an engine, a registry and what stands for other services.
pub struct Machine {
    engine: Engine,
    _registry: Registry,
    recorder: PathBuf,
    logs: PathBuf,
}

impl Machine {
    /// Starts one whose registry has these images. What files print is written into `logs`.
    pub fn start(images: Vec<Image>, logs: PathBuf) -> Result<Self> {
        let engine = Engine::machine().map_err(anyhow::Error::msg)?;
        let registry = Registry::start(&engine, images, REGISTRIES, SERVICES).map_err(anyhow::Error::msg)?;
        let recorder = record(&engine, &registry)?;
        Ok(Self { engine, _registry: registry, recorder, logs })
    }

    /// Carries a case out, and looks at what was pushed, sent and left behind.
    pub fn carry_out(&self, case: &Case, file: &Path) -> Result<Told> {
        let already = std::fs::read_to_string(&self.recorder).unwrap_or_default().len();
        let ran = self.engine.enter(|| {
            let scratch = tempfile::tempdir().context("a folder for the sources")?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(run::run(case, file, scratch.path()))
        });
        let mut told = ran.map_err(anyhow::Error::msg)??;
        let sent = std::fs::read_to_string(&self.recorder).unwrap_or_default();
        let missing = |part: &&&str| !sent[already..].contains(**part);
        told.differs.extend(case.sent.iter().filter(missing).map(|part| format!("this was not sent: {part}")));
        told.differs.extend(
            case.pushed.iter().filter(|image| !self.is_pushed(image)).map(|image| format!("not pushed: {image}")),
        );
        told.differs.extend(self.left_behind());
        std::fs::write(self.logs.join(format!("{}.log", case.file)), &told.transcript)?;
        Ok(told)
    }

    /// Pulls an image that a file pushed, as anybody would.
    fn is_pushed(&self, image: &str) -> bool {
        let docker = |arguments: &[&str]| {
            self.engine.inside("docker").args(arguments).output().is_ok_and(|output| output.status.success())
        };
        docker(&["pull", "--quiet", image]) && docker(&["rmi", image])
    }

    /// Returns the containers, networks and volumes that a file left behind, and removes them.
    fn left_behind(&self) -> Vec<String> {
        let usual = ["recorder", "bridge", "host", "none"];
        let lists: [(&str, &[&str], &[&str]); 3] = [
            ("container", &["ps", "--all", "--format", "{{.Names}}"], &["rm", "--force", "--volumes"]),
            ("network", &["network", "ls", "--format", "{{.Name}}"], &["network", "rm"]),
            ("volume", &["volume", "ls", "--format", "{{.Name}}"], &["volume", "rm"]),
        ];
        let mut left = Vec::new();
        for (what, list, remove) in lists {
            for name in self.engine.docker(list).lines().filter(|name| !usual.contains(name)) {
                left.push(format!("left behind: the {what} {name}"));
                self.engine.docker(&[remove, &[name]].concat());
            }
        }
        left
    }
}
