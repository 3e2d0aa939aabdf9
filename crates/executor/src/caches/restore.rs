//! Brings back what an earlier run kept.

use std::time::Instant;

use futures::StreamExt as _;
use kiln_agent_client::AgentError;
use kiln_cache::{Entry, Lookup, Name, Store};
use kiln_wire::agent::archive::{BROKEN, UnpackRequest};
use kiln_wire::agent::kiln::UnpackedResponse;

use super::failure::Failure;
use super::keeper::{Keeper, size, time};
use crate::again::again;
use crate::fleet::error_chain;
use crate::wait::Reason;

/// How often a key is looked for whose archive is gone because the key was saved anew.
const LOOKS: usize = 3;

/// What there is of an archive once it was sent.
enum Sent {
    Unpacked(UnpackedResponse),
    /// It is broken, in this way.
    Broken(String),
}

impl Keeper<'_> {
    /// Restores a cache, and returns whether there was one. One that is broken is removed, and counts for none.
    pub(super) async fn restore(&self, store: &Store, name: &Name) -> Result<bool, Failure> {
        let began = Instant::now();
        let mut missed = None;
        for _ in 0..LOOKS {
            let entry = match store.find(name).await? {
                Lookup::Miss => break,
                Lookup::Broken(why) => {
                    (self.say)(format!("the cache {} is broken and is removed: {why}", name.key));
                    store.remove(name).await?;
                    break;
                }
                Lookup::Hit(entry) => entry,
            };
            match self.send(store, &entry).await {
                // One that was saved anew meanwhile has another archive.
                Err(Failure::Store(error)) if error.is_missing() && missed.as_ref() != Some(&entry) => {
                    missed = Some(entry);
                }
                Err(Failure::Store(error)) if error.is_missing() => {
                    (self.say)(format!("the cache {} is broken and is removed: its archive is gone", name.key));
                    store.discard(&entry).await?;
                    break;
                }
                Err(error) => return Err(error),
                Ok(Sent::Broken(why)) => {
                    (self.say)(format!("the cache {} is broken and is removed: {why}", name.key));
                    store.discard(&entry).await?;
                    break;
                }
                Ok(Sent::Unpacked(done)) => {
                    let (packed, took) = (size(entry.bytes), time(began.elapsed()));
                    let UnpackedResponse { entries, bytes } = done;
                    let what = format!("{entries} files, {} ({packed} packed)", size(bytes));
                    (self.say)(format!("cache hit: {}: {what}, in {took}", name.key));
                    return Ok(true);
                }
            }
        }
        (self.say)(format!("cache miss: {}", name.key));
        Ok(false)
    }

    /// Sends an archive to the instance.
    async fn send(&self, store: &Store, entry: &Entry) -> Result<Sent, Failure> {
        let request = UnpackRequest { base: self.base.to_owned(), paths: entry.paths.clone(), format: entry.format };
        let reason = Reason::new(format!("the cache to be restored, {}", size(entry.bytes)));
        // The inner error is of this side, and no other try would change it.
        let sent = again(&self.run.options.patience, || async {
            let reading = match store.open_archive(entry).await {
                Ok(reading) => reading,
                Err(error) => return Ok(Err(Failure::Store(error))),
            };
            match (self.agent.unpack(&request, reading.bytes.boxed()).await, reading.fault.get()) {
                (Ok(done), _) => Ok(Ok(Sent::Unpacked(done))),
                (Err(_), Some(why)) => Ok(Ok(Sent::Broken(why.to_owned()))),
                (Err(error @ AgentError::Refused { status: BROKEN, .. }), None) => {
                    Ok(Ok(Sent::Broken(error_chain(&error))))
                }
                (Err(error), None) => Err(error),
            }
        });
        self.wait(&reason, sent).await?
    }
}
