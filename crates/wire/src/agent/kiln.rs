//! The routes that are ours.
//!
//! | Route | Method | Request | Answer |
//! |---|---|---|---|
//! | [`IDENTITY`] | GET | | [`Identity`] |
//! | [`CLAIM`] | POST | [`ClaimRequest`] | [`Identity`]; 409 once a stage was set up or another claim was taken |
//! | [`SELF_TEST`] | POST | | [`SelfTestResponse`]; 409 once a stage was set up |
//! | [`STEPS`] | GET | | [`StepList`] |
//! | [`CANCEL`] | POST | [`CancelRequest`] | [`super::Empty`]; 404 for an unknown step |
//! | [`OUTPUT`] | POST | [`OutputRequest`] | raw bytes; 404 for an unknown step, 416 beyond the end |
//! | [`INPUT`] | PUT | `?id=STEP`, raw bytes | [`super::Empty`]; 409 for a step without a terminal |
//! | [`RESIZE`] | POST | [`ResizeRequest`] | [`super::Empty`]; 409 for a step without a terminal |
//! | [`WORKSPACE`] | PUT | `?path=DIR`, a tar stream, `Content-Encoding: zstd` or none | [`UnpackedResponse`] |
//! | [`FILES`] | POST | [`FilesRequest`] | a tar stream, zstd |

use crate::agent::Cause;
use crate::message::{message, words};

/// `GET`: who the VM is.
pub const IDENTITY: &str = "/kiln/v1/identity";
/// `POST`: gives a clone its own identity.
pub const CLAIM: &str = "/kiln/v1/claim";
/// `POST`: carries out a step that leaves nothing behind, which proves that the VM can, and makes the next one fast.
pub const SELF_TEST: &str = "/kiln/v1/self-test";
/// `GET`: the steps the agent knows.
pub const STEPS: &str = "/kiln/v1/steps";
/// `POST`: ends a step.
pub const CANCEL: &str = "/kiln/v1/cancel";
/// `POST`: output of any step from any offset.
pub const OUTPUT: &str = "/kiln/v1/output";
/// `PUT`: types the body into the terminal of the step that the query names as `id`, as the bytes come.
pub const INPUT: &str = "/kiln/v1/input";
/// `POST`: tells a step's terminal its new size.
pub const RESIZE: &str = "/kiln/v1/resize";
/// `PUT`: unpacks a tar stream into the directory that the query names as `path`.
pub const WORKSPACE: &str = "/kiln/v1/workspace";
/// `POST`: fetches files.
pub const FILES: &str = "/kiln/v1/files";

/// Header of any request but those for health, identity and claim: the stage that it is meant for, as its setup named it.
pub const EPOCH_HEADER: &str = "x-kiln-epoch";

/// Header of an output answer: offset of the first byte of the body.
pub const OFFSET_HEADER: &str = "x-kiln-offset";
/// Header of an output answer: bytes in the spool when the answer began.
pub const LENGTH_HEADER: &str = "x-kiln-length";
/// Header of an output answer: `true` when the step had ended when the answer began.
pub const ENDED_HEADER: &str = "x-kiln-ended";
/// Header of an output answer: `true` when the spool was full and part of the output was dropped.
pub const CUT_HEADER: &str = "x-kiln-cut";

words! {
    /// Where a step is in its life.
    pub enum StepState {
        /// Its main process runs.
        Running = "running",
        /// Being ended: cancelled, timed out or destroyed.
        Stopping = "stopping",
        /// Ended; its result is known.
        Ended = "ended",
    }
}

