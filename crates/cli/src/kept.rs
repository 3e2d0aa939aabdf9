//! Instances that `kiln run --keep-on-failure` keeps, so that `kiln shell` finds them from another terminal.

use std::io;
use std::path::{Path, PathBuf};

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
    let dir = dir()?;
    let notes = Notes::read(&dir).with_context(|| format!("could not list {}", dir.display()))?;
    notes.choose(instance).map_err(|problem| Usage(problem).into())
}

/// The notes of a folder.
#[derive(Debug, Default)]
struct Notes {
    kept: Vec<Kept>,
    /// Why some could not be read, one line each.
    unread: Vec<String>,
}

impl Notes {
    fn read(dir: &Path) -> io::Result<Self> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut notes = Self::default();
        for entry in entries {
            let path = entry?.path();
            match std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?)) {
                Ok(kept) => notes.kept.push(kept),
                // The run that kept the instance has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => notes.unread.push(format!("could not read {}: {error}", path.display())),
            }
        }
        Ok(notes)
    }

    /// Returns the instance with that id, or the only one; otherwise the problem.
    fn choose(mut self, instance: Option<&str>) -> Result<Kept, String> {
        let known = self.kept.iter().map(|k| format!("{} ({})", k.instance, k.stage)).collect::<Vec<_>>().join(", ");
        let problem = match instance {
            Some(id) => {
                if let Some(at) = self.kept.iter().position(|kept| kept.instance == id) {
                    return Ok(self.kept.swap_remove(at));
                }
                let others =
                    if known.is_empty() { "none is kept now".to_owned() } else { format!("kept now: {known}") };
                format!("no kept instance {id}; {others}")
            }
            None if self.kept.len() == 1 => return Ok(self.kept.swap_remove(0)),
            None if self.kept.is_empty() => {
                "no instance is kept; keep one with: kiln run --keep-on-failure 30m FILE".to_owned()
            }
            None => format!("more than one instance is kept; name one of: {known}"),
        };
        Err([problem].into_iter().chain(self.unread).collect::<Vec<_>>().join("\n"))
    }
}

fn dir() -> anyhow::Result<PathBuf> {
    Ok(home::layout()?.kept())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(files: &[(&str, &str)]) -> Notes {
        let dir = tempfile::tempdir().expect("a folder");
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).expect("a file"));
        Notes::read(dir.path()).expect("a folder can be listed")
    }

    const ONE: &str = r#"{"instance":"i-1","stage":"build","agent":"unix:/run/a","workspace_dir":"/harness"}"#;

    #[test]
    fn a_note_that_cannot_be_read_is_named_when_no_instance_is_found() {
        let broken = [("i-2.json", "{")];
        let problem = notes(&broken).choose(None).expect_err("nothing is kept");
        let [first, second] = problem.lines().collect::<Vec<_>>()[..] else { panic!("{problem}") };
        assert!(first.starts_with("no instance is kept"), "{problem}");
        assert!(second.starts_with("could not read ") && second.contains("i-2.json: EOF"), "{problem}");
        let problem = notes(&[("i-1.json", ONE), broken[0]]).choose(Some("i-2")).expect_err("it is not kept");
        assert!(problem.starts_with("no kept instance i-2; kept now: i-1 (build)\ncould not read "), "{problem}");
    }

    #[test]
    fn a_kept_instance_is_found_beside_a_broken_note_and_a_missing_folder_has_none() {
        let files = [("i-1.json", ONE), ("i-2.json", "{")];
        assert_eq!(notes(&files).choose(None).expect("the only one").instance, "i-1");
        assert_eq!(notes(&files).choose(Some("i-1")).expect("by its id").stage, "build");
        assert!(Notes::read(Path::new("/nonexistent/kept")).expect("no folder").kept.is_empty());
    }
}
