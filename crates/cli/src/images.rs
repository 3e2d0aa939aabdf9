//! The choice of local images for pools.

use kiln_driver_qemu::Images;
use kiln_pipeline::plan::PoolRequest;

/// Default name of the image that `kiln image build` makes.
pub const DEFAULT: &str = "debian";

/// The choice of images for a run.
pub struct Choice {
    /// Image of every pool that is not in `pools`.
    default: String,
    /// Pairs of pool and image.
    pools: Vec<(String, String)>,
}

impl Choice {
    /// Reads `--image` words and checks them against the existing images.
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

    /// Returns the image of pools that none is named for.
    pub fn any(&self) -> &str {
        &self.default
    }

    /// Returns the image for a pool.
    pub fn image(&self, pool: &PoolRequest) -> String {
        let named = self.pools.iter().find(|(name, _)| Some(name) == pool.name.as_ref());
        named.map_or(&self.default, |(_, image)| image).clone()
    }
}
