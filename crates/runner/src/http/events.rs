//! Changes of instances and stages as they happen, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{StreamExt as _, stream};
use kiln_engine::Change;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::lookup::parameter;
use super::reply::Refusal;
use super::views;

/// The header in which a reader that was disconnected names the last event that it received.
const LAST_EVENT_ID: &str = "last-event-id";
/// Interval of comments on a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest life of a stream; its reader then opens a new one. On a silent stream, a reader that does not read cannot be
/// told from one that does.
const STREAM_FOR: Duration = Duration::from_secs(3600);
/// Greatest number of changes that are read from the store at once.
const BATCH: u32 = 500;
/// Poll interval for changes without a signal, because other runners may share the store.
const LOOK_EVERY_MS: i64 = 1_000;
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// One reader.
struct Reader {
    api: Arc<Api>,
    after: i64,
    pending: std::vec::IntoIter<Change>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let place = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "there are too many readers of events; close one of them")
    })?;
    let given = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default().to_owned());
    let given = given.or_else(|| parameter(query.as_deref(), "after"));
    let after = match given {
        Some(text) => text.trim().parse().map_err(|_| Refusal::bad(format!("`{text}` is not the id of an event")))?,
        None => newest(&api).await?,
    };
    let reader = Reader { api, after, pending: Vec::new().into_iter(), _place: place };
    let over = Box::pin(tokio::time::sleep(STREAM_FOR));
    let events = stream::unfold(reader, |mut reader| async move {
        let change = reader.next().await?;
        Some((Ok::<_, Infallible>(event(&change)), reader))
    });
    let events = events.take_until(over);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Returns the id of the last change by binary search, because the history may be long.
///
/// # Errors
/// 503 when the store fails.
async fn newest(api: &Api) -> Result<i64, Refusal> {
    let store = api.engine.store();
    let (mut some, mut none) = (0, 1);
    while let Some(change) = store.changes_after(none, 1).await?.first() {
        (some, none) = (change.seq, change.seq.saturating_mul(2));
    }
    if store.changes_after(some, 1).await?.is_empty() {
        return Ok(some);
    }
    // There are changes after `some`, and none after `none`.
    while none - some > 1 {
        let middle = some + (none - some) / 2;
        match store.changes_after(middle, 1).await?.first() {
            Some(change) => some = middle.max(change.seq - 1),
            None => none = middle,
        }
    }
    Ok(none)
}

fn event(change: &Change) -> Event {
    let change = views::change(change);
    let (id, kind) = (change.seq.to_string(), change.subject.as_str());
    // Numbers and text always serialize.
    Event::default().id(id).event(kind).data(serde_json::to_string(&change).unwrap_or_default())
}

impl Reader {
    /// Returns the next change, or none when the runner stops.
    async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.pending.next() {
                self.after = change.seq;
                return Some(change);
            }
            let seen = self.api.host.signals();
            match self.api.engine.store().changes_after(self.after, BATCH).await {
                Ok(changes) if changes.is_empty() => {
                    tokio::select! {
                        () = self.api.host.wait(seen, LOOK_EVERY_MS) => {}
                        () = self.api.shutdown.cancelled() => return None,
                    }
                }
                Ok(changes) => self.pending = changes.into_iter(),
                Err(error) => {
                    tracing::warn!(%error, "the changes could not be read; the stream waits");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }
}
