//! A copy of source files, in which mistakes are made and undone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::mutant::Mutant;
use crate::cargo;

/// The copy's folder. It stays between runs, so that only changes are built.
pub struct Sources {
    pub directory: PathBuf,
}

impl Sources {
    /// Returns the copy with that name, in the target directory.
    pub fn named(name: &str) -> Self {
        Self { directory: cargo::target().join("mutants").join(name) }
    }

    /// Updates a file, or all files of a folder. Files that are gone are removed from the copy too.
    pub fn copy(&self, path: &str) -> Result<()> {
        mirror(&cargo::root().join(path), &self.directory.join(path))
    }

    /// Writes a file of the copy's own.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        write(&self.directory.join(path), text.as_bytes())
    }

    /// Checks that every text that the mutant replaces occurs exactly once in its file.
    pub fn check(&self, mutant: &Mutant) -> Result<()> {
        for (file, text, _) in mutant.edits {
            let found = read(&self.directory.join("crates").join(file))?.matches(text).count();
            if found != 1 {
                bail!("mistake `{}`: the text `{text}` stands {found} times in {file}, not once", mutant.name);
            }
        }
        Ok(())
    }

    /// Makes the mistake, does the work, and undoes the mistake.
    pub fn with<T>(&self, mutant: &Mutant, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut originals = Vec::new();
        for (file, text, with) in mutant.edits {
            let path = self.directory.join("crates").join(file);
            let original = read(&path)?;
            write(&path, original.replacen(text, with, 1).as_bytes())?;
            originals.push((path, original));
        }
        let done = work();
        // Each file gets its content from before its first edit.
        for (path, original) in originals.iter().rev() {
            write(path, original.as_bytes())?;
        }
        done.with_context(|| format!("mistake `{}`", mutant.name))
    }
}

fn mirror(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        return write(to, &bytes);
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(to).with_context(|| format!("cannot list {}", to.display()))? {
        let there = entry?;
        if !from.join(there.file_name()).exists() {
            let path = there.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let name = entry?.file_name();
        mirror(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes only if the content differs, so that cargo rebuilds only that.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
