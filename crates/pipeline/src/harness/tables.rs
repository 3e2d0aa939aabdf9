//! The keys of the dialect, after the vendor's published JSON Schema for version 0 and files in the wild.
//! Files are looser than that schema: nothing is required here that the reader can do without.

use kiln_document::schema::{Key, Language, Role, Shape, Table};

use super::caching::CACHING;
use super::step_tables::{
    ACTION, BACKGROUND, FAILURE, GIT_CLONE, GROUP, ON_FAILURE, OUTPUT, PLUGIN, REPEAT, REPORTS, RETRY, RETRY_GROUP,
    RUN, RUN_TESTS, SERVICE, STEP, STRATEGY, TEST, VARIABLE, WHEN_STEP,
};
use super::{build_tables, store_tables, words};
use crate::expr;

use Shape::{Any, Bool, Duration, Enum, List, Of, OneOrMore, Text};

/// How these tables are walked.
pub static LANGUAGE: Language<'static> = Language {
    expression_marker: Some(expr::MARKER),
    ignores_unknown: false,
    tables: &[
        &PIPELINE,
        &STAGE,
        &STAGE_SPEC,
        &GROUP,
        &STEP,
        &RUN,
        &BACKGROUND,
        &PLUGIN,
        &RUN_TESTS,
        &TEST,
        &GIT_CLONE,
        &SERVICE,
        &build_tables::BUILD,
        &store_tables::SAVE,
        &store_tables::RESTORE,
        &store_tables::UPLOAD,
        &WHEN_STEP,
        &WHEN_STAGE,
        &STRATEGY,
        &REPEAT,
        &FAILURE,
        &ON_FAILURE,
        &ACTION,
        &RETRY,
        &RETRY_GROUP,
        &POOL,
        &PLATFORM,
        &VARIABLE,
        &OUTPUT,
        &REPORTS,
    ],
};

/// The file. What stands beside the pipeline, such as `version:`, changes nothing that is carried out.
pub static FILE: Table = Table::open("file", &[Key::read("pipeline", Of(&PIPELINE), "The pipeline.")]);

/// `pipeline`
pub static PIPELINE: Table = Table::closed(
    "pipeline",
    &[
        Key::read("name", Text, "What people call it."),
        Key::read("identifier", Text, "Name for expressions: letters, digits and `_`."),
        Key::read("stages", List(&Any), "Stages in order, each on a machine of its own."),
        Key::read("variables", List(&Of(&VARIABLE)), "Values for `<+pipeline.variables.name>`."),
        Key::read("timeout", Duration, "Ends the run when it passes."),
        Key::new("properties", Of(&PROPERTIES), Role::Describes, "Where the source comes from."),
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
pub static PROPERTIES: Table =
    Table::open("`properties`", &[Key::new("ci", Of(&PROPERTIES_CI), Role::Describes, "Settings of build stages.")]);

/// `pipeline.properties.ci`
pub static PROPERTIES_CI: Table = Table::open(
    "`properties.ci`",
    &[Key::new(
        "codebase",
        Of(&CODEBASE),
        Role::Describes,
        "The repository; a local run takes the working tree instead.",
    )],
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
    "item of `stages`",
    &[
        Key::read("stage", Any, "One stage."),
        Key::read("parallel", List(&Any), "Stages that run at the same time."),
        Key::read("insert", Any, "A place where a template lets stages be put in."),
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
        Key::read(
            "variables",
            List(&Of(&VARIABLE)),
            "Values for `<+stage.variables.name>`, and environment of the steps.",
        ),
        Key::read("pipelineVariables", List(&Of(&VARIABLE)), "Further variables."),
        Key::read("when", Of(&WHEN_STAGE), "Whether the stage runs.").or_expression(),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the stage, each on a machine of its own.")
            .or_expression(),
        Key::read("failureStrategies", List(&Of(&FAILURE)), "What happens when a step fails."),
        Key::read("timeout", Duration, "Ends the stage when it passes."),
        Key::read("template", Any, "A template this stage is made from."),
        Key::unsupported("skipCondition", "write the condition into `when`"),
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
        Key::read("sharedPaths", OneOrMore(&Text), "Paths that the containers of the stage share."),
        Key::read("caching", Of(&CACHING), "Cache Intelligence: a cache around the steps."),
        Key::no_effect("buildIntelligence", Any, "Kiln keeps no build cache between runs yet"),
        Key::no_effect("slsa_provenance", Any, "Kiln writes no provenance yet"),
        Key::read("serviceDependencies", List(&Any), "Containers that run beside the steps from the start."),
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
        Key::no_effect("harnessImageConnectorRef", Any, words::LOCAL),
        Key::no_effect("initTimeout", Duration, words::LOCAL),
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
        Key::read("imagePullPolicy", Enum(words::PULL_POLICIES), "When images are pulled."),
        Key::describes("automountServiceAccountToken"),
        Key::describes("annotations"),
        Key::describes("labels"),
        Key::describes("nodeSelector"),
        Key::read("containerSecurityContext", Any, "What all containers may do: `privileged`, `runAsUser`."),
        Key::describes("hostNames"),
        Key::describes("initTimeout"),
        Key::describes("priorityClassName"),
        Key::read("runAsUser", Text, "Numeric user of all containers."),
        Key::describes("serviceAccountName"),
        Key::describes("tolerations"),
        Key::describes("podSpecOverlay"),
        Key::describes("resources"),
        Key::describes("identifier"),
        Key::read("volumes", List(&Any), "Volumes that all containers see."),
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

/// `when` of a stage.
pub static WHEN_STAGE: Table = Table::closed(
    "stage's `when`",
    &[
        Key::read("pipelineStatus", Enum(words::STATES), "State of the pipeline so far."),
        Key::read("condition", Text, "An expression that must be true."),
    ],
);
