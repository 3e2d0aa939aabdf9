//! A run as lines, each with the stage and step it comes from.

use anstream::println;
use kiln_executor::Event;

use super::lines::Lines;
use super::summary::{ended, seconds};
use super::{View, summary};

/// Prints lines on standard output.
#[derive(Default)]
pub struct Plain {
    lines: Lines,
}

impl View for Plain {
    fn show(&mut self, event: &Event) {
        match event {
            Event::RunStarted { name, .. } => println!("pipeline {name}"),
            Event::StageStarted { stage, .. } => println!("[{stage}] waiting for an instance"),
            Event::InstanceReady { stage, instance, phases } => {
                let total = phases.iter().map(|p| p.duration).sum();
                println!("[{stage}] on instance {instance} after {}", seconds(total));
            }
            Event::StepStarted { stage, step, attempt, .. } => match attempt {
                1 => println!("[{stage}/{step}] started"),
                n => println!("[{stage}/{step}] started, attempt {n}"),
            },
            Event::Output { stage, step, bytes } => {
                for line in self.lines.push(&format!("{stage}/{step}"), bytes) {
                    println!("[{stage}/{step}] {line}");
                }
            }
            Event::StepRetry { stage, step, message, after } => {
                self.rest(stage, step);
                println!("[{stage}/{step}] {message}; runs again in {}", seconds(*after));
            }
            Event::StepFinished { stage, report } => {
                self.rest(stage, &report.id);
                println!("[{stage}/{}] {}", report.id, ended(report));
            }
            Event::InstanceKept { stage, instance, duration, .. } => {
                println!("[{stage}] {}", summary::kept(instance, *duration));
            }
            Event::Note { stage, message } => println!("[{stage}] note: {message}"),
            Event::StageFinished { report } => println!("[{}] {}", report.id, summary::stage_ended(report)),
            Event::RunFinished { report } => print!("{}", summary::summary(report)),
        }
    }
}

impl Plain {
    fn rest(&mut self, stage: &str, step: &str) {
        if let Some(line) = self.lines.finish(&format!("{stage}/{step}")) {
            println!("[{stage}/{step}] {line}");
        }
    }
}

use anstream::print;
