//! Fetches test reports from an instance and reads them.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::sync::Arc;

use futures::StreamExt as _;
use kiln_agent_client::{Agent, AgentError};
use kiln_mask::Secrets;
use kiln_test_report::{Collector, Failed, REPORT_MAX_BYTES};
use kiln_wire::agent::kiln::FilesRequest;
use kiln_wire::run::{TestCase, Tests};
use tokio::sync::mpsc;

/// How much of all reports of a step together is read, and how much may come packed, in bytes.
const REPORTS_MAX_BYTES: u64 = 128 << 20;
/// How much is unpacked, with what is not read of reports that are too large, in bytes.
const UNPACKED_MAX_BYTES: u64 = 1 << 30;
/// How much the agent packs, in bytes. It breaks off behind that, which looks as if the connection had; so the limits are here.
const PACKED_MAX_BYTES: u64 = 1 << 40;
/// Cases that are told at once.
const BATCH_CASES: usize = 500;
/// Size of the texts of the cases that are told at once, in bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that were read and not told yet.
const BATCHES: usize = 2;

/// What the reports of an attempt at a step say.
pub struct Collected {
    /// The sum; `None` when no report was found.
    pub tests: Option<Tests>,
    /// Which cases failed.
    pub failed: Failed,
}

/// The reports of an attempt, packed, in a file of this machine that has no name.
pub struct Fetched {
    packed: File,
    /// There are more than are read.
    too_large: bool,
}

/// Fetches the reports that `globs` name, relative to `base`. The inner error is this machine's.
pub async fn fetch(agent: &Agent, base: &str, globs: &[String]) -> Result<io::Result<Fetched>, AgentError> {
    let request = FilesRequest { base: base.to_owned(), paths: globs.to_vec(), max_bytes: PACKED_MAX_BYTES };
    let mut stream = agent.files(&request).await?;
    let mut packed = match tempfile::tempfile() {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        bytes += chunk.len() as u64;
        if bytes > REPORTS_MAX_BYTES {
            return Ok(Ok(Fetched { packed, too_large: true }));
        }
        if let Err(error) = packed.write_all(&chunk) {
            return Ok(Err(error));
        }
    }
    Ok(packed.rewind().map(|()| Fetched { packed, too_large: false }))
}

/// Reads what was fetched, and tells the cases in batches. A case that passes and is among the `earlier` failed ones is flaky.
pub async fn read(
    fetched: Fetched,
    globs: &[String],
    secrets: &Arc<Secrets>,
    earlier: &Failed,
    mut tell: impl FnMut(Vec<TestCase>),
) -> Collected {
    let (sender, mut batches) = mpsc::channel(BATCHES);
    let (secrets, earlier, globs) = (Arc::clone(secrets), earlier.clone(), globs.join(", "));
    // Reading a large report takes a while, in which the run's other stages go on.
    let reading = tokio::task::spawn_blocking(move || unpack(fetched, &globs, &secrets, &earlier, sender));
    while let Some(cases) = batches.recv().await {
        tell(cases);
    }
    reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn unpack(
    fetched: Fetched,
    globs: &str,
    secrets: &Arc<Secrets>,
    earlier: &Failed,
    sender: mpsc::Sender<Vec<TestCase>>,
) -> Collected {
    let mut collector = Collector::new(secrets, earlier);
    let mut batch = Batch { cases: Vec::new(), bytes: 0, sender };
    let mut problem = false;
    let mut trouble = |collector: &mut Collector<'_>, message: String| {
        problem = true;
        collector.problem(globs, None, message);
    };
    if fetched.too_large {
        let limit = REPORTS_MAX_BYTES >> 20;
        trouble(&mut collector, format!("the reports have more than {limit} MiB, packed; they were not read"));
    } else if let Err(error) = walk(fetched.packed, &mut collector, &mut batch) {
        trouble(&mut collector, format!("the reports could not be unpacked: {error}"));
    }
    batch.send();
    let any = problem || collector.reports() > 0;
    let (tests, failed) = collector.finish();
    Collected { tests: any.then_some(tests), failed }
}

fn walk(packed: File, collector: &mut Collector<'_>, batch: &mut Batch) -> io::Result<()> {
    // A small archive may unpack to any size.
    let mut unpacked = zstd::Decoder::new(packed)?.take(UNPACKED_MAX_BYTES);
    let walked = reports(&mut unpacked, collector, batch);
    if unpacked.limit() == 0 {
        return Err(io::Error::other(format!("they have more than {} GiB", UNPACKED_MAX_BYTES >> 30)));
    }
    walked
}

fn reports(unpacked: impl Read, collector: &mut Collector<'_>, batch: &mut Batch) -> io::Result<()> {
    let mut read_bytes = 0;
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.display().to_string();
        // No more than that is read of one.
        read_bytes += entry.size().min(REPORT_MAX_BYTES);
        if read_bytes > REPORTS_MAX_BYTES {
            let limit = REPORTS_MAX_BYTES >> 20;
            let message = format!("the reports have more than {limit} MiB; this one and those after it are not read");
            collector.problem(&path, None, message);
            return Ok(());
        }
        collector.report(&path, entry, |case| batch.push(case));
    }
    Ok(())
}

/// Cases that are told together.
struct Batch {
    cases: Vec<TestCase>,
    bytes: usize,
    sender: mpsc::Sender<Vec<TestCase>>,
}

impl Batch {
    fn push(&mut self, case: TestCase) {
        self.bytes += case.class.len() + case.name.len() + case.file.len() + case.message.len();
        self.cases.push(case);
        if self.cases.len() >= BATCH_CASES || self.bytes >= BATCH_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        self.bytes = 0;
        let cases = std::mem::take(&mut self.cases);
        if !cases.is_empty() {
            // Nobody listens any more when the run was dropped.
            drop(self.sender.blocking_send(cases));
        }
    }
}
