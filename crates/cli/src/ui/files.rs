//! Files that a run writes in addition to its output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use kiln_mask::Masked;
use kiln_wire::run::Event;

use super::{json, markdown};
use crate::exit::Usage;

/// The files.
#[derive(Default)]
pub struct Files {
    events: Option<(PathBuf, BufWriter<File>)>,
    summary: Option<(PathBuf, File)>,
}

impl Files {
    /// Opens the files, so that a run whose files cannot be written does not begin. The events replace an existing
    /// file; the summary is appended.
    pub fn open(events: Option<&Path>, summary: Option<&Path>) -> anyhow::Result<Self> {
        let opened = |path: &Path, options: &mut OpenOptions| match options.create(true).open(path) {
            Ok(file) => Ok((path.to_owned(), file)),
            Err(error) => Err(Usage(format!("{} cannot be written: {error}", path.display()))),
        };
        let events = events.map(|path| opened(path, OpenOptions::new().write(true).truncate(true))).transpose()?;
        let summary = summary.map(|path| opened(path, OpenOptions::new().append(true))).transpose()?;
        Ok(Self { events: events.map(|(path, file)| (path, BufWriter::new(file))), summary })
    }

    /// Writes an event's contribution. The first failure to write a file is reported; the file is then left alone and
    /// the run continues.
    pub fn show(&mut self, event: &Masked<Event>) {
        if let Some((path, file)) = &mut self.events {
            let written = json::write(file, event).and_then(|()| file.flush());
            if gave_up(path, written) {
                self.events = None;
            }
        }
        if let (Event::RunFinished { report }, Some((path, mut file))) = (&**event, self.summary.take()) {
            let _told = gave_up(&path, file.write_all(markdown::summary(report).as_bytes()));
        }
    }
}

fn gave_up(path: &Path, written: io::Result<()>) -> bool {
    if let Err(error) = &written {
        tracing::warn!("{} cannot be written, and is incomplete: {error}", path.display());
    }
    written.is_err()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_mask::Secrets;
    use kiln_wire::run::{RunReport, Status};

    use super::*;

    fn finished() -> Masked<Event> {
        let (status, duration) = (Status::Passed, Duration::ZERO);
        let report = RunReport { name: "has s3cret".into(), run_id: "r".into(), status, duration, stages: Vec::new() };
        let secrets = Secrets::default();
        secrets.add(["s3cret"]);
        secrets.mask(Event::RunFinished { report })
    }

    #[test]
    fn the_events_replace_what_is_there_and_the_summary_goes_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (events, summary) = (folder.path().join("run.jsonl"), folder.path().join("summary.md"));
        for path in [&events, &summary] {
            std::fs::write(path, "before\n").expect("a file");
        }
        Files::open(Some(&events), Some(&summary)).expect("the files").show(&finished());
        let read = |path| std::fs::read_to_string(path).expect("a file");
        let event: Event = serde_json::from_str(&read(&events)).expect("an event");
        assert_eq!(event, finished().into_inner());
        let summary = read(&summary);
        assert!(summary.starts_with("before\n## ") && summary.contains(": passed in 0.0 s"), "{summary}");
        assert!(!summary.contains("s3cret"), "{summary}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("missing/summary.md");
        let error = Files::open(None, Some(&path)).err().expect("no such folder");
        assert!(error.is::<Usage>() && error.to_string().contains("missing/summary.md cannot be written"), "{error:#}");
    }
}
