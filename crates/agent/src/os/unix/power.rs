//! The end of the machine.

use std::io;

/// Asks the system to power the machine off in good order. True when it was accepted.
pub(crate) async fn ask_off() -> bool {
    let asked = tokio::process::Command::new("/sbin/poweroff").status().await;
    asked.is_ok_and(|status| status.success())
}

/// Powers the machine off at once. Returns only when it failed, with the reason.
pub(crate) fn off() -> io::Error {
    nix::unistd::sync();
    let Err(error) = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
    error.into()
}
