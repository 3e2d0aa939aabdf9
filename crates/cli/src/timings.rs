//! Times from the program's start to each stage's first output.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kiln_wire::run::{Event, Phase};

/// The moments of every stage.
pub struct Timings {
    started: Instant,
    stages: Vec<Stage>,
}

#[derive(Default)]
struct Stage {
    id: String,
    asked: Duration,
    phases: Vec<Phase>,
    ready: Option<Duration>,
    step: Option<Duration>,
    output: Option<Duration>,
}

impl Timings {
    /// Creates a table that counts from the program's start.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self { started, stages: Vec::new() }
    }

    /// Records the moment of an event.
    pub fn note(&mut self, event: &Event) {
        let now = self.started.elapsed();
        match event {
            Event::StageStarted { stage, .. } => {
                self.stages.push(Stage { id: stage.clone(), asked: now, ..Stage::default() });
            }
            Event::InstanceReady { stage, phases, .. } => {
                if let Some(stage) = self.stage(stage) {
                    stage.ready = Some(now);
                    stage.phases.clone_from(phases);
                }
            }
            Event::StepStarted { stage, .. } => {
                if let Some(stage) = self.stage(stage) {
                    stage.step.get_or_insert(now);
                }
            }
            Event::Output { stage, .. } => {
                if let Some(stage) = self.stage(stage) {
                    stage.output.get_or_insert(now);
                }
            }
            _ => {}
        }
    }

    fn stage(&mut self, id: &str) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.id == id)
    }

    /// Returns the table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = String::from("\ntimings (ms)\n");
        for stage in &self.stages {
            let _infallible = writeln!(out, "  {}", stage.id);
            let mut row = |name: &str, duration: Option<Duration>| {
                if let Some(duration) = duration {
                    let _infallible = writeln!(out, "    {name:<24} {:>8.1}", duration.as_secs_f64() * 1000.0);
                }
            };
            row("start to stage", Some(stage.asked));
            for phase in &stage.phases {
                row(&phase.name, Some(phase.duration));
            }
            row("step to first output", stage.output.zip(stage.step).map(|(output, step)| output.saturating_sub(step)));
            row("start to first output", stage.output);
        }
        out
    }
}
