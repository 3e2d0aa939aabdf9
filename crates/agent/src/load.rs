//! The load of the machine during the stage, which destroy reports.

use std::sync::Mutex;
use std::time::Duration;

use kiln_wire::agent::{Graph, OsStats, Point};
use tokio::time::Instant;

use crate::lock::lock;
use crate::os::load::{self, Ticks};

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(5);
/// Samples kept; when there are more, every second one is dropped.
const SAMPLES: usize = 512;
/// Points of a curve.
const POINTS: usize = 10;

/// Samples so far.
#[derive(Debug)]
pub struct Load {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    samples: Vec<Sample>,
    before: Option<Ticks>,
    total_mem_mb: f64,
    count: f64,
    sum: Sample,
    most: Sample,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sample {
    at_s: f64,
    cpu_pct: f64,
    mem_pct: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self { state: Mutex::new(State::new()) }
    }
}

impl Load {
    /// Samples for ever.
    pub async fn watch(&self) {
        let mut every = tokio::time::interval(EVERY);
        loop {
            every.tick().await;
            self.sample();
        }
    }

    /// A stage begins: what was before, as while the machine waited for it, is none of its load.
    pub(crate) fn begin(&self) {
        *lock(&self.state) = State::new();
        self.sample();
    }

    fn sample(&self) {
        // Where the system does not count them there is no load to report.
        let (Some(ticks), Some((total_mb, mem_pct))) = (load::processor_time(), load::memory()) else { return };
        let mut state = lock(&self.state);
        let before = state.before.replace(ticks);
        state.total_mem_mb = total_mb;
        let cpu_pct = before.map_or(0.0, |before| ticks.busy_pct_since(before));
        let at_s = state.began.elapsed().as_secs_f64();
        state.add(Sample { at_s, cpu_pct, mem_pct });
    }

    /// What destroy reports.
    pub fn summary(&self) -> OsStats {
        self.sample();
        let state = lock(&self.state);
        let count = state.count.max(1.0);
        OsStats {
            total_mem_mb: state.total_mem_mb,
            cpu_cores: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
            avg_mem_usage_pct: state.sum.mem_pct / count,
            avg_cpu_usage_pct: state.sum.cpu_pct / count,
            max_mem_usage_pct: state.most.mem_pct,
            max_cpu_usage_pct: state.most.cpu_pct,
            mem_graph: state.graph("mem_mb", |sample| sample.mem_pct),
            cpu_graph: state.graph("cpu_milli", |sample| sample.cpu_pct),
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            samples: Vec::new(),
            before: None,
            total_mem_mb: 0.0,
            count: 0.0,
            sum: Sample::default(),
            most: Sample::default(),
        }
    }

    fn add(&mut self, sample: Sample) {
        self.count += 1.0;
        self.sum.cpu_pct += sample.cpu_pct;
        self.sum.mem_pct += sample.mem_pct;
        self.most.cpu_pct = self.most.cpu_pct.max(sample.cpu_pct);
        self.most.mem_pct = self.most.mem_pct.max(sample.mem_pct);
        if self.samples.len() >= SAMPLES {
            let mut odd = false;
            self.samples.retain(|_| {
                odd = !odd;
                odd
            });
        }
        self.samples.push(sample);
    }

    fn graph(&self, y_metric: &str, y: impl Fn(&Sample) -> f64) -> Graph {
        let step = self.samples.len().div_ceil(POINTS).max(1);
        let points = self.samples.iter().step_by(step).map(|sample| Point { x: sample.at_s.round(), y: y(sample) });
        Graph { points: points.collect(), x_metric: "seconds".into(), y_metric: y_metric.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_stage_keeps_a_bounded_number_of_samples_and_points() {
        let load = Load::default();
        for n in 0..5000 {
            lock(&load.state).add(Sample { at_s: f64::from(n), cpu_pct: 50.0, mem_pct: 1.0 });
        }
        assert!(lock(&load.state).samples.len() <= SAMPLES);
        let stats = load.summary();
        assert!(stats.cpu_graph.points.len() <= POINTS);
        assert!(stats.max_cpu_usage_pct >= 50.0 && stats.total_mem_mb > 0.0);
    }

    #[tokio::test]
    async fn what_was_before_a_stage_is_none_of_its_load() {
        let load = Load::default();
        lock(&load.state).add(Sample { at_s: 1.0, cpu_pct: 250.0, mem_pct: 250.0 });
        assert!(load.summary().max_cpu_usage_pct >= 250.0);
        load.begin();
        let stats = load.summary();
        assert!(stats.max_cpu_usage_pct <= 100.0 && stats.max_mem_usage_pct <= 100.0, "{stats:?}");
        assert!(stats.avg_mem_usage_pct > 0.0 && stats.mem_graph.points.len() == 2, "{stats:?}");
    }
}
