//! Files of a crate that hold licences and notices.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Greatest depth of folders with bundled code.
const DEPTH_MAX: usize = 3;
/// Greatest size of a licence.
const BYTES_MAX: u64 = 200_000;
const BEGINNINGS: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];
/// Extensions of files that merely have such a name.
const CODE: [&str; 7] = ["rs", "c", "h", "py", "sh", "json", "toml"];

/// Returns the licence files in the crate's own folder, and those of code that it bundles, each group sorted.
pub fn find(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut own, mut bundled) = (Vec::new(), Vec::new());
    collect(folder, 0, &mut own, &mut bundled)?;
    own.sort();
    bundled.sort();
    Ok((own, bundled))
}

fn collect(folder: &Path, depth: usize, own: &mut Vec<PathBuf>, bundled: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let meta = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
        if meta.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, own, bundled)?;
        } else if meta.is_file() && meta.len() <= BYTES_MAX && is_licence(&path) {
            if depth == 0 { own.push(path) } else { bundled.push(path) }
        }
    }
    Ok(())
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let code = path.extension().is_some_and(|extension| CODE.iter().any(|code| extension == *code));
    !code && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Returns a file's text, without blanks at the ends of lines.
pub fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(lines.join("\n").trim_matches('\n').to_owned())
}
