//! Events as lines for people, the same in every run.

use std::collections::BTreeMap;

use kiln_wire::run::{Event, StepReport, Tests};

/// Makes lines of events. What differs from run to run, such as times, is left out.
#[derive(Default)]
pub struct Transcript {
    lines: Vec<String>,
    /// Unfinished last lines of output, by step.
    rest: BTreeMap<String, String>,
}

impl Transcript {
    /// Adds an event, and returns the lines that it makes.
    pub fn push(&mut self, event: &Event) -> Vec<String> {
        let known = self.lines.len();
        match event {
            Event::RunStarted { name, .. } => self.say(format!("run {name}")),
            Event::StageStarted { stage, .. } => self.say(format!("{stage} started")),
            Event::Waiting { stage, what, .. } if what.starts_with("an instance: ") => {
                self.say(format!("{stage} waits for {what}"));
            }
            // How long other waits take differs from run to run, so they are no part of the transcript.
            Event::Waiting { stage, step, what, .. } => {
                let step = step.as_ref().map(|step| format!(".{step}")).unwrap_or_default();
                return vec![format!("{stage}{step} waits for {what}")];
            }
            Event::InstanceReady { stage, .. } => self.say(format!("{stage} ready")),
            Event::StepStarted { stage, step, attempt: 1, .. } => self.say(format!("{stage}.{step} started")),
            Event::StepStarted { stage, step, attempt, .. } => {
                self.say(format!("{stage}.{step} started, attempt {attempt}"));
            }
            Event::Output { stage, step, text, .. } => self.print(&format!("{stage}.{step}"), text),
            // How they are cut into events is not the same in every run.
            Event::TestCases { .. } => {}
            Event::StepRetry { stage, step, message, wait, .. } => {
                self.finish(&format!("{stage}.{step}"));
                let wait = if wait.is_empty() { String::new() } else { format!(" in {wait}") };
                self.say(format!("{stage}.{step} runs again{wait}: {message}"));
            }
            Event::StepFinished { stage, report } => {
                self.finish(&format!("{stage}.{}", report.id));
                self.say(step(stage, report));
            }
            Event::InstanceKept { stage, instance, .. } => self.say(format!("{stage} keeps {instance}")),
            Event::Note { stage, message } => self.say(format!("{stage} note: {message}")),
            Event::StageFinished { report } => {
                let status = format!("{:?}", report.status).to_lowercase();
                self.say(format!("{} {status}{}", report.id, after(report.message.as_ref())));
            }
            Event::RunFinished { report } => {
                for (key, rest) in std::mem::take(&mut self.rest) {
                    self.say(format!("{key} | {rest}"));
                }
                self.say(format!("run {}", format!("{:?}", report.status).to_lowercase()));
            }
            Event::Unknown => self.say("an unknown event".to_owned()),
        }
        self.lines[known..].to_vec()
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    fn print(&mut self, key: &str, text: &str) {
        let rest = self.rest.entry(key.to_owned()).or_default();
        rest.push_str(text);
        while let Some(at) = rest.find('\n') {
            // Drone's echo of each command says what the file says.
            if !rest.starts_with("+ ") {
                self.lines.push(format!("{key} | {}", &rest[..at]));
            }
            rest.drain(..=at);
        }
    }

    fn finish(&mut self, key: &str) {
        if let Some(rest) = self.rest.remove(key).filter(|rest| !rest.is_empty()) {
            self.say(format!("{key} | {rest}"));
        }
    }

    /// Returns the lines as they came.
    pub fn as_told(&self) -> String {
        self.lines.join("\n")
    }

    /// Returns the lines by stage and step, for what happens at the same time.
    pub fn by_part(&self) -> String {
        let mut lines: Vec<&String> = self.lines.iter().collect();
        // A line begins with its part: `run`, `stage` or `stage.step`.
        lines.sort_by_key(|line| line.split([' ', ':']).next().map(str::to_owned));
        lines.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn step(stage: &str, report: &StepReport) -> String {
    let StepReport { id, status, cause, exit_code, message, attempts, tests, .. } = report;
    let mut line = format!("{stage}.{id} {}", format!("{status:?}").to_lowercase());
    if let Some(cause) = cause {
        line.push_str(&format!(" ({cause:?}"));
        exit_code.iter().for_each(|code| line.push_str(&format!(" {code}")));
        line.push(')');
    }
    if *attempts > 1 {
        line.push_str(&format!(" after {attempts} attempts"));
    }
    line.push_str(&after(message.as_ref()));
    if let Some(Tests { total, passed, failed, errors, skipped, .. }) = tests {
        line.push_str(&format!(" [{total} tests = {passed} + {failed} + {errors} + {skipped}]"));
    }
    line
}

fn after(message: Option<&String>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}
