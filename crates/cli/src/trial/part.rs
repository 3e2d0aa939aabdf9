//! The parts of a trial: each is timed, has a limit, and is shown as soon as it has ended.

use std::pin::Pin;
use std::time::Duration;

use kiln_executor::wait::{Reason, Telling, told};
use serde::Serialize;
use tokio::time::Instant;

use crate::args::Format;
use crate::print;
use crate::table::clean;
use crate::ui::summary::{self, seconds};

/// When a part that lasts is told of, and how often after that.
const TELLING: Telling = Telling { after: Duration::from_secs(2), again_after: Duration::from_secs(10) };
/// Widths of the columns of names and of times.
const NAME_WIDTH: usize = 12;
const TIME_WIDTH: usize = 10;

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// It did not.
    Failed,
    /// A part before it failed, or the image lacks what it needs.
    NotTried,
}

/// One part of a trial, after it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Name of the part, as `docs/doctor.md` lists it.
    pub part: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What the part found, or what went wrong in it.
    pub detail: String,
    /// What mends it; empty where the detail says it, or nothing is wrong.
    pub remedy: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Why a part did not pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Something is wrong.
    Wrong {
        /// What.
        what: String,
        /// What mends it; empty where `what` says it.
        remedy: String,
    },
    /// The part makes no sense here.
    Lacking(String),
}

impl Trouble {
    /// Something is wrong, and this mends it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Wrong { what: what.into(), remedy: remedy.into() }
    }

    /// An error whose text says what mends it, where anything does.
    pub fn of(error: impl Into<anyhow::Error>) -> Self {
        Self::new(format!("{:#}", error.into()), "")
    }
}

/// What a part returns beside its value: what was seen, for people.
pub type Seen<T> = Result<(T, String), Trouble>;

/// A part's work. It is boxed, because parts are as large as all that they call.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Seen<T>> + 'a>>;

/// Carries out parts and keeps what became of them.
#[derive(Debug)]
pub struct Trial {
    format: Format,
    parts: Vec<Part>,
}

impl Trial {
    /// A trial that shows its parts in this form.
    pub fn new(format: Format) -> Self {
        Self { format, parts: Vec::new() }
    }

    /// Carries out a part. It fails when it lasts longer than `limit`; what it had begun is dropped then.
    pub async fn part<T>(&mut self, name: &'static str, limit: Duration, work: Work<'_, T>) -> Option<T> {
        let began = Instant::now();
        let tell = |what: &str, waited| eprintln!("{}", summary::waiting(what, waited));
        let bounded = tokio::time::timeout(limit, work);
        let ended = told(&TELLING, &Reason::new(format!("`{name}`")), tell, bounded).await;
        let (outcome, detail, remedy, value) = match ended {
            Ok(Ok((value, detail))) => (Outcome::Passed, detail, String::new(), Some(value)),
            Ok(Err(Trouble::Wrong { what, remedy })) => (Outcome::Failed, what, remedy, None),
            Ok(Err(Trouble::Lacking(what))) => (Outcome::NotTried, what, String::new(), None),
            Err(_) => {
                let what = format!("it did not end within {}", seconds(limit));
                (Outcome::Failed, what, "try again when the machine has less to do".to_owned(), None)
            }
        };
        self.add(Part { part: name, outcome, detail, remedy, seconds: began.elapsed().as_secs_f64() });
        value
    }

    /// Notes a part that is not tried, because one before it failed.
    pub fn skip(&mut self, name: &'static str) {
        let detail = "not tried, because of what failed before".to_owned();
        self.add(Part { part: name, outcome: Outcome::NotTried, detail, remedy: String::new(), seconds: 0.0 });
    }

    /// Whether no part failed.
    pub fn passed(&self) -> bool {
        self.parts.iter().all(|part| part.outcome != Outcome::Failed)
    }

    /// What became of the parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn add(&mut self, part: Part) {
        match self.format {
            // A part is plain data, which JSON can always hold.
            Format::Json => print::line(serde_json::to_string(&part).unwrap_or_default()),
            Format::Text => show(&part),
        }
        self.parts.push(part);
    }
}

fn show(part: &Part) {
    let mark = match part.outcome {
        Outcome::Passed => "\u{1b}[32m✓\u{1b}[0m",
        Outcome::NotTried => "\u{1b}[33m-\u{1b}[0m",
        Outcome::Failed => "\u{1b}[31m✗\u{1b}[0m",
    };
    let took = seconds(Duration::from_secs_f64(part.seconds));
    // Some of it is a VM's word.
    let mut lines = part.detail.lines().map(clean);
    print::line(format!("{mark} {:<NAME_WIDTH$} {took:>TIME_WIDTH$}  {}", part.part, lines.next().unwrap_or_default()));
    for line in lines {
        print::line(format!("  {:<NAME_WIDTH$} {:>TIME_WIDTH$}  {line}", "", ""));
    }
    if !part.remedy.is_empty() {
        print::line(format!("  {:<NAME_WIDTH$} {:>TIME_WIDTH$}  mend it: {}", "", "", clean(&part.remedy)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_hangs_fails_at_its_limit_and_the_next_one_is_tried() {
        let mut trial = Trial::new(Format::Json);
        let hangs = trial.part("hangs", Duration::ZERO, Box::pin(std::future::pending::<Seen<()>>())).await;
        assert_eq!(hangs, None);
        assert_eq!(
            trial.part("works", Duration::from_secs(1), Box::pin(async { Ok((7, "seven".to_owned())) })).await,
            Some(7)
        );
        let lacking = async { Err::<((), String), _>(Trouble::Lacking("no engine".to_owned())) };
        assert_eq!(trial.part("lacks", Duration::from_secs(1), Box::pin(lacking)).await, None);
        trial.skip("skipped");
        let outcomes: Vec<Outcome> = trial.parts().iter().map(|part| part.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Passed, Outcome::NotTried, Outcome::NotTried]);
        assert_eq!(trial.parts()[0].detail, "it did not end within 0.0 s");
        assert!(!trial.passed());
    }

    #[tokio::test]
    async fn what_is_lacking_is_no_failure() {
        let mut trial = Trial::new(Format::Json);
        let wrong = |what: &str| Err::<((), String), _>(Trouble::new(what, "mend"));
        trial
            .part(
                "lacks",
                Duration::from_secs(1),
                Box::pin(async { Err::<((), String), _>(Trouble::Lacking(String::new())) }),
            )
            .await;
        assert!(trial.passed());
        trial.part("fails", Duration::from_secs(1), Box::pin(async { wrong("broken") })).await;
        assert!(!trial.passed());
        assert_eq!((trial.parts()[1].detail.as_str(), trial.parts()[1].remedy.as_str()), ("broken", "mend"));
    }
}
