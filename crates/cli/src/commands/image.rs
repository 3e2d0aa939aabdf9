//! `kiln image`: the images of VMs.

use kiln_driver_qemu::limits::DEFAULT_SHAPE;
use kiln_driver_qemu::{Addition, GoldenUse, Image, Ownership, Pull, Settings, Shape, Source};

use crate::args::{Format, ImageCommand, With};
use crate::drivers::{self, Drivers, images};
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::progress::listener;
use crate::{home, print};

/// Carries out one of the commands.
pub async fn image(command: ImageCommand) -> anyhow::Result<Exit> {
    match command {
        ImageCommand::Build { name, source, package, with, update } => {
            let package_sources = (!source.is_empty()).then_some(source);
            let additions = with.into_iter().map(addition).collect();
            let settings = Settings { package_sources, extra_packages: package, additions, ..Settings::default() };
            let store = images(settings, listener())?;
            let (image, made) = if update { store.update(&name).await? } else { (store.build(&name).await?, true) };
            let state = if made { "is ready" } else { "is up to date" };
            print::line(format!("image {} {state} ({})", image.name, size(image.file_bytes)));
        }
        ImageCommand::Preload { image, references, host_credentials, insecure_registry, registry_mirror, accel } => {
            let docker_config = home::docker_config().filter(|_| host_credentials);
            let pull = Pull { docker_config, insecure: insecure_registry, mirror: registry_mirror };
            let settings = Settings { accel: drivers::accel(accel), ..Settings::default() };
            let done = images(settings, listener())?.preload(&image, &references, &pull).await?;
            if done.added.is_empty() {
                print::line(format!("image {image} has these container images already"));
            }
            for container in &done.added {
                print::line(format!("added {} ({}, {})", container.reference, size(container.bytes), container.digest));
            }
        }
        ImageCommand::Show { name, format } => show(&name, format)?,
        ImageCommand::Import { source, name, sha256 } => {
            let source = Source::parse(&source, sha256.as_deref()).map_err(|e| Usage(e.to_string()))?;
            let image = images(Settings::default(), listener())?.import(&name, &source).await?;
            print::line(format!("image {} is ready ({})", image.name, size(image.file_bytes)));
        }
        ImageCommand::Warm { name, vm } => {
            let layout = home::layout()?;
            let identity = Identity::of(&layout)?;
            let (host, ownership, listener) = (&vm.host, Ownership::Process, listener());
            let driver = Drivers { layout: &layout, host, ownership, identity: &identity, listener }.local()?;
            let shape = Shape { cpus: vm.cpus, memory_mib: vm.memory, ..DEFAULT_SHAPE };
            driver.ensure_golden(&name, shape).await?;
            print::line(format!("image {name} is warm: its next VM starts from a snapshot"));
        }
        ImageCommand::List { format } => list(format)?,
        ImageCommand::Rm { names } => {
            let store = images(Settings::default(), listener())?;
            for name in names {
                store.remove(&name).await?;
                print::line(format!("removed {name}"));
            }
        }
    }
    Ok(Exit::Ok)
}

fn addition(with: With) -> Addition {
    match with {
        With::Node => Addition::Node,
        With::Jdk => Addition::Jdk,
    }
}

/// An image as programs read it.
fn json(image: &Image, golden: &GoldenUse) -> anyhow::Result<serde_json::Value> {
    let mut object = serde_json::to_value(image)?;
    object["golden_bytes"] = golden.of(image).into();
    Ok(object)
}

fn show(name: &str, format: Format) -> anyhow::Result<()> {
    let store = images(Settings::default(), listener())?;
    let (image, golden) = (store.get(name)?, store.golden_use());
    if format == Format::Json {
        print::line(json(&image, &golden)?.to_string());
        return Ok(());
    }
    let (file, snapshots, disk) = (size(image.file_bytes), size(golden.of(&image)), size(image.virtual_bytes));
    for (what, text) in [("name", &image.name), ("origin", &image.origin), ("digest", &image.digest)] {
        print::line(format!("{what:<11} {text}"));
    }
    print::line(format!("{:<11} {file}, a disk of {disk}; snapshots {snapshots}", "size"));
    let Some(layer) = &image.layer else {
        print::line(format!("{:<11} none; put some in with: kiln image preload {name} REF...", "containers"));
        return Ok(());
    };
    print::line(format!("{:<11} {} in {}", "containers", layer.containers.len(), size(layer.file_bytes)));
    for container in &layer.containers {
        let (bytes, id) = (size(container.bytes), container.id.trim_start_matches("sha256:"));
        print::line(format!("  {:<50} {bytes:>9}  {}", container.reference, id.get(..12).unwrap_or(id)));
    }
    Ok(())
}

fn list(format: Format) -> anyhow::Result<()> {
    let store = images(Settings::default(), listener())?;
    let (images, golden) = (store.list()?, store.golden_use());
    if format == Format::Json {
        for image in images {
            print::line(json(&image, &golden)?.to_string());
        }
        return Ok(());
    }
    if images.is_empty() {
        eprintln!("no images yet; make one with: kiln image build");
    } else {
        print::line(format!(
            "{:<20} {:>9} {:>9} {:>10} {:>9}  {:<20} ORIGIN",
            "NAME", "SIZE", "GOLDEN", "CONTAINERS", "DISK", "MADE"
        ));
    }
    for image in &images {
        let made = i64::try_from(image.created_unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let made = made.map_or_else(String::new, |t| t.strftime("%Y-%m-%d %H:%M").to_string());
        let (file, snapshots, disk) = (size(image.file_bytes), size(golden.of(image)), size(image.virtual_bytes));
        let containers = image.layer.as_ref().map_or_else(|| "-".to_owned(), |layer| size(layer.file_bytes));
        print::line(format!(
            "{:<20} {file:>9} {snapshots:>9} {containers:>10} {disk:>9}  {made:<20} {}",
            image.name, image.origin
        ));
    }
    let others = golden.besides(&images);
    if others > 0 {
        eprintln!("golden VMs of images that are gone, and unfinished ones, take {}", size(others));
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < 1024 * MIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{:.1} GiB", bytes as f64 / (1024.0 * MIB as f64))
    }
}
