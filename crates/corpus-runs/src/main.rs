//! Runs real pipelines of other projects to their end: in containers of a real engine, with real tools, on small source trees, and tells
//! which of them did what is expected of each of their steps.
//!
//! The machine is that of a container engine (`engine-rig`); agent and executor are in this process. Files whose containers would only run
//! stand-ins are listed, and do not count.

mod case;
mod cases;
mod fleet;
mod images;
mod kept;
mod left;
mod machine;
mod run;
mod tally;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use kept::Results;
use machine::Machine;
use tally::Tally;

/// How many lines of a file that differs are printed.
const SHOWN_LINES: usize = 40;

const USAGE: &str = "kiln-corpus-runs [--only WORD]... [--again] [--any-build] [--show] [--format text|json]

  --only WORD    only files whose name contains the word
  --again        also what ran as expected before and has not changed
  --any-build    what ran as expected with another build of this program does not run again
  --show         print all that the files print
  --format json  what came of each, for programs";

/// What is asked for.
#[derive(Default)]
struct Arguments {
    only: Vec<String>,
    again: bool,
    any_build: bool,
    show: bool,
    json: bool,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut read = Self::default();
        while let Some(word) = words.next() {
            match (word.as_str(), &mut words) {
                ("--only", rest) => read.only.push(rest.next().context("--only needs a word")?),
                ("--again", _) => read.again = true,
                ("--any-build", _) => read.any_build = true,
                ("--show", _) => read.show = true,
                ("--format", rest) => match rest.next().as_deref() {
                    Some("json") => read.json = true,
                    Some("text") => read.json = false,
                    other => bail!("--format takes text or json, not {other:?}\n\n{USAGE}"),
                },
                _ => bail!("unknown argument {word:?}\n\n{USAGE}"),
            }
        }
        Ok(read)
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let (Some(drone), Some(harness)) = (kiln_corpus::folder("drone"), kiln_corpus::folder("harness")) else {
        bail!("the corpus is not there: name its folder in KILN_CORPUS");
    };
    let begun = Instant::now();
    let mut tally = Tally::default();
    let logs = run_all(&arguments, &drone, &harness, &mut tally)?;
    if arguments.json {
        println!("{:#}", tally.json(&drone, &harness)?);
    } else {
        if arguments.only.is_empty() {
            println!("{}", tally.table(&drone, &harness)?);
        }
        println!("{:.0} s in all; what each printed is in {}", begun.elapsed().as_secs_f64(), logs.display());
    }
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs what is asked for, and returns where it is written what files printed.
fn run_all(arguments: &Arguments, drone: &Path, harness: &Path, tally: &mut Tally) -> Result<PathBuf> {
    let images = images::all().map_err(anyhow::Error::msg)?;
    let results = Results::open(&format!("{images:?}"), arguments.any_build)?;
    let logs = tempfile::Builder::new().prefix("kiln-corpus-runs-").tempdir()?.keep();
    let mut machine = None;
    for case in cases::all() {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|word| case.file.contains(word.as_str())) {
            continue;
        }
        let file = if case.kind == "drone" { drone } else { harness }.join(case.file);
        let content = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(took) = results.find(&case, &content).filter(|_| !arguments.again) {
            let line = tally.count(&case, &[], took, true);
            eprintln!("{line}");
            continue;
        }
        let machine = match &mut machine {
            Some(machine) => machine,
            nothing => nothing.insert(Machine::start(images.clone(), logs.clone())?),
        };
        let told = machine.carry_out(&case, &file)?;
        results.note(&case, &content, told.differs.is_empty().then_some(told.took))?;
        let line = tally.count(&case, &told.differs, told.took, false);
        eprintln!("{line}");
        if arguments.show || !told.differs.is_empty() {
            let lines: Vec<&str> = told.transcript.lines().collect();
            let from = if arguments.show { 0 } else { lines.len().saturating_sub(SHOWN_LINES) };
            eprintln!("{}", lines[from..].join("\n"));
        }
    }
    Ok(logs)
}
