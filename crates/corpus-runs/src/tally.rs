//! What came of all files of the corpus, as a table or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::case::Case;
use crate::cases;
use crate::left::{self, Reason};

/// How a file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    AsExpected,
    /// As expected, and its steps only print, so that it does not count.
    OnlyPrints,
    Differs,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    file: &'static str,
    outcome: Outcome,
    seconds: f64,
    /// The result is that of an earlier run.
    kept: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    without: &'static str,
    differs: Vec<String>,
}

/// What came of all files.
#[derive(Debug, Default)]
pub struct Tally {
    rows: Vec<Row>,
    /// What is wrong with the lists themselves.
    wrong: Vec<String>,
}

/// What the corpus has of one kind.
struct Corpus {
    kind: &'static str,
    files: usize,
    with_ci: usize,
}

impl Tally {
    /// Counts a file that ran, and returns its line.
    pub fn count(&mut self, case: &Case, differs: &[String], took: Duration, kept: bool) -> String {
        let outcome = match (differs, case.only_prints) {
            ([], false) => Outcome::AsExpected,
            ([], true) => Outcome::OnlyPrints,
            _ => Outcome::Differs,
        };
        let seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        let word = match outcome {
            Outcome::AsExpected => "as expected",
            Outcome::OnlyPrints => "as expected, only prints",
            Outcome::Differs => "NOT AS EXPECTED",
        };
        let when = if kept { ", earlier" } else { "" };
        let mut line = format!("{seconds:>6.1} s  {:<8} {:<70} {word}{when}", case.kind, case.file);
        differs.iter().for_each(|differs| line.extend(["\n          ", differs.as_str()]));
        let without = case.without;
        self.rows.push(Row {
            kind: case.kind,
            file: case.file,
            outcome,
            seconds,
            kept,
            without,
            differs: differs.to_vec(),
        });
        line
    }

    /// Whether all that ran did what is expected, and every file is in one list.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.rows.iter().all(|row| row.outcome != Outcome::Differs)
    }

    /// Looks at the files of the corpus: each has to be in one list, and has to have what that says of it.
    fn look(&mut self, kind: &'static str, folder: &Path) -> Result<Corpus> {
        let (ran, left) = (cases::all(), cases::left());
        let mut corpus = Corpus { kind, files: 0, with_ci: 0 };
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with(".yml") {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            corpus.files += 1;
            corpus.with_ci += usize::from(left::ci_stages(&text) > 0);
            let listed: Vec<_> = left.iter().filter(|file| (file.kind, file.file) == (kind, &*name)).collect();
            let lists = listed.len() + ran.iter().filter(|case| (case.kind, case.file) == (kind, &*name)).count();
            if lists != 1 {
                self.wrong.push(format!("{kind}/{name} is in {lists} lists, and belongs in one"));
            }
            self.wrong.extend(listed.iter().filter_map(|file| file.contradicts(&text)));
        }
        Ok(corpus)
    }

    fn of(&self, kind: &str, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| (row.kind, row.outcome) == (kind, outcome)).count()
    }

    fn whole(&self, kind: &str) -> usize {
        let whole = |row: &&Row| row.kind == kind && row.outcome == Outcome::AsExpected && row.without.is_empty();
        self.rows.iter().filter(whole).count()
    }

    /// Returns the whole table, for people.
    pub fn table(&mut self, drone: &Path, harness: &Path) -> Result<String> {
        let corpora = [self.look("drone", drone)?, self.look("harness", harness)?];
        let mut out = format!("\n{:<78} {:>7} {:>7}\n", "", "Drone", "Harness");
        let mut line = |text: &str, count: &dyn Fn(&Corpus) -> usize| {
            let counts = corpora.each_ref().map(count);
            out.push_str(&format!("{text:<78} {:>7} {:>7}\n", counts[0], counts[1]));
        };
        line("files of the corpus", &|corpus| corpus.files);
        line("  ran to their end as expected, with real tools: these count", &|c| self.of(c.kind, Outcome::AsExpected));
        line("    of these with all their stages", &|c| self.whole(c.kind));
        line("  ran to their end as expected, and only print: these do not count", &|c| {
            self.of(c.kind, Outcome::OnlyPrints)
        });
        line("  DID NOT do what is expected", &|c| self.of(c.kind, Outcome::Differs));
        for reason in Reason::ALL {
            let text = format!("  not run: {}", reason.words());
            line(&text, &|c| cases::left().iter().filter(|file| file.kind == c.kind && file.reason == reason).count());
        }
        writeln!(out, "Files of Harness with a stage of type CI: {}", corpora[1].with_ci)?;
        self.lists(&mut out)?;
        Ok(out)
    }

    /// What did not run, and which stages did not.
    fn lists(&self, out: &mut String) -> Result<()> {
        let mut left = cases::left();
        left.sort_by_key(|file| (file.kind, file.reason));
        writeln!(out, "\nnot run:")?;
        for file in left {
            let what = if file.what.is_empty() { file.reason.words() } else { file.what };
            writeln!(out, "  {:<8} {:<70} {what}", file.kind, file.file)?;
        }
        writeln!(out, "\nran without some of their stages:")?;
        for row in self.rows.iter().filter(|row| !row.without.is_empty()) {
            writeln!(out, "  {:<8} {:<70} {}", row.kind, row.file, row.without)?;
        }
        for wrong in &self.wrong {
            writeln!(out, "WRONG: {wrong}")?;
        }
        Ok(())
    }

    /// Returns everything, for programs.
    pub fn json(&mut self, drone: &Path, harness: &Path) -> Result<Value> {
        let mut kinds = BTreeMap::new();
        for corpus in [self.look("drone", drone)?, self.look("harness", harness)?] {
            let kind = corpus.kind;
            kinds.insert(
                kind,
                json!({
                    "files": corpus.files,
                    "with_a_ci_stage": (kind == "harness").then_some(corpus.with_ci),
                    "as_expected": self.of(kind, Outcome::AsExpected),
                    "as_expected_with_all_stages": self.whole(kind),
                    "only_print": self.of(kind, Outcome::OnlyPrints),
                    "differ": self.of(kind, Outcome::Differs),
                    "not_run": cases::left().iter().filter(|file| file.kind == kind).count(),
                }),
            );
        }
        let left: Vec<_> = cases::left()
            .iter()
            .map(|file| json!({"kind": file.kind, "file": file.file, "reason": file.reason, "what": file.what}))
            .collect();
        Ok(json!({"kinds": kinds, "ran": self.rows, "not_run": left, "wrong": self.wrong}))
    }
}
