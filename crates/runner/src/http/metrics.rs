//! Metrics: those of the incumbent that have the same meaning here, under its names, and our own.
//!
//! Counters and histograms are updated as things happen. Gauges are read from the rows on request.

mod count;
mod gauges;
mod series;

pub(super) use count::Asked;
pub use count::Metrics;

/// Labels of a metric.
type Labels = Vec<(&'static str, String)>;
