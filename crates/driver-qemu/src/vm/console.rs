//! The end of what a VM wrote on its console or QEMU on its error stream: bounded, and can be waited on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::host::lines::last_lines;

/// How much of the end is kept.
const KEPT_BYTES: usize = 64 * 1024;
/// A line is cut to this when it is handed over.
const LINE_MAX_BYTES: usize = 4096;

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
}

/// The kept end of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Kept>>,
    changed: watch::Sender<u64>,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self { kept: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Keeps the end of `stream` until it ends.
    pub(crate) async fn follow(self, stream: impl AsyncRead + Unpin) {
        self.follow_lines(stream, |_| ()).await;
    }

    /// Keeps the end of `stream` until it ends, and hands over each of its lines.
    pub(crate) async fn follow_lines(self, mut stream: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
        let mut buffer = vec![0; 8192];
        let mut line = Vec::new();
        // A read error is the end of the stream: the writer is gone either way.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            self.push(&buffer[..read]);
            for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(&part[..part.len().min(LINE_MAX_BYTES - line.len())]);
                if part.ends_with(b"\n") {
                    each(String::from_utf8_lossy(&line).trim_end());
                    line.clear();
                }
            }
        }
    }

    fn push(&self, bytes: &[u8]) {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes.extend_from_slice(bytes);
            if kept.bytes.len() > 2 * KEPT_BYTES {
                let cut = kept.bytes.len() - KEPT_BYTES;
                kept.bytes.drain(..cut);
            }
        }
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Returns when the kept end holds `needle`. Never, if it does not come.
    pub(crate) async fn holds(&self, needle: &str) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.text().contains(needle) || changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes.is_empty()
    }

    pub(crate) fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept.bytes).into_owned()
    }

    /// The last `count` lines for a person, without the control characters that a console is full of.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        last_lines(&self.text(), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_stream_keeps_its_end_only() {
        let tail = Tail::new();
        let mut input = vec![b'x'; 5 * KEPT_BYTES];
        input.extend_from_slice(b"the end");
        tail.clone().follow(&input[..]).await;
        assert!(tail.text().ends_with("the end"));
        assert!(tail.text().len() <= 2 * KEPT_BYTES + 8192);
        tail.holds("the end").await;
    }

    #[tokio::test]
    async fn lines_are_handed_over_whole_or_cut() {
        let mut input = b"one\ntwo\r\n".to_vec();
        input.resize(3 * LINE_MAX_BYTES, b'x');
        input.extend_from_slice(b"\nlast");
        let mut lines = Vec::new();
        Tail::new().follow_lines(&input[..], |line| lines.push(line.to_owned())).await;
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!((lines.len(), lines[2].len()), (3, LINE_MAX_BYTES));
    }
}
