//! What a step is: the request that starts one.

use std::collections::BTreeMap;

use super::kiln::Terminal;
use super::spec::*;
use crate::message::{message, words};

words! {
    /// What a step does.
    pub enum StepKind {
        /// Runs commands.
        Run = "Run",
        /// Runs tests, with selection by language.
        RunTest = "RunTest",
        /// Runs tests, with selection by instrumentation.
        RunTestsV2 = "RunTestsV2",
    }
}

message! {
    /// Starts a step; a second request with the same `id` changes nothing.
    pub struct StartStepRequest {
        /// Names the step in every later request.
        id: String = "id",
        /// Name for people.
        name: String = "name",
        /// Stage; non-empty selects the distributed mode of the original.
        stage_runtime_id: String = "stage_runtime_id",
        /// What it does.
        kind: StepKind = "kind",
        /// Whether the step goes on beside the later ones.
        detach: bool = "detach",
        /// Longest run in seconds, 0 for no limit.
        timeout: i64 = "timeout",
        /// Whether the container is stopped rather than killed.
        soft_stop: bool = "soft_stop",
        /// Name of the step's log.
        log_key: String = "log_key",
        /// Whether output is only kept for `/stream_output`.
        log_drone: bool = "log_drone" always,
        /// Values to be masked.
        secrets: Vec<String> = "secrets",
        /// Environment.
        environment: BTreeMap<String, String> = "environment",
        /// Directory the command starts in.
        working_dir: String = "working_dir",
        /// Numeric user id; empty for the user of the agent's setting, or its own.
        user: String = "user",
        /// Files made before the command starts.
        files: Vec<File> = "files",
        /// What a `Run` step runs.
        run: RunConfig = "run",
        /// What a `RunTest` step runs.
        run_test: RunTestConfig = "run_test",
        /// What a `RunTestsV2` step runs.
        run_test_v2: RunTestsV2Config = "run_test_v2",
        /// Test reports.
        test_report: TestReport = "test_report",
        /// Names of shell variables whose values are wanted.
        output_vars: Vec<String> = "output_vars",
        /// Output variables that are wanted, with their kind.
        outputs: Vec<OutputV2> = "outputs",
        /// File that output variables are written to.
        output_var_file: String = "output_var_file",
        /// File that secret output variables are written to.
        secret_var_file: String = "secret_var_file",
        /// Directory for the step's own use.
        scratch_dir: String = "scratch_dir",
        /// Whether the step's files are removed when it ends.
        delete_temp_step_files: bool = "delete_temp_step_files" always,
        /// Where logs go.
        log_config: LogConfig = "log_config",
        /// Test intelligence, used when setup brought none.
        ti_config: TiConfig = "ti_config",
        /// A client certificate for other services.
        mtls_config: MtlsConfig = "mtls_config",
        /// Where annotations are sent.
        annotations_config: AnnotationsConfig = "annotations_config",
        /// Whether a container sees the engine's socket; absent means yes.
        mount_docker_socket: Option<bool> = "mount_docker_socket" always,
        /// Outgoing proxy.
        egress_policy: Option<EgressPolicy> = "egress_policy",
        /// How the process is ended.
        process_config: ProcessConfig = "process_config",
        /// Where the result is pushed in the distributed mode.
        step_status: StepStatusConfig = "step_status",
        /// Identities the step may mint tokens for.
        workload_identities: Vec<WorkloadIdentity> = "workload_identities",
        /// Where tokens are minted.
        wi_token_generate_url: String = "wi_token_generate_url",
        /// Container: registry credentials.
        auth: Option<Auth> = "auth",
        /// Container: length of a CPU period in microseconds.
        cpu_period: i64 = "cpu_period",
        /// Container: CPU time per period in microseconds.
        cpu_quota: i64 = "cpu_quota",
        /// Container: CPU weight.
        cpu_shares: i64 = "cpu_shares",
        /// Container: CPUs it may use.
        cpu_set: Vec<String> = "cpu_set",
        /// Container: devices.
        devices: Vec<VolumeDevice> = "devices",
        /// Container: name servers.
        dns: Vec<String> = "dns",
        /// Container: search domains.
        dns_search: Vec<String> = "dns_search",
        /// Container: `host:address` pairs.
        extra_hosts: Vec<String> = "extra_hosts",
        /// Container: its image; empty runs the step on the host.
        image: String = "image",
        /// Container: labels.
        labels: BTreeMap<String, String> = "labels",
        /// Container: memory and swap in bytes.
        memswap_limit: i64 = "memswap_limit",
        /// Container: memory in bytes.
        mem_limit: i64 = "mem_limit",
        /// Container: the network it is attached to.
        network: String = "network",
        /// Container: further networks.
        networks: Vec<String> = "networks",
        /// Container: names on its network.
        network_aliases: Vec<String> = "network_aliases",
        /// Container: host port to container port.
        port_bindings: BTreeMap<String, String> = "port_bindings",
        /// Container: whether it is privileged.
        privileged: bool = "privileged",
        /// Container: when its image is pulled.
        pull: PullPolicy = "pull",
        /// Container: size of /dev/shm in bytes.
        shm_size: i64 = "shm_size",
        /// Container: volumes it sees.
        volumes: Vec<VolumeMount> = "volumes",
        /// Unused; its name and meaning are swapped in the original.
        ignore_stderr: bool = "ignore_stderr",
        /// Unused; its name and meaning are swapped in the original.
        ignore_stdout: bool = "ignore_stdout",
        /// Ours: the step runs in a terminal of this size and takes input.
        terminal: Option<Terminal> = "kiln_terminal",
    }

    /// What a `Run` step runs.
    pub struct RunConfig {
        /// Arguments after the entrypoint; no shell is added.
        commands: Vec<String> = "commands",
        /// Program and first arguments.
        entrypoint: Vec<String> = "entrypoint",
    }

    /// What a `RunTest` step runs.
    pub struct RunTestConfig {
        /// Arguments of the build tool.
        args: String = "args",
        /// Commands before.
        pre_command: String = "pre_command",
        /// Commands after.
        post_command: String = "post_command",
        /// Build tool.
        build_tool: String = "build_tool",
        /// Language.
        language: String = "language",
        /// Packages.
        packages: String = "packages",
        /// Test annotations.
        test_annotations: String = "test_annotations",
        /// How tests are split.
        test_split_strategy: String = "test_split_strategy",
        /// Test globs, separated by commas.
        test_globs: String = "test_globs",
        /// Program and first arguments.
        entrypoint: Vec<String> = "entrypoint",
        /// Whether only selected tests run.
        run_only_selected_tests: bool = "run_only_selected_tests",
        /// Whether tests are split over steps.
        parallelize_tests: bool = "parallelize_tests",
    }

    /// What a `RunTestsV2` step runs.
    pub struct RunTestsV2Config {
        /// Arguments after the entrypoint.
        commands: Vec<String> = "commands",
        /// Program and first arguments.
        entrypoint: Vec<String> = "entrypoint",
        /// Test globs.
        test_globs: Vec<String> = "test_globs",
        /// Whether tests are selected.
        intelligence_mode: bool = "intelligence_mode",
    }

    /// Where annotations are sent.
    pub struct AnnotationsConfig {
        /// Token.
        token: String = "token",
        /// Address.
        base_url: String = "base_url",
    }

    /// How the process is ended. Ours always ends the whole tree.
    pub struct ProcessConfig {
        /// macOS only.
        wait_on_process_group: bool = "wait_on_process_group",
        /// Whether a timeout kills; ours always does.
        kill_process_on_context_cancel: bool = "kill_process_on_context_cancel",
        /// How often SIGTERM is sent before SIGKILL; 0 is SIGKILL at once.
        kill_process_max_sigterm_attempts: i64 = "kill_process_max_sigterm_attempts",
        /// Seconds between two attempts.
        kill_process_retry_interval_secs: i64 = "kill_process_retry_interval_secs",
        /// macOS only.
        kill_process_use_explicit_tree_strategy: bool = "kill_process_use_explicit_tree_strategy",
    }

    /// Where the result is pushed in the distributed mode.
    pub struct StepStatusConfig {
        /// Address.
        endpoint: String = "endpoint",
        /// Token.
        token: String = "token",
        /// Account.
        account_id: String = "account_id",
        /// Delegate.
        delegate_id: String = "delegate_id",
        /// Task.
        task_id: String = "task_id",
        /// Form of the answer.
        runner_response: bool = "runner_response",
        /// Form of the answer.
        task_status_v2: bool = "task_status_v2",
    }

    /// An identity the step may mint tokens for.
    pub struct WorkloadIdentity {
        /// Name.
        name: String = "name",
        /// Token to present.
        workload_token: String = "workload_token",
        /// Audience.
        audience: String = "audience",
        /// `STANDARD` or `CLIENT_ASSERTION`.
        token_mode: String = "token_mode",
    }
}
