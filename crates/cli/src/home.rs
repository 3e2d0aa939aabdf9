//! Kiln's folders: the XDG folders, never the checkout.
//!
//! ```text
//! $XDG_CACHE_HOME/kiln   what can be made again: images, golden VMs, cache/
//! $XDG_STATE_HOME/kiln   ca/, kept/, doctor/, artifacts/, runner-NAME.sqlite, and what belongs to running VMs
//! ```

use std::path::PathBuf;

use anyhow::Context as _;

/// The folders of this user.
#[derive(Debug, Clone)]
pub struct Layout {
    cache: PathBuf,
    state: PathBuf,
}

/// Returns the cache and state folders of this user.
pub fn layout() -> anyhow::Result<Layout> {
    Ok(Layout { cache: folder("XDG_CACHE_HOME", ".cache")?, state: folder("XDG_STATE_HOME", ".local/state")? })
}

impl Layout {
    /// Returns both folders below one.
    #[cfg(test)]
    pub fn below(dir: &std::path::Path) -> Self {
        Self { cache: dir.join("cache"), state: dir.join("state") }
    }

    /// Returns the folder of the CA that instances trust.
    pub fn ca(&self) -> PathBuf {
        self.state.join("ca")
    }

    /// Returns the folder of notes about instances that were kept after a failure.
    pub fn kept(&self) -> PathBuf {
        self.state.join("kept")
    }

    /// Returns the folder of reports of `kiln doctor --try`.
    pub fn reports(&self) -> PathBuf {
        self.state.join("doctor")
    }

    /// Where runs keep caches that are given no other place.
    pub fn caches(&self) -> PathBuf {
        self.cache.join("cache")
    }

    /// Where the folder of what steps upload lies, when they are given no other place.
    pub fn uploads(&self) -> PathBuf {
        self.state.clone()
    }

    /// Returns the default database of a runner. Creates its folder.
    pub fn runner_database(&self, name: &str) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.state).with_context(|| format!("cannot create {}", self.state.display()))?;
        Ok(self.state.join(format!("runner-{name}.sqlite")))
    }

    /// Returns the folders of local VMs and their images.
    pub fn qemu(&self) -> kiln_driver_qemu::Layout {
        kiln_driver_qemu::Layout { cache: self.cache.clone(), state: self.state.clone() }
    }
}

/// Docker's configuration file of this user.
pub fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let folder = folder.or_else(|| Some(PathBuf::from(home?).join(".docker")))?;
    Some(folder.join("config.json"))
}

fn folder(variable: &str, otherwise: &str) -> anyhow::Result<PathBuf> {
    // The specification says that a relative path must be ignored.
    if let Some(base) = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return Ok(base.join("kiln"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home =
        home.with_context(|| format!("neither {variable} nor HOME is set, so there is no place to keep images"))?;
    Ok(PathBuf::from(home).join(otherwise).join("kiln"))
}
