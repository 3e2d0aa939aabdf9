//! Writes what the machine does in each second of a stage into a log of its own.
//!
//! The lines go through a spool like the output of a step, and are delivered in the same way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_mask::Masker;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::moment;
use crate::os::load::{self, Disks, Ticks};
use crate::spool::{Spool, Writer};

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(1);
const MIB_PER_GIB: f64 = 1024.0;
/// Resolution in which shares of processor time are counted: parts of a percent.
const PARTS: usize = 10;

/// A line's values, with the protocol's names.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    total_memory: f64,
    #[serde(rename = "totalCPU")]
    total_cpu: usize,
    ava_memory: f64,
    #[serde(rename = "avalCPU")]
    aval_cpu: f64,
    disk_read_bytes_sec: f64,
    disk_write_bytes_sec: f64,
}

/// The last line's values.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    os_stats_summary: bool,
    #[serde(rename = "peakCPUUsagePct")]
    peak_cpu: f64,
    #[serde(rename = "avgCPUUsagePct")]
    avg_cpu: f64,
    #[serde(rename = "p90CPUUsagePct")]
    p90_cpu: f64,
    total_disk_read_bytes: u64,
    total_disk_write_bytes: u64,
    #[serde(flatten)]
    last: Sample,
}

/// Counts the shares of processor time so far, so that a long stage takes no more memory than a short one.
#[derive(Debug)]
struct Shares {
    counts: Vec<u32>,
    count: u32,
    sum: f64,
    most: f64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { counts: vec![0; 100 * PARTS + 1], count: 0, sum: 0.0, most: 0.0 }
    }
}

impl Shares {
    fn add(&mut self, pct: f64) {
        let pct = pct.clamp(0.0, 100.0);
        let at = (pct * PARTS as f64).round() as usize;
        self.counts[at.min(100 * PARTS)] += 1;
        self.count += 1;
        self.sum += pct;
        self.most = self.most.max(pct);
    }

    /// Returns the share that this many of a hundred samples do not exceed.
    fn percentile(&self, of_100: u32) -> f64 {
        let rank = (u64::from(self.count) * u64::from(of_100)).div_ceil(100);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank.max(1)
        });
        at.unwrap_or(0) as f64 / PARTS as f64
    }
}

/// Metrics that are being written.
#[derive(Debug)]
pub(crate) struct Metrics {
    stop: oneshot::Sender<()>,
    writing: JoinHandle<()>,
    spool: Arc<Spool>,
}

impl Metrics {
    /// Begins to write.
    pub(crate) fn begin(writer: Writer, spool: Arc<Spool>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, writing: tokio::spawn(write(writer, stopped)), spool }
    }

    /// Writes the last line, and returns what holds all of them.
    pub(crate) async fn end(self) -> Arc<Spool> {
        drop(self.stop);
        // An error means that the task has failed, and writes nothing more.
        drop(self.writing.await);
        self.spool
    }
}

async fn write(mut writer: Writer, mut stopped: oneshot::Receiver<()>) {
    let mut watch = Watch::begin();
    let mut every = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    loop {
        tokio::select! {
            // The other end is dropped to stop it.
            _ = &mut stopped => break,
            _ = every.tick() => if let Some(sample) = watch.sample() { put(&mut writer, sample) },
        }
    }
    put(&mut writer, watch.summary());
    writer.finish();
}

/// Writes a line.
fn put(writer: &mut Writer, values: impl Serialize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = BTreeMap::from([(moment::with_nanoseconds(now), values)]);
    // Numbers and names always have a JSON form.
    let text = serde_json::to_string(&line).unwrap_or_default() + "\n";
    // The spool takes only what a masker has seen. Numbers hold no secrets.
    Masker::new(Arc::default()).push(text.as_bytes(), |settled| writer.write(settled));
}

/// Samples so far.
#[derive(Debug, Default)]
struct Watch {
    ticks: Option<Ticks>,
    disks: Option<Disks>,
    first_disks: Option<Disks>,
    shares: Shares,
    last: Sample,
}

impl Watch {
    fn begin() -> Self {
        let disks = load::disks();
        Self { ticks: load::processor_time(), disks, first_disks: disks, ..Self::default() }
    }

    /// Takes a sample of the time since the last one; none where the system does not tell.
    fn sample(&mut self) -> Option<&Sample> {
        let (ticks, (total_mib, used_pct)) = (load::processor_time()?, load::memory()?);
        let before = self.ticks.replace(ticks)?;
        let busy_pct = ticks.busy_pct_since(before);
        self.shares.add(busy_pct);
        let (now, then) = (load::disks().unwrap_or_default(), self.disks.unwrap_or_default());
        self.disks = Some(now);
        self.last = Sample {
            total_memory: hundredths(total_mib / MIB_PER_GIB),
            total_cpu: std::thread::available_parallelism().map_or(1, usize::from),
            ava_memory: hundredths(total_mib * (100.0 - used_pct) / 100.0 / MIB_PER_GIB),
            aval_cpu: (100.0 - busy_pct).max(0.0),
            disk_read_bytes_sec: now.read.saturating_sub(then.read) as f64,
            disk_write_bytes_sec: now.written.saturating_sub(then.written) as f64,
        };
        Some(&self.last)
    }

    fn summary(mut self) -> Summary {
        // A stage that is shorter than a second has no sample yet.
        if self.shares.count == 0 {
            // The sample is kept in `last`.
            let _ = self.sample();
        }
        let (now, first) = (load::disks().unwrap_or_default(), self.first_disks.unwrap_or_default());
        Summary {
            os_stats_summary: true,
            peak_cpu: self.shares.most,
            avg_cpu: self.shares.sum / f64::from(self.shares.count.max(1)),
            p90_cpu: self.shares.percentile(90),
            total_disk_read_bytes: now.read.saturating_sub(first.read),
            total_disk_write_bytes: now.written.saturating_sub(first.written),
            last: self.last,
        }
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted() {
        let mut shares = Shares::default();
        for pct in 1..=100 {
            shares.add(f64::from(pct));
        }
        shares.add(250.0);
        assert_eq!((shares.most, shares.percentile(90), shares.percentile(1)), (100.0, 91.0, 2.0));
        assert_eq!(Shares::default().percentile(90), 0.0);
        let mut one = Shares::default();
        one.add(12.34);
        assert_eq!(one.percentile(90), 12.3);
    }

    #[test]
    fn lines_have_the_names_of_the_protocol() {
        let summary = serde_json::to_value(Watch::begin().summary()).expect("JSON");
        let mut names: Vec<&String> = summary.as_object().expect("an object").keys().collect();
        names.sort_unstable();
        let expect = [
            "avaMemory",
            "avalCPU",
            "avgCPUUsagePct",
            "diskReadBytesSec",
            "diskWriteBytesSec",
            "osStatsSummary",
            "p90CPUUsagePct",
            "peakCPUUsagePct",
            "totalCPU",
            "totalDiskReadBytes",
            "totalDiskWriteBytes",
            "totalMemory",
        ];
        assert_eq!(names, expect);
        assert!(summary["totalMemory"].as_f64() > Some(0.0), "{summary}");
    }
}
