//! Whether this host can isolate VMs, found out by doing all that it takes but a VM.

use std::path::Path;
use std::process::Stdio;

use kiln_pool::Network;

use crate::host::unix::{self, Death};
use crate::vm::accel::Accel;
use crate::vm::confinement::Confinement;
use crate::vm::machine::{Assembled, Guard, Life};
use crate::vm::started::{Started, TheWarden};
use crate::warden::{Trouble, WardenProgram};

/// Who the trial runs as, where VMs have users of their own.
const NAME: &str = "kiln-isolation-check";

/// Starts a warden, and a QEMU under it that tells its version. Blocks for some hundredths of a second.
///
/// # Errors
/// What is missing, and how to mend it.
pub(crate) fn try_out(warden: &WardenProgram, qemu: &Path) -> Result<(), String> {
    let confinement = Confinement::of(NAME, false, Accel::Tcg);
    let mut command = confinement.command(qemu);
    command.arg("-version");
    let (warden, network) = (warden.clone(), Network::default());
    let guard = Guard { warden, network, agent: None, sign_of_life: None };
    let assembled = Assembled { command, inherit: Vec::new(), confinement, bounds: None, guard: Some(guard) };
    let told = |error: std::io::Error| format!("isolation cannot be tried: {error}");
    let Started { mut command, inherit, orders, .. } = Started::of(assembled, Life::Tied).map_err(told)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = unix::spawn_tied(command, inherit, Death::Kill).map_err(told)?;
    // A warden that cannot begin may have ended already.
    let stream = orders.map(TheWarden::tell).transpose();
    let status = child.wait().map_err(told)?;
    match stream.ok().flatten().as_ref().and_then(Trouble::heard) {
        _ if status.success() => Ok(()),
        Some(trouble) => Err(trouble.text),
        None => Err(format!("a QEMU that is isolated does not start: {status}")),
    }
}
