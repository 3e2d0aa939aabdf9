//! The simulated world: its transcripts, reproducibility of seeds, and seeds that once found something.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use kiln_testkit::sim::fault::Fault;
use kiln_testkit::sim::{Plan, run, scenario};

/// The variable that makes the tests rewrite the transcripts.
const UPDATE: &str = "UPDATE_TRANSCRIPTS";

#[test]
fn scenarios_go_as_their_transcripts_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = fs::read_dir(&directory).expect("scenarios").map(|e| e.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(files.len() >= 9, "only {} scenarios are there", files.len());
    let mut differ = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a scenario");
        let played = scenario::play(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let kept = file.with_extension("transcript");
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&kept, &played).expect("the transcript is written");
            continue;
        }
        let expected = fs::read_to_string(&kept).unwrap_or_default();
        if let Some((number, (was, is))) = first_difference(&expected, &played) {
            let name = file.display();
            writeln!(differ, "{name} differs at line {number}:\n  was {was}\n  is  {is}").expect("text");
        }
    }
    assert!(differ.is_empty(), "{differ}when that is right, run again with {UPDATE}=1");
}

fn first_difference<'a>(was: &'a str, is: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let (mut was, mut is) = (was.lines(), is.lines());
    for number in 1.. {
        match (was.next(), is.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some((number, (a.unwrap_or("(nothing)"), b.unwrap_or("(nothing)")))),
        }
    }
    None
}

#[test]
fn a_seed_means_the_same_again() {
    for seed in [1, 7, 30] {
        let plan = Plan { seed, steps: 1_500, verbose: true };
        let (first, again) = (run(&plan), run(&plan));
        assert!(first.lines.len() > 20, "hardly anything happened in seed {seed}");
        assert_eq!(first.lines, again.lines, "seed {seed}");
        assert_eq!((first.digest, first.decisions), (again.digest, again.decisions));
    }
    assert_ne!(
        run(&Plan { seed: 1, steps: 500, verbose: false }).digest,
        run(&Plan { seed: 2, steps: 500, verbose: false }).digest
    );
}

/// A fault that no seed meets tests nothing.
#[test]
fn every_fault_is_met() {
    let mut missing: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    for seed in 1..=200 {
        let struck = run(&Plan { seed, steps: 2_000, verbose: false }).struck;
        missing.retain(|name| !struck.keys().any(|fault| fault.name() == *name));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no seed meets {missing:?}");
}

#[test]
fn seeds_that_found_something_find_nothing_now() {
    let text = include_str!("../regressions.txt");
    let mut replayed = 0;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("seed and steps");
        let outcome = run(&Plan { seed: number(), steps: number(), verbose: false });
        assert_eq!(outcome.violation, None, "{line}\n{}", outcome.lines.join("\n"));
        replayed += 1;
    }
    assert!(replayed > 0, "no regression was replayed");
}
