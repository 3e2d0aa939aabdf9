//! Objects that a repository borrows from others on this machine: `git clone --reference` and `--shared` make such
//! repositories. In the copy the objects are its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::stream::Source;
use super::tree::Tree;

/// Where a repository names the objects that it borrows, in its folder of objects.
const BORROWED: &str = "info/alternates";
/// How far others borrow in turn. Git itself goes no further.
const DEEPEST: usize = 5;
/// The folder of packs.
const PACK: &str = "pack";
/// What belongs to a pack and is needed wherever it is.
const OF_PACKS: &[&str] = &["pack", "idx", "rev", "promisor"];

/// Adds the objects that `dir`, a folder of objects which is sent as `name`, borrows.
pub(super) fn borrow(dir: &Path, name: &Path, tree: &mut Tree) -> io::Result<()> {
    let mut waiting: Vec<(PathBuf, usize)> = lenders(dir).into_iter().map(|lender| (lender, 1)).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let mut seen = vec![dir.to_owned()];
    while let Some((lender, depth)) = waiting.pop() {
        if seen.contains(&lender) || depth > DEEPEST {
            continue;
        }
        copy(&lender, name, tree)?;
        waiting.extend(lenders(&lender).into_iter().map(|next| (next, depth + 1)));
        seen.push(lender);
    }
    tree.entries.remove(&name.join(BORROWED));
    Ok(())
}

/// Returns the folders of objects that one borrows from, as far as they are there.
fn lenders(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read(dir.join(BORROWED)).unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    let paths = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    paths.filter_map(|line| dir.join(line.trim_matches('"')).canonicalize().ok()).collect()
}

/// Adds the packs and the loose objects of a folder. The same name means the same content.
fn copy(from: &Path, name: &Path, tree: &mut Tree) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let is_loose = file.len() == 2 && file.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_loose && file != PACK {
            continue;
        }
        let folder = name.join(&file);
        tree.entries.entry(folder.clone()).or_insert(Source::Disk(entry.path()));
        for object in fs::read_dir(entry.path())? {
            let object = object?;
            let path = object.path();
            let is_pack = path.extension().is_some_and(|end| OF_PACKS.iter().any(|known| end == *known));
            if is_loose || is_pack {
                tree.entries.entry(folder.join(object.file_name())).or_insert(Source::Disk(path));
            }
        }
    }
    Ok(())
}
