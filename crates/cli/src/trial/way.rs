//! What each part of the trial does.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_driver::{Driver as _, Labels, LaunchRequest, Launched};
use kiln_driver_qemu::limits::DEFAULT_SHAPE;
use kiln_driver_qemu::{Accel, Image, Layout, QemuDriver, QemuError, Shape};
use kiln_pool::Network;
use kiln_runner::agents::{Leases, PooledAgents, ReadyWhen};

use super::guest::{Guest, Said};
use super::isolation::Doors;
use super::part::{Seen, Trouble};
use crate::args::VmArgs;
use crate::identity::Identity;
use crate::images::Choice;
use crate::ui::summary::seconds;

pub const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// An image is read whole.
pub const IMAGE_LIMIT: Duration = Duration::from_secs(300);
/// A boot takes minutes without KVM, and another process may be at it.
pub const GOLDEN_LIMIT: Duration = Duration::from_secs(25 * 60);
pub const CLONE_LIMIT: Duration = Duration::from_secs(180);
pub const IDENTITY_LIMIT: Duration = Duration::from_secs(60);
pub const STEP_LIMIT: Duration = Duration::from_secs(60);
/// A container engine starts slowly without KVM.
pub const CONTAINER_LIMIT: Duration = Duration::from_secs(180);
pub const END_LIMIT: Duration = Duration::from_secs(60);

/// The VMs end with this process anyway.
const LEASES: Leases = Leases { lease_s: 3600, max_age_s: 3600 };
/// How far the clock of a VM may be from this machine's.
const CLOCK_LIMIT: Duration = Duration::from_secs(1);
/// The container image that the trial makes: the agent alone, which is one static program.
const TINY_IMAGE: &str = "kiln-doctor:try";
/// Where it lies in a VM.
const AGENT_FOLDER: &str = "/usr/local/bin";
const AGENT_NAME: &str = "kiln-agent";

/// The driver of local VMs, and what the parts need beside it.
pub struct Way {
    pub driver: QemuDriver,
    agents: PooledAgents,
    layout: Layout,
    shape: Shape,
    /// Makes the VMs' ids unique.
    token: String,
}

impl Way {
    pub fn new(driver: QemuDriver, vm: &VmArgs, layout: Layout, identity: Identity) -> Self {
        let agents = PooledAgents::new(identity.authority, identity.credentials, LEASES, ReadyWhen::Proven);
        let shape = Shape { cpus: vm.cpus, memory_mib: vm.memory, ..DEFAULT_SHAPE };
        Self { driver, agents, layout, shape, token: format!("doctor-{}", std::process::id()) }
    }

    /// Reads the image whole: the one that is named, else the one that `kiln run` takes.
    pub async fn image(&self, name: Option<&str>) -> Seen<Image> {
        let images = self.driver.images();
        let words: Vec<String> = name.map(str::to_owned).into_iter().collect();
        let choice = Choice::read(&words, &images).map_err(Trouble::of)?;
        let image = images.examine(choice.any()).await.map_err(Trouble::of)?;
        let seen = format!("{}, {} MiB, sha256 {:.12}…", image.name, image.file_bytes >> 20, image.digest);
        Ok((image, seen))
    }

    /// Boots the image once, unless that was done.
    pub async fn golden(&self, image: &Image) -> Seen<()> {
        self.driver.ensure_golden(&image.name, self.shape).await.map_err(|error| golden_trouble(error, &image.name))?;
        let with = match self.driver.accel().await {
            Some(Accel::Kvm) => "with KVM",
            Some(Accel::Tcg) => "in software emulation (TCG), which is slower than KVM",
            None => "from the shelf",
        };
        let Shape { cpus, memory_mib, .. } = self.shape;
        Ok(((), format!("saved and ready, {cpus} processors, {memory_mib} MiB, {with}")))
    }

    /// Opens the doors, and starts the clone that is to knock at them.
    pub async fn first_clone(&self, image: &Image) -> Seen<(Doors, Launched)> {
        let doors = Doors::open().await?;
        let (launched, seen) = self.launch("a", image, doors.network()).await?;
        Ok(((doors, launched), seen))
    }

    pub async fn claim(&self, launched: &Launched) -> Seen<Guest> {
        Guest::claim(&self.agents, &self.driver.site(), launched).await
    }

