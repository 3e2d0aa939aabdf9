//! Runs real pipelines of other projects to their end: in containers of a real engine, with real tools, on small source trees, and tells
//! which of them did what is expected of each of their steps.
//!
//! `kiln-corpus-runs [--show] [WORD]...` runs those whose name contains a word, or all. What each printed is in the folder that it names at
//! its end; `--show` prints it too.
//!
//! The machine is that of a container engine (`engine-rig`); agent and executor are in this process. Files whose containers would only run
//! stand-ins are listed, and do not count.

mod case;
mod cases;
mod fleet;
mod images;
mod run;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kiln_engine_rig::Engine;
use kiln_engine_rig::registry::{OTHERS, Registry};

use case::Case;

/// What files push to, beside the registries that their images come from.
const REGISTRIES: &[&str] = &["gcr.io", "docker-registry.theautomation.nl"];
/// What they send to.
const SERVICES: &[&str] = &["slack.com", "hooks.slack.com", "codecov.io"];
/// How many lines of a file that differs are printed.
const SHOWN_LINES: usize = 40;

fn main() -> Result<ExitCode> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let show = words.iter().position(|word| word == "--show").map(|at| words.remove(at)).is_some();
    let (Some(drone), Some(harness)) = (kiln_corpus::folder("drone"), kiln_corpus::folder("harness")) else {
        bail!("the corpus is not there: name its folder in KILN_CORPUS");
    };
    let begun = Instant::now();
    let images = images::all().map_err(anyhow::Error::msg)?;
    let engine = Engine::machine().map_err(anyhow::Error::msg)?;
    let registry = Registry::start(&engine, images, REGISTRIES, SERVICES).map_err(anyhow::Error::msg)?;
    let recorder = record(&engine, &registry)?;
    println!("images, engine and registry were ready after {:.1} s", begun.elapsed().as_secs_f64());
    let stage = Stage {
        engine: &engine,
        recorder,
        logs: tempfile::Builder::new().prefix("kiln-corpus-runs-").tempdir()?.keep(),
    };
    let mut tally = Tally::default();
    for case in cases::all() {
        if !words.is_empty() && !words.iter().any(|word| case.file.contains(word.as_str())) {
            continue;
        }
        let file = if case.kind == "drone" { &drone } else { &harness }.join(case.file);
        let (differs, took, transcript) = stage.carry_out(&case, &file)?;
        tally.count(&case, &differs, took);
        if show || !differs.is_empty() {
            let lines: Vec<&str> = transcript.lines().collect();
            println!(
                "{}",
                lines[lines.len().saturating_sub(if show { lines.len() } else { SHOWN_LINES })..].join("\n")
            );
        }
    }
    if words.is_empty() {
        tally.list(&[("drone", &drone), ("harness", &harness)])?;
    }
    println!("what each printed is in {}", stage.logs.display());
    Ok(tally.end(begun.elapsed()))
}

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

/// Where files run.
struct Stage<'a> {
    engine: &'a Engine,
    recorder: PathBuf,
    logs: PathBuf,
}

impl Stage<'_> {
    /// Carries a case out, and returns what differs from what is expected, how long it took, and what it printed.
    fn carry_out(&self, case: &Case, file: &Path) -> Result<(Vec<String>, Duration, String)> {
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
        Ok((told.differs, told.took, told.transcript))
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

/// What came of all files.
#[derive(Default)]
struct Tally {
    good: Vec<(&'static str, &'static str)>,
    bad: usize,
}

impl Tally {
    fn count(&mut self, case: &Case, differs: &[String], took: Duration) {
        let word = if differs.is_empty() { "as expected" } else { "NOT AS EXPECTED" };
        println!("{:>6.1} s  {:<8} {:<70} {word}", took.as_secs_f64(), case.kind, case.file);
        differs.iter().for_each(|line| println!("          {line}"));
        if differs.is_empty() {
            self.good.push((case.kind, case.file));
        } else {
            self.bad += 1;
        }
    }

    /// Lists what does not count, and says when a file of the corpus is in no list.
    fn list(&mut self, folders: &[(&str, &PathBuf)]) -> Result<()> {
        let left = cases::left();
        let mut whys: Vec<(&str, &str)> = left.iter().map(|file| (file.kind, file.why)).collect();
        whys.dedup();
        for (kind, why) in whys {
            println!("not run, {kind}: {why}");
            left.iter()
                .filter(|file| (file.kind, file.why) == (kind, why))
                .for_each(|file| println!("    {}", file.file));
        }
        let ran = cases::all();
        for (kind, folder) in folders {
            for entry in std::fs::read_dir(folder)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let runs = ran.iter().filter(|case| (case.kind, case.file) == (*kind, &*name)).count();
                let listed = left.iter().filter(|file| (file.kind, file.file) == (*kind, &*name)).count();
                if name.ends_with(".yml") && runs + listed != 1 {
                    println!("{kind}/{name} is in {} lists, and belongs in one", runs + listed);
                    self.bad += 1;
                }
            }
        }
        Ok(())
    }

    fn end(&self, took: Duration) -> ExitCode {
        let of = |kind: &str| self.good.iter().filter(|(k, _)| *k == kind).count();
        println!(
            "{} Harness and {} Drone files ran to their end as expected, {} differed; {:.0} s in all",
            of("harness"),
            of("drone"),
            self.bad,
            took.as_secs_f64()
        );
        if self.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
