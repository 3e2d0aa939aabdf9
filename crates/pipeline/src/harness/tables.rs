//! The keys of the dialect, after the vendor's published JSON Schema for version 0 and files in the wild.
//! Files are looser than that schema: nothing is required here that the reader can do without.

use super::words;
use crate::schema::{Key, Language, Shape, Table};

use Shape::{Any, Bool, Duration, Enum, List, Map, Number, Of, OneOrMore, Text};

/// How these tables are walked.
pub static LANGUAGE: Language = Language {
    expressions: true,
    ignores_unknown: false,
    tables: &[
        &PIPELINE, &STAGE, &STAGE_SPEC, &GROUP, &STEP, &RUN, &BACKGROUND, &PLUGIN, &WHEN_STEP, &WHEN_STAGE, &STRATEGY,
        &REPEAT, &FAILURE, &ON_FAILURE, &ACTION, &RETRY, &POOL, &PLATFORM, &VARIABLE, &OUTPUT, &REPORTS,
    ],
};

const ELSEWHERE: &str = "Kiln gives every step the whole machine of its stage";
const LOCAL: &str = "the stage runs on a machine of Kiln's own";

/// The file.
pub static FILE: Table = Table::closed("file", &[Key::read("pipeline", Of(&PIPELINE), "The pipeline.")]);

/// `pipeline`
pub static PIPELINE: Table = Table::closed(
    "pipeline",
    &[
        Key::read("name", Text, "What people call it."),
        Key::read("identifier", Text, "Name for expressions: letters, digits and `_`."),
        Key::read("stages", List(&Any), "Stages in order, each on a machine of its own."),
        Key::read("variables", List(&Of(&VARIABLE)), "Values for `<+pipeline.variables.name>`."),
        Key::read("timeout", Duration, "Ends the run when it passes."),
        Key::read("properties", Of(&PROPERTIES), "Where the source comes from."),
        Key::read("template", Any, "A template this pipeline is made from."),
        Key::describes("description"),
        Key::describes("tags"),
        Key::describes("icon"),
        Key::describes("orgIdentifier"),
        Key::describes("projectIdentifier"),
        Key::describes("allowStageExecutions"),
        Key::describes("fixedInputsOnRerun"),
        Key::describes("storeType"),
        Key::describes("connectorRef"),
        Key::describes("repo"),
        Key::describes("branch"),
        Key::describes("gitMetadata"),
        Key::no_effect("delegateSelectors", Any, "there are no delegates in a local run"),
        Key::no_effect("flowControl", Any, "barriers are between runs of a Harness account"),
        Key::no_effect("notificationRules", Any, "Kiln sends no notifications"),
    ],
);

/// `pipeline.properties`
pub static PROPERTIES: Table = Table::open(
    "`properties`",
    &[Key::read("ci", Of(&PROPERTIES_CI), "Settings of build stages.")],
);

/// `pipeline.properties.ci`
pub static PROPERTIES_CI: Table = Table::open(
    "`properties.ci`",
    &[Key::read("codebase", Of(&CODEBASE), "The repository; a local run takes the working tree instead.")],
);

/// `pipeline.properties.ci.codebase`: a local run takes the working tree, so nothing of it is carried out.
pub static CODEBASE: Table = Table::open(
    "`codebase`",
    &[
        Key::describes("connectorRef"),
        Key::describes("repoName"),
        Key::describes("projectName"),
        Key::describes("build"),
        Key::describes("depth"),
        Key::describes("prCloneStrategy"),
        Key::describes("resources"),
        Key::describes("sslVerify"),
        Key::describes("lfs"),
        Key::describes("debug"),
        Key::describes("fetchTags"),
        Key::describes("sparseCheckout"),
        Key::describes("submoduleStrategy"),
        Key::describes("cloneDirectory"),
        Key::describes("preFetchCommand"),
        Key::describes("persistCredentials"),
        Key::describes("outputFilePathsContent"),
    ],
);

