//! `kiln doctor --try`: the whole way of a stage on this machine, part by part.
//!
//! ```text
//! QEMU ─► image ─► golden VM ─► clone ─► identity ─► step ─► container ─► two clones ─► isolation ─► end
//! ```
//! What a part needs comes from those before it; after a failure the others are not tried, but the end is, as soon as a VM was to
//! start. Each part has a limit, so a trial ends whatever hangs.

mod guest;
mod isolation;
mod part;
mod report;
mod way;

use kiln_driver_qemu::{Check, Ownership};

use crate::args::{DoctorArgs, Format};
use crate::drivers::Drivers;
use crate::home;
use crate::identity::Identity;
use crate::{print, progress};

use part::{Trial, Trouble};
use report::{Checked, Machine, Report};
use way::Way;

/// Names of the parts that need a VM, in their order.
const NEED_A_VM: [&str; 5] = ["identity", "step", "container", "two clones", "isolation"];

/// Tries the whole way, writes the report, and returns whether nothing failed.
pub async fn run(args: &DoctorArgs, checks: &[Check]) -> anyhow::Result<bool> {
    let began = jiff::Timestamp::now();
    let layout = home::layout()?;
    let mut trial = Trial::new(args.format);
    let mut told = Report {
        kiln: env!("CARGO_PKG_VERSION"),
        began: began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        passed: false,
        machine: Machine::here(),
        accel: None,
        image: None,
        checks: checks.iter().map(Checked::of).collect(),
        parts: &[],
    };
    let opened = trial.part("QEMU", way::OPEN_LIMIT, Box::pin(open(args, checks, &layout))).await;
    let mut image = None;
    match &opened {
        None => skip(&mut trial, &["image", "golden VM", "clone"]),
        Some(way) => {
            image = Box::pin(walk(way, args, &mut trial)).await;
            told.accel = way.driver.accel().await;
        }
    }
    told.image = image.as_ref().map(report::named);
    (told.passed, told.parts) = (trial.passed(), trial.parts());
    conclude(args.format, told.passed, told.save(&layout.reports()));
    Ok(told.passed)
}

/// Goes the way from the image to the end, and returns the image.
async fn walk(way: &Way, args: &DoctorArgs, trial: &mut Trial) -> Option<kiln_driver_qemu::Image> {
    let image = trial.part("image", way::IMAGE_LIMIT, Box::pin(way.image(args.image.as_deref()))).await;
    let Some(image) = image else {
        skip(trial, &["golden VM", "clone"]);
        return None;
    };
    match trial.part("golden VM", way::GOLDEN_LIMIT, Box::pin(way.golden(&image))).await {
        None => skip(trial, &["clone"]),
        Some(()) => {
            Box::pin(clones(way, &image, trial)).await;
            trial.part("end", way::END_LIMIT, Box::pin(way.end())).await;
        }
    }
    Some(image)
}

/// Does all that is done with clones.
async fn clones(way: &Way, image: &kiln_driver_qemu::Image, trial: &mut Trial) {
    let first = trial.part("clone", way::CLONE_LIMIT, Box::pin(way.first_clone(image))).await;
    let Some((doors, launched)) = first else { return skip(trial, &[]) };
    let Some(guest) = trial.part("identity", way::IDENTITY_LIMIT, Box::pin(way.claim(&launched))).await else {
        NEED_A_VM[1..].iter().for_each(|name| trial.skip(name));
        return;
    };
    trial.part("step", way::STEP_LIMIT, Box::pin(way::step(&guest))).await;
    trial.part("container", way::CONTAINER_LIMIT, Box::pin(way::container(&guest))).await;
    trial.part("two clones", way::CLONE_LIMIT, Box::pin(way.second_clone(image, &guest))).await;
    trial.part("isolation", way::STEP_LIMIT, Box::pin(doors.knock(&guest))).await;
}

/// Notes parts that are not tried, and those that need a VM.
fn skip(trial: &mut Trial, names: &[&'static str]) {
    names.iter().chain(&NEED_A_VM).for_each(|name| trial.skip(name));
}

async fn open(args: &DoctorArgs, checks: &[Check], layout: &home::Layout) -> part::Seen<Way> {
    let found = |name: &str| checks.iter().find(|check| check.name == name);
    for name in ["qemu", "qemu-img", "kiln-agent"] {
        if let Some(check) = found(name).filter(|check| !check.ok) {
            return Err(Trouble::new(format!("{name}: {}", check.detail), check.remedy.clone()));
        }
    }
    let identity = Identity::of(layout).map_err(Trouble::of)?;
    let (host, ownership, listener) = (&args.vm.host, Ownership::Process, progress::listener());
    let drivers = Drivers { layout, host, ownership, identity: &identity, listener };
    let driver = drivers.local().map_err(Trouble::of)?;
    let version = found("qemu").map_or_else(String::new, |check| check.detail.clone());
    Ok((Way::new(driver, &args.vm, layout.qemu(), identity), version))
}

/// Tells the end, and where the report is.
fn conclude(format: Format, passed: bool, saved: anyhow::Result<std::path::PathBuf>) {
    let verdict = if passed { "local VMs work here" } else { "local VMs do not work here yet" };
    match (format, saved) {
        (Format::Json, Ok(path)) => print::line(serde_json::json!({ "passed": passed, "report": path })),
        (Format::Json, Err(error)) => {
            print::line(serde_json::json!({ "passed": passed, "report": null, "error": format!("{error:#}") }));
        }
        (Format::Text, Ok(path)) => print::line(format!("{verdict}; the report is {}", path.display())),
        (Format::Text, Err(error)) => print::line(format!("{verdict}; the report could not be saved: {error:#}")),
    }
}
