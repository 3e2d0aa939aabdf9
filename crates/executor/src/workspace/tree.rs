//! What of the working tree is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;

use super::left::Left;
use super::names::shown;
use super::stream::{self, Entries};

/// Greatest number of files that a note names.
const FILES_MAX: usize = 12;

/// A working tree, ready to be sent.
#[derive(Debug, Default)]
pub struct Tree {
    pub(super) entries: Entries,
    /// What is not sent for its credentials, by the file it stands in. The whole file where there is nothing more to say.
    pub(super) left_out: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Files that hold credentials, wherever they lie.
    pub(super) private: BTreeSet<PathBuf>,
    /// Settings that were looked at already.
    pub(super) read: BTreeSet<PathBuf>,
    /// What is not sent because it is ignored.
    pub(super) left: Left,
    /// What else is not as it is here.
    pub(super) notes: Vec<String>,
}

impl Tree {
    /// Records that something of a file is not sent; without a word, the whole file.
    pub(super) fn leave_out(&mut self, name: &Path, what: Option<String>) {
        self.left_out.entry(name.to_owned()).or_default().extend(what);
    }

    /// Returns what people should know of how the copy differs. No secret stands in it.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .left_out
            .iter()
            .take(FILES_MAX)
            .map(|(file, what)| match what.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => shown(file),
                ref what => format!("in {}: {}", shown(file), what.join(", ")),
            })
            .collect();
        if let more @ 1.. = self.left_out.len().saturating_sub(FILES_MAX) {
            parts.push(format!("and in {more} more files"));
        }
        let credentials =
            (!parts.is_empty()).then(|| format!("credentials stay on this machine: {}", parts.join("; ")));
        credentials.into_iter().chain(self.notes.iter().cloned()).collect()
    }

    /// Returns what is not sent because it is ignored, in the words of a note. It may change while builds go on here.
    #[must_use]
    pub fn left_behind(&self) -> Option<String> {
        self.left.note()
    }

    /// Packs the tree as tar in zstd.
    #[must_use]
    pub fn pack(self) -> BoxStream<'static, io::Result<Bytes>> {
        stream::pack(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_some_files_and_counts_the_rest() {
        let mut tree = Tree::default();
        assert_eq!(tree.notes(), Vec::<String>::new());
        (10..30).for_each(|n| tree.leave_out(Path::new(&format!("f{n}")), None));
        let names: Vec<String> = (10..22).map(|n| format!("f{n}")).collect();
        let expect = format!("credentials stay on this machine: {}; and in 8 more files", names.join("; "));
        assert_eq!(tree.notes(), [expect]);
    }
}
