//! Walking a graph: each item starts when all it needs has ended.

use std::future::Future;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kiln_pipeline::plan::Graph;

/// What an item's end means for those that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing stands against what follows (passed, skipped, or failed and ignored).
    Clear,
    /// It failed.
    Failed,
}

impl End {
    /// Both together.
    #[must_use]
    pub fn and(self, other: End) -> End {
        if self == End::Clear { other } else { End::Failed }
    }
}

/// Runs every item of the graph. `run` is given the item and whether anything that it needs, however far back, or
/// `before` all of it, has failed. Returns the ends of all together.
pub async fn walk<'a, T, F>(graph: &'a Graph<T>, before: End, run: impl Fn(&'a T, End) -> F) -> End
where
    F: Future<Output = End>,
{
    let mut ends: Vec<Option<End>> = vec![None; graph.nodes.len()];
    let mut started = vec![false; graph.nodes.len()];
    let mut running = FuturesUnordered::new();
    loop {
        for (at, node) in graph.nodes.iter().enumerate() {
            let prior = node.needs.iter().try_fold(before, |sum, &need| ends[need].map(|end| sum.and(end)));
            if let (false, Some(prior)) = (started[at], prior) {
                started[at] = true;
                let item = run(&node.item, prior);
                // What failed before stays failed for what comes after, whether or not this item ran.
                running.push(async move { (at, prior.and(item.await)) });
            }
        }
        match running.next().await {
            Some((at, end)) => ends[at] = Some(end),
            None => break,
        }
    }
    ends.into_iter().flatten().fold(before, End::and)
}
