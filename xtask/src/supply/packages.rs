//! Crates of others, as cargo tells of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

/// A crate of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// What it says its licence is, an SPDX expression.
    pub license: Option<String>,
    /// Where cargo has it from; none for a folder.
    pub source: Option<String>,
    /// Where its sources lie.
    pub folder: PathBuf,
}

impl Package {
    /// All that the lock file names and this workspace may use, on whatever system, but its own.
    pub fn all() -> Result<Vec<Self>> {
        let text = cargo::output(&["metadata", "--locked", "--all-features", "--format-version", "1"])?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let own = metadata["workspace_members"].as_array().context("cargo metadata without members")?;
        let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
        packages.iter().filter(|package| !own.contains(&package["id"])).map(Self::read).collect()
    }

    fn read(package: &Value) -> Result<Self> {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        let manifest = text("manifest_path").context("a package without a manifest")?;
        Ok(Self {
            name: text("name").context("a package without a name")?,
            version: text("version").context("a package without a version")?,
            license: text("license"),
            source: text("source"),
            folder: Path::new(&manifest).parent().context("a manifest without a folder")?.to_owned(),
        })
    }
}
