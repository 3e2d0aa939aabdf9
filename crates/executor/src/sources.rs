//! Sends the sources of a stage to its instance.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kiln_agent_client::AgentError;
use tokio::sync::oneshot;

use crate::again::again;
use crate::fleet::{Lease, error_chain};
use crate::stage_context::StageContext;
use crate::workspace;

impl StageContext<'_> {
    /// Sends what the steps find in their directory: the sources, or nothing.
    ///
    /// # Errors
    /// In one line for people: the sources could not be read or sent.
    pub(crate) async fn send_sources(&self, lease: &Lease) -> Result<(), String> {
        self.send(lease, &self.stage.workspace_dir, self.stage.workspace).await
    }

    /// Sends the sources to a directory.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn send_sources_to(&self, lease: &Lease, directory: &str) -> Result<(), String> {
        self.send(lease, directory, true).await
    }

    async fn send(&self, lease: &Lease, directory: &str, sources: bool) -> Result<(), String> {
        // A second stream replaces what arrived of one that broke.
        let sent = again(&self.run.options.patience, || self.try_to_send(lease, directory, sources)).await;
        sent.map_err(|error| format!("the workspace could not be sent: {}", error_chain(&error)))?
    }

    /// Sends the sources. The inner error says why they could not be read on this machine.
    async fn try_to_send(
        &self,
        lease: &Lease,
        directory: &str,
        sources: bool,
    ) -> Result<Result<(), String>, AgentError> {
        let tree = match sources {
            false => Ok(workspace::empty()),
            true => self.sources().await,
        };
        let tree = match tree {
            Err(unread) => return Ok(Err(unread)),
            Ok(tree) => tree,
        };
        // A file that cannot be read breaks the stream, which looks like a broken connection and is not to be repeated.
        let (broken, told) = oneshot::channel();
        let mut broken = Some(broken);
        let tree = tree.inspect_err(move |error| {
            // Without a receiver nobody waits for the answer any more.
            drop(broken.take().map(|broken| broken.send(error.to_string())));
        });
        let sent = lease.agent.put_workspace(directory, tree.boxed()).await;
        match (sent, told.now_or_never()) {
            (Err(_), Some(Ok(why))) => Ok(Err(format!("the workspace could not be read: {why}"))),
            (sent, _) => sent.map(|_| Ok(())),
        }
    }

    /// Returns the working tree as a stream, and tells what of it stays here.
    async fn sources(&self) -> Result<BoxStream<'static, io::Result<Bytes>>, String> {
        let root = self.run.options.workspace.clone();
        let unread = |why: String| format!("the workspace {} could not be read: {why}", root.display());
        let read = tokio::task::spawn_blocking({
            let root = root.clone();
            move || workspace::read(&root)
        });
        let tree = read.await.map_err(|e| unread(e.to_string()))?.map_err(|e| unread(e.to_string()))?;
        tree.notes().into_iter().for_each(|note| self.note_once(note));
        tree.left_behind().into_iter().for_each(|note| self.note_once_about("what is ignored", note));
        Ok(tree.pack())
    }
}
