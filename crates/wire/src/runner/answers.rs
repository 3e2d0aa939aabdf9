//! Answers of the runner that ours stands in for.

use std::collections::BTreeMap;

use super::InstanceInfo;
use super::kiln::EndCause;
use crate::message::message;

message! {
    /// A stage's instance.
    pub struct SetupVmResponse {
        /// Address of its agent.
        ip_address: String = "ip_address" always,
        /// Its id.
        instance_id: String = "instance_id" always,
        /// Always `null`.
        gitspaces_port_mappings: Option<BTreeMap<String, i64>> = "gitspaces_port_mappings" always,
        /// What is known about it.
        instance_info: InstanceInfo = "instance_info" always,
    }

    /// Whether the runner has the pool, or the stage in it.
    pub struct PoolOwnerResponse {
        /// Whether it has.
        owner: bool = "owner" always,
    }

    /// Body of an answer that is not a success.
    pub struct ErrorBody {
        /// What failed, where, why, and what to do next.
        error_msg: String = "error_msg" always,
        /// The HTTP status. Absent where the request could not be read.
        code: i64 = "code",
        /// Ours: how the stage or instance in question ended.
        cause: Option<EndCause> = "cause",
    }
}
