//! Instances that `kiln run --keep-on-failure` keeps, so that `kiln shell` finds them from another terminal.

use std::path::PathBuf;

use anyhow::Context as _;
use kiln_wire::reach::Reach;
use serde::{Deserialize, Serialize};

use crate::exit::Usage;
use crate::home;

/// One kept instance.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its id, which is also its agent's name.
    pub instance: String,
    /// Its stage.
    pub stage: String,
    /// Where its agent listens.
    pub agent: Reach,
    /// The directory of the sources on it.
    pub workspace_dir: String,
}

/// A note on disk that is removed on drop.
pub struct Note {
    path: PathBuf,
}

impl Note {
    /// Writes a note about a kept instance.
    pub fn leave(kept: &Kept) -> anyhow::Result<Self> {
        let dir = dir()?;
        std::fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        let path = dir.join(format!("{}.json", kept.instance));
        std::fs::write(&path, serde_json::to_vec(kept)?)
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // If the note stays, `kiln shell` will notice that it cannot reach the instance.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Returns the kept instance with that id, or the only one.
pub fn find(instance: Option<&str>) -> anyhow::Result<Kept> {
    let mut all = read_all()?;
    let known = all.iter().map(|k| format!("{} ({})", k.instance, k.stage)).collect::<Vec<_>>().join(", ");
    match instance {
        Some(id) => {
            let found = all.into_iter().find(|kept| kept.instance == id);
            let others = if known.is_empty() { "none is kept now".to_owned() } else { format!("kept now: {known}") };
            found.ok_or_else(|| Usage(format!("no kept instance {id}; {others}")).into())
        }
        None if all.len() == 1 => Ok(all.remove(0)),
        None if all.is_empty() => {
            Err(Usage("no instance is kept; keep one with: kiln run --keep-on-failure 30m FILE".to_owned()).into())
        }
        None => Err(Usage(format!("more than one instance is kept; name one of: {known}")).into()),
    }
}

fn read_all() -> anyhow::Result<Vec<Kept>> {
    let dir = dir()?;
    let Ok(entries) = std::fs::read_dir(&dir) else { return Ok(Vec::new()) };
    let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
    Ok(entries.flatten().filter_map(|entry| read(entry.path())).collect())
}

fn dir() -> anyhow::Result<PathBuf> {
    Ok(home::layout()?.kept())
}
