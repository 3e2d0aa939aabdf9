//! A run as a live tree: ended steps and output scroll by, running ones stay at the bottom.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln_mask::Masked;
use kiln_test_report::show::one_line;
use kiln_wire::run::Event;

use super::View;
use super::lines::Lines;
use super::summary::{self, ended, seconds, stage_ended};
use crate::print;

/// Interval between movements of a waiting line.
const TICK: Duration = Duration::from_millis(120);
/// Characters of an unfinished line that are shown.
const UNFINISHED_MAX: usize = 200;
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Draws on standard error, which is a terminal.
pub struct Tree {
    bars: &'static MultiProgress,
    live: HashMap<String, Live>,
    lines: Lines,
}

/// A line that moves.
struct Live {
    bar: ProgressBar,
    /// Its text, without a step's unfinished line of output.
    text: String,
}

impl Tree {
    /// Creates an empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self { bars: super::bars(), live: HashMap::new(), lines: Lines::default() }
    }

    fn begin(&mut self, key: &str, depth: usize, after: Option<&str>, text: &str) {
        let bar = ProgressBar::new_spinner();
        let template = format!("{:indent$}{{spinner}} {{wide_msg}} {{elapsed}}", "", indent = depth * 2);
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        let bar = match after.and_then(|key| self.live.get(key)) {
            Some(parent) => self.bars.insert_after(&parent.bar, bar),
            None => self.bars.add(bar),
        };
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(TICK);
        self.live.insert(key.to_owned(), Live { bar, text: text.to_owned() });
    }

    fn end(&mut self, key: &str, text: &str) {
        if let Some(Live { bar, .. }) = self.live.remove(key) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.say(text);
    }

    fn say(&self, text: &str) {
        // A terminal that is gone shows nothing, and the run continues.
        drop(self.bars.println(text));
    }

    fn message(&mut self, key: &str, text: String) {
        if let Some(live) = self.live.get_mut(key) {
            live.bar.set_message(text.clone());
            live.text = text;
        }
    }

    /// Shows the unfinished line of a step, such as a progress bar, beside its name.
    fn unfinished(&self, stage: &str, step: &str) {
        let Some(live) = self.live.get(&format!("{stage}/{step}")) else { return };
        let line = self.lines.unfinished(stage, step);
        let shown: String = line.trim().chars().take(UNFINISHED_MAX).collect();
        let message = if shown.is_empty() { live.text.clone() } else { format!("{}: {shown}", live.text) };
        live.bar.set_message(message);
    }

    fn output(&self, stage: &str, step: &str, line: &str) {
        self.say(&format!("{DIM}{stage}/{step} │{RESET} {line}"));
    }

    fn rest(&mut self, stage: &str, step: &str) {
        if let Some(line) = self.lines.finish(stage, step) {
            self.output(stage, step, &line);
        }
    }
}

impl View for Tree {
    fn show(&mut self, event: &Masked<Event>) {
        match &**event {
            Event::RunStarted { name, .. } => self.say(&format!("pipeline {name}")),
            Event::StageStarted { stage, name } => {
                self.begin(stage, 0, None, &format!("{name}: waiting for an instance"));
            }
            Event::Waiting { stage, step: None, what, .. } => {
                self.message(stage, format!("{stage}: waiting for {what}"));
            }
            // The step's line shows the program's output, and no event tells that this wait is over.
            Event::Waiting { stage, step: Some(step), what, waited } => {
                self.say(&format!("{stage}/{step}: {}", summary::waiting(what, *waited)));
            }
            Event::InstanceReady { stage, instance, phases } => {
                let total = phases.iter().map(|p| p.duration).sum();
                self.message(stage, format!("{stage} on {instance} (ready in {})", seconds(total)));
            }
            Event::StepStarted { stage, step, name, attempt } => {
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                self.begin(&format!("{stage}/{step}"), 1, Some(stage), &format!("{name}{again}"));
            }
            Event::Output { stage, step, text, goes_on, .. } => {
                for line in self.lines.push(stage, step, text, *goes_on) {
                    self.output(stage, step, &line);
                }
                self.unfinished(stage, step);
            }
            Event::StepRetry { stage, step, message, wait, .. } => {
                self.rest(stage, step);
                let key = format!("{stage}/{step}");
                self.end(&key, &format!("{key} {}; {}", one_line(message), summary::again(wait)));
            }
            Event::StepFinished { stage, report } => {
                self.rest(stage, &report.id);
                let key = format!("{stage}/{}", report.id);
                self.end(&key, &format!("  {key} {}", ended(report)));
            }
            Event::InstanceKept { stage, instance, duration, .. } => {
                self.say(&format!("{stage}: {}", summary::kept(instance, *duration)));
            }
            Event::Note { stage, message } => self.say(&format!("{stage}: note: {}", one_line(message))),
            Event::StageFinished { report } => {
                for (step, line) in self.lines.finish_stage(&report.id) {
                    self.output(&report.id, &step, &line);
                }
                self.end(&report.id, &format!("{} {}", report.id, stage_ended(report)));
            }
            Event::RunFinished { report } => {
                drop(self.bars.clear());
                print::text(summary::summary(report));
            }
            // The test cases that matter are in the summary.
            Event::TestCases { .. } | Event::Unknown => {}
        }
    }
}
