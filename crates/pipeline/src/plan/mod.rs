//! The plan: what a pipeline file of either dialect says, checked, in the one shape that is carried out.
//!
//! Order is a graph: an item starts when everything it `needs` has ended, whatever the end was; whether it then
//! runs is for its [`When`] to say. A list is the graph in which each item needs the one before it.
//! Matrices are not expanded here, because their axes may be expressions over earlier outputs:
//! [`crate::strategy::expand`] does it when the item's turn has come.

mod container;
mod images;
mod sources;
mod step;
mod stores;

use std::time::Duration;

use kiln_document::diagnostic::Location;

use crate::expr::Template;

pub use container::*;
pub use images::*;
pub use sources::*;
pub use step::*;
pub use stores::*;

/// The language that a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `pipeline:` at the top (Harness CI v0).
    Harness,
    /// `kind: pipeline` documents.
    Drone,
}

/// Which items a condition on the state of earlier items looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Those that the item needs, directly or through others.
    Needed,
    /// All of the same graph that have ended.
    Ended,
}

impl Dialect {
    /// Returns which items a condition on the state of earlier items looks at. Drone asks for the state of the whole
    /// pipeline, or of the whole build, when an item's turn comes.
    #[must_use]
    pub fn sight(self) -> Sight {
        match self {
            Dialect::Harness => Sight::Needed,
            Dialect::Drone => Sight::Ended,
        }
    }
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What people call it.
    pub name: String,
    /// Identifier for expressions; the name when the dialect has none.
    pub id: String,
    /// The language it was written in.
    pub dialect: Dialect,
    /// Time after which the whole run ends.
    pub timeout: Option<Limit>,
    /// `pipeline.variables`.
    pub variables: Vec<Variable>,
    /// The stages, each on an instance of its own.
    pub stages: Graph<Stage>,
}

/// A time that the file gives: a limit, or a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// How long.
    pub time: Duration,
    /// As the file has it, for messages: `90s`.
    pub written: String,
}

/// Items and their order. `needs` only ever names smaller indices, so the list is already in a valid order.
#[derive(Debug, Clone)]
pub struct Graph<T> {
    /// The items in file order.
    pub nodes: Vec<Node<T>>,
}

/// One item and the indices (into the same graph) that must have ended before it starts.
#[derive(Debug, Clone)]
pub struct Node<T> {
    /// The item.
    pub item: T,
    /// Indices smaller than this node's own.
    pub needs: Vec<usize>,
}

/// One stage: one instance, its steps, then the instance is destroyed.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Identifier, unique in the plan.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it stands in the file.
    pub location: Location,
    /// What kind of instance it asks for.
    pub pool: PoolRequest,
    /// Whether the source tree is put into the instance (`cloneCodebase`, Drone's `clone`).
    pub workspace: bool,
    /// Absolute path of the source tree in the instance, also the steps' default directory.
    pub workspace_dir: String,
    /// Absolute path that containers see of the instance: the source tree's directory, or one above it.
    pub workspace_base: String,
    /// Volumes that its containers can see.
    pub volumes: Vec<Volume>,
    /// Cache Intelligence, where the file asks for it.
    pub cache: Option<StageCache>,
    /// `stage.variables`.
    pub variables: Vec<Variable>,
    /// Environment of every step of the stage.
    pub env: Vec<EnvVar>,
    /// Whether it runs.
    pub when: When,
    /// Matrix, repeat or parallelism: each iteration is a stage on an instance of its own.
    pub strategy: Option<Strategy>,
    /// Strategies for steps that fail and have no matching strategy of their own.
    pub failure: Vec<FailureStrategy>,
    /// Time after which the stage ends.
    pub timeout: Option<Limit>,
    /// What runs in the instance.
    pub steps: Graph<StepNode>,
}

/// The instance a stage asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRequest {
    /// The pool's name where the file names one.
    pub name: Option<String>,
    /// Operating system, in the pool file's spelling.
    pub os: Os,
    /// Processor, in the pool file's spelling.
    pub arch: Arch,
}

/// Operating systems of the pool file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Os {
    /// `linux`
    #[default]
    Linux,
    /// `windows`
    Windows,
    /// `darwin`
    Darwin,
}

/// Processors of the pool file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arch {
    /// `amd64`
    #[default]
    Amd64,
    /// `arm64`
    Arm64,
    /// `arm`
    Arm,
    /// `386`
    I386,
    /// `ppc64le`
    Ppc64le,
    /// `s390x`
    S390x,
    /// `riscv64`
    Riscv64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Amd64, Self::Arm64, Self::Arm, Self::I386, Self::Ppc64le, Self::S390x, Self::Riscv64];

    /// Returns its word in a pool file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Arm => "arm",
            Self::I386 => "386",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// A step, or a group of steps with its own conditions and strategies.
#[derive(Debug, Clone)]
pub enum StepNode {
    /// One step.
    Step(Box<Step>),
    /// `stepGroup`.
    Group(Box<Group>),
}

/// `stepGroup`: steps that share a condition, a strategy or failure strategies.
#[derive(Debug, Clone)]
pub struct Group {
    /// Identifier, unique in its stage.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it stands in the file.
    pub location: Location,
    /// `stepGroup.variables`.
    pub variables: Vec<Variable>,
    /// Whether it runs.
    pub when: When,
    /// Matrix, repeat or parallelism over the whole group, on the same instance.
    pub strategy: Option<Strategy>,
    /// Strategies that come after those of the steps and before those of the stage.
    pub failure: Vec<FailureStrategy>,
    /// The steps.
    pub steps: Graph<StepNode>,
}

