//! Where Kiln keeps things: the XDG folders, never the checkout.

use std::path::PathBuf;

use anyhow::Context as _;
use kiln_driver_qemu::Layout;

/// The cache and state folders of this user.
pub fn layout() -> anyhow::Result<Layout> {
    Ok(Layout { cache: folder("XDG_CACHE_HOME", ".cache")?, state: folder("XDG_STATE_HOME", ".local/state")? })
}

fn folder(variable: &str, otherwise: &str) -> anyhow::Result<PathBuf> {
    // The specification says that a relative path is to be ignored.
    if let Some(base) = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return Ok(base.join("kiln"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home =
        home.with_context(|| format!("neither {variable} nor HOME is set, so there is no place to keep images"))?;
    Ok(PathBuf::from(home).join(otherwise).join("kiln"))
}
