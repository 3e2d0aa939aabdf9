//! Waiting for values.

use std::path::Path;
use std::time::{Duration, Instant};

/// Nothing in these tests takes longer on a working agent.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is there, and returns it.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the content of a file once it has a whole line.
pub async fn content(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    until(&format!("{}", path.display()), async || {
        std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
    })
    .await
    .trim()
    .to_owned()
}

/// Returns whether a process lives, whatever bytes its name is; a zombie does not.
#[must_use]
pub fn alive(pid: &str) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    String::from_utf8_lossy(&stat).rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits until a process has ended.
pub async fn until_dead(pid: &str) {
    until(&format!("the end of process {pid}"), async || (!alive(pid)).then_some(())).await;
}
