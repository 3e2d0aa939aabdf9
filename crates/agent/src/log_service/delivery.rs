//! Delivers one log, from the start of its step until everything is delivered or given up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use super::line::{Form, Piece, Splitter};
use super::times::Times;
use super::{Destination, Log, LogService};
use crate::lock::lock;
use crate::spool::{Progress, Reader, Spool};

/// Number of bytes that are read from the spool at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How often the amount of output is noted.
const NOTE_EVERY: Duration = Duration::from_millis(20);
/// Number of beginnings of lines that are remembered. They are so far apart that they lead back further than a blob
/// does.
const PLACES: usize = 32;
const PLACES_APART_BYTES: u64 = 512 << 10;

/// Why a log was not delivered, or not all of it.
#[derive(Debug, thiserror::Error)]
#[error("its output cannot be read: {0}")]
pub(super) struct Unreadable(std::io::Error);

/// One log on its way.
pub(super) struct Delivery {
    pub(super) service: Arc<LogService>,
    pub(super) log: Log,
    pub(super) source: Source,
    /// Up to where the log was sent, or need not be sent any more.
    pub(super) sent: Splitter,
    pub(super) places: Places,
    /// Whether a line of the stream has told how many lines the log has.
    pub(super) count_is_told: bool,
    /// Permits to make and send a batch, shared by all logs.
    pub(super) sends: Arc<Semaphore>,
    pub(super) progress: watch::Receiver<Progress>,
}

/// Where lines come from.
#[derive(Clone)]
pub(super) struct Source {
    reader: Reader,
    times: Arc<Mutex<Times>>,
    began: Duration,
}

/// The latest remembered beginnings of lines.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Splitter>);

impl Places {
    /// Remembers a place if it is between lines and far enough from the last one.
    pub(super) fn add(&mut self, at: &Splitter) {
        let last = self.0.last().map_or(0, Splitter::at);
        if !at.is_between_lines() || at.at() < last + PLACES_APART_BYTES {
            return;
        }
        if self.0.len() >= PLACES {
            self.0.remove(0);
        }
        self.0.push(at.clone());
    }

    /// Returns the last place at or before an offset.
    pub(super) fn before(&self, offset: u64) -> Splitter {
        self.0.iter().rev().find(|place| place.at() <= offset).cloned().unwrap_or_default()
    }
}

impl Delivery {
    /// Makes the delivery of a log; none when its spool is gone already.
    pub(super) fn new(service: Arc<LogService>, log: Log, spool: &Spool, sends: Arc<Semaphore>) -> Option<Self> {
        let opened = spool.reader();
        let opened = opened.inspect_err(|error| tracing::warn!(key = log.key, %error, "a log cannot be delivered"));
        let source = Source { reader: opened.ok()?, times: Arc::default(), began: now() };
        let (sent, places) = (Splitter::default(), Places::default());
        let progress = spool.follow();
        Some(Self { service, log, source, sent, places, count_is_told: false, sends, progress })
    }

    /// Delivers the log.
    pub(super) async fn run(mut self) {
        let (times, progress) = (Arc::clone(&self.source.times), self.progress.clone());
        let key = self.log.key.clone();
        let service = Arc::clone(&self.service);
        let deliver = async {
            match &service.to {
                Destination::Service(remote) => self.deliver_to_service(remote).await,
                Destination::Files(dir) => self.deliver_to_file(dir).await,
            }
        };
        tokio::select! {
            delivered = deliver => if let Err(error) = delivered {
                tracing::warn!(key, %error, "a log is not delivered to its end");
            },
            () = note_times(&times, progress) => {}
        }
    }

    /// Waits until there is output beyond an offset, or the end.
    pub(super) async fn news(&mut self, offset: u64) -> Progress {
        let there = self.progress.wait_for(|now| now.len > offset || now.ended).await;
        let there = there.map(|now| *now);
        // An error means that the writer is gone, and nothing more comes.
        there.unwrap_or_else(|_| Progress { ended: true, ..*self.progress.borrow() })
    }

    /// Waits for the end of the output.
    pub(super) async fn end(&mut self) -> Progress {
        self.news(u64::MAX).await
    }
}

/// Notes how much output there is, as it comes. Never returns.
async fn note_times(times: &Mutex<Times>, mut progress: watch::Receiver<Progress>) {
    loop {
        let Progress { len, ended, .. } = *progress.borrow_and_update();
        if len > 0 {
            lock(times).note(len, now());
        }
        if ended || progress.changed().await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(NOTE_EVERY).await;
    }
}

/// Returns the time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Source {
    /// Gives `take` the lines between the splitter's place and an offset, until it returns false. When the output has
    /// `ended`, the last line needs no line break.
    pub(super) async fn lines(
        &mut self,
        from: &mut Splitter,
        until: u64,
        ended: bool,
        mut take: impl FnMut(&Piece<'_>) -> bool + Send,
    ) -> Result<(), Unreadable> {
        while from.at() < until {
            let most = usize::try_from(until - from.at()).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let chunk = self.reader.read(from.at(), most).await.map_err(Unreadable)?;
            if chunk.is_empty() {
                return Err(Unreadable(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let mut rest = chunk.as_slice();
            while !rest.is_empty() {
                let (used, piece) = from.next(rest);
                rest = &rest[used..];
                if piece.is_some_and(|piece| !take(&piece)) {
                    return Ok(());
                }
            }
            // What memory holds of a file is read without a wait, and other logs have their turn too.
            tokio::task::yield_now().await;
        }
        if ended && let Some(piece) = from.finish() {
            take(&piece);
        }
        Ok(())
    }

    /// Returns the service's form for a line that ends at an offset.
    pub(super) fn for_service(&self, end: u64) -> Form {
        Form::Service { at: lock(&self.times).at(end, now()) }
    }

    /// Returns the form of files for a line that ends at an offset.
    pub(super) fn for_file(&self, end: u64) -> Form {
        Form::File { after: lock(&self.times).at(end, now()).saturating_sub(self.began) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_that_are_remembered_lead_back_far_enough() {
        let (mut places, mut at) = (Places::default(), Splitter::default());
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..100_000 {
            at.next(&line);
            places.add(&at);
        }
        assert!(places.0.len() <= PLACES);
        let (end, blob) = (at.at(), 5 << 20);
        let place = places.before(end - blob);
        assert!(place.at() <= end - blob && place.at() + 2 * PLACES_APART_BYTES > end - blob, "{}", place.at());
        assert_eq!(place.lines() * 1000, place.at());
        assert_eq!(places.before(10).at(), 0);
    }
}
