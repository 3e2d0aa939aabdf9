//! Fetches JUnit reports from an instance and reads them.

use std::io::Read as _;
use std::sync::Arc;

use futures::StreamExt as _;
use kiln_agent_client::{Agent, AgentError};
use kiln_mask::Secrets;
use kiln_wire::agent::kiln::FilesRequest;
use kiln_wire::run::Tests;

use crate::junit::{self, REPORT_MAX_BYTES};
use crate::tally::Tally;

/// Greatest size of all reports of a step together, in bytes.
const REPORTS_MAX_BYTES: u64 = 128 << 20;

/// Bytes that the archive's own headers may add.
const UNPACKED_EXTRA_BYTES: u64 = 8 << 20;

/// What a step's reports say, and what could not be read of them.
pub struct Collected {
    /// The sum; `None` when no report was found.
    pub tests: Option<Tests>,
    /// Remarks for people, such as that no file matched or that one is no report.
    pub notes: Vec<String>,
}

/// Fetches and reads the reports that `globs` name, relative to `base`.
pub async fn reports(
    agent: &Agent,
    base: &str,
    globs: &[String],
    secrets: &Arc<Secrets>,
) -> Result<Collected, AgentError> {
    let request = FilesRequest { base: base.to_owned(), paths: globs.to_vec(), max_bytes: REPORTS_MAX_BYTES };
    let mut stream = agent.files(&request).await?;
    let mut packed = Vec::new();
    while let Some(chunk) = stream.next().await {
        packed.extend_from_slice(&chunk?);
        if packed.len() as u64 > REPORTS_MAX_BYTES {
            let notes = vec![format!("the reports have more than {REPORTS_MAX_BYTES} bytes; they were not read")];
            return Ok(Collected { tests: None, notes });
        }
    }
    let mut found = unpack(&packed, secrets);
    if found.tests.is_none() && found.notes.is_empty() {
        found.notes.push(format!("no report matches {}", globs.join(", ")));
    }
    Ok(found)
}

fn unpack(packed: &[u8], secrets: &Arc<Secrets>) -> Collected {
    let (mut tally, mut notes) = (None, Vec::new());
    let mut walk = || -> std::io::Result<()> {
        // A small archive may unpack to any size. No more of it is read than the instance was asked for.
        let unpacked = zstd::Decoder::new(packed)?.take(REPORTS_MAX_BYTES + UNPACKED_EXTRA_BYTES);
        let mut archive = tar::Archive::new(unpacked);
        for entry in archive.entries()? {
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path()?.display().to_string();
            let mut xml = Vec::new();
            entry.take(REPORT_MAX_BYTES as u64 + 1).read_to_end(&mut xml)?;
            match junit::read(&xml, secrets) {
                Ok(tests) => tally.get_or_insert_with(Tally::new).add(tests),
                Err(error) => notes.push(format!("{path}: {}", crate::fleet::error_chain(&error))),
            }
        }
        Ok(())
    };
    if let Err(error) = walk() {
        notes.push(format!("the reports could not be unpacked: {error}"));
    }
    Collected { tests: tally.map(Tally::finish), notes }
}