    /// Starts a second clone of the same memory, and compares the two: what they have must not be the same.
    pub async fn second_clone(&self, image: &Image, first: &Guest) -> Seen<()> {
        let (launched, _) = self.launch("b", image, Network::default()).await?;
        let (second, _) = self.claim(&launched).await?;
        let (one, other) =
            futures::future::try_join(first.runs("sample", SAMPLE), second.runs("sample", SAMPLE)).await?;
        differ(&one, &other).map(|seen| ((), seen))
    }

    async fn launch(&self, which: &str, image: &Image, network: Network) -> Seen<Launched> {
        let request = LaunchRequest {
            token: format!("{}-{which}", self.token),
            count: 1,
            place: String::new(),
            image: image.name.clone(),
            cpus: self.shape.cpus,
            memory_mib: self.shape.memory_mib,
            disk_gib: self.shape.disk_gib,
            spec: serde_json::Value::Null,
            network,
            labels: Labels::new(),
        };
        let launched = self.driver.launch(&request).await.map_err(Trouble::of)?.pop();
        let launched = launched.ok_or_else(|| Trouble::new("the launch gave no instance", ""))?;
        let phases: Vec<String> =
            launched.phases.iter().map(|(name, took)| format!("{name} {}", seconds(*took))).collect();
        Ok((launched, phases.join(", ")))
    }

    /// Ends the VMs and looks for what is left of them.
    pub async fn end(&self) -> Seen<()> {
        self.driver.destroy_all().await.map_err(Trouble::of)?;
        let listed = self.driver.list().await.map_err(Trouble::of)?;
        if let Some(left) = listed.first() {
            return Err(Trouble::new(format!("{} is still listed after its end", left.id), ""));
        }
        let (vms, token) = (self.layout.vms(), self.token.clone());
        let look = move || (files_named(&vms, &token), processes_naming(&token));
        let (files, processes) = tokio::task::spawn_blocking(look).await.map_err(Trouble::of)?;
        if files.is_empty() && processes.is_empty() {
            return Ok(((), "the VMs and their files are gone".to_owned()));
        }
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let what = format!("something is left of the VMs: processes {processes:?}, files {}", files.join(", "));
        Err(Trouble::new(what, "end the processes with `kill`, and remove the files"))
    }
}

/// Prints what a clone must not share with another: a host name, a machine id, what is random, and its clock in nanoseconds.
const SAMPLE: &str =
    "hostname; cat /etc/machine-id; head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'; echo; date +%s%N";

/// Says whether two samples are of two machines, and whether their clocks are right.
fn differ(one: &Said, other: &Said) -> Result<String, Trouble> {
    let (first, second): (Vec<&str>, Vec<&str>) = (one.output.lines().collect(), other.output.lines().collect());
    let (4, 4) = (first.len(), second.len()) else {
        return Err(Trouble::new(
            format!("a clone printed something else than its sample:\n{}\n{}", one.output, other.output),
            "",
        ));
    };
    for (what, n) in [("host name", 0), ("machine id", 1), ("random numbers", 2)] {
        if first[n] == second[n] {
            let what = format!("two clones have the same {what}, so their claims did not do what they should");
            return Err(Trouble::new(
                what,
                "remake the golden VM: `kiln image rm`, then build or import the image again",
            ));
        }
    }
    for (said, clock) in [(one, first[3]), (other, second[3])] {
        let off = off(said, clock)?;
        if off > CLOCK_LIMIT {
            let what = format!("the clock of a clone is {} off this machine's", seconds(off));
            return Err(Trouble::new(what, "see whether this machine's clock jumps (`timedatectl`), and try again"));
        }
    }
    Ok(format!(
        "two clones differ in host name, machine id and random numbers; their clocks are within {}",
        seconds(CLOCK_LIMIT)
    ))
}

/// How far a clock, in nanoseconds since 1970, is outside of the time in which it was read.
fn off(said: &Said, clock: &str) -> Result<Duration, Trouble> {
    let read = clock.parse::<u64>().map_err(|_| Trouble::new(format!("a clone's clock is `{clock}`"), ""))?;
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (read, before, after) = (Duration::from_nanos(read), since(said.before), since(said.after));
    Ok(before.saturating_sub(read).max(read.saturating_sub(after)))
}