/// `NAME=value`; values may hold expressions and secrets.
#[derive(Debug, Clone)]
pub struct EnvVar {
    /// The variable's name.
    pub name: String,
    /// Its value.
    pub value: Template,
}

/// A declared variable.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; an `<+input>` is to be given by the caller before the run.
    pub value: Template,
    /// Whether its value is masked.
    pub secret: bool,
    /// Where it stands in the file.
    pub location: Location,
}

/// The conditions under which an item runs. They are evaluated when everything it needs has ended.
#[derive(Debug, Clone, Default)]
pub struct When {
    /// The state of earlier items that it takes.
    pub status: StatusFilter,
    /// Further conditions, all of which must hold.
    pub conditions: Vec<Condition>,
}

/// The state of the items before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusFilter {
    /// Nothing before has failed.
    #[default]
    Success,
    /// Something before has failed.
    Failure,
    /// Always.
    Any,
}

/// One condition.
#[derive(Debug, Clone)]
pub enum Condition {
    /// An expression that must be true (Harness).
    Expr(Template),
    /// Globs over one fact of the build (Drone's `when` and `trigger`).
    Match(Match),
}

/// Globs over one fact of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// `branch`, `event`, `ref`, `repo`, `instance`, `target`, `cron`, `action`.
    pub fact: String,
    /// One of these must match; empty means any.
    pub include: Vec<String>,
    /// None of these may match.
    pub exclude: Vec<String>,
}

/// Several runs of one item.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// How many and with what values.
    pub kind: StrategyKind,
    /// How many at the same time; all when absent.
    pub max_concurrency: Option<Template>,
    /// Whether runs that wait are skipped once one of the runs has failed.
    pub skip_queued: bool,
    /// Where it stands in the file.
    pub location: Location,
}

/// How a strategy multiplies its item.
#[derive(Debug, Clone)]
pub enum StrategyKind {
    /// Every combination of the axes but the excluded ones.
    Matrix {
        /// Axis name and values, in file order.
        axes: Vec<(String, Axis)>,
        /// Combinations left out: all the named axes must be equal.
        exclude: Vec<Vec<(String, Template)>>,
        /// Pattern of the iterations' names.
        node_name: Option<Template>,
    },
    /// An `<+input>` in the place of the whole strategy or matrix, for which nothing is given: there are no runs yet.
    Input {
        /// `strategy` or `matrix`.
        what: &'static str,
        /// The input.
        value: Template,
    },
    /// `parallelism: N`: N copies, told apart by `<+strategy.iteration>`.
    Parallelism(Template),
    /// `repeat.times`: N copies.
    Times(Template),
    /// `repeat.items`: one per item, `<+repeat.item>`, or one per part of them, `<+repeat.partition>`.
    Items {
        /// The items.
        items: Axis,
        /// What is taken of them.
        cut: Cut,
    },
}

/// What a repetition takes of its items. Numbers count items, or hundredths of them.
#[derive(Debug, Clone)]
pub enum Cut {
    /// All of them, one by one.
    All,
    /// Those from `start`, counted from 0, up to and without `end`, one by one.
    Slice {
        /// Absent for the first item.
        start: Option<Template>,
        /// Absent for the end of the list.
        end: Option<Template>,
        /// Whether these are hundredths.
        percent: bool,
    },
    /// All of them, so many at once.
    Parts {
        /// How many.
        size: Template,
        /// Whether these are hundredths.
        percent: bool,
    },
}

/// The values of an axis.
#[derive(Debug, Clone)]
pub enum Axis {
    /// Written out.
    List(Vec<AxisValue>),
    /// An expression that gives a list.
    Expr(Template),
}

/// One value of an axis: a scalar, or an object whose fields expressions can reach (`<+matrix.service.name>`).
#[derive(Debug, Clone)]
pub enum AxisValue {
    /// A plain value.
    Scalar(Template),
    /// Named fields.
    Object(Vec<(String, AxisValue)>),
}

/// What to do about some kinds of failure.
#[derive(Debug, Clone)]
pub struct FailureStrategy {
    /// The kinds it is for.
    pub errors: Vec<ErrorKind>,
    /// What is done.
    pub action: FailureAction,
}

/// Kinds of failure that a local run can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `AllErrors`
    All,
    /// `Timeout`
    Timeout,
    /// The instance failed, not the step (`Connectivity`, `DelegateRestart`, `InfrastructureFailure`).
    Infrastructure,
    /// The step itself failed (`Unknown`, `Verification`, ...).
    Step,
    /// A kind of the dialect that never occurs here (`ApprovalRejection`, `PolicyEvaluationFailure`, ...).
    Never,
}

/// What is done about a failure.
#[derive(Debug, Clone)]
pub enum FailureAction {
    /// The step stays failed; the stage goes on as if it had not.
    Ignore,
    /// The whole run ends.
    Abort,
    /// The stage fails at once: its running steps are cancelled.
    EndStage,
    /// The step counts as passed.
    MarkAsSuccess,
    /// The step is failed and the stage with it (also what rollbacks and manual intervention become locally).
    MarkAsFailure,
    /// The step runs again.
    Retry {
        /// How many more times.
        count: u32,
        /// Waits before each retry; the last one is used again when there are fewer than retries.
        intervals: Vec<Limit>,
        /// What is done when the last retry failed.
        then: Box<FailureAction>,
    },
    /// The step group runs again from its beginning. It is a strategy of groups, and their steps fail by it.
    RetryGroup {
        /// How many more times.
        count: u32,
        /// As for a step.
        intervals: Vec<Limit>,
    },
}
