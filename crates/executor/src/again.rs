//! Repeats a call whose connection broke.

use std::time::{Duration, Instant};

use kiln_agent_client::AgentError;

use crate::patience::Patience;

/// Pause before a call is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes a call, and makes it again while it fails for want of a connection, until the agent counts as lost. The call must be one that
/// can be repeated.
pub async fn again<T, F>(patience: &Patience, mut call: impl FnMut() -> F) -> Result<T, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    let since = Instant::now();
    loop {
        match call().await {
            Err(error) if error.is_connection() && since.elapsed() < patience.unreachable_for => {
                tracing::debug!(%error, "the call is made again");
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}
