//! How long work outside of a run is shown: image builds, golden boots.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kiln_driver_qemu::{Listener, Progress};

use crate::ui::bars;
use crate::ui::summary::seconds;

const TICK: Duration = Duration::from_millis(120);

/// Shows progress on standard error: a line that moves on a terminal, a line per task elsewhere.
pub fn listener() -> Listener {
    if std::io::stderr().is_terminal() {
        let tasks = Mutex::new(HashMap::<String, ProgressBar>::new());
        return Arc::new(move |progress| live(&mut tasks.lock().unwrap_or_else(PoisonError::into_inner), progress));
    }
    Arc::new(|progress| match progress {
        Progress::Began { task } => eprintln!("{task} ..."),
        Progress::Step { .. } => {}
        Progress::Done { task, took } => eprintln!("{task}: done in {}", seconds(took)),
        Progress::Note(text) => eprintln!("note: {text}"),
    })
}

fn live(tasks: &mut HashMap<String, ProgressBar>, progress: Progress) {
    match progress {
        Progress::Began { task } => {
            let bar = bars().add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(task.clone());
            bar.enable_steady_tick(TICK);
            tasks.insert(task, bar);
        }
        Progress::Step { task, detail } => {
            if let Some(bar) = tasks.get(&task) {
                bar.set_message(detail);
            }
        }
        Progress::Done { task, took } => {
            if let Some(bar) = tasks.remove(&task) {
                bar.finish_and_clear();
                bars().remove(&bar);
            }
            say(&format!("{task}: done in {}", seconds(took)));
        }
        Progress::Note(text) => say(&format!("note: {text}")),
    }
}

fn say(line: &str) {
    // A terminal that is gone shows nothing; the work goes on.
    drop(bars().println(line));
}
