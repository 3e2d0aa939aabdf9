//! Which local image serves which pool.

use kiln_driver_qemu::Images;
use kiln_pipeline::plan::{Arch, Os, PoolRequest};

/// Name of the image that `kiln image build` makes when not told otherwise.
pub const DEFAULT: &str = "debian";

/// The choice of images for a run.
pub struct Choice {
    /// Image of every pool that is not named below.
    default: String,
    /// Pool and image.
    pools: Vec<(String, String)>,
}

impl Choice {
    /// Reads `--image` words against the images that are there.
    pub fn read(words: &[String], images: &Images) -> anyhow::Result<Self> {
        let mut choice = Self { default: String::new(), pools: Vec::new() };
        for word in words {
            match word.split_once('=') {
                Some((pool, image)) => choice.pools.push((pool.to_owned(), image.to_owned())),
                None => choice.default = word.clone(),
            }
        }
        let known = images.list()?;
        if choice.default.is_empty() {
            // A machine with one image needs no choice.
            choice.default = match known.as_slice() {
                [only] => only.name.clone(),
                _ => DEFAULT.to_owned(),
            };
        }
        for name in choice.pools.iter().map(|(_, image)| image).chain([&choice.default]) {
            if known.is_empty() {
                anyhow::bail!(crate::exit::Usage(
                    "there is no VM image yet; make one with: kiln image build".to_owned()
                ));
            }
            images.get(name)?;
        }
        Ok(choice)
    }

    /// The image for a pool, or why none will do.
    pub fn image(&self, pool: &PoolRequest) -> Result<String, String> {
        if pool.os != Os::Linux {
            return Err(format!("it asks for {}; local VMs run Linux", os_name(pool.os)));
        }
        let host = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
        if pool.arch != host {
            let (asked, here) = (arch_name(pool.arch), arch_name(host));
            return Err(format!("it asks for {asked}; this machine runs {here} VMs"));
        }
        let named = self.pools.iter().find(|(name, _)| Some(name) == pool.name.as_ref());
        Ok(named.map_or(&self.default, |(_, image)| image).clone())
    }
}

fn os_name(os: Os) -> &'static str {
    match os {
        Os::Linux => "Linux",
        Os::Windows => "Windows",
        Os::Darwin => "macOS",
    }
}

fn arch_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
    }
}
