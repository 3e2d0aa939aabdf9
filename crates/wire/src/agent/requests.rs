//! Requests other than the one that starts a step.

use std::collections::BTreeMap;

use super::spec::*;
use crate::message::message;

message! {
    /// Prepares the VM for one stage; may be repeated.
    pub struct SetupRequest {
        /// Environment of every step.
        envs: BTreeMap<String, String> = "envs",
        /// Network of the stage's containers.
        network: Network = "network",
        /// Volumes.
        volumes: Vec<Volume> = "volumes",
        /// Values to be masked in the output of every step.
        secrets: Vec<String> = "secrets",
        /// Where logs go.
        log_config: LogConfig = "log_config",
        /// Test intelligence.
        ti_config: TiConfig = "ti_config",
        /// Files made now.
        files: Vec<File> = "files",
        /// Whether containers see the engine's socket; absent means yes.
        mount_docker_socket: Option<bool> = "mount_docker_socket",
        /// Whether containers get a terminal.
        tty: bool = "tty",
        /// A client certificate for other services.
        mtls_config: MtlsConfig = "mtls_config",
        /// The image of the VM.
        vm_image_config: VmImageConfig = "vm_image_config",
        /// Longest life of the VM in seconds, for the runner.
        timeout: i64 = "timeout",
        /// Name of the agent's own log stream.
        lite_engine_log_key: String = "le_log_key",
        /// Name of the stream of memory metrics.
        memory_metrics_log_key: String = "memory_metrics_log_key",
        /// Outgoing proxy.
        egress_policy: Option<EgressPolicy> = "egress_policy",
    }

    /// Asks for a step's result; answered when the step has ended.
    pub struct PollStepRequest {
        /// The step.
        id: String = "id",
        /// Ours: whether the answer has `kiln_secrets`, where there are any.
        secrets: bool = "kiln_secrets",
    }

    /// Asks for a step's output as it comes.
    pub struct StreamOutputRequest {
        /// The step.
        id: String = "id",
        /// First byte wanted.
        offset: i64 = "offset",
    }

    /// Ends the stage.
    pub struct DestroyRequest {
        /// Ignored.
        log_drone: bool = "log_drone",
        /// Ignored.
        log_key: String = "log_key",
        /// Ignored.
        lite_engine_path: String = "lite_engine_path",
        /// Stage whose exported environment is dropped.
        stage_runtime_id: String = "stage_runtime_id",
    }

    /// Asks to remove exited containers before the VM sleeps.
    pub struct SuspendRequest {
        /// Ignored.
        log_key: String = "log_key",
        /// Labels that the containers carry.
        labels: BTreeMap<String, String> = "labels",
        /// Ignored.
        lite_engine_path: String = "lite_engine_path",
    }

    /// Asks for a token of a step's identity.
    pub struct MintWorkloadTokenRequest {
        /// What the step was given to ask with.
        handle: String = "handle",
        /// Name of the identity.
        name: String = "name",
        /// For whom the token is, where that is not whom the identity is for.
        audience_override: String = "audience_override",
    }
}
