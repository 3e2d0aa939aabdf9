//! What of a tree is not sent, because it is ignored: its names and how large it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{GIT, shown};

/// Files that are counted. What is ignored may be larger than all that is sent, and is not worth a wait.
const MOST_COUNTED: u64 = 20_000;
/// How many names are told.
const MOST_NAMES: usize = 5;

/// What is not sent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    parts: Vec<Part>,
    /// Whether there are more files than were counted.
    more: bool,
}

/// A file or a folder that is not sent.
#[derive(Debug, PartialEq)]
struct Part {
    name: PathBuf,
    files: u64,
    bytes: u64,
}

impl Left {
    /// Finds what the folders that are sent have besides. `is_known` says of a name whether it is sent, or was left out before.
    pub(super) fn find<'f>(
        root: &Path,
        folders: impl Iterator<Item = &'f PathBuf>,
        is_known: impl Fn(&Path) -> bool,
    ) -> Self {
        let mut left = Self::default();
        let mut budget = MOST_COUNTED;
        for folder in folders {
            // One that is gone or closed has nothing that could be told.
            let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
            for entry in entries.flatten() {
                let name = folder.join(entry.file_name());
                if is_known(&name) || entry.file_name() == GIT {
                    continue;
                }
                let mut part = Part { name, files: 0, bytes: 0 };
                left.more |= !part.measure(&entry.path(), &mut budget);
                if part.files > 0 {
                    left.parts.push(part);
                }
            }
            if left.more {
                break;
            }
        }
        left.parts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        left
    }

    /// Returns what people should know, if there is anything.
    pub(super) fn note(&self) -> Option<String> {
        let bytes = size(self.parts.iter().map(|part| part.bytes).sum());
        let name = |part: &Part| format!("{} ({})", shown(&part.name), size(part.bytes));
        let mut names: Vec<String> = self.parts.iter().take(MOST_NAMES).map(name).collect();
        let others = self.parts.len().saturating_sub(MOST_NAMES);
        let rest = match (others, self.more) {
            (0, false) if names.len() < 2 => String::new(),
            (0, false) => format!("; {bytes} together"),
            (0, true) => format!(" and more; more than {bytes} together"),
            (_, false) => format!(" and {others} more; {bytes} together"),
            (_, true) => format!(
                " and more than {others} {}; more than {bytes} together",
                if others == 1 { "other" } else { "others" }
            ),
        };
        let last = names.pop()?;
        names.push(last + &rest);
        Some(format!("not sent, because it is ignored: {}", names.join(", ")))
    }
}

impl Part {
    /// Adds a file, or all files below a folder, and returns whether all were counted.
    fn measure(&mut self, path: &Path, budget: &mut u64) -> bool {
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let Ok(found) = path.symlink_metadata() else { continue };
            if found.is_dir() {
                waiting.extend(fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()));
            } else if found.is_file() || found.is_symlink() {
                let Some(less) = budget.checked_sub(1) else { return false };
                *budget = less;
                self.files += 1;
                self.bytes += if found.is_file() { found.len() } else { 0 };
            }
        }
        true
    }
}

/// Returns a number of bytes for people.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) if bytes < 10 * unit => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        Some((name, unit)) => format!("{} {name}", bytes / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[(&str, u64)], more: bool, expect: Option<&str>) {
        let parts = parts.iter().map(|(name, bytes)| Part { name: name.into(), files: 1, bytes: *bytes }).collect();
        assert_eq!(Left { parts, more }.note().as_deref(), expect);
    }

    #[test]
    fn what_is_not_sent_is_told_with_its_size() {
        check(&[], false, None);
        check(&[(".env", 12)], false, Some("not sent, because it is ignored: .env (12 B)"));
        check(
            &[("target", 1_234_567_890), ("a\nb", 1500)],
            false,
            Some("not sent, because it is ignored: target (1.1 GiB), a\\nb (1.4 KiB); 1.1 GiB together"),
        );
        let many = [("a", 7000), ("b", 600), ("c", 50), ("d", 4), ("e", 3), ("f", 2), ("g", 1)];
        let names = "not sent, because it is ignored: a (6.8 KiB), b (600 B), c (50 B), d (4 B), e (3 B)";
        check(&many, false, Some(&format!("{names} and 2 more; 7.4 KiB together")));
        check(&many, true, Some(&format!("{names} and more than 2 others; more than 7.4 KiB together")));
        check(
            &many[..1],
            true,
            Some("not sent, because it is ignored: a (6.8 KiB) and more; more than 6.8 KiB together"),
        );
    }

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_fits() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_239, "9.9 KiB"),
            (10_240, "10 KiB"),
            ((1 << 20) - 1, "1023 KiB"),
            (1 << 20, "1.0 MiB"),
            (2_500_000_000, "2.3 GiB"),
            (u64::MAX, "17179869183 GiB"),
        ] {
            assert_eq!(size(bytes), expect, "{bytes}");
        }
    }
}
