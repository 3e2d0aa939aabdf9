//! Metrics: those of the incumbent that mean the same here, under its names, and our own.
//!
//! Counters and histograms are counted as things happen; what can be read from the rows is read when somebody asks.

mod count;
mod gauges;
mod series;

pub(super) use count::Asked;
pub use count::Metrics;

/// Labels of a metric.
type Labels = Vec<(&'static str, String)>;