message! {
    /// Gives a clone its own identity. The answer is sent under the old one; later connections use the new one and
    /// the connections that were open before are closed.
    pub struct ClaimRequest {
        /// The instance; a repetition with the same id is answered as the first was.
        id: String = "id",
        /// New host name; empty leaves it.
        hostname: String = "hostname",
        /// The time now, in nanoseconds since 1970; 0 leaves the clock.
        unix_time_ns: i64 = "unix_time_ns",
        /// Base64 of fresh random bytes for the kernel's generator.
        entropy: String = "entropy",
        /// PEM of the authority that client certificates must come from; empty keeps the present one.
        ca_pem: String = "ca_pem",
        /// PEM of the server certificate; empty keeps the present one.
        cert_pem: String = "cert_pem",
        /// PEM of its key.
        key_pem: String = "key_pem",
        /// Seconds without contact after which the VM powers itself off; 0 leaves the setting.
        lease_s: i64 = "lease_s",
        /// Seconds after the claim at which the VM powers itself off; 0 leaves the setting.
        max_age_s: i64 = "max_age_s",
        /// Whether steps in containers may see the socket of the container engine, and so be root in the VM.
        docker_socket: bool = "docker_socket",
    }

    /// Who the VM is.
    pub struct Identity {
        /// The id of the claim; empty before one.
        id: String = "id",
        /// Host name.
        hostname: String = "hostname",
        /// Content of /etc/machine-id.
        machine_id: String = "machine_id",
        /// Id of the running kernel's boot. Clones of one snapshot share it.
        boot_id: String = "boot_id",
        /// Version of the agent.
        version: String = "version",
        /// What of the claim could not be done, in words; empty when all was.
        shortfalls: Vec<String> = "shortfalls",
        /// Whether a stage was set up, so that no claim is taken any more.
        in_use: bool = "in_use" always,
    }

    /// A step was carried out, and what it printed and handed over came back as it had to.
    pub struct SelfTestResponse {
        /// How long that took, in milliseconds.
        duration_ms: u64 = "duration_ms" always,
    }

    /// Ends a step and everything it started.
    pub struct CancelRequest {
        /// The step.
        id: String = "id",
        /// Why; given back in the step's result.
        reason: String = "reason",
        /// Milliseconds between SIGTERM and SIGKILL; absent for the agent's setting.
        grace_ms: Option<u64> = "grace_ms",
    }

    /// Asks for output.
    pub struct OutputRequest {
        /// The step.
        id: String = "id",
        /// First byte wanted.
        offset: u64 = "offset",
        /// Whether the answer goes on until the step ends.
        follow: bool = "follow",
        /// Milliseconds to wait for a step that has not started yet; absent for 5000.
        wait_ms: Option<u64> = "wait_ms",
    }

    /// The size of a terminal.
    pub struct Terminal {
        /// Lines.
        rows: u32 = "rows",
        /// Characters per line.
        cols: u32 = "cols",
    }

    /// Tells a step's terminal its new size.
    pub struct ResizeRequest {
        /// The step.
        id: String = "id",
        /// The size.
        terminal: Terminal = "terminal",
    }

    /// The steps the agent knows.
    pub struct StepList {
        /// In the order of their start.
        steps: Vec<StepSummary> = "steps" always,
    }

    /// One step.
    pub struct StepSummary {
        /// Its id.
        id: String = "id",
        /// Its name.
        name: String = "name",
        /// Where it is in its life.
        state: StepState = "state" always,
        /// Start, in milliseconds since 1970.
        started_unix_ms: i64 = "started_unix_ms",
        /// End, in milliseconds since 1970.
        ended_unix_ms: i64 = "ended_unix_ms",
        /// Exit code once ended.
        exit_code: Option<i64> = "exit_code",
        /// Why it ended.
        cause: Cause = "cause",
        /// Signal that ended it.
        signal: i32 = "signal",
        /// Error text.
        error: String = "error",
        /// Bytes in the spool.
        output_bytes: u64 = "output_bytes" always,
        /// Whether the spool was full and output was dropped.
        output_cut: bool = "output_cut",
    }

    /// What was unpacked.
    pub struct UnpackedResponse {
        /// Entries of the archive.
        entries: u64 = "entries" always,
        /// Bytes of file content.
        bytes: u64 = "bytes" always,
    }

    /// Asks for files.
    pub struct FilesRequest {
        /// Directory that relative globs start at and names in the archive are relative to.
        base: String = "base",
        /// Globs: `*` and `?` within a name, `**` for any number of directories, `~` for the home directory. A
        /// directory stands for everything in it.
        paths: Vec<String> = "paths",
        /// Largest sum of file sizes in bytes, 0 for the agent's setting.
        max_bytes: u64 = "max_bytes",
    }
}
