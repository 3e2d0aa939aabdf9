//! The keys of the dialect, after Drone's published reference of each pipeline type and its runners' own types.

use kiln_document::schema::{Key, Language, Shape, Table};

use Shape::{Any, AnyOf, Bool, List, Map, Number, Of, OneOrMore, OpenEnum, Text};

/// How these tables are walked.
pub static LANGUAGE: Language<'static> = Language {
    expression_marker: None,
    ignores_unknown: true,
    tables: &[
        &PIPELINE,
        &STEP,
        &WHEN,
        &TRIGGER,
        &CLONE,
        &WORKSPACE,
        &PLATFORM,
        &POOL,
        &CONCURRENCY,
        &SECRET,
        &CRON,
        &VOLUME,
        &MOUNT,
    ],
};

const TREE: &str = "a local run takes the working tree as it is";
const MACHINE: &str = "the stage runs on a machine of Kiln's own";
const PODS: &str = "there is no Kubernetes here";
const ONE_NETWORK: &str = "the containers of a stage are on one network";
const NO_BUILD: &str = "Drone's runners for containers pass over it";
const SINGULAR: &str = "Drone passes over it, its conditions are named in the singular";
const OLD: &str = "Drone knows it no more since version 1";

/// A `kind: pipeline` document of any type.
pub static PIPELINE: Table = Table::closed(
    "pipeline",
    &[
        Key::read("kind", Text, "`pipeline`"),
        Key::read("type", Text, "What runs it: `vm`, `exec`, `docker`, ..."),
        Key::read("name", Text, "What people and `depends_on` call it."),
        Key::read("platform", Of(&PLATFORM), "Operating system and processor of its machine."),
        Key::read("pool", Of(&POOL), "The pool that its machine comes from."),
        Key::read("clone", Of(&CLONE), "How the source is fetched."),
        Key::read("workspace", Of(&WORKSPACE), "Where the source is put."),
        Key::read("environment", Map(&VALUE), "Variables of every step."),
        Key::read("steps", List(&Of(&STEP)), "Steps, one after another unless one has `depends_on`."),
        Key::read("services", List(&Of(&STEP)), "Steps that go on beside the others."),
        Key::read("trigger", Of(&TRIGGER), "For which builds it runs."),
        Key::read("depends_on", List(&Text), "Pipelines that must have ended before."),
        Key::describes("version"),
        Key::describes("description"),
        Key::no_effect("concurrency", Of(&CONCURRENCY), "it limits builds of a server beside each other"),
        Key::no_effect("node", Map(&Text), "it picks a runner, and this is the only one"),
        Key::read("volumes", List(&Any), "Volumes that steps can mount."),
        Key::read("image_pull_secrets", OneOrMore(&Text), "Secrets that hold Docker's configuration."),
        // Types with servers of their own.
        Key::read("server", Any, "The machine that an `ssh` pipeline runs on."),
        Key::no_effect("token", Any, MACHINE),
        Key::no_effect("account", Any, MACHINE),
        Key::no_effect("instance", Any, MACHINE),
        Key::no_effect("image", Any, MACHINE),
        // `type: kubernetes`
        Key::no_effect("metadata", Any, PODS),
        Key::no_effect("service_account_name", Any, PODS),
        Key::no_effect("node_name", Any, PODS),
        Key::no_effect("node_selector", Any, PODS),
        Key::no_effect("tolerations", Any, PODS),
        Key::no_effect("dns_config", Any, PODS),
        Key::no_effect("host_aliases", Any, PODS),
        Key::no_effect("resources", Any, MACHINE),
        Key::no_effect("policy", Any, PODS),
        Key::no_effect("network", Any, MACHINE),
        Key::no_effect("branches", Any, OLD),
        Key::no_effect("labels", Any, OLD),
    ],
);

