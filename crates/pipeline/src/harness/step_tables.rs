//! The keys of steps and of what goes around them: groups, strategies, failures.

use kiln_document::schema::{Key, Role, Shape, Table};

use super::words;

use Shape::{Any, Bool, Duration, Enum, List, Map, Number, Of, OneOrMore, Text};

const CONNECTOR: Key = Key::read("connectorRef", Text, "The connector that knows the registry's credentials.");
const PULL: Key = Key::read("imagePullPolicy", Enum(words::PULL_POLICIES), "When the image is pulled.");
const PRIVILEGED: Key = Key::read("privileged", Bool, "Whether the container may do all that the machine's root may.");
const LIMITED: Key = Key::read("resources", Of(&RESOURCES), "What the container may use of the machine.");
/// A key that only a selection of tests has a use for; its reader says so.
const fn selecting(name: &'static str) -> Key {
    Key::new(name, Any, Role::Read, "Kiln runs all tests, and has no use for it.")
}

/// An item of `steps`.
pub static STEP_ITEM: Table = Table::closed(
    "item of `steps`",
    &[
        Key::read("step", Any, "One step."),
        Key::read("stepGroup", Any, "Steps that share conditions and strategies."),
        Key::read("parallel", List(&Any), "Steps that run at the same time."),
        Key::read("insert", Any, "A place where a template lets steps be put in."),
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
        Key::read("when", Of(&WHEN_STEP), "Whether the step runs.").or_expression(),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the step on the same machine.").or_expression(),
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
        Key::read("when", Of(&WHEN_STEP), "Whether the group runs.").or_expression(),
        Key::read("strategy", Of(&STRATEGY), "Several runs of the group on the same machine.").or_expression(),
        Key::read("failureStrategies", List(&Of(&FAILURE)), "What happens when a step of it fails."),
        Key::read("timeout", Duration, "Ends the group when it passes."),
        Key::read("template", Any, "A template this group is made from."),
        Key::describes("description"),
        Key::describes("tags"),
        Key::no_effect("delegateSelectors", Any, "there are no delegates in a local run"),
        Key::read("sharedPaths", OneOrMore(&Text), "Paths that the containers of the stage share."),
        Key::no_effect("stepGroupInfra", Any, words::LOCAL),
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
        Key::unsupported("outputAlias", "later steps read `outputVariables` by the step's identifier"),
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        Key::describes("registryRef"),
        Key::describes("description"),
        Key::describes("baseImageConnectorRefs"),
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
        Key::read("portBindings", Map(&Text), "Ports of the machine that lead to ports of the container."),
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        Key::describes("registryRef"),
        Key::describes("description"),
        Key::describes("baseImageConnectorRefs"),
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
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        Key::describes("registryRef"),
        Key::describes("description"),
        Key::describes("baseImageConnectorRefs"),
    ],
);

/// `resources` of a container.
pub static RESOURCES: Table = Table::closed(
    "`resources`",
    &[
        Key::read("limits", Of(&AMOUNTS), "The most that it may use."),
        Key::read("requests", Of(&AMOUNTS), "What it asks a cluster for."),
    ],
);

/// Amounts of what a machine has.
static AMOUNTS: Table = Table::closed(
    "amounts",
    &[Key::read("memory", Text, "Memory: `500Mi`, `2Gi`."), Key::read("cpu", Text, "Processors: `400m`, `0.5`, `2`.")],
);

/// `spec` of a `RunTests` step.
pub static RUN_TESTS: Table = Table::closed(
    "`RunTests` step's `spec`",
    &[
        Key::read("language", Text, "The language of the tests."),
        Key::read("buildTool", Enum(words::BUILD_TOOLS), "What runs the tests."),
        Key::read("args", Text, "Arguments of the build tool."),
        Key::read("preCommand", Text, "Commands before."),
        Key::read("postCommand", Text, "Commands after."),
        Key::read("shell", Enum(words::SHELLS), "What reads the commands."),
        Key::read("image", Text, "Container image; without one the tests run on the host."),
        Key::read("envVariables", Map(&Text), "Environment of the step."),
        Key::read("outputVariables", List(&Of(&OUTPUT)), "Variables of the script that later steps can use."),
        Key::read("reports", Of(&REPORTS), "Test reports."),
        Key::read("runAsUser", Text, "Numeric user."),
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        selecting("runOnlySelectedTests"),
        selecting("packages"),
        selecting("namespaces"),
        selecting("testAnnotations"),
        selecting("testGlobs"),
        selecting("testRoot"),
        selecting("enableTestSplitting"),
        selecting("testSplitStrategy"),
        selecting("buildEnvironment"),
        selecting("frameworkVersion"),
        selecting("pythonVersion"),
        Key::describes("registryRef"),
        Key::describes("description"),
        Key::describes("baseImageConnectorRefs"),
    ],
);

/// `spec` of a `Test` step.
pub static TEST: Table = Table::closed(
    "`Test` step's `spec`",
    &[
        Key::read("command", Text, "The script that runs the tests."),
        Key::read("shell", Enum(words::SHELLS), "What reads the command."),
        Key::read("image", Text, "Container image; without one the tests run on the host."),
        Key::read("envVariables", Map(&Text), "Environment of the step."),
        Key::read("outputVariables", List(&Of(&OUTPUT)), "Variables of the script that later steps can use."),
        Key::read("reports", Of(&REPORTS), "Test reports."),
        Key::read("runAsUser", Text, "Numeric user."),
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        selecting("intelligenceMode"),
        selecting("globs"),
        selecting("testSplitStrategy"),
        selecting("enableTestSplitting"),
        Key::describes("registryRef"),
        Key::describes("description"),
        Key::describes("baseImageConnectorRefs"),
    ],
);

