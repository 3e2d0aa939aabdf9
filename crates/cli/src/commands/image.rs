//! `kiln image`: the images of VMs.

use kiln_driver_qemu::limits::DEFAULT_SHAPE;
use kiln_driver_qemu::{Ownership, Settings, Shape, Source};

use crate::args::{Format, ImageCommand};
use crate::drivers::{Drivers, images};
use crate::exit::{Exit, Usage};
use crate::identity::Identity;
use crate::progress::listener;
use crate::{home, print};

/// Carries out one of the commands.
pub async fn image(command: ImageCommand) -> anyhow::Result<Exit> {
    match command {
        ImageCommand::Build { name, source, package } => {
            let package_sources = (!source.is_empty()).then_some(source);
            let settings = Settings { package_sources, extra_packages: package, ..Settings::default() };
            let image = images(settings, listener())?.build(&name).await?;
            print::line(format!("image {} is ready ({})", image.name, size(image.file_bytes)));
        }
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

fn list(format: Format) -> anyhow::Result<()> {
    let store = images(Settings::default(), listener())?;
    let (images, golden) = (store.list()?, store.golden_use());
    if format == Format::Json {
        for image in images {
            let mut object = serde_json::to_value(&image)?;
            object["golden_bytes"] = golden.of(&image).into();
            print::line(object.to_string());
        }
        return Ok(());
    }
    if images.is_empty() {
        eprintln!("no images yet; make one with: kiln image build");
    } else {
        print::line(format!("{:<20} {:>9} {:>9} {:>9}  {:<20} ORIGIN", "NAME", "SIZE", "GOLDEN", "DISK", "MADE"));
    }
    for image in &images {
        let made = i64::try_from(image.created_unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let made = made.map_or_else(String::new, |t| t.strftime("%Y-%m-%d %H:%M").to_string());
        let (file, snapshots, disk) = (size(image.file_bytes), size(golden.of(image)), size(image.virtual_bytes));
        print::line(format!("{:<20} {file:>9} {snapshots:>9} {disk:>9}  {made:<20} {}", image.name, image.origin));
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