/// An item of `steps` or `services`.
pub static STEP: Table = Table::closed(
    "step",
    &[
        Key::read("name", Text, "What people and `depends_on` call it."),
        Key::read("commands", List(&Text), "Commands of its script; the first one that fails ends it."),
        Key::read("image", Text, "The container it runs in; on the machine itself when there is none."),
        Key::read("entrypoint", List(&Text), "Program of the container instead of the image's own."),
        Key::read("settings", Map(&Any), "Settings of a plugin."),
        Key::read("environment", Map(&VALUE), "Variables, over those of the pipeline."),
        Key::read("detach", Bool, "Goes on beside the later steps."),
        Key::read("depends_on", List(&Text), "Steps that must have ended before."),
        Key::read("when", Of(&WHEN), "For which builds it runs."),
        Key::read(
            "failure",
            OpenEnum(&["always", "fail", "fast", "fast-fail", "fail-fast", "ignore"]),
            "What its failure means.",
        ),
        Key::read("shell", OpenEnum(&["sh", "bash", "pwsh", "powershell", "python"]), "What reads the commands."),
        Key::read("user", Text, "The user it runs as."),
        Key::read("working_dir", Text, "Its directory, the source when there is none."),
        // They say how a container is made.
        Key::read("command", List(&Text), "Arguments of the container's program."),
        Key::read("pull", Text, "When the image is pulled."),
        Key::read("privileged", Bool, "Whether the container may do all that the machine's root may."),
        Key::read("volumes", List(&Any), "Volumes of the pipeline, and where the container sees them."),
        Key::read("devices", List(&Any), "Devices of the machine, and where the container sees them."),
        Key::read("dns", OneOrMore(&Text), "Name servers."),
        Key::read("dns_search", OneOrMore(&Text), "Search domains."),
        Key::read("extra_hosts", OneOrMore(&Text), "Further names of hosts: `name:address`."),
        Key::read("network_mode", Text, "Network in the place of the stage's own: `host`, `none`."),
        Key::read("port_bindings", Any, "Ports of the machine that lead to the container."),
        Key::read("ports", Any, "Ports of the machine that lead to the container."),
        Key::read("shm_size", Text, "Size of `/dev/shm`."),
        Key::read("mem_limit", Text, "Memory."),
        Key::read("memswap_limit", Text, "Memory and swap."),
        Key::read("cpu_period", Number, "Length of a period of processor time in microseconds."),
        Key::read("cpu_quota", Number, "Processor time in each period in microseconds."),
        Key::read("cpu_shares", Number, "Weight against other containers."),
        Key::read("cpu_set", OneOrMore(&Text), "Processors that it may use."),
        Key::read("resource", Any, "What the container may use of the machine."),
        Key::read("resources", Any, "What the container may use of the machine."),
        Key::no_effect("hostname", Any, "others find the container by the name of its step"),
        Key::no_effect("network", Any, ONE_NETWORK),
        Key::no_effect("networks", Any, ONE_NETWORK),
        Key::no_effect("push", Any, NO_BUILD),
        Key::no_effect("build", Any, NO_BUILD),
        Key::no_effect("group", Any, OLD),
        Key::no_effect("security_context", Any, PODS),
        Key::no_effect("labels", Any, "Kiln puts its own on the containers of a stage"),
        Key::no_effect("tty", Any, "output is read by a program, not by a terminal"),
        Key::describes("description"),
        Key::no_effect("secrets", Any, OLD),
    ],
);

/// The keys of a step that change nothing without a container.
pub const CONTAINER_KEYS: [&str; 22] = [
    "entrypoint",
    "settings",
    "command",
    "pull",
    "privileged",
    "volumes",
    "devices",
    "dns",
    "dns_search",
    "extra_hosts",
    "cpu_period",
    "cpu_quota",
    "cpu_shares",
    "cpu_set",
    "network_mode",
    "port_bindings",
    "ports",
    "shm_size",
    "mem_limit",
    "memswap_limit",
    "resources",
    "resource",
];

/// A variable's value.
static VALUE: Shape = AnyOf(&[Of(&FROM_SECRET), Text]);

static FROM_SECRET: Table = Table::open("secret", &[Key::read("from_secret", Text, "The secret's name.")]);

/// An item of a pipeline's `volumes`.
pub static VOLUME: Table = Table::closed(
    "volume",
    &[
        Key::read("name", Text, "Name by which steps mount it."),
        Key::read("host", Of(&HOST_VOLUME), "A path of the machine."),
        Key::read("temp", Of(&TEMP_VOLUME), "Starts empty and is gone with the stage."),
        Key::read("claim", Any, "A claim of a cluster."),
        Key::read("config_map", Any, "A map of a cluster."),
        Key::read("secret", Any, "A secret of a cluster."),
        Key::read("downward_api", Any, "What a cluster knows of a pod."),
    ],
);

static HOST_VOLUME: Table = Table::closed("host volume", &[Key::read("path", Text, "The path.")]);

static TEMP_VOLUME: Table = Table::closed(
    "temporary volume",
    &[Key::read("medium", Text, "`memory` to keep it there."), Key::read("size_limit", Text, "Its size.")],
);