/// An item of `stages` or `steps`, whatever it wraps.
pub static STAGE_ITEM: Table = Table::closed(
    "list of stages",
    &[
        Key::read("stage", Any, "One stage."),
        Key::read("parallel", List(&Any), "Stages that run at the same time."),
        Key::read("insert", Any, "A place where a template lets stages be put in."),
    ],
);

/// An item of `steps`.
pub static STEP_ITEM: Table = Table::closed(
    "list of steps",
    &[
        Key::read("step", Any, "One step."),
        Key::read("stepGroup", Any, "Steps that share conditions and strategies."),
        Key::read("parallel", List(&Any), "Steps that run at the same time."),
        Key::read("insert", Any, "A place where a template lets steps be put in."),
    ],
);

/// A build stage.
pub static STAGE: Table = Table::closed(
    "stage",
    &[
        Key::read("name", Text, "What people call it."),
        Key::read("identifier", Text, "Name for expressions: letters, digits and `_`."),
        Key::read("type", Text, "Kind of stage."),
        Key::read("spec", Any, "What the stage does."),
        Key::read("variables", List(&Of(&VARIABLE)), "Values for `<+stage.variables.name>`, and environment of the steps."),
        Key::read("pipelineVariables", List(&Of(&VARIABLE)), "Further variables."),
        Key::read("when", Of(&WHEN_STAGE), "Whether the stage runs."),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the stage, each on a machine of its own."),
        Key::read("failureStrategies", List(&Of(&FAILURE)), "What happens when a step fails."),
        Key::read("timeout", Duration, "Ends the stage when it passes."),
        Key::read("template", Any, "A template this stage is made from."),
        Key::unsupported("skipCondition", "a skip condition; `when` says the same"),
        Key::describes("description"),
        Key::describes("tags"),
        Key::no_effect("delegateSelectors", Any, "there are no delegates in a local run"),
        Key::no_effect("runMode", Any, "a local run starts every stage by itself"),
    ],
);

/// `spec` of a build stage.
pub static STAGE_SPEC: Table = Table::closed(
    "build stage's `spec`",
    &[
        Key::read("execution", Of(&EXECUTION), "The steps."),
        Key::read("infrastructure", Of(&INFRASTRUCTURE), "The machine."),
        Key::read("platform", Of(&PLATFORM), "Operating system and processor."),
        Key::read("runtime", Of(&RUNTIME), "Where the platform's machine comes from."),
        Key::read("cloneCodebase", Bool, "Whether the source tree is put into the machine."),
        Key::no_effect("sharedPaths", Any, "the steps of a stage share the whole file system"),
        Key::no_effect("caching", Any, "Kiln keeps no cache between runs yet"),
        Key::no_effect("buildIntelligence", Any, "Kiln keeps no build cache between runs yet"),
        Key::no_effect("slsa_provenance", Any, "Kiln writes no provenance yet"),
        Key::unsupported("serviceDependencies", "service containers; a `Background` step on the host is"),
    ],
);

/// `execution`
pub static EXECUTION: Table = Table::closed(
    "`execution`",
    &[
        Key::read("steps", List(&Any), "Steps in order."),
        Key::no_effect("rollbackSteps", Any, "a build stage is never rolled back"),
    ],
);

/// `infrastructure`
pub static INFRASTRUCTURE: Table = Table::closed(
    "`infrastructure`",
    &[
        Key::read("type", Enum(words::INFRASTRUCTURES), "Where the machine comes from."),
        Key::read("spec", Any, "More about it."),
        Key::read("useFromStage", Text, "Identifier of a stage whose infrastructure is taken."),
    ],
);

/// `infrastructure.spec` of type `VM`
pub static VM: Table = Table::closed(
    "VM infrastructure",
    &[Key::read("type", Enum(&["Pool"]), "Kind of machine."), Key::read("spec", Of(&POOL), "The pool.")],
);

