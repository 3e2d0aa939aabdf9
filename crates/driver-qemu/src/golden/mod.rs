//! Golden VMs: booted once per image and size, saved, and kept on a shelf until something replaces them.

pub(crate) mod of_image;
pub(crate) mod recipe;
pub(crate) mod saved;
pub(crate) mod seed;
pub(crate) mod shelf;
