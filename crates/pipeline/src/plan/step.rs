//! One step, and what it does.

use kiln_document::diagnostic::Location;

use super::{
    BuildImage, Container, EnvVar, FailureStrategy, GitClone, Graph, Limit, Plugin, RestoreCache, SaveCache, StepNode,
    Strategy, Upload, When,
};
use crate::expr::Template;

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Identifier, unique in its stage or group.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it stands in the file.
    pub location: Location,
    /// Whether it runs.
    pub when: When,
    /// Matrix, repeat or parallelism over the step, on the same instance.
    pub strategy: Option<Strategy>,
    /// Strategies that come first when the step fails.
    pub failure: Vec<FailureStrategy>,
    /// Time after which the step ends.
    pub timeout: Option<Limit>,
    /// The exit code with which the step passes and ends its stage: what has not begun is skipped.
    pub ends_well: Option<i32>,
    /// What it does.
    pub kind: StepKind,
}

impl Graph<StepNode> {
    /// Returns whether any of the steps runs in a container.
    #[must_use]
    pub fn has_containers(&self) -> bool {
        self.nodes.iter().any(|node| match &node.item {
            StepNode::Step(step) => step.kind.container().is_some(),
            StepNode::Group(group) => group.steps.has_containers(),
        })
    }
}

/// What a step does. Whatever carries out a plan has one place that turns a kind into work for the instance.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Runs a script, or a container's own program, to its end.
    Run(Run),
    /// Runs one beside the later steps; it ends with the stage (`Background`, `detach`, `services`).
    Background(Run),
    /// Runs a plugin's container.
    Plugin(Plugin),
    /// Runs tests by a script that holds the whole command line.
    RunTests(Run),
    /// Puts a repository into the instance.
    GitClone(GitClone),
    /// Builds a container image and pushes it.
    BuildImage(BuildImage),
    /// Keeps files for later runs.
    SaveCache(SaveCache),
    /// Brings back files that an earlier run kept.
    RestoreCache(RestoreCache),
    /// Puts files into a store.
    Upload(Upload),
}

impl StepKind {
    /// Returns whether the step goes on beside the later ones.
    #[must_use]
    pub fn is_background(&self) -> bool {
        matches!(self, Self::Background(_))
    }

    /// Returns the process that the step is, if it is one.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        match self {
            Self::Run(run) | Self::Background(run) | Self::RunTests(run) => Some(&run.process),
            Self::Plugin(plugin) => Some(&plugin.process),
            Self::GitClone(clone) => Some(&clone.process),
            Self::BuildImage(build) => Some(&build.process),
            Self::SaveCache(_) | Self::RestoreCache(_) | Self::Upload(_) => None,
        }
    }

    /// Returns the container that the step runs in, if it does.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        match self {
            Self::Run(run) | Self::Background(run) | Self::RunTests(run) => run.container.as_ref(),
            Self::Plugin(plugin) => Some(&plugin.container),
            Self::GitClone(_) | Self::BuildImage(_) | Self::SaveCache(_) | Self::RestoreCache(_) | Self::Upload(_) => {
                None
            }
        }
    }

    /// Returns the variables that the file gives the step.
    #[must_use]
    pub fn env(&self) -> &[EnvVar] {
        self.process().map_or(&[], |process| &process.env)
    }
}

/// A script, on the host or in a container.
#[derive(Debug, Clone)]
pub struct Run {
    /// What reads the script.
    pub shell: Shell,
    /// The script; may hold expressions. Without one, which only a container can be, the image's own program runs.
    pub script: Option<Template>,
    /// The container that it runs in; the host when there is none.
    pub container: Option<Container>,
    /// What goes with it.
    pub process: Process,
}

/// What goes with the process that a step is.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Environment of this step, over the stage's.
    pub env: Vec<EnvVar>,
    /// Values that the script leaves for later steps and stages.
    pub outputs: Vec<OutputVar>,
    /// JUnit report paths: globs, relative to the working directory.
    pub reports: Vec<Template>,
    /// Absolute, or relative to the workspace; the workspace itself when absent.
    pub working_dir: Option<Template>,
    /// The user that it runs as, when the file asks for one: a numeric id, or in a container also a name.
    pub user: Option<String>,
}

/// What reads a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `sh -c`, stops at the first failing command where the dialect says so.
    Sh,
    /// `bash -c`
    Bash,
    /// `python3 -c`
    Python,
    /// `pwsh -Command`
    Pwsh,
    /// `powershell -Command`
    Powershell,
}

/// A value that a step leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputVar {
    /// What later expressions call it.
    pub name: String,
    /// The variable of the script that holds it.
    pub value: String,
    /// Whether its value is masked from then on.
    pub secret: bool,
}
