//! How large the environment of a step can be, so that one which no program could be started with is refused before
//! anything runs.

use kiln_document::diagnostic::{Diagnostic, Findings, Location};

use crate::plan::{EnvVar, Graph, Plan, StepNode};

/// Most bytes of one variable, `NAME=VALUE` with its end: `MAX_ARG_STRLEN` of Linux, see execve(2).
pub const LARGEST_VARIABLE_BYTES: usize = 128 * 1024;
/// Most bytes of all variables of a step. Linux gives the arguments and the environment together a quarter of the stack's
/// limit, 2 MiB of 8; what is left is for the script and for what the agent adds.
pub const LARGEST_BYTES: usize = 1792 * 1024;
/// What each variable costs beside its text: its end, and a pointer.
const OVERHEAD_BYTES: usize = 9;

/// Why an environment is too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// One variable is.
    #[error(
        "the environment variable `{name}` has {bytes} bytes, and no program can be started with one of more than \
         {LARGEST_VARIABLE_BYTES}"
    )]
    Variable {
        /// Its name.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// All of them together are.
    #[error(
        "the environment has {bytes} bytes, and no program can be started with more than {LARGEST_BYTES}; the largest \
         variable is `{largest}`"
    )]
    Sum {
        /// The size of all.
        bytes: usize,
        /// The name of the largest.
        largest: String,
    },
}

/// What to do about it.
pub const WAY_OUT: &str = "write the value into a file in the step's script, and hand on the file's name";

/// Tells whether a program can be started with these variables, given by name and length of the value.
///
/// # Errors
/// A variable, or all together, are too large.
pub fn fits<'a>(variables: impl IntoIterator<Item = (&'a str, usize)>) -> Result<(), TooLarge> {
    let (mut sum, mut largest) = (0_usize, ("", 0));
    for (name, length) in variables {
        let bytes = name.len().saturating_add(1).saturating_add(length);
        if bytes >= LARGEST_VARIABLE_BYTES {
            return Err(TooLarge::Variable { name: name.to_owned(), bytes });
        }
        if bytes > largest.1 {
            largest = (name, bytes);
        }
        sum = sum.saturating_add(bytes + OVERHEAD_BYTES);
    }
    if sum > LARGEST_BYTES { Err(TooLarge::Sum { bytes: sum, largest: largest.0.to_owned() }) } else { Ok(()) }
}

/// Reports the steps whose environment is too large already as it is written. What an expression stands for is for the run.
pub(crate) fn check(plan: &Plan, findings: &mut Findings) {
    for stage in &plan.stages.nodes {
        let stage = &stage.item;
        if report(stage.env.iter(), &stage.location, findings) {
            steps(&stage.env, &stage.steps, findings);
        }
    }
}

fn steps(of_stage: &[EnvVar], graph: &Graph<StepNode>, findings: &mut Findings) {
    for node in &graph.nodes {
        match &node.item {
            StepNode::Group(group) => steps(of_stage, &group.steps, findings),
            StepNode::Step(step) => {
                let own = step.kind.env();
                let inherited = of_stage.iter().filter(|env| own.iter().all(|other| other.name != env.name));
                report(inherited.chain(own), &step.location, findings);
            }
        }
    }
}

/// Returns whether the variables fit.
fn report<'a>(variables: impl Iterator<Item = &'a EnvVar>, place: &Location, findings: &mut Findings) -> bool {
    let sizes = variables.map(|env| {
        let length = if env.value.is_literal() { env.value.text().len() } else { 0 };
        (env.name.as_str(), length)
    });
    match fits(sizes) {
        Ok(()) => true,
        Err(problem) => {
            findings.push(Diagnostic::invalid("environment-too-large", place, problem.to_string()).help(WAY_OUT));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_fits_up_to_the_limits_of_the_system() {
        let most = LARGEST_VARIABLE_BYTES - "V=".len() - 1;
        assert_eq!(fits([("V", most)]), Ok(()));
        let name = || "V".to_owned();
        assert_eq!(fits([("V", most + 1)]), Err(TooLarge::Variable { name: name(), bytes: LARGEST_VARIABLE_BYTES }));
        let many = |count: usize| fits(std::iter::repeat_n(("V", 100_000 - OVERHEAD_BYTES - 2), count));
        assert_eq!(many(18), Ok(()));
        assert_eq!(many(19), Err(TooLarge::Sum { bytes: 1_900_000, largest: name() }));
    }

    #[test]
    fn a_variable_that_no_program_could_be_started_with_is_refused_in_both_dialects() {
        for length in [100_000, 200_000] {
            let value = "x".repeat(length);
            let drone = format!(
                "kind: pipeline\ntype: vm\nname: p\npool: {{use: a}}\nsteps: [{{name: s, commands: [x], environment: {{V: {value}}}}}]"
            );
            let stage = format!(
                "pipeline:\n  name: p\n  stages: [{{stage: {{name: s, type: CI, variables: [{{name: V, type: String, value: {value}}}], spec: {{execution: {{steps: [{{step: {{name: a, type: Run, spec: {{command: x}}}}}}]}}}}}}}}]"
            );
            for text in [drone, stage] {
                let report = crate::load("p.yml", text.as_bytes(), &crate::Options::default()).report;
                let refused = report.diagnostics.iter().filter(|found| found.code == "environment-too-large").count();
                assert_eq!(refused, usize::from(length == 200_000), "{}", report.text(false));
            }
        }
    }
}
