//! Removes what killed processes left: nobody else will.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clone::record::Record;
use crate::error::QemuError;
use crate::host::lock;
use crate::host::proc;
use crate::host::proc::ProcessName;
use crate::host::unix;
use crate::paths::{NAMED, OWNER_LOCK};

/// A killed process is gone within this, unless the host itself hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Ends the VMs and removes the files of every dead owner that is a process; those of a named one wait for the next process
/// of that name. Returns the instances that were found.
pub(crate) fn reap(vms: &Path) -> Result<Vec<String>, QemuError> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(vms).map_err(QemuError::io("read", vms))?;
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let begins =
            |with: &str| dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(with.as_bytes()));
        if begins(NAMED) {
            continue;
        }
        if begins(".") {
            if is_stale_unnamed(&dir) {
                lock::remove_tree(&dir)?;
            }
            continue;
        }
        // Held until the directory is gone, so that two reapers do not meet in it. An owner has its lock before its directory
        // has a name: without one there is nobody.
        let Ok(_dead) = lock::take_existing(&dir.join(OWNER_LOCK)) else { continue };
        for instance in std::fs::read_dir(&dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            end_leftover(&instance.path())?;
            found.push(instance.file_name().to_string_lossy().into_owned());
        }
        lock::remove_tree(&dir)?;
        tracing::info!(owner = %dir.display(), "removed what a killed owner left");
    }
    Ok(found)
}

/// Whether a directory that never got its name belongs to a dead process: its name starts with its pid and start time.
fn is_stale_unnamed(dir: &Path) -> bool {
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut parts = name.trim_start_matches('.').split('-');
    let (pid, start) = (parts.next().and_then(|p| p.parse().ok()), parts.next().and_then(|p| p.parse::<u64>().ok()));
    pid.is_some_and(|pid| proc::start_time(pid) != start)
}

/// Ends the process of a leftover instance, if it is that very process and its command line names the instance's files.
fn end_leftover(instance: &Path) -> Result<(), QemuError> {
    let Some(process) = Record::read(instance).and_then(|record| record.process) else { return Ok(()) };
    let mark = instance.to_string_lossy().replace(',', ",,");
    let ours = |process: &ProcessName| {
        process.lives() && proc::command_line(process.pid).iter().any(|word| word.contains(&*mark))
    };
    if !ours(&process) {
        return Ok(());
    }
    unix::kill_now(process.pid).map_err(QemuError::io("end the leftover VM of", instance))?;
    let deadline = Instant::now() + KILL_LIMIT;
    while process.lives() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use kiln_driver::{Labels, LaunchRequest};

    use super::*;
    use crate::clone::owner::{Owner, Ownership};
    use crate::host::files::private_dir;
    use crate::paths::Layout;

    fn record(instance: &Path, process: ProcessName) {
        let request = LaunchRequest {
            token: "i".to_owned(),
            count: 1,
            place: String::new(),
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            image: "debian".to_owned(),
            cpus: 1,
            memory_mib: 512,
            disk_gib: 8,
            labels: Labels::new(),
        };
        let record = Record { process: Some(process), ..Record::intent(&request, "key") };
        record.write(instance).expect("write");
    }

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().join("cache"), state: dir.path().join("state") };
        (dir, layout)
    }

    #[test]
    fn a_living_owner_keeps_its_instances_and_a_dead_one_does_not() {
        let (_dir, layout) = layout();
        let owner = Owner::start(&layout, &Ownership::Process).expect("an owner");
        private_dir(&owner.instance_dir("i-1")).expect("create");
        assert_eq!(reap(&layout.vms()).expect("reap"), Vec::<String>::new());
        assert_eq!(owner.instances(), ["i-1"]);
        // As after kill -9: the lock is free and the files are there.
        let dead = layout.vms().join("1-1-0");
        private_dir(&dead.join("i-2")).expect("create");
        assert_eq!(reap(&layout.vms()).expect("reap"), ["i-2"]);
        assert!(!dead.exists());
        assert_eq!(owner.instances(), ["i-1"]);
    }

    #[test]
    fn what_a_named_owner_left_waits_for_it() {
        let (_dir, layout) = layout();
        let instance = layout.vms().join("named-runner").join("i-1");
        private_dir(&instance).expect("create");
        assert_eq!(reap(&layout.vms()).expect("reap"), Vec::<String>::new());
        assert!(instance.exists());
    }

    /// A process that is no VM of this driver is left alone, whatever the record says.
    #[test]
    fn a_foreign_process_is_never_killed() {
        let (_dir, layout) = layout();
        let mut foreign = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep");
        let start = proc::start_time(foreign.id());
        let other_start = start.map(|s| s + 1);
        for start_time in [start, other_start, None] {
            let instance = layout.vms().join("1-1-0").join("i-3");
            private_dir(&instance).expect("create");
            record(&instance, ProcessName { start_time, ..ProcessName::of(foreign.id()) });
            assert_eq!(reap(&layout.vms()).expect("reap"), ["i-3"]);
            assert!(foreign.try_wait().expect("wait").is_none(), "the foreign process was ended");
        }
        foreign.kill().expect("kill");
        foreign.wait().expect("wait");
    }

    #[test]
    fn a_leftover_process_of_the_instance_is_ended() {
        let (_dir, layout) = layout();
        let instance = layout.vms().join("1-1-0").join("i-4");
        private_dir(&instance).expect("create");
        let script = "read line; exit 0";
        let mut leftover = Command::new("sh")
            .args(["-c", script])
            .arg(instance.join("overlay"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        // The kernel says that it runs before it shows with what.
        while proc::command_line(leftover.id()).iter().all(|word| word != script) {
            std::thread::yield_now();
        }
        record(&instance, ProcessName::of(leftover.id()));
        reap(&layout.vms()).expect("reap");
        let status = leftover.wait().expect("wait");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(!instance.exists());
    }
}
