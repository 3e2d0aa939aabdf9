//! A run as lines, each with its stage and step.

use kiln_mask::Masked;
use kiln_test_report::show::one_line;
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
        self.lines_of(event, print::line);
        if let Event::RunFinished { report } = &**event {
            print::text(summary::summary(report));
        }
    }
}

impl Plain {
    /// Calls `print` with the lines of an event.
    fn lines_of(&mut self, event: &Event, mut print: impl FnMut(String)) {
        match event {
            Event::RunStarted { name, .. } => print(format!("pipeline {name}")),
            Event::StageStarted { stage, name } => {
                print(format!("[{stage}] {}waiting for an instance", called(stage, name)));
            }
            Event::Waiting { stage, step, what, waited } => {
                let step = step.as_ref().map(|step| format!("/{step}")).unwrap_or_default();
                print(format!("[{stage}{step}] {}", summary::waiting(what, *waited)));
            }
            Event::InstanceReady { stage, instance, phases } => {
                let total = phases.iter().map(|p| p.duration).sum();
                print(format!("[{stage}] on instance {instance} after {}", seconds(total)));
            }
            Event::StepStarted { stage, step, name, attempt } => match attempt {
                1 => print(format!("[{stage}/{step}] {}started", called(step, name))),
                n => print(format!("[{stage}/{step}] started, attempt {n}")),
            },
            Event::Output { stage, step, text, goes_on, .. } => {
                for line in self.lines.push(stage, step, text, *goes_on) {
                    print(format!("[{stage}/{step}] {line}"));
                }
            }
            Event::StepRetry { stage, step, message, wait, .. } => {
                self.rest(stage, step, &mut print);
                print(format!("[{stage}/{step}] {}; {}", one_line(message), summary::again(wait)));
            }
            Event::StepFinished { stage, report } => {
                self.rest(stage, &report.id, &mut print);
                print(format!("[{stage}/{}] {}", report.id, ended(report)));
            }
            Event::InstanceKept { stage, instance, duration, .. } => {
                print(format!("[{stage}] {}", summary::kept(instance, *duration)));
            }
            Event::Note { stage, message } => print(format!("[{stage}] note: {}", one_line(message))),
            Event::StageFinished { report } => {
                // Background steps still print after their start was reported.
                for (step, line) in self.lines.finish_stage(&report.id) {
                    print(format!("[{}/{step}] {line}", report.id));
                }
                print(format!("[{}] {}", report.id, summary::stage_ended(report)));
            }
            // The test cases that matter are in the summary.
            Event::TestCases { .. } | Event::RunFinished { .. } | Event::Unknown => {}
        }
    }

    fn rest(&mut self, stage: &str, step: &str, print: &mut impl FnMut(String)) {
        if let Some(line) = self.lines.finish(stage, step) {
            print(format!("[{stage}/{step}] {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_wire::run::{StageReport, Status, StepReport};

    use super::*;

    fn output(text: &str, goes_on: bool) -> Event {
        Event::Output { stage: "a".into(), step: "s".into(), text: text.into(), continues: false, goes_on }
    }

    fn step_finished() -> Event {
        let report = StepReport {
            id: "s".into(),
            name: "s".into(),
            status: Status::Passed,
            cause: None,
            exit_code: Some(0),
            message: None,
            attempts: 1,
            duration: Duration::ZERO,
            tests: None,
        };
        Event::StepFinished { stage: "a".into(), report }
    }

    fn stage_finished() -> Event {
        let (id, name, status, duration) = ("a".into(), "a".into(), Status::Passed, Duration::ZERO);
        let report = StageReport { id, name, status, message: None, instance: None, duration, steps: Vec::new() };
        Event::StageFinished { report }
    }

    /// Compares the lines of events, without those about ends.
    #[track_caller]
    fn check(events: &[Event], expect: &[&str]) {
        let (mut plain, mut lines) = (Plain::default(), Vec::new());
        events.iter().for_each(|event| plain.lines_of(event, |line| lines.push(line)));
        lines.retain(|line| !line.contains("passed"));
        assert_eq!(lines, expect);
    }

    #[test]
    fn each_line_has_its_prefix_also_behind_open_sequences() {
        check(&[output("one \u{1b}]0;t\ntwo\n", false)], &["[a/s] one ", "[a/s] two"]);
    }

    #[test]
    fn a_progress_bar_shows_its_last_state_when_its_line_ends() {
        check(&[output("\r10%", false), output("\r20%", false)], &[]);
        check(&[output("\r10%", false), output("\r20%\n", false)], &["[a/s] 20%"]);
        check(&[output("\r10%", false), output("\r20%", false), step_finished()], &["[a/s] 20%"]);
    }

    #[test]
    fn pieces_of_a_long_line_are_marked() {
        check(
            &[output("xx", false), output("x", true), output("yyy", true), output("z\nend", false), step_finished()],
            &[
                "[a/s] xxx [kiln: the line continues]",
                "[a/s] [kiln: the line continues] yyy [kiln: the line continues]",
                "[a/s] [kiln: the line continues] z",
                "[a/s] end",
            ],
        );
    }

    #[test]
    fn what_a_background_step_prints_at_last_is_not_lost() {
        check(&[step_finished(), output("bye", false), stage_finished()], &["[a/s] bye"]);
    }

    #[test]
    fn an_attempt_begins_with_a_line_of_its_own() {
        let message = "exit code 1".to_owned();
        let retry =
            Event::StepRetry { stage: "a".into(), step: "s".into(), message, after: Duration::ZERO, wait: "0s".into() };
        let lines = ["[a/s] one", "[a/s] exit code 1; runs again in 0s", "[a/s] two"];
        check(&[output("one", false), retry, output("two\n", false)], &lines);
    }

    /// A note may contain text from a VM.
    #[test]
    fn a_note_makes_no_line_of_its_own() {
        let note = |message: &str| Event::Note { stage: "a".into(), message: message.into() };
        check(&[note("x\n[b/s] done\u{1b}[2J\r")], &["[a] note: x [b/s] done "]);
    }
}