/// An item of a step's `volumes` or `devices`.
pub static MOUNT: Table = Table::closed(
    "mount",
    &[
        Key::read("name", Text, "Name of the volume."),
        Key::read("path", Text, "Path in the container."),
        Key::no_effect("sub_path", Any, PODS),
        Key::no_effect("read_only", Any, "what a container does to a volume is gone with the stage"),
    ],
);

/// `platform`
static PLATFORM: Table = Table::closed(
    "platform",
    &[
        Key::read("os", Text, "`linux`, `windows` or `darwin`"),
        Key::read("arch", Text, "`amd64` or `arm64`"),
        Key::read("variant", Text, "A variant of the processor."),
        Key::describes("version"),
        Key::describes("os_name"),
    ],
);

/// `pool`
static POOL: Table = Table::closed("pool", &[Key::read("use", Text, "The pool's name.")]);

/// `clone`
static CLONE: Table = Table::open(
    "clone",
    &[
        Key::read("disable", Bool, "Leaves the source out."),
        Key::no_effect("depth", Number, TREE),
        Key::no_effect("retries", Number, TREE),
        Key::read("skip_verify", Bool, "Lets git in the steps accept any certificate."),
        Key::read("trace", Bool, "Lets git in the steps tell what it does."),
        Key::no_effect("recursive", Bool, TREE),
        Key::no_effect("image", Any, TREE),
        Key::no_effect("resources", Any, TREE),
    ],
);

/// `workspace`
static WORKSPACE: Table = Table::closed(
    "workspace",
    &[Key::read("base", Text, "Directory above the source."), Key::read("path", Text, "Directory of the source.")],
);

/// `concurrency`
static CONCURRENCY: Table = Table::open("concurrency", &[Key::read("limit", Number, "How many builds at a time.")]);

/// `when` of a step.
pub static WHEN: Table = Table::closed("`when`", CONDITIONS);

/// `trigger` of a pipeline.
pub static TRIGGER: Table = Table::closed("`trigger`", CONDITIONS);

static CONDITIONS: &[Key] = &[
    Key::read("branch", CONDITION, "Target branches."),
    Key::read("event", CONDITION, "`push`, `pull_request`, `tag`, `promote`, `rollback`, `cron`, `custom`"),
    Key::read("ref", CONDITION, "Git references."),
    Key::read("repo", CONDITION, "Repositories."),
    Key::read("instance", CONDITION, "Servers."),
    Key::read("target", CONDITION, "Environments of a promotion."),
    Key::read("cron", CONDITION, "Schedules."),
    Key::read("action", CONDITION, "Actions of a pull request."),
    Key::read("status", CONDITION, "`success`, `failure`: what happened before."),
    Key::read("paths", CONDITION, "Changed files."),
    // Keys that Drone passes over, met in files that run.
    Key::no_effect("actions", Any, SINGULAR),
    Key::no_effect("branches", Any, SINGULAR),
    Key::no_effect("events", Any, SINGULAR),
    Key::no_effect("refs", Any, SINGULAR),
    Key::no_effect("repos", Any, SINGULAR),
    Key::no_effect("environment", Any, OLD),
    Key::no_effect("local", Any, OLD),
    Key::no_effect("matrix", Any, OLD),
    Key::no_effect("platform", Any, OLD),
];

const CONDITION: Shape = AnyOf(&[Of(&CONSTRAINT), OneOrMore(&Text)]);

static CONSTRAINT: Table = Table::closed(
    "condition",
    &[
        Key::read("include", List(&Text), "One of these must match."),
        Key::read("exclude", List(&Text), "None of these may match."),
    ],
);

/// A `kind: secret` document.
pub static SECRET: Table = Table::open(
    "secret document",
    &[
        Key::read("kind", Text, "`secret`"),
        Key::read("name", Text, "The secret's name."),
        Key::describes("type"),
        Key::describes("get"),
        Key::describes("data"),
        Key::describes("external_data"),
    ],
);

/// A `kind: signature` document.
pub static SIGNATURE: Table =
    Table::open("signature", &[Key::read("kind", Text, "`signature`"), Key::read("hmac", Text, "The signature.")]);

/// A `kind: cron` document.
pub static CRON: Table = Table::open(
    "cron document",
    &[
        Key::read("kind", Text, "`cron`"),
        Key::read("name", Text, "The schedule's name."),
        Key::describes("type"),
        Key::describes("version"),
        Key::describes("spec"),
        Key::describes("trigger"),
    ],
);
