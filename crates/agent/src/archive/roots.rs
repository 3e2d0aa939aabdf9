//! Paths of an archive: where each begins, and what it covers.

use std::path::{Component, Path, PathBuf};

use super::ArchiveError;
use crate::glob::Glob;

/// A path, which may be a glob.
#[derive(Debug)]
pub(super) struct Root {
    /// The folder that names of entries are relative to: the part of the path that has no glob and is not its last name.
    pub(super) dir: PathBuf,
    pub(super) glob: Glob,
    /// The names of that folder as the glob sees them.
    pub(super) fixed: Vec<String>,
}

impl Root {
    /// Returns the roots of paths.
    ///
    /// # Errors
    /// When the base or a path cannot be used.
    pub(super) fn all(base: &str, paths: &[String], home: Option<&str>) -> Result<Vec<Self>, ArchiveError> {
        let base = PathBuf::from(base);
        if !base.is_absolute() {
            return Err(ArchiveError::Directory { what: "base", path: base });
        }
        paths.iter().map(|path| Self::new(&base, path, home)).collect()
    }

    fn new(base: &Path, path: &str, home: Option<&str>) -> Result<Self, ArchiveError> {
        let refused = |why| ArchiveError::Path { path: path.to_owned(), why };
        let climbs = Path::new(path).components().any(|part| part == Component::ParentDir);
        if path.is_empty() || path.contains('\0') || climbs {
            return Err(refused("it is empty, or has a `..`"));
        }
        let pattern = match (path.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            (Some(rest), None) if rest.is_empty() || rest.starts_with('/') => {
                return Err(refused("the steps' account has no home directory"));
            }
            _ => path.to_owned(),
        };
        let top = if pattern.starts_with('/') { Path::new("/") } else { base };
        // A path that names the base itself stands for everything in it.
        let is_top = pattern.split('/').all(|name| name.is_empty() || name == ".");
        let glob = Glob::new(if is_top { "**" } else { &pattern });
        let fixed = glob.fixed();
        let dir = fixed.iter().fold(top.to_path_buf(), |dir, name| dir.join(name));
        Ok(Self { dir, glob, fixed })
    }

    /// Returns whether the path covers an entry by its names below the folder: itself, or a folder above it.
    pub(super) fn covers<'a>(&'a self, below: impl IntoIterator<Item = &'a str>) -> bool {
        let mut names: Vec<&str> = self.fixed.iter().map(String::as_str).collect();
        below.into_iter().any(|name| {
            names.push(name);
            self.glob.matches(&names)
        })
    }

    /// Returns whether what the path covers may lie in a folder, given by its names below the root's.
    pub(super) fn may_lie_below<'a>(&'a self, below: impl IntoIterator<Item = &'a str>) -> bool {
        let names: Vec<&str> = self.fixed.iter().map(String::as_str).chain(below).collect();
        self.glob.may_match_below(&names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(path: &str) -> Root {
        Root::new(Path::new("/src"), path, Some("/root")).expect("a path")
    }

    #[test]
    fn where_paths_begin_and_what_they_cover() {
        for (path, dir, inside, outside) in [
            ("node_modules", "/src", "node_modules/a/b", "src/node_modules"),
            ("./a/b", "/src/a", "b", "c"),
            ("~/.m2/repository", "/root/.m2", "repository/x", "settings.xml"),
            ("~", "/", "root/.bashrc", "rooted"),
            ("/var/cache", "/var", "cache/x", "lib/x"),
            ("packages/*/dist", "/src/packages", "a/dist/x", "a/src"),
            (".", "/src", "anything", ""),
        ] {
            let root = root(path);
            assert_eq!(root.dir, Path::new(dir), "{path}");
            assert!(root.covers(inside.split('/')), "{path} covers {inside}");
            assert!(outside.is_empty() || !root.covers(outside.split('/')), "{path} does not cover {outside}");
        }
    }

    #[test]
    fn paths_that_climb_are_refused() {
        for path in ["", "..", "a/../b", "/x/..", "~/../y"] {
            let refused = Root::new(Path::new("/src"), path, Some("/root")).expect_err("a refusal");
            assert!(matches!(refused, ArchiveError::Path { .. }), "{path}");
        }
        let homeless = Root::new(Path::new("/src"), "~/.m2", None).expect_err("a refusal");
        assert!(homeless.to_string().contains("no home"), "{homeless}");
    }
}
