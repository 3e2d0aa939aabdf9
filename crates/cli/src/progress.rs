//! Progress of work outside of a run: image builds, golden boots.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kiln_driver_qemu::{Listener, Progress};
use tokio::sync::watch;

use crate::ui::bars;
use crate::ui::summary::seconds;

const TICK: Duration = Duration::from_millis(120);

/// Returns a listener that shows progress on standard error: a moving line on a terminal, a line per task elsewhere.
pub fn listener() -> Listener {
    if std::io::stderr().is_terminal() {
        let tasks = Mutex::new(HashMap::<String, ProgressBar>::new());
        return Arc::new(move |progress| live(&mut tasks.lock().unwrap_or_else(PoisonError::into_inner), progress));
    }
    Arc::new(|progress| match progress {
        Progress::Began { task } => eprintln!("{task} ..."),
        Progress::Step { .. } => {}
        Progress::Done { task, took } => eprintln!("{task}: done in {}", seconds(took)),
        // The error itself is printed elsewhere.
        Progress::Failed { .. } => {}
        Progress::Note(text) => eprintln!("note: {text}"),
    })
}

/// The running tasks, in the order in which they began.
pub type Tasks = watch::Receiver<Vec<String>>;

/// Returns the listener of a run, and its tasks: a stage that waits for them says so. On a terminal they are also shown
/// live.
pub fn of_run(is_live: bool) -> (Listener, Tasks) {
    let (sender, tasks) = watch::channel(Vec::new());
    let shown = is_live.then(listener);
    let listener: Listener = Arc::new(move |progress| {
        note(&sender, &progress);
        match (&shown, progress) {
            (Some(shown), progress) => shown(progress),
            (None, Progress::Note(text)) => eprintln!("note: {text}"),
            (None, _) => {}
        }
    });
    (listener, tasks)
}

fn note(tasks: &watch::Sender<Vec<String>>, progress: &Progress) {
    match progress {
        Progress::Began { task } => tasks.send_modify(|tasks| tasks.push(task.clone())),
        Progress::Done { task, .. } | Progress::Failed { task } => tasks.send_modify(|tasks| {
            if let Some(at) = tasks.iter().position(|other| other == task) {
                tasks.remove(at);
            }
        }),
        Progress::Step { .. } | Progress::Note(_) => {}
    }
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
        Progress::Failed { task } => {
            if let Some(bar) = tasks.remove(&task) {
                bar.finish_and_clear();
                bars().remove(&bar);
            }
        }
        Progress::Note(text) => say(&format!("note: {text}")),
    }
}

fn say(line: &str) {
    // A terminal that is gone shows nothing, and the work continues.
    drop(bars().println(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_the_tasks_that_go_on() {
        let (listener, tasks) = of_run(false);
        let (one, two) = ("one".to_owned(), "two".to_owned());
        for task in [&one, &two, &one] {
            listener(Progress::Began { task: task.clone() });
        }
        listener(Progress::Done { task: one.clone(), took: Duration::ZERO });
        assert_eq!(*tasks.borrow(), [two.clone(), one.clone()]);
        listener(Progress::Failed { task: two });
        assert_eq!(*tasks.borrow(), [one]);
    }
}
