//! The output of steps as lines, separately for each step.

use std::collections::BTreeMap;

use super::row::{Line, Row};

/// Mark of a cut line, at the cut and at the continuation.
const GOES_ON: &str = "[kiln: the line continues]";

/// The unfinished last line of each step.
#[derive(Default)]
pub struct Lines {
    /// By stage and step.
    rows: BTreeMap<(String, String), Row>,
}

impl Lines {
    /// Adds a step's output, and returns the lines that it completes. `goes_on` says that a line is cut at its end.
    pub fn push(&mut self, stage: &str, step: &str, text: &str, goes_on: bool) -> Vec<String> {
        let row = self.rows.entry((stage.to_owned(), step.to_owned())).or_default();
        let mut lines = Vec::new();
        row.push(text, |line| lines.push(marked(line)));
        if goes_on {
            lines.push(marked(row.end(true)));
        }
        lines
    }

    /// Returns the present text of a step's unfinished line, without colours.
    pub fn unfinished(&self, stage: &str, step: &str) -> String {
        self.rows.get(&(stage.to_owned(), step.to_owned())).map(Row::plain).unwrap_or_default()
    }

    /// Returns the rest of a step's last line, and forgets the step.
    pub fn finish(&mut self, stage: &str, step: &str) -> Option<String> {
        self.rows.remove(&(stage.to_owned(), step.to_owned())).and_then(rest)
    }

    /// Returns the rests of the last lines of a stage's steps, each with its step, and forgets them.
    pub fn finish_stage(&mut self, of_stage: &str) -> Vec<(String, String)> {
        let finished = self.rows.extract_if(.., |(stage, _), _| stage == of_stage);
        finished.filter_map(|((_, step), row)| Some((step, rest(row)?))).collect()
    }
}

fn rest(mut row: Row) -> Option<String> {
    (!row.is_empty()).then(|| marked(row.end(false)))
}

fn marked(line: Line) -> String {
    let Line { mut text, continues, goes_on } = line;
    if continues {
        text.insert_str(0, &format!("{GOES_ON} "));
    }
    if goes_on {
        text.push_str(&format!(" {GOES_ON}"));
    }
    text
}
