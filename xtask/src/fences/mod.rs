//! Fences: rules for what each crate may link, name and contain. `ARCHITECTURE.md` draws them, this checks them.

mod edges;
mod linked;
mod source;

use anyhow::{Result, bail};

/// Checks all fences. The error lists every breach.
pub fn run() -> Result<()> {
    let mut breaches = edges::check()?;
    breaches.extend(linked::check()?);
    breaches.extend(source::check()?);
    if breaches.is_empty() {
        println!("fences: all hold");
        return Ok(());
    }
    for breach in &breaches {
        eprintln!("{breach}");
    }
    bail!("{} fences are broken; ARCHITECTURE.md says why they stand", breaches.len());
}
