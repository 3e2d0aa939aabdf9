//! Delivers a log to the service: its lines while they come, then the upload, then the closing.
//!
//! ```text
//!           ┌───────── the stream is not open (any more) ─────────┐
//!           ▼                                                     │
//!  closed ──opened──► open ──batch taken: from there on, the next─┤
//!    │ ▲               │                                          │
//!    │ └── pause ──────┴── failed: pause, the same lines again ───┘
//!    └── refused for good: the live lines are given up, not the upload
//! ```
//! A batch whose answer is lost is sent twice; its lines have numbers, by which the service can tell. Each try of an
//! upload reads the spool anew.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Log;
use super::backoff::Backoff;
use super::blob::Blob;
use super::delivery::{Delivery, Unreadable};
use super::line::{Piece, Splitter};
use super::remote::{Channel, Remote, RemoteError};
use crate::spool::Progress;

/// A batch of this many bytes of JSON is sent without waiting for more lines.
const BATCH_BYTES: usize = 512 << 10;
/// This much new output is sent without waiting for more.
const MUCH_BYTES: u64 = 256 << 10;
/// Number of lines that the service keeps of a stream that it is told to store.
const SNAPSHOT_LINES: u64 = 5000;

/// Lines that are sent together.
struct Batch {
    json: Vec<u8>,
    /// Where the next batch begins.
    next: Splitter,
    /// Whether its last line tells how many lines the log had.
    tells_count: bool,
}

/// What became of the live lines.
#[derive(Debug, PartialEq, Eq)]
enum Live {
    /// All of them were sent.
    Sent,
    /// Some of them were not sent.
    Short,
}

impl Delivery {
    /// Delivers all of a log.
    pub(super) async fn deliver_to_service(&mut self, remote: &Remote) -> Result<(), Unreadable> {
        let Log { key, opens, closes } = self.log.clone();
        let mut channel = remote.of(&key);
        let mut live = self.follow(&mut channel, !opens).await?;
        let Progress { len, .. } = self.end().await;
        let deadline = Instant::now() + self.service.pace.finish_within;
        if self.log.uploads() {
            let blob = Blob::of(self, len).await?;
            let mut uploaded = Err(());
            let mut backoff = Backoff::new(&self.service.pace);
            while uploaded.is_err() {
                let tried = channel.upload(&blob).await;
                self.service.went(&tried);
                uploaded = match tried {
                    Ok(()) => Ok(()),
                    Err(error) if error.may_pass() && Instant::now() < deadline => {
                        tracing::info!(key, %error, "a log is uploaded again");
                        sleep(backoff.pause()).await;
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(key, %error, "a log is not uploaded");
                        break;
                    }
                };
            }
            if uploaded.is_ok() {
                live = Live::Sent;
            }
        }
        if live == Live::Short {
            let left = len - self.sent.at();
            tracing::warn!(key, left_bytes = left, "the end of a log was not sent");
        }
        if closes {
            self.close(&mut channel, deadline).await;
        }
        Ok(())
    }

    async fn close(&self, channel: &mut Channel<'_>, deadline: Instant) {
        let mut backoff = Backoff::new(&self.service.pace);
        loop {
            let closed = channel.close(!self.log.uploads()).await;
            self.service.went(&closed);
            match closed {
                Ok(()) => return,
                // It was not open, or is closed already.
                Err(error) if error.is_not_open() => return,
                Err(error) if error.may_pass() && Instant::now() < deadline => sleep(backoff.pause()).await,
                Err(error) => return tracing::warn!(key = self.log.key, %error, "a log is not closed"),
            }
        }
    }

