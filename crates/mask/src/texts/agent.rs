//! The agent's answers.

use kiln_wire::agent::kiln::{Identity, SelfTestResponse, StepList, StepSummary, UnpackedResponse};
use kiln_wire::agent::{
    DestroyResponse, Empty, ErrorBody, HealthResponse, MintWorkloadTokenResponse, PollStepResponse,
};

use crate::Texts;

type Mask<'a> = dyn FnMut(&mut String) + 'a;

impl Texts for Empty {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self {} = self;
    }
}

impl Texts for ErrorBody {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { error_msg, reason: _ } = self;
        mask(error_msg);
    }
}

impl Texts for HealthResponse {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self { version: _, ok: _, reason: _ } = self;
    }
}

impl Texts for DestroyResponse {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self { os_stats: _ } = self;
    }
}

impl Texts for PollStepResponse {
    /// Outputs, exported variables and artifacts are values: the pipeline passes them to other steps.
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self {
            error,
            cancel_reason,
            exited: _,
            exit_code: _,
            oom_killed: _,
            outputs: _,
            envs: _,
            artifact: _,
            outputs_v2: _,
            optimization_state: _,
            telemetry_data: _,
            native_artifact_output: _,
            cause: _,
            signal: _,
            secrets: _,
            output_bytes: _,
            duration_ms: _,
        } = self;
        mask(error);
        mask(cancel_reason);
    }
}

impl Texts for MintWorkloadTokenResponse {
    /// The token is a value for whoever asks for it.
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { error, oidc_token: _, expires_at_unix: _ } = self;
        mask(error);
    }
}

impl Texts for Identity {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { shortfalls, id: _, hostname: _, machine_id: _, boot_id: _, version: _, in_use: _ } = self;
        shortfalls.texts(mask);
    }
}

impl Texts for SelfTestResponse {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self { duration_ms: _ } = self;
    }
}

impl Texts for StepList {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { steps } = self;
        steps.texts(mask);
    }
}

impl Texts for StepSummary {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self {
            name,
            error,
            id: _,
            state: _,
            started_unix_ms: _,
            ended_unix_ms: _,
            exit_code: _,
            cause: _,
            signal: _,
            output_bytes: _,
            output_cut: _,
        } = self;
        mask(name);
        mask(error);
    }
}

impl Texts for UnpackedResponse {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self { entries: _, bytes: _ } = self;
    }
}