/// `infrastructure.spec.spec` of type `VM`
pub static POOL: Table = Table::closed(
    "pool",
    &[
        Key::read("poolName", Text, "The pool's name in the runner's pool file."),
        Key::read("identifier", Text, "Older spelling of `poolName`."),
        Key::read("os", Enum(words::SYSTEMS), "Operating system."),
        Key::no_effect("harnessImageConnectorRef", Any, LOCAL),
        Key::no_effect("initTimeout", Duration, LOCAL),
    ],
);

/// `infrastructure.spec` of the other types, where only the platform is taken.
pub static MACHINE: Table = Table::open(
    "infrastructure's `spec`",
    &[
        Key::read("os", Enum(words::SYSTEMS), "Operating system."),
        Key::read("platform", Of(&PLATFORM), "Operating system and processor."),
        Key::describes("connectorRef"),
        Key::describes("namespace"),
        Key::describes("harnessImageConnectorRef"),
        Key::describes("imagePullPolicy"),
        Key::describes("automountServiceAccountToken"),
        Key::describes("annotations"),
        Key::describes("labels"),
        Key::describes("nodeSelector"),
        Key::describes("containerSecurityContext"),
        Key::describes("hostNames"),
        Key::describes("initTimeout"),
        Key::describes("priorityClassName"),
        Key::describes("runAsUser"),
        Key::describes("serviceAccountName"),
        Key::describes("tolerations"),
        Key::describes("podSpecOverlay"),
        Key::describes("resources"),
        Key::describes("identifier"),
        Key::no_effect("volumes", Any, LOCAL),
    ],
);

/// `platform`
pub static PLATFORM: Table = Table::closed(
    "`platform`",
    &[
        Key::read("os", Enum(words::SYSTEMS), "Operating system."),
        Key::read("arch", Enum(words::PROCESSORS), "Processor."),
    ],
);

/// `runtime`
pub static RUNTIME: Table = Table::closed(
    "`runtime`",
    &[
        Key::read("type", Enum(words::RUNTIMES), "Where the machine comes from; Kiln takes a local one."),
        Key::describes("spec"),
    ],
);

/// An item of `variables`.
pub static VARIABLE: Table = Table::closed(
    "variable",
    &[
        Key::read("name", Text, "Its name."),
        Key::read("type", Enum(&["String", "Number", "Secret"]), "What it holds."),
        Key::read("value", Text, "Its value; `<+input>` is asked for before the run."),
        Key::read("default", Text, "Its value when none is given."),
        Key::describes("description"),
        Key::describes("required"),
        Key::describes("metadata"),
    ],
);

/// A step.
pub static STEP: Table = Table::closed(
    "step",
    &[
        Key::read("name", Text, "What people call it."),
        Key::read("identifier", Text, "Name for expressions: letters, digits and `_`."),
        Key::read("type", Text, "Kind of step."),
        Key::read("spec", Any, "What the step does."),
        Key::read("when", Of(&WHEN_STEP), "Whether the step runs."),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the step on the same machine."),
        Key::read("failureStrategies", List(&Of(&FAILURE)), "What happens when it fails."),
        Key::read("timeout", Duration, "Ends the step when it passes."),
        Key::read("template", Any, "A template this step is made from."),
        Key::describes("description"),
        Key::describes("tags"),
        Key::describes("contextType"),
        Key::no_effect("delegateSelectors", Any, "there are no delegates in a local run"),
        Key::no_effect("enforce", Any, "policies are evaluated by the Harness platform"),
    ],
);

/// A step group.
pub static GROUP: Table = Table::closed(
    "step group",
    &[
        Key::read("name", Text, "What people call it."),
        Key::read("identifier", Text, "Name for expressions: letters, digits and `_`."),
        Key::read("steps", List(&Any), "Steps in order."),
        Key::read("variables", List(&Of(&VARIABLE)), "Values for `<+stepGroup.variables.name>`."),
        Key::read("when", Of(&WHEN_STEP), "Whether the group runs."),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the group on the same machine."),
        Key::read("failureStrategies", List(&Of(&FAILURE)), "What happens when a step of it fails."),
        Key::read("timeout", Duration, "Ends the group when it passes."),
        Key::read("template", Any, "A template this group is made from."),
        Key::describes("description"),
        Key::describes("tags"),
        Key::no_effect("delegateSelectors", Any, "there are no delegates in a local run"),
        Key::no_effect("sharedPaths", Any, "the steps of a stage share the whole file system"),
        Key::no_effect("stepGroupInfra", Any, LOCAL),
        Key::no_effect("enforce", Any, "policies are evaluated by the Harness platform"),
    ],
);