    /// Sends lines as they come, until the output has ended and all were sent, or further tries are pointless.
    async fn follow(&mut self, channel: &mut Channel<'_>, mut open: bool) -> Result<Live, Unreadable> {
        let pace = self.service.pace.clone();
        let within = if self.log.uploads() { pace.flush_within } else { pace.finish_within };
        let mut backoff = Backoff::new(&pace);
        let (mut deadline, mut sent_at) = (None, None);
        loop {
            let tried = if open {
                let progress = self.gathered(sent_at.map(|at: Instant| at + pace.gather)).await;
                sent_at = Some(Instant::now());
                if progress.ended && self.is_complete(progress) {
                    return Ok(Live::Sent);
                }
                if self.is_over(&mut deadline, within) {
                    return Ok(Live::Short);
                }
                match self.send(channel, progress).await? {
                    Some(sent) => sent,
                    // No line was whole.
                    None => continue,
                }
            } else {
                let opened = channel.open().await;
                open = opened.is_ok();
                opened
            };
            self.service.went(&tried);
            let Err(error) = tried else {
                backoff.reset();
                continue;
            };
            open = open && !(self.log.opens && error.is_not_open());
            if !error.may_pass() && !error.is_not_open() {
                tracing::warn!(key = self.log.key, %error, "live lines of a log are given up");
                return Ok(Live::Short);
            }
            tracing::debug!(key = self.log.key, %error, "lines of a log are sent again");
            if self.is_over(&mut deadline, within) {
                return Ok(Live::Short);
            }
            self.pause(backoff.pause()).await;
        }
    }

    /// Returns whether the output has ended and the time for sending the last of it is up.
    fn is_over(&self, deadline: &mut Option<Instant>, within: Duration) -> bool {
        let ended = self.progress.borrow().ended;
        ended && Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + within)
    }

    /// Waits before the next try. The end of the output ends the wait, because it is worth a try at once.
    async fn pause(&mut self, pause: Duration) {
        if self.progress.borrow().ended {
            return sleep(pause).await;
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = self.end() => {}
        }
    }

    /// Returns whether everything was sent of an output that has ended.
    fn is_complete(&self, progress: Progress) -> bool {
        self.sent.at() == progress.len && self.sent.is_between_lines() && !self.has_to_tell_count(&self.sent)
    }

    /// Returns whether the service will store fewer lines than it was sent, and no line has said so yet.
    fn has_to_tell_count(&self, at: &Splitter) -> bool {
        let is_stored_by_service = self.log.closes && !self.log.uploads();
        is_stored_by_service && at.lines() > SNAPSHOT_LINES && !self.count_is_told
    }

    /// Waits for new output, and then for more of it: until a moment, until there is much of it, or until its end.
    async fn gathered(&mut self, until: Option<Instant>) -> Progress {
        let at = self.sent.at();
        let first = self.news(at).await;
        let Some(until) = until.filter(|_| !first.ended) else { return first };
        let much = self.progress.wait_for(|now| now.ended || now.len >= at + MUCH_BYTES);
        // An error means that the writer is gone, which the next look takes for the end.
        drop(tokio::time::timeout_at(until, much).await);
        self.news(at).await
    }

    /// Sends the next lines, if at least one is complete. The next call sends again what failed.
    async fn send(
        &mut self,
        channel: &mut Channel<'_>,
        progress: Progress,
    ) -> Result<Option<Result<(), RemoteError>>, Unreadable> {
        let sends = self.sends.clone();
        // It bounds the memory of all batches. Nobody closes it, and a failed batch does not hold it while it waits.
        let _permit = sends.acquire().await;
        let Batch { json, next, tells_count } = self.batch(progress).await?;
        let sent = if json.is_empty() { None } else { Some(channel.write(json).await) };
        if !matches!(sent, Some(Err(_))) {
            self.places.add(&next);
            self.sent = next;
            self.count_is_told |= tells_count;
        }
        Ok(sent)
    }

    /// Returns the next lines as a JSON list; an empty text when no line is complete.
    async fn batch(&mut self, Progress { len, ended, .. }: Progress) -> Result<Batch, Unreadable> {
        let mut next = self.sent.clone();
        let mut json = Vec::new();
        let (lines, source) = (&self.service.lines, self.source.clone());
        let take = |piece: &Piece<'_>| {
            json.push(if json.is_empty() { b'[' } else { b',' });
            lines.write(piece, source.for_service(piece.end), &mut json);
            json.len() < BATCH_BYTES
        };
        self.source.lines(&mut next, len, ended, take).await?;
        let tells_count = ended && next.at() == len && self.has_to_tell_count(&next);
        if tells_count {
            let text = format!("[kiln: this log has {} lines; the log service keeps the last 5000]", next.lines());
            json.push(if json.is_empty() { b'[' } else { b',' });
            lines.note(next.lines(), &text, source.for_service(len), &mut json);
        }
        if !json.is_empty() {
            json.push(b']');
        }
        Ok(Batch { json, next, tells_count })
    }
}
