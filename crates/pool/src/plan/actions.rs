//! What can be done.

use crate::cause::Cause;
use crate::id::{InstanceId, StageId};
use crate::site::SiteId;
use crate::stage::Candidate;
use crate::wait::WaitReason;

/// One thing to do. Those about a row carry the generation that was seen; when the row has changed since, nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A launch whose answer was lost is found in the cloud: it boots.
    Adopt {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To ask the site for the instance and the others of its batch, for the first time or again.
    Launch {
        /// The instance whose row asks for it; the others of its batch go with it.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To find its agent and give it its identity.
    Boot {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To put it to sleep.
    Hibernate {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To wake it.
    Resume {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To write down that it is to end, and why.
    Terminate {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
        /// Why.
        cause: Cause,
    },
    /// To write down that it is to end because its stage did, with the stage's cause.
    Release {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
        /// Its stage.
        stage: StageId,
    },
    /// To end it in the cloud.
    Destroy {
        /// The instance.
        id: InstanceId,
        /// The generation seen.
        generation: i64,
    },
    /// To end what the cloud shows and no row knows.
    DestroyOrphan {
        /// The site that shows it.
        site: SiteId,
        /// Its id.
        id: InstanceId,
    },
    /// To make rows for new instances that are launched together, as many of them as the limits still allow.
    Create {
        /// What they are to be.
        candidate: Candidate,
        /// The place within the pool's site; empty where it has none.
        place: String,
        /// How many.
        count: u32,
    },
    /// To give a waiting stage a warm instance.
    Assign {
        /// The stage.
        id: StageId,
        /// The generation seen.
        generation: i64,
    },
    /// To end a stage.
    EndStage {
        /// The stage.
        id: StageId,
        /// The generation seen.
        generation: i64,
        /// Why.
        cause: Cause,
    },
    /// To end a stage whose instance is not there any more, with the instance's cause.
    LoseStage {
        /// The stage.
        id: StageId,
        /// The generation seen.
        generation: i64,
        /// Its instance.
        instance: InstanceId,
    },
    /// To write down why a stage waits.
    Explain {
        /// The stage.
        id: StageId,
        /// The generation seen.
        generation: i64,
        /// Why.
        why: WaitReason,
    },
}

/// An action and why it is done, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub action: Action,
    /// Why.
    pub reason: String,
}

impl Action {
    /// With its reason.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Planned {
        Planned { action: self, reason: reason.into() }
    }

    /// The instance whose row it changes or that it works on.
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

    /// The stage whose row it changes.
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

    /// Its name, for logs and metrics.
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

    /// The instance that is about to end by it.
    #[must_use]
    pub fn ends(&self) -> Option<&InstanceId> {
        match self {
            Self::Terminate { id, .. } | Self::Release { id, .. } => Some(id),
            _ => None,
        }
    }
}
