//! Crates of others: whether they may be linked, and their notices.
//!
//! ```text
//! deny.toml ──Policy──┐
//! cargo metadata ─────┴─► check: licences, banned crates, sources     (cargo xtask supply)
//! cargo tree ─────────────► notices: crates of what is shipped, with their licences     (cargo xtask generate)
//! ```

mod check;
mod files;
pub mod notices;
mod packages;
mod policy;

use anyhow::{Result, bail};

use packages::Package;
use policy::Policy;

/// Checks every crate of `Cargo.lock` that this workspace may use. The error lists every breach.
pub fn run() -> Result<()> {
    let policy = Policy::read()?;
    let packages = Package::all()?;
    let breaches = check::breaches(&policy, &packages);
    if breaches.is_empty() {
        println!("supply: {} crates of others, none is refused", packages.len());
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("{breach}");
    }
    bail!("{} crates are refused; deny.toml says what may be linked", breaches.len());
}