/// `spec` of a `Run` step.
pub static RUN: Table = Table::closed(
    "`Run` step's `spec`",
    &[
        Key::read("shell", Enum(words::SHELLS), "What reads the command."),
        Key::read("command", Text, "The script."),
        Key::read("image", Text, "Container image; without one the step runs on the host."),
        Key::read("envVariables", Map(&Text), "Environment of the step."),
        Key::read("outputVariables", List(&Of(&OUTPUT)), "Variables of the script that later steps can use."),
        Key::read("reports", Of(&REPORTS), "Test reports."),
        Key::read("runAsUser", Text, "Numeric user."),
        Key::unsupported("outputAlias", "output aliases"),
        Key::describes("connectorRef"),
        Key::describes("registryRef"),
        Key::describes("baseImageConnectorRefs"),
        Key { name: "imagePullPolicy", shape: Enum(words::PULL_POLICIES), role: crate::schema::Role::Describes, doc: "" },
        Key::no_effect("privileged", Bool, "only a container can be privileged"),
        Key::no_effect("resources", Any, ELSEWHERE),
    ],
);

/// `spec` of a `Background` step.
pub static BACKGROUND: Table = Table::closed(
    "`Background` step's `spec`",
    &[
        Key::read("shell", Enum(words::SHELLS), "What reads the command."),
        Key::read("command", Text, "The script."),
        Key::read("image", Text, "Container image; without one the step runs on the host."),
        Key::read("entrypoint", OneOrMore(&Text), "Entry point of the image."),
        Key::read("envVariables", Map(&Text), "Environment of the step."),
        Key::read("reports", Of(&REPORTS), "Test reports."),
        Key::read("runAsUser", Text, "Numeric user."),
        Key::describes("connectorRef"),
        Key::describes("registryRef"),
        Key::describes("baseImageConnectorRefs"),
        Key { name: "imagePullPolicy", shape: Enum(words::PULL_POLICIES), role: crate::schema::Role::Describes, doc: "" },
        Key::no_effect("portBindings", Any, "a program on the host opens its ports itself"),
        Key::no_effect("privileged", Bool, "only a container can be privileged"),
        Key::no_effect("resources", Any, ELSEWHERE),
    ],
);

/// `spec` of a `Plugin` step.
pub static PLUGIN: Table = Table::closed(
    "`Plugin` step's `spec`",
    &[
        Key::read("image", Text, "The plugin's image."),
        Key::read("uses", Text, "The plugin's repository, for one that needs no image."),
        Key::read("settings", Map(&Any), "Settings; the plugin finds them as `PLUGIN_*`."),
        Key::read("entrypoint", OneOrMore(&Text), "Entry point of the image."),
        Key::read("envVariables", Map(&Text), "Environment of the step."),
        Key::read("outputVariables", List(&Of(&OUTPUT)), "Values that later steps can use."),
        Key::read("reports", Of(&REPORTS), "Test reports."),
        Key::read("runAsUser", Text, "Numeric user."),
        Key::describes("connectorRef"),
        Key::describes("registryRef"),
        Key::describes("baseImageConnectorRefs"),
        Key { name: "imagePullPolicy", shape: Enum(words::PULL_POLICIES), role: crate::schema::Role::Describes, doc: "" },
        Key::describes("privileged"),
        Key::describes("resources"),
    ],
);

