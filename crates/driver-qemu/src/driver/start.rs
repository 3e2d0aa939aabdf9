//! The start of one clone: of the golden VM that is there, of one made anew, of one without KVM.

use std::sync::Arc;

use kiln_driver::LaunchRequest;

use super::Inner;
use crate::clone::book::{Phase, Slot};
use crate::clone::instance::Instance;
use crate::containers::Wish;
use crate::error::QemuError;
use crate::golden::saved::Golden;
use crate::progress::Progress;
use crate::vm::accel::Accel;
use crate::vm::machine::Shape;

impl Inner {
    /// Starts the clone of a slot, and says what became of it.
    pub(super) async fn start(&self, request: &LaunchRequest, slot: &Slot) -> Phase {
        let mut given_up = slot.given_up.subscribe();
        let work = async {
            let shape = Shape { cpus: request.cpus, memory_mib: request.memory_mib, disk_gib: request.disk_gib };
            let wish = Wish::of(&request.spec)?;
            let opened = LaunchRequest { network: wish.opened(request.network.clone()), ..request.clone() };
            let request = &opened;
            let golden = self.golden(&request.image, shape, &wish, &request.network).await?;
            let error = match Instance::start(request, &golden, &self.owner, slot.hold_files().await).await {
                Ok(instance) => return Ok((golden, instance)),
                Err(error) => error,
            };
            let broken = matches!(error, QemuError::VmEnded { .. } | QemuError::Monitor(_));
            if !broken || !golden.discard_unproven() {
                return Err(error);
            }
            (self.listener)(Progress::Note(format!(
                "the saved VM of {} does not load; it is made anew",
                request.image
            )));
            self.forget(&golden).await;
            // Its lock goes with it, or the next one would wait for this one.
            drop(golden);
            let golden = self.golden(&request.image, shape, &wish, &request.network).await?;
            let error = match Instance::start(request, &golden, &self.owner, slot.hold_files().await).await {
                Ok(instance) => return Ok((golden, instance)),
                Err(error) => error,
            };
            let Some(accel) = self.accel.decided().await.filter(|accel| self.accel.may_leave(*accel, &error)) else {
                return Err(error);
            };
            self.forget(&golden).await;
            drop(golden);
            self.accel.decide_anew(Accel::Tcg).await;
            let without = self.once(request, slot, shape, &wish).await;
            match &without {
                Ok(_) => self.leave_kvm(&error).await?,
                Err(_) => self.accel.decide_anew(accel).await,
            }
            without
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            // Dropping the work ends whatever it had started.
            _ = given_up.wait_for(|given_up| *given_up) => Err(QemuError::Cancelled(request.token.clone())),
        };
        // What is done aside goes on for a moment, and removes its files then.
        drop(slot.hold_files().await);
        match outcome {
            Ok((golden, instance)) => {
                golden.prove();
                Phase::Running(Arc::new(instance))
            }
            Err(error) => Phase::Failed(Arc::new(error)),
        }
    }

    async fn once(
        &self,
        request: &LaunchRequest,
        slot: &Slot,
        shape: Shape,
        wish: &Wish,
    ) -> Result<(Arc<Golden>, Instance), QemuError> {
        let golden = self.golden(&request.image, shape, wish, &request.network).await?;
        let instance = Instance::start(request, &golden, &self.owner, slot.hold_files().await).await?;
        Ok((golden, instance))
    }

    /// Leaves KVM, with which a clone failed that came up without.
    async fn leave_kvm(&self, error: &QemuError) -> Result<(), QemuError> {
        let binary = self.binary.get_or_try_init(|| self.look()).await?;
        self.accel.leave(&self.layout, &binary.version, error, &self.listener).await
    }
}
