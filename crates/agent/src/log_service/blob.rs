//! Makes what is uploaded of a log: its last lines, as many as the service takes.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures::stream::try_unfold;

use super::LogService;
use super::delivery::{Delivery, Source, Unreadable};
use super::line::{LINE_BYTES, Piece, Splitter};
use super::remote::Upload;

/// Largest size of an upload.
const BLOB_BYTES: u64 = 5 << 20;
/// Approximate size of the parts in which an upload is made.
const PART_BYTES: usize = 64 << 10;

/// The last lines of a log, which are read from the spool for each upload.
pub(super) struct Blob {
    service: Arc<LogService>,
    source: Source,
    /// Where reading begins.
    from: Splitter,
    /// Number of lines after that place that are left out.
    skipped: u64,
    /// First line, which tells how many lines are left out; empty when none are.
    note: Vec<u8>,
    /// Length of the output in bytes.
    end: u64,
    /// Length of the upload in bytes.
    length: u64,
}

impl Blob {
    /// Makes the upload of a log whose output has ended.
    pub(super) async fn of(delivery: &mut Delivery, end: u64) -> Result<Self, Unreadable> {
        let service = Arc::clone(&delivery.service);
        let mut source = delivery.source.clone();
        let from = first(delivery, end).await?;
        let mut line = Vec::new();
        let mut size = |source: &Source, piece: &Piece<'_>| {
            line.clear();
            service.lines.write(piece, source.for_service(piece.end), &mut line);
            line.len() as u64 + 1
        };
        let mut total = 0;
        let times = source.clone();
        source
            .lines(&mut from.clone(), end, true, |piece| {
                total += size(&times, piece);
                true
            })
            .await?;
        let (mut skipped, mut note, mut length) = (0, Vec::new(), total);
        if from.lines() > 0 || total > BLOB_BYTES {
            // At least as long as the line that will stand there.
            let room = BLOB_BYTES - note_of(&service, &times, u64::from(u32::MAX)).len() as u64;
            source
                .lines(&mut from.clone(), end, true, |piece| {
                    if length > room {
                        length -= size(&times, piece);
                        skipped += 1;
                    }
                    length > room
                })
                .await?;
            let missing = from.lines() + skipped;
            if missing > 0 {
                note = note_of(&service, &times, missing);
                length += note.len() as u64;
            }
        }
        Ok(Self { service, source, from, skipped, note, end, length })
    }
}

/// Finds a place shortly before the first line that fits, or at it. It only adds up the least size that each line has
/// in JSON, which is much faster than making the JSON.
async fn first(delivery: &mut Delivery, end: u64) -> Result<Splitter, Unreadable> {
    let mut source = delivery.source.clone();
    let lines = &delivery.service.lines;
    let from = delivery.places.before(end.saturating_sub(BLOB_BYTES + LINE_BYTES as u64));
    let mut certain = 0;
    let count = |piece: &Piece<'_>| {
        certain += lines.least_bytes(piece);
        true
    };
    source.lines(&mut from.clone(), end, true, count).await?;
    let (mut at, mut place) = (from.clone(), None);
    let skip = |piece: &Piece<'_>| {
        if certain > BLOB_BYTES {
            certain -= lines.least_bytes(piece);
            place = Some((piece.end, piece.number + 1));
        }
        certain > BLOB_BYTES
    };
    source.lines(&mut at, end, true, skip).await?;
    Ok(place.map_or(from, |(at, number)| Splitter::between(at, number)))
}

/// Makes the line that tells how many lines are left out before it.
fn note_of(service: &LogService, source: &Source, missing: u64) -> Vec<u8> {
    let mut line = Vec::new();
    let text = format!("[kiln: {missing} lines before this one are left out: the log service takes 5 MiB of a log]");
    // It takes the number of the last line that is left out.
    service.lines.note(missing.saturating_sub(1), &text, source.for_service(0), &mut line);
    line.push(b'\n');
    line
}

/// The state of an upload's body that is being sent.
struct Making {
    service: Arc<LogService>,
    source: Source,
    at: Splitter,
    skip: u64,
    part: Vec<u8>,
    end: u64,
    done: bool,
}

impl Upload for Blob {
    fn length(&self) -> u64 {
        self.length
    }

    fn body(&self) -> Body {
        let Self { service, source, from, skipped, note, end, .. } = self;
        let making = Making {
            service: Arc::clone(service),
            source: source.clone(),
            at: from.clone(),
            skip: *skipped,
            part: note.clone(),
            end: *end,
            done: false,
        };
        Body::from_stream(try_unfold(making, |making| making.next()))
    }
}

impl Making {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Unreadable> {
        if self.done {
            return Ok(None);
        }
        let Self { service, source, at, skip, part, end, done } = &mut self;
        let times = source.clone();
        let mut full = false;
        source
            .lines(at, *end, true, |piece| {
                if *skip > 0 {
                    *skip -= 1;
                    return true;
                }
                service.lines.write(piece, times.for_service(piece.end), part);
                part.push(b'\n');
                full = part.len() >= PART_BYTES;
                !full
            })
            .await?;
        *done = !full;
        let part = Bytes::from(std::mem::take(part));
        Ok(Some((part, self)))
    }
}
