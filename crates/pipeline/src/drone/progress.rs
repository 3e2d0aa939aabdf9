//! The variables that change while a build goes on.

/// What has happened in a build so far, as a step whose turn has come sees it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Names of the pipelines that failed, in the order in which they ended.
    pub failed_stages: Vec<String>,
    /// Names of the steps of the same pipeline that failed, in that order.
    pub failed_steps: Vec<String>,
    /// When the pipeline began, in seconds since 1970.
    pub stage_started_unix_s: u64,
    /// The time now, in seconds since 1970.
    pub now_unix_s: u64,
}

impl Progress {
    /// Returns the variables. One failure anywhere sets all statuses, and what is still running ends now: both as in
    /// Drone. The lists are there only after a failure.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let failed = !(self.failed_stages.is_empty() && self.failed_steps.is_empty());
        let status = if failed { "failure" } else { "success" };
        let statuses = ["DRONE_BUILD_STATUS", "DRONE_STAGE_STATUS", "CI_BUILD_STATUS"];
        let ends = ["DRONE_BUILD_FINISHED", "DRONE_STAGE_FINISHED", "CI_BUILD_FINISHED"];
        let lists = [("DRONE_FAILED_STAGES", &self.failed_stages), ("DRONE_FAILED_STEPS", &self.failed_steps)];
        let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
        let variables = statuses.map(|name| (name, status.to_owned())).into_iter();
        let variables = variables
            .chain(ends.map(|name| (name, self.now_unix_s.to_string())))
            .chain([("DRONE_STAGE_STARTED", self.stage_started_unix_s.to_string())])
            .chain(lists.map(|(name, names)| (name, names.join(","))));
        variables.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