/// Runs a step, as any pipeline has them.
pub async fn step(guest: &Guest) -> Seen<()> {
    let said = guest.runs("step", "echo \"user $(id -un), kernel $(uname -r), $(nproc) processors\"").await?;
    Ok(((), said.output))
}

/// Runs a step in a container, whose image is made in the VM, so that no registry is needed.
pub async fn container(guest: &Guest) -> Seen<()> {
    let make = format!(
        "command -v docker >/dev/null || {{ echo NO-ENGINE; exit 0; }}\n\
         tar -C {AGENT_FOLDER} -c {AGENT_NAME} | docker import - {TINY_IMAGE} && \
         docker version --format 'engine {{{{.Server.Version}}}}'"
    );
    let made = guest.runs("container-image", &make).await?;
    if made.output.contains("NO-ENGINE") {
        return Err(Trouble::Lacking("the image has no container engine (docker)".to_owned()));
    }
    let said = guest.contains("container", TINY_IMAGE, &["/kiln-agent", "--version"]).await?;
    let engine = made.output.lines().last().unwrap_or_default();
    match said.output.contains(AGENT_NAME) {
        true => Ok(((), format!("{engine}; a container ran {}", said.output))),
        false => Err(Trouble::new(format!("the container printed `{}` instead of its version", said.output), "")),
    }
}

/// What mends a golden VM that does not come up, where its error does not say it.
fn golden_trouble(error: QemuError, image: &str) -> Trouble {
    let remedy = match &error {
        QemuError::VmEnded { .. } | QemuError::BootTimeout { .. } | QemuError::Monitor(_) => {
            format!(
                "try `--accel tcg`; if it fails alike, the image does not boot: `kiln image rm {image}`, and make it anew"
            )
        }
        _ => String::new(),
    };
    let Trouble::Wrong { what, .. } = Trouble::of(error) else { return Trouble::new("the golden VM failed", remedy) };
    Trouble::new(what, remedy)
}

/// Files and folders whose name begins like this, at most two levels below a folder.
fn files_named(folder: &Path, start: &str) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let named =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start));
    below(folder).into_iter().flat_map(|owner| below(&owner)).filter(named).collect()
}

/// Processes with a word on their command line that begins like this.
fn processes_naming(start: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: &u32| {
        // One that ended meanwhile has none.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word.starts_with(start.as_bytes()))
    };
    pids.filter(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(output: &str, at_s: u64) -> Said {
        let at = UNIX_EPOCH + Duration::from_secs(at_s);
        Said { output: output.to_owned(), before: at, after: at + Duration::from_secs(1) }
    }

    #[test]
    fn clones_that_are_alike_are_told() {
        let check = |one: &str, other: &str, expect: &str| {
            let told = match differ(&said(one, 100), &said(other, 100)) {
                Ok(seen) => seen,
                Err(Trouble::Wrong { what, .. } | Trouble::Lacking(what)) => what,
            };
            assert!(told.contains(expect), "{one:?} {other:?}: {told}");
        };
        check("a\nm1\nff\n100500000000", "b\nm2\n00\n101900000000", "two clones differ");
        check("a\nm1\nff\n100500000000", "b\nm2\nff\n100500000000", "the same random numbers");
        check("a\nm1\nff\n100500000000", "b\nm1\n00\n100500000000", "the same machine id");
        check("a\nm1\nff\n98000000000", "b\nm2\n00\n100500000000", "the clock of a clone is 2.0 s off");
        check("a\nm1\nff\n103000000000", "b\nm2\n00\n100500000000", "the clock of a clone is 2.0 s off");
        check("a\nm1\nff\nnow", "b\nm2\n00\n100500000000", "a clone's clock is `now`");
        check("a", "b\nm2\n00\n1", "something else than its sample");
    }

    #[test]
    fn what_is_left_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("run-1/doctor-7-a")).expect("a folder");
        std::fs::create_dir_all(folder.path().join("run-1/other")).expect("a folder");
        assert_eq!(files_named(folder.path(), "doctor-7"), [folder.path().join("run-1/doctor-7-a")]);
        assert!(files_named(folder.path(), "doctor-8").is_empty());
        assert_eq!(processes_naming("no process has such a word on its command line"), [0; 0]);
    }
}
