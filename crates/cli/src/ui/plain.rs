//! A run as lines, each with the stage and step it comes from.

use kiln_mask::Masked;
use kiln_wire::run::Event;

use super::lines::Lines;
use super::summary::{called, ended, seconds};
use super::{View, summary};
use crate::print;

/// Prints lines on standard output.
#[derive(Default)]
pub struct Plain {
    lines: Lines,
}

impl View for Plain {
    fn show(&mut self, event: &Masked<Event>) {
        match &**event {
            Event::RunStarted { name, .. } => print::line(format!("pipeline {name}")),
            Event::StageStarted { stage, name } => {
                print::line(format!("[{stage}] {}waiting for an instance", called(stage, name)));
            }
            Event::InstanceReady { stage, instance, phases } => {
                let total = phases.iter().map(|p| p.duration).sum();
                print::line(format!("[{stage}] on instance {instance} after {}", seconds(total)));
            }
            Event::StepStarted { stage, step, name, attempt } => match attempt {
                1 => print::line(format!("[{stage}/{step}] {}started", called(step, name))),
                n => print::line(format!("[{stage}/{step}] started, attempt {n}")),
            },
            Event::Output { stage, step, text } => {
                for line in self.lines.push(&format!("{stage}/{step}"), text) {
                    print::line(format!("[{stage}/{step}] {line}"));
                }
            }
            Event::StepRetry { stage, step, message, after } => {
                self.rest(stage, step);
                print::line(format!("[{stage}/{step}] {message}; runs again in {}", seconds(*after)));
            }
            Event::StepFinished { stage, report } => {
                self.rest(stage, &report.id);
                print::line(format!("[{stage}/{}] {}", report.id, ended(report)));
            }
            Event::InstanceKept { stage, instance, duration, .. } => {
                print::line(format!("[{stage}] {}", summary::kept(instance, *duration)));
            }
            Event::Note { stage, message } => print::line(format!("[{stage}] note: {message}")),
            Event::StageFinished { report } => print::line(format!("[{}] {}", report.id, summary::stage_ended(report))),
            Event::RunFinished { report } => print::text(summary::summary(report)),
            // Those that are worth a look stand in the summary.
            Event::TestCases { .. } | Event::Unknown => {}
        }
    }
}

impl Plain {
    fn rest(&mut self, stage: &str, step: &str) {
        if let Some(line) = self.lines.finish(&format!("{stage}/{step}")) {
            print::line(format!("[{stage}/{step}] {line}"));
        }
    }
}
