//! `kiln tests split`: one share of a list of tests.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use kiln_test_report::show::{self, seconds};
use kiln_test_report::split::{By, Split, Times, split as shares};
use kiln_test_report::{Collector, Failed};
use kiln_wire::run::Event;

use super::files::{expand, matcher};
use crate::args::tests::SplitArgs;
use crate::exit::{Exit, Usage};
use crate::print;

/// Greatest size of the list of names, in bytes.
const NAMES_MAX_BYTES: u64 = 64 << 20;

/// Prints the share, one name per line.
pub fn split(args: &SplitArgs) -> anyhow::Result<Exit> {
    let SplitArgs { index, total, .. } = *args;
    anyhow::ensure!(
        index < total,
        Usage(format!(
            "--index {index} --total {total}: shares are numbered from 0, so the index is less than the total"
        ))
    );
    let times = read_times(&args.times)?;
    let names = names(args)?;
    let by = args.by.map_or(if args.times.is_empty() { By::Count } else { By::Time }, By::from);
    let split = shares(&names, by, &times, total);
    tell(&split, by, index, names.len(), args.times.is_empty());
    split.shares[index].names.iter().for_each(print::line);
    Ok(Exit::Ok)
}

/// Describes the share on standard error.
fn tell(split: &Split, by: By, index: usize, names: usize, without_times: bool) {
    let (share, shares) = (&split.shares[index], split.shares.len());
    let about = match share.expected {
        none if none.is_zero() => String::new(),
        some => format!(", about {}", seconds(some)),
    };
    eprintln!("share {index} of {shares} (from 0): {} of {names} tests{about}", share.names.len());
    if by == By::Count || (by == By::Class && without_times) || split.unknown == 0 {
        return;
    }
    let all: usize = split.shares.iter().map(|share| share.names.len()).sum();
    if split.unknown == all {
        eprintln!("note: no report has the time of any of these tests, so each counts the same");
    } else {
        eprintln!("note: no report has the time of {} of them; each counts as the median of the others", split.unknown);
    }
}

fn names(args: &SplitArgs) -> anyhow::Result<Vec<String>> {
    if args.glob.is_empty() {
        let stdin = std::io::stdin();
        anyhow::ensure!(
            !stdin.is_terminal(),
            Usage("the names of the tests come from standard input, one per line, or from --glob".to_owned())
        );
        let mut text = String::new();
        stdin.lock().take(NAMES_MAX_BYTES + 1).read_to_string(&mut text).context("the names cannot be read")?;
        let limit = NAMES_MAX_BYTES >> 20;
        anyhow::ensure!(text.len() as u64 <= NAMES_MAX_BYTES, Usage(format!("the names have more than {limit} MiB")));
        return Ok(text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    let (files, without) = expand(&args.glob)?;
    without.iter().for_each(|glob| eprintln!("note: no file matches {glob}"));
    let excluded = args.exclude_glob.iter().map(|glob| matcher(glob)).collect::<Result<Vec<_>, _>>()?;
    let kept = files.iter().filter(|file| !excluded.iter().any(|matcher| matcher.is_match(file)));
    Ok(kept.map(|file| file.display().to_string()).collect())
}

/// Reads earlier reports. An unreadable one is only a warning, because the tests should still run.
fn read_times(patterns: &[String]) -> anyhow::Result<Times> {
    let (files, without) = expand(patterns)?;
    without.iter().for_each(|pattern| eprintln!("note: there is no earlier report {pattern}"));
    let mut times = Times::default();
    for path in &files {
        if let Err(error) = read_file(path, &mut times) {
            eprintln!("note: {}: {error}", path.display());
        }
    }
    Ok(times)
}

fn read_file(path: &Path, times: &mut Times) -> std::io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.first() == Some(&b'{') {
        return read_events(file, times);
    }
    let (secrets, earlier) = (Arc::default(), Failed::default());
    let mut collector = Collector::new(&secrets, &earlier);
    collector.report(&path.display().to_string(), file, |case| times.add(&case));
    collector.finish().0.problems.iter().for_each(|problem| eprintln!("note: {}", show::problem(problem)));
    Ok(())
}

/// Reads the lines of a run. Only the first attempt of each step counts; otherwise a case would count twice.
fn read_events(file: impl Read, times: &mut Times) -> std::io::Result<()> {
    for event in serde_json::Deserializer::from_reader(file).into_iter::<Event>() {
        if let Event::TestCases { attempt: 1, cases, .. } = event? {
            cases.iter().for_each(|case| times.add(case));
        }
    }
    Ok(())
}
