//! What is planned, as tables.

mod instances;
mod sites;
mod sizing;
mod stages;
mod world;
