//! Crates of others, as cargo describes them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo;

/// A crate of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Its declared licence, an SPDX expression.
    pub license: Option<String>,
    /// Its source; none for a folder.
    pub source: Option<String>,
    /// The folder of its sources.
    pub folder: PathBuf,
}

impl Package {
    /// Returns all crates of the lock file that this workspace may use, on any system, except its own.
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
