//! A run as a live tree: what has ended and what was printed scrolls by, what goes on stays below.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln_mask::Masked;
use kiln_wire::run::Event;

use super::View;
use super::lines::Lines;
use super::summary::{self, ended, seconds, stage_ended};
use crate::print;

/// How often a waiting line moves.
const TICK: Duration = Duration::from_millis(120);
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Draws on standard error, where a terminal is.
pub struct Tree {
    bars: &'static MultiProgress,
    live: HashMap<String, ProgressBar>,
    lines: Lines,
}

impl Tree {
    /// An empty tree.
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
            Some(parent) => self.bars.insert_after(parent, bar),
            None => self.bars.add(bar),
        };
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(TICK);
        self.live.insert(key.to_owned(), bar);
    }

    fn end(&mut self, key: &str, text: &str) {
        if let Some(bar) = self.live.remove(key) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.say(text);
    }

    fn say(&self, text: &str) {
        // A terminal that is gone shows nothing; the run itself goes on.
        drop(self.bars.println(text));
    }

    fn message(&self, key: &str, text: &str) {
        if let Some(bar) = self.live.get(key) {
            bar.set_message(text.to_owned());
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
            Event::InstanceReady { stage, instance, phases } => {
                let total = phases.iter().map(|p| p.duration).sum();
                self.message(stage, &format!("{stage} on {instance} (ready in {})", seconds(total)));
            }
            Event::StepStarted { stage, step, name, attempt } => {
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                self.begin(&format!("{stage}/{step}"), 1, Some(stage), &format!("{name}{again}"));
            }
            Event::Output { stage, step, text } => {
                for line in self.lines.push(&format!("{stage}/{step}"), text) {
                    self.say(&format!("{DIM}{stage}/{step} │{RESET} {line}"));
                }
            }
            Event::StepRetry { stage, step, message, after } => {
                let key = format!("{stage}/{step}");
                self.end(&key, &format!("{key} {message}; runs again in {}", seconds(*after)));
            }
            Event::StepFinished { stage, report } => {
                let key = format!("{stage}/{}", report.id);
                if let Some(line) = self.lines.finish(&key) {
                    self.say(&format!("{DIM}{key} │{RESET} {line}"));
                }
                self.end(&key, &format!("  {key} {}", ended(report)));
            }
            Event::InstanceKept { stage, instance, duration, .. } => {
                self.say(&format!("{stage}: {}", summary::kept(instance, *duration)));
            }
            Event::Note { stage, message } => self.say(&format!("{stage}: note: {message}")),
            Event::StageFinished { report } => self.end(&report.id, &format!("{} {}", report.id, stage_ended(report))),
            Event::RunFinished { report } => {
                drop(self.bars.clear());
                print::text(summary::summary(report));
            }
            // Those that are worth a look stand in the summary.
            Event::TestCases { .. } | Event::Unknown => {}
        }
    }
}
