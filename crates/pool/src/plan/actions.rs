//! The actions of a plan.

use crate::cause::Cause;
use crate::id::{InstanceId, StageId};
use crate::site::SiteId;
use crate::stage::Candidate;
use crate::wait::WaitReason;

/// One action. An action on a row carries the generation that was read; it is dropped when the row has changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Marks an instance as booting that the cloud shows although the answer to its launch was lost.
    Adopt {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Asks the site for the instance and the others of its batch, for the first time or again.
    Launch {
        /// The instance whose row asks for it. The others of its batch go with it.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Finds the instance's agent and gives it its identity.
    Boot {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Puts an instance to sleep.
    Hibernate {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Wakes an instance.
    Resume {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Marks an instance as terminating, with the cause.
    Terminate {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
        /// The cause.
        cause: Cause,
    },
    /// Marks an instance as terminating because its stage ended, with the stage's cause.
    Release {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
        /// Its stage.
        stage: StageId,
    },
    /// Ends an instance in the cloud.
    Destroy {
        /// The instance.
        id: InstanceId,
        /// The generation read.
        generation: i64,
    },
    /// Ends an instance that the cloud shows and that has no row.
    DestroyOrphan {
        /// The site that shows it.
        site: SiteId,
        /// The instance's id.
        id: InstanceId,
    },
    /// Creates rows for new instances that are launched together, as many as the limits still allow.
    Create {
        /// The kind of instance.
        candidate: Candidate,
        /// The place within the pool's site; empty where it has none.
        place: String,
        /// The number of instances.
        count: u32,
    },
    /// Gives a warm instance to a waiting stage.
    Assign {
        /// The stage.
        id: StageId,
        /// The generation read.
        generation: i64,
    },
    /// Ends a stage.
    EndStage {
        /// The stage.
        id: StageId,
        /// The generation read.
        generation: i64,
        /// The cause.
        cause: Cause,
    },
    /// Ends a stage whose instance is no longer there, with the instance's cause.
    LoseStage {
        /// The stage.
        id: StageId,
        /// The generation read.
        generation: i64,
        /// Its instance.
        instance: InstanceId,
    },
    /// Writes down why a stage waits.
    Explain {
        /// The stage.
        id: StageId,
        /// The generation read.
        generation: i64,
        /// The reason.
        why: WaitReason,
    },
}

/// An action and the reason for it, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The action.
    pub action: Action,
    /// The reason.
    pub reason: String,
}

impl Action {
    /// Adds the reason.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Planned {
        Planned { action: self, reason: reason.into() }
    }

    /// Returns the instance whose row it changes or that it works on.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Adopt { id, .. }
            | Self::Launch { id, .. }
            | Self::Boot { id, .. }
            | Self::Hibernate { id, .. }
            | Self::Resume { id, .. }
            | Self::Terminate { id, .. }
            | Self::Release { id, .. }
            | Self::Destroy { id, .. }
            | Self::DestroyOrphan { id, .. } => Some(id),
            Self::Create { .. }
            | Self::Assign { .. }
            | Self::EndStage { .. }
            | Self::LoseStage { .. }
            | Self::Explain { .. } => None,
        }
    }

    /// Returns the stage whose row it changes.
    #[must_use]
    pub fn stage(&self) -> Option<&StageId> {
        match self {
            Self::Assign { id, .. }
            | Self::EndStage { id, .. }
            | Self::LoseStage { id, .. }
            | Self::Explain { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Returns its name for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adopt { .. } => "adopt",
            Self::Launch { .. } => "launch",
            Self::Boot { .. } => "boot",
            Self::Hibernate { .. } => "hibernate",
            Self::Resume { .. } => "resume",
            Self::Terminate { .. } => "terminate",
            Self::Release { .. } => "release",
            Self::Destroy { .. } => "destroy",
            Self::DestroyOrphan { .. } => "destroy_orphan",
            Self::Create { .. } => "create",
            Self::Assign { .. } => "assign",
            Self::EndStage { .. } => "end_stage",
            Self::LoseStage { .. } => "lose_stage",
            Self::Explain { .. } => "explain",
        }
    }

    /// Returns the instance that it ends.
    #[must_use]
    pub fn ends(&self) -> Option<&InstanceId> {
        match self {
            Self::Terminate { id, .. } | Self::Release { id, .. } => Some(id),
            _ => None,
        }
    }
}
