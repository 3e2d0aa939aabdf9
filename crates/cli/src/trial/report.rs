//! The report of a trial: what a maintainer needs to know of a machine that one cannot look at. It holds no secret, and nothing
//! of the environment.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kiln_driver_qemu::{Accel, Check, Image};
use serde::Serialize;

use super::part::Part;

/// Reports that are kept.
const KEPT: usize = 20;
/// A file is called `try-TIME.json`.
const PREFIX: &str = "try-";
const SUFFIX: &str = ".json";

/// The content of a report file.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// Version of the program.
    pub kiln: &'static str,
    /// When the trial began.
    pub began: String,
    /// Whether nothing failed.
    pub passed: bool,
    /// The machine that the trial ran on.
    pub machine: Machine,
    /// What runs the VMs' processors; none where it did not come to that.
    pub accel: Option<Accel>,
    /// The image, by name and digest.
    pub image: Option<(&'a str, &'a str)>,
    /// The checks of `kiln doctor`, which come before the trial.
    pub checks: Vec<Checked>,
    /// The parts of the trial.
    pub parts: &'a [Part],
}

/// The machine that a trial ran on, as far as it matters for VMs.
#[derive(Debug, Serialize)]
pub struct Machine {
    kernel: String,
    system: String,
    processor: String,
    processors: usize,
    is_virtual: bool,
    memory_mib: u64,
    is_root: bool,
}

/// A check of `kiln doctor`, without its remedy: that is for the person at the machine.
#[derive(Debug, Serialize)]
pub struct Checked {
    name: &'static str,
    ok: bool,
    optional: bool,
    detail: String,
}

impl Checked {
    /// Copies a check.
    pub fn of(check: &Check) -> Self {
        Self { name: check.name, ok: check.ok, optional: check.optional, detail: check.detail.clone() }
    }
}

impl Machine {
    /// Describes this machine. What cannot be read is empty, so that a report is saved all the same.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let memory_kib = value_of(&memory, "MemTotal", ':').split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: value_of(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
            processor: value_of(&cpuinfo, "model name", ':').to_owned(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            is_virtual: value_of(&cpuinfo, "flags", ':').split(' ').any(|flag| flag == "hypervisor"),
            memory_mib: memory_kib.unwrap_or_default() >> 10,
            is_root: nix::unistd::geteuid().is_root(),
        }
    }
}

/// The value of the first line with this name.
fn value_of<'a>(text: &'a str, name: &str, separator: char) -> &'a str {
    let pairs = text.lines().filter_map(|line| line.split_once(separator));
    pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next().unwrap_or_default()
}

impl Report<'_> {
    /// Writes the report into a folder, and removes the oldest ones there.
    pub fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let time = self.began.replace([':', '-'], "");
        let path = folder.join(format!("{PREFIX}{time}{SUFFIX}"));
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        prune(folder);
        Ok(path)
    }
}

/// Their names are their times, so the oldest come first.
fn prune(folder: &Path) {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_report = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(PREFIX) && name.ends_with(SUFFIX)
    };
    let mut reports: Vec<PathBuf> = names.filter(is_report).collect();
    reports.sort();
    for old in reports.iter().rev().skip(KEPT) {
        // One that cannot be removed is tried again at the next report.
        drop(std::fs::remove_file(old));
    }
}

/// The image as the report names it.
pub fn named(image: &Image) -> (&str, &str) {
    (&image.name, &image.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_written_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let report = |second: usize| Report {
            kiln: "1",
            began: format!("2026-01-01T00:00:{second:02}Z"),
            passed: true,
            machine: Machine::here(),
            accel: Some(Accel::Tcg),
            image: Some(("debian", "abc")),
            checks: Vec::new(),
            parts: &[],
        };
        let paths: Vec<PathBuf> = (0..KEPT + 3).map(|n| report(n).save(folder.path()).expect("saved")).collect();
        let kept: Vec<bool> = paths.iter().map(|path| path.exists()).collect();
        assert_eq!(kept, [vec![false; 3], vec![true; KEPT]].concat());
        let text = std::fs::read_to_string(&paths[KEPT]).expect("a report");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&read["accel"], &read["passed"]), (&"tcg".into(), &true.into()));
        assert!(read["machine"]["memory_mib"].as_u64().is_some_and(|mib| mib > 0), "{text}");
        assert!(!read["machine"]["kernel"].as_str().unwrap_or_default().is_empty(), "{text}");
    }
}
