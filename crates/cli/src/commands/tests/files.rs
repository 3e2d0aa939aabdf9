//! Files from names and globs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::exit::Usage;

/// Greatest depth of folders that are searched.
const DEPTH_MAX: usize = 64;

/// Returns the files of these names and globs, in the order of their names, and the patterns without a file.
///
/// # Errors
/// When a glob is not valid.
pub fn expand(patterns: &[String]) -> anyhow::Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut found, mut without) = (BTreeSet::new(), Vec::new());
    for pattern in patterns {
        if Path::new(pattern).is_file() {
            found.insert(PathBuf::from(pattern));
            continue;
        }
        let matcher = matcher(pattern)?;
        let mut matching = Vec::new();
        search(&fixed(pattern), &matcher, DEPTH_MAX, &mut matching);
        if matching.is_empty() {
            without.push(pattern.clone());
        }
        found.extend(matching);
    }
    Ok((found.into_iter().collect(), without))
}

/// Returns a matcher of paths.
///
/// # Errors
/// When the glob is not valid.
pub fn matcher(pattern: &str) -> anyhow::Result<GlobMatcher> {
    let plain = pattern.strip_prefix("./").unwrap_or(pattern);
    let glob = GlobBuilder::new(plain).literal_separator(true).build();
    Ok(glob.map_err(|error| Usage(format!("{pattern}: {error}")))?.compile_matcher())
}

/// Returns the folder where the search for a glob begins.
fn fixed(pattern: &str) -> PathBuf {
    let parts = pattern.strip_prefix("./").unwrap_or(pattern).split('/');
    let mut parts: Vec<&str> = parts.take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).collect();
    // The last part of a plain name is no folder.
    if parts.join("/") == pattern {
        parts.pop();
    }
    let folder = parts.join("/");
    if folder.is_empty() && pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::from(folder) }
}

fn search(folder: &Path, matcher: &GlobMatcher, depth: usize, found: &mut Vec<PathBuf>) {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // A folder that is missing or unreadable holds no match.
    let Ok(entries) = std::fs::read_dir(listed) else { return };
    for entry in entries.flatten() {
        let path = folder.join(entry.file_name());
        // A link to a folder may lead back.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 {
            search(&path, matcher, depth - 1, found);
        } else if matcher.is_match(&path) && path.is_file() {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_globs_become_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().to_str().expect("a path in UTF-8");
        for name in ["a/TEST-1.xml", "a/b/TEST-2.xml", "a/b/other.xml", "[odd].xml", "c.trx"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        let check = |patterns: &[&str], expect: &str, without: usize| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| format!("{root}/{pattern}")).collect();
            let (files, none) = expand(&patterns).expect("globs");
            let names: Vec<String> =
                files.iter().map(|file| file.display().to_string().replace(&format!("{root}/"), "")).collect();
            assert_eq!((names.join(" "), none.len()), (expect.to_owned(), without), "{patterns:?}");
        };
        check(&["**/TEST-*.xml"], "a/TEST-1.xml a/b/TEST-2.xml", 0);
        check(&["a/*.xml", "c.trx"], "a/TEST-1.xml c.trx", 0);
        check(&["[odd].xml", "*.xml"], "[odd].xml", 0);
        check(&["missing.xml", "*.json", "a/?/TEST-{2,3}.xml"], "a/b/TEST-2.xml", 2);
        assert!(expand(&["[".to_owned()]).is_err());
    }

    #[test]
    fn a_search_begins_where_the_glob_does() {
        let check = |pattern: &str, expect: &str| assert_eq!(fixed(pattern), Path::new(expect), "{pattern}");
        check("**/*.xml", "");
        check("./a/b/*.xml", "a/b");
        check("a/b.xml", "a");
        check("/tmp/x*/b", "/tmp");
        check("/*.xml", "/");
        check("b.xml", "");
    }
}
