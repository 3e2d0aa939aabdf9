//! Answers of the agent.

use std::collections::BTreeMap;

use serde_json::Value;

use super::spec::*;
use crate::message::{message, words};

words! {
    /// Why a step ended, and why an agent serves a stage no more. Our addition to the protocol: the original says only
    /// `exit_code` and `error`.
    pub enum Cause {
        /// Not ended yet, or said by an agent that does not know causes.
        Unknown = "",
        /// The main process ended by itself; see the exit code.
        Exited = "exited",
        /// A signal that we did not send ended the main process.
        Signal = "signal",
        /// The kernel ended a process of the step for lack of memory.
        OutOfMemory = "oom",
        /// The step's own time limit.
        Timeout = "timeout",
        /// Somebody cancelled the step.
        Cancelled = "cancelled",
        /// The stage was destroyed.
        Destroyed = "destroyed",
        /// The step could not be started, or its result could not be read.
        Failed = "failed",
        /// The agent was started again, alone or with its VM. What ran under the one before was ended, and the stage is over.
        AgentRestarted = "agent_restarted",
        /// A step changed what the agent needs to tell the truth about steps, so the stage is over.
        Tampered = "tampered",
        /// Only of a refusal: the call is meant for a stage that this agent was not set up with.
        OtherEpoch = "other_epoch",
    }

    /// Whether what a step may run was reduced.
    pub enum OptimizationState {
        /// Says nothing.
        None = "",
        /// Everything ran.
        FullRun = "FULL_RUN",
        /// A selection ran.
        Optimized = "OPTIMIZED",
        /// Switched off.
        Disabled = "DISABLED",
    }
}

/// An answer that says only that all went well.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Empty {}

message! {
    /// Body of every answer that is not a success.
    pub struct ErrorBody {
        /// What went wrong.
        error_msg: String = "error_msg" always,
        /// Ours: why a stage is not served any more. Present with status 410 alone.
        reason: Cause = "reason",
    }

    /// Answer of `/healthz`.
    pub struct HealthResponse {
        /// Version of the agent.
        version: String = "version" always,
        /// Always true.
        ok: bool = "ok" always,
        /// Ours: why the agent serves its stage no more, which callers are told with 410; absent while it does.
        reason: Cause = "reason",
    }

    /// How a step ended.
    pub struct PollStepResponse {
        /// Whether it ended; absent for a detached step.
        exited: bool = "exited",
        /// Exit code; 255 when the agent, not the command, failed the step; -1 when a signal ended it.
        exit_code: i64 = "exit_code",
        /// Why it failed.
        error: String = "error",
        /// Whether memory ran out.
        oom_killed: bool = "oom_killed",
        /// Output variables.
        outputs: BTreeMap<String, String> = "outputs",
        /// Exported environment.
        envs: BTreeMap<String, String> = "envs",
        /// Base64 of the artifact file.
        artifact: String = "artifact",
        /// Output variables with their kind.
        outputs_v2: Vec<OutputV2> = "outputV2",
        /// Whether the run was reduced.
        optimization_state: OptimizationState = "optimization_state",
        /// What agents of others measured of builds and tests, passed on as it is.
        telemetry_data: Value = "telemetry_data",
        /// JSON text of the artifact description.
        native_artifact_output: String = "native_artifact_output",
        /// Ours: why it ended.
        cause: Cause = "cause",
        /// Ours: the signal that ended it, 0 for none.
        signal: i32 = "signal",
        /// Ours: what the one who cancelled it gave as the reason.
        cancel_reason: String = "cancel_reason",
        /// Ours, for those who ask for it: values that the step wrote down as secrets and that are no outputs, because it failed.
        /// Whoever shows anything of the step masks them.
        secrets: Vec<String> = "kiln_secrets",
        /// Ours: bytes of output in the spool.
        output_bytes: u64 = "output_bytes",
        /// Ours: how long it ran, in milliseconds.
        duration_ms: u64 = "duration_ms",
    }

    /// Answer of `/mint_workload_token`.
    pub struct MintWorkloadTokenResponse {
        /// The token.
        oidc_token: String = "oidc_token",
        /// When it expires, in seconds since 1970; 0 when that is not known.
        expires_at_unix: i64 = "expires_at_unix",
        /// Why there is none.
        error: String = "error",
    }

    /// Answer of `/destroy`.
    pub struct DestroyResponse {
        /// Load of the VM during the stage.
        os_stats: OsStats = "os_stats",
    }

    /// Load of the VM during the stage.
    pub struct OsStats {
        /// Memory of the VM.
        total_mem_mb: f64 = "total_mem_mb" always,
        /// Processors of the VM.
        cpu_cores: i64 = "cpu_cores" always,
        /// Mean use of memory, in percent.
        avg_mem_usage_pct: f64 = "avg_mem_usage_pct" always,
        /// Mean use of the processors, in percent.
        avg_cpu_usage_pct: f64 = "avg_cpu_usage_pct" always,
        /// Greatest use of memory, in percent.
        max_mem_usage_pct: f64 = "max_mem_usage_pct" always,
        /// Greatest use of the processors, in percent.
        max_cpu_usage_pct: f64 = "max_cpu_usage_pct" always,
        /// Memory over time.
        mem_graph: Graph = "mem_graph",
        /// Processors over time.
        cpu_graph: Graph = "cpu_graph",
    }

    /// A curve of at most ten points.
    pub struct Graph {
        /// Points in the order of time.
        points: Vec<Point> = "points" always,
        /// Unit of x.
        x_metric: String = "xmetric" always,
        /// Label of y; the original writes percent whatever the label says, and so do we.
        y_metric: String = "ymetric" always,
    }

    /// A point of a curve.
    pub struct Point {
        /// Seconds since the start.
        x: f64 = "x" always,
        /// Percent.
        y: f64 = "y" always,
    }
}
