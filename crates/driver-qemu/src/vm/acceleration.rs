//! What runs the guests' processors, decided once, and left once if that turns out to be wrong.
//!
//! ```text
//! nothing ─► (choice, probe) ─► KVM ─► (VMs fail with it, and come up without) ─► TCG
//!                          └──► TCG
//! ```
//! The probe boots a kernel and no more. A KVM that fails later, in a whole VM, is left where the choice is up to Kiln.

use crate::error::QemuError;
use crate::paths::Layout;
use crate::progress::{Listener, Progress};
use crate::vm::accel::{Accel, AccelChoice};
use crate::vm::kvm;

/// The decision of one driver.
#[derive(Debug)]
pub(crate) struct Acceleration {
    choice: AccelChoice,
    decided: tokio::sync::Mutex<Option<Accel>>,
}

impl Acceleration {
    pub(crate) fn of(choice: AccelChoice) -> Self {
        Self { choice, decided: tokio::sync::Mutex::new(None) }
    }

    /// Returns what was decided; none before the first VM.
    pub(crate) async fn decided(&self) -> Option<Accel> {
        *self.decided.lock().await
    }

    /// Returns what was decided, after `decide` where nothing was. Many that ask at once decide once.
    pub(crate) async fn get_or_decide(
        &self,
        decide: impl Future<Output = Result<Accel, QemuError>>,
    ) -> Result<Accel, QemuError> {
        let mut decided = self.decided.lock().await;
        match *decided {
            Some(accel) => Ok(accel),
            None => Ok(*decided.insert(decide.await?)),
        }
    }

    /// Decides otherwise, for this driver alone.
    pub(crate) async fn decide_anew(&self, accel: Accel) {
        *self.decided.lock().await = Some(accel);
    }

    /// Returns whether a VM that failed like this may come up without KVM. What lies in the host's files, disk or programs
    /// fails either way.
    pub(crate) fn may_leave(&self, accel: Accel, error: &QemuError) -> bool {
        let of_the_vm = matches!(
            error,
            QemuError::VmEnded { .. }
                | QemuError::Monitor(_)
                | QemuError::BootTimeout { .. }
                | QemuError::CloneTimeout { .. }
        );
        accel == Accel::Kvm && self.choice == AccelChoice::Auto && of_the_vm
    }

    /// Leaves KVM, also for later processes of this boot of the host, and says so. `error` is what a VM failed with.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(crate) async fn leave(
        &self,
        layout: &Layout,
        qemu_version: &str,
        error: &QemuError,
        listener: &Listener,
    ) -> Result<(), QemuError> {
        let text = error.to_string();
        let trouble = kvm::Trouble::FailsLater(text.lines().next().unwrap_or_default().to_owned());
        listener(Progress::Note(format!("KVM is left ({trouble}); VMs run in software emulation, which is slower")));
        self.decide_anew(Accel::Tcg).await;
        kvm::remember(layout, qemu_version, Err(trouble))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn kvm_is_left_only_where_it_may_be_the_cause_and_the_choice_is_open() {
        let ended = || QemuError::VmEnded { what: "x".to_owned(), evidence: "KVM internal error".to_owned() };
        let full = QemuError::Invalid("no".to_owned());
        for (choice, accel, error, expect) in [
            (AccelChoice::Auto, Accel::Kvm, ended(), true),
            (AccelChoice::Auto, Accel::Tcg, ended(), false),
            (AccelChoice::Kvm, Accel::Kvm, ended(), false),
            (AccelChoice::Auto, Accel::Kvm, full, false),
        ] {
            assert_eq!(Acceleration::of(choice).may_leave(accel, &error), expect, "{choice:?} {accel:?} {error}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().to_owned(), state: dir.path().to_owned() };
        let acceleration = Acceleration::of(AccelChoice::Auto);
        assert_eq!(acceleration.get_or_decide(async { Ok(Accel::Kvm) }).await.expect("KVM"), Accel::Kvm);
        let listener: Listener = Arc::new(|_| {});
        acceleration.leave(&layout, "QEMU 7", &ended(), &listener).await.expect("written");
        assert_eq!(acceleration.get_or_decide(async { Ok(Accel::Kvm) }).await.expect("TCG"), Accel::Tcg);
        let known = std::fs::read_to_string(layout.kvm_memo()).expect("the memo");
        assert!(known.contains("FailsLater") && known.contains("KVM internal error"), "{known}");
    }
}