/// `when` of a step or group.
pub static WHEN_STEP: Table = Table::closed(
    "step's `when`",
    &[
        Key::read("stageStatus", Enum(words::STATES), "State of the stage so far."),
        Key::read("condition", Text, "An expression that must be true."),
    ],
);

/// `when` of a stage.
pub static WHEN_STAGE: Table = Table::closed(
    "stage's `when`",
    &[
        Key::read("pipelineStatus", Enum(words::STATES), "State of the pipeline so far."),
        Key::read("condition", Text, "An expression that must be true."),
    ],
);

/// `strategy`
pub static STRATEGY: Table = Table::closed(
    "`strategy`",
    &[
        Key::read("matrix", Map(&Any), "Axes and their values, `exclude`, `maxConcurrency`, `nodeName`."),
        Key::read("parallelism", Number, "How many copies."),
        Key::read("repeat", Of(&REPEAT), "One run per item, or a number of runs."),
        Key::read("maxConcurrency", Number, "How many at the same time."),
        Key::read("onFailure", Enum(&["RunAll", "SkipQueued"]), "Whether runs that wait are skipped after a failure."),
        Key::unsupported("when", "a condition on the strategy itself"),
    ],
);

/// `strategy.repeat`
pub static REPEAT: Table = Table::closed(
    "`repeat`",
    &[
        Key::read("times", Number, "How many runs."),
        Key::read("items", OneOrMore(&Any), "One run each; `<+repeat.item>`."),
        Key::read("maxConcurrency", Number, "How many at the same time."),
        Key::read("start", Number, "Where in the items to begin, from 0."),
        Key::read("end", Number, "Where in the items to end."),
        Key::read("unit", Enum(&["Percentage", "Count"]), "What `start` and `end` count."),
        Key::read("nodeName", Text, "Pattern of the runs' names."),
        Key::unsupported("partitionSize", "partitions of items"),
    ],
);

/// An item of `failureStrategies`.
pub static FAILURE: Table =
    Table::closed("failure strategy", &[Key::read("onFailure", Of(&ON_FAILURE), "Which failures, and what is done.")]);

/// `onFailure`
pub static ON_FAILURE: Table = Table::closed(
    "`onFailure`",
    &[
        Key::read("errors", List(&Enum(words::ERRORS)), "Kinds of failure."),
        Key::read("action", Of(&ACTION), "What is done."),
    ],
);

/// `action`
pub static ACTION: Table = Table::closed(
    "failure action",
    &[Key::read("type", Enum(words::ACTIONS), "What is done."), Key::read("spec", Any, "How it is done.")],
);

/// `spec` of the action `Retry`
pub static RETRY: Table = Table::closed(
    "`Retry` action's `spec`",
    &[
        Key::read("retryCount", Number, "How many more times."),
        Key::read("retryIntervals", List(&Duration), "Waits before the retries."),
        Key::read("onRetryFailure", Of(&ON_RETRY_FAILURE), "What is done when the last retry failed."),
        Key::unsupported("condition", "a condition on the retry"),
    ],
);

/// `onRetryFailure`
pub static ON_RETRY_FAILURE: Table =
    Table::closed("`onRetryFailure`", &[Key::read("action", Of(&ACTION), "What is done.")]);

/// An item of `outputVariables`.
pub static OUTPUT: Table = Table::closed(
    "output variable",
    &[
        Key::read("name", Text, "Its name for expressions."),
        Key::read("type", Enum(&["String", "Number", "Secret"]), "Whether it is masked."),
        Key::read("value", Text, "The script's variable, when it has another name."),
        Key::describes("description"),
        Key::describes("required"),
    ],
);

/// `reports`
pub static REPORTS: Table = Table::closed(
    "`reports`",
    &[
        Key::read("type", Enum(&["JUnit"]), "Format of the reports."),
        Key::read("spec", Of(&REPORT_SPEC), "Where they are."),
    ],
);

/// `reports.spec`
pub static REPORT_SPEC: Table =
    Table::closed("`reports.spec`", &[Key::read("paths", OneOrMore(&Text), "Globs of report files.")]);
