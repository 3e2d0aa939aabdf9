//! Tables of situations and their plans.

mod instances;
mod sites;
mod sizing;
mod stages;
mod world;