/// `spec` of a `GitClone` step.
pub static GIT_CLONE: Table = Table::closed(
    "`GitClone` step's `spec`",
    &[
        Key::read("connectorRef", Text, "The connector that knows the repository."),
        Key::read("repoName", Text, "The repository's name, or its address."),
        Key::read("build", Of(&BUILD), "What is checked out.").or_expression(),
        Key::read("cloneDirectory", Text, "Where it is put, below the source tree."),
        Key::read("depth", Text, "How many commits are fetched."),
        Key::read("sslVerify", Bool, "Whether the server's certificate is verified."),
        Key::read("lfs", Bool, "Whether files in Git LFS come too."),
        Key::read("fetchTags", Bool, "Whether all tags come too."),
        Key::read("debug", Bool, "Whether `git` tells all that it does."),
        Key::read("submoduleStrategy", Text, "`true`, `recursive`, or none."),
        Key::read("sparseCheckout", OneOrMore(&Text), "Paths that are checked out."),
        Key::read("preFetchCommand", Text, "Commands before anything is fetched."),
        Key::read("runAsUser", Text, "Numeric user."),
        Key::unsupported("outputFilePathsContent", "the content of files as outputs: a `Run` step can leave it"),
        Key::no_effect("projectName", Text, "the repository's address says enough"),
        Key::no_effect("privileged", Bool, "only a container can be privileged"),
        Key::no_effect("resources", Any, "Kiln clones on the machine of the stage"),
        Key::describes("baseImageConnectorRefs"),
        Key::describes("description"),
    ],
);

/// `build` of a `GitClone` step.
static BUILD: Table = Table::closed(
    "`build`",
    &[
        Key::read("type", Enum(&["branch", "tag", "PR", "commitSha"]), "What is checked out."),
        Key::read("spec", Of(&BUILD_SPEC), "Its name."),
    ],
);

static BUILD_SPEC: Table = Table::closed(
    "`build.spec`",
    &[
        Key::read("branch", Text, "The branch."),
        Key::read("tag", Text, "The tag."),
        Key::read("commitSha", Text, "The commit."),
        Key::read("number", Text, "The number of the pull request."),
    ],
);

/// An item of `serviceDependencies`.
pub static DEPENDENCY: Table = Table::closed(
    "service",
    &[
        Key::read("identifier", Text, "Name for expressions, and of the container on its network."),
        Key::read("name", Text, "What people call it."),
        Key::read("type", Enum(&["Service"]), "`Service`"),
        Key::read("spec", Any, "Its container."),
        Key::describes("description"),
    ],
);

/// `spec` of such an item.
pub static SERVICE: Table = Table::closed(
    "service's `spec`",
    &[
        Key::read("image", Text, "Container image."),
        Key::read("args", OneOrMore(&Text), "Arguments of its program."),
        Key::read("entrypoint", OneOrMore(&Text), "Entry point of the image."),
        Key::read("envVariables", Map(&Text), "Environment of the service."),
        Key::read("portBindings", Map(&Text), "Ports of the machine that lead to ports of the container."),
        Key::read("runAsUser", Text, "Numeric user."),
        CONNECTOR,
        PULL,
        PRIVILEGED,
        LIMITED,
        Key::describes("registryRef"),
    ],
);

/// `when` of a step or group.
pub static WHEN_STEP: Table = Table::closed(
    "step's `when`",
    &[
        Key::read("stageStatus", Enum(words::STATES), "State of the stage so far."),
        Key::read("condition", Text, "An expression that must be true."),
        // Met in files that run.
        Key::no_effect("imagePullPolicy", Any, "it belongs beside the step's `image`"),
    ],
);

/// `strategy`
pub static STRATEGY: Table = Table::closed(
    "`strategy`",
    &[
        Key::read("matrix", Map(&Any), "Axes and their values, `exclude`, `maxConcurrency`, `nodeName`.")
            .or_expression(),
        Key::read("parallelism", Number, "How many copies."),
        Key::read("repeat", Of(&REPEAT), "One run per item, or a number of runs."),
        Key::read("maxConcurrency", Number, "How many at the same time."),
        Key::read("onFailure", Enum(&["RunAll", "SkipQueued"]), "Whether runs that wait are skipped after a failure."),
        Key::unsupported("when", "write the condition into the `when` beside it"),
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
        Key::read("partitionSize", Number, "One run for so many items each; `<+repeat.partition>`."),
        Key::read("unit", Enum(&["Percentage", "Count"]), "What `start`, `end` and `partitionSize` count."),
        Key::no_effect("nodeName", Text, "the runs are called by their items"),
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
        Key::unsupported("condition", "a retry is made for every error that is listed"),
    ],
);

/// `spec` of the action `RetryStepGroup`
pub static RETRY_GROUP: Table = Table::closed(
    "`RetryStepGroup` action's `spec`",
    &[
        Key::read("retryCount", Number, "How many more times."),
        Key::read("retryIntervals", List(&Duration), "Waits before the retries."),
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
