//! The texts in a run's events.
//!
//! Ids are not among them: they are made of the file's identifiers, and link the events together.

use kiln_wire::run::{Event, Phase, ReportProblem, RunReport, StageReport, StepReport, TestCase, Tests};

use crate::Texts;

type Mask<'a> = dyn FnMut(&mut String) + 'a;

impl Texts for Event {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        match self {
            Self::RunStarted { name, run_id: _ } | Self::StageStarted { name, stage: _ } => mask(name),
            Self::Waiting { what, stage: _, step: _, waited: _ } => mask(what),
            Self::InstanceReady { phases, stage: _, instance: _ } => phases.texts(mask),
            Self::StepStarted { name, stage: _, step: _, attempt: _ } => mask(name),
            // The text has already passed a masker, which knows the parts of secrets at the border of two pieces.
            Self::Output { text, stage: _, step: _, continues: _, goes_on: _ } => mask(text),
            Self::TestCases { cases, stage: _, step: _, attempt: _ } => cases.texts(mask),
            Self::StepRetry { message, wait, stage: _, step: _, after: _ } => {
                mask(message);
                mask(wait);
            }
            Self::StepFinished { report, stage: _ } => report.texts(mask),
            Self::InstanceKept { stage: _, instance: _, agent: _, workspace_dir: _, duration: _ } => {}
            Self::Note { message, stage: _ } => mask(message),
            Self::StageFinished { report } => report.texts(mask),
            Self::RunFinished { report } => report.texts(mask),
            Self::Unknown => {}
        }
    }
}

impl Texts for Phase {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { name, duration: _ } = self;
        mask(name);
    }
}

impl Texts for RunReport {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { name, stages, run_id: _, status: _, duration: _ } = self;
        mask(name);
        stages.texts(mask);
    }
}

impl Texts for StageReport {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { name, message, steps, id: _, status: _, instance: _, duration: _ } = self;
        mask(name);
        message.texts(mask);
        steps.texts(mask);
    }
}

impl Texts for StepReport {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { name, message, tests, id: _, status: _, cause: _, exit_code: _, attempts: _, duration: _ } = self;
        mask(name);
        message.texts(mask);
        tests.texts(mask);
    }
}

impl Texts for Tests {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self {
            cases,
            slowest,
            problems,
            total: _,
            passed: _,
            failed: _,
            errors: _,
            skipped: _,
            flaky: _,
            duration: _,
            cases_left_out: _,
        } = self;
        cases.texts(mask);
        slowest.texts(mask);
        problems.texts(mask);
    }
}

impl Texts for TestCase {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { class, name, file, message, result: _, flaky: _, duration: _ } = self;
        mask(class);
        mask(name);
        mask(file);
        mask(message);
    }
}

impl Texts for ReportProblem {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { file, message, line: _ } = self;
        mask(file);
        mask(message);
    }
}
