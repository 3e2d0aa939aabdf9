//! Walks a graph: each item starts when all items that it needs have ended.

use std::future::Future;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use kiln_pipeline::condition::Prior;
use kiln_pipeline::plan::{Graph, Sight};

/// What the end of an item means for the items that need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It passed, was skipped, or failed and the failure is ignored.
    Clear,
    /// It failed.
    Failed,
}

impl End {
    /// Returns the end of both together.
    #[must_use]
    pub fn and(self, other: End) -> End {
        if self == End::Clear { other } else { End::Failed }
    }
}

impl From<End> for Prior {
    fn from(end: End) -> Self {
        match end {
            End::Clear => Self::Success,
            End::Failed => Self::Failure,
        }
    }
}

/// Runs every item of the graph, and returns the end of all together. `run` gets the item, and whether an item within its `sight` has
/// failed. `before` is the end of what came before the graph.
pub async fn walk<'a, T, F>(graph: &'a Graph<T>, sight: Sight, before: End, run: impl Fn(&'a T, End) -> F) -> End
where
    F: Future<Output = End>,
{
    let mut ends: Vec<Option<End>> = vec![None; graph.nodes.len()];
    let mut started = vec![false; graph.nodes.len()];
    let mut running = FuturesUnordered::new();
    loop {
        for (at, node) in graph.nodes.iter().enumerate() {
            let needed = node.needs.iter().try_fold(before, |sum, &need| ends[need].map(|end| sum.and(end)));
            if let (false, Some(needed)) = (started[at], needed) {
                started[at] = true;
                let prior = match sight {
                    Sight::Needed => needed,
                    Sight::Ended => ends.iter().copied().flatten().fold(before, End::and),
                };
                let item = run(&node.item, prior);
                // For later items a failure before this item is a failure, whether or not this item ran.
                running.push(async move { (at, prior.and(item.await)) });
            }
        }
        let Some((at, end)) = running.next().await else { break };
        ends[at] = Some(end);
        // What has ended too is known before the next item starts.
        while let Some(Some((at, end))) = running.next().now_or_never() {
            ends[at] = Some(end);
        }
    }
    ends.into_iter().flatten().fold(before, End::and)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use kiln_pipeline::plan::Node;

    use super::*;

    /// Walks a graph of `name needs...` lines; names in capitals fail. Says what was seen, in order.
    fn check(sight: Sight, lines: &[&str], expect: &str) {
        let names: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
        let nodes = lines.iter().map(|line| Node {
            item: line.split(' ').next().unwrap(),
            needs: line.split(' ').skip(1).map(at).collect(),
        });
        let graph = Graph { nodes: nodes.collect() };
        let seen = RefCell::new(Vec::new());
        let run = |name: &&str, prior: End| {
            let end = if name.chars().all(char::is_uppercase) { End::Failed } else { End::Clear };
            let sign = if prior == End::Failed { "!" } else { "" };
            seen.borrow_mut().push(format!("{sign}{name}"));
            async move { end }
        };
        let end = walk(&graph, sight, End::Clear, run).now_or_never().unwrap();
        assert_eq!(format!("{} -> {end:?}", seen.borrow().join(" ")), expect);
    }

    #[test]
    fn items_start_when_what_they_need_has_ended() {
        for sight in [Sight::Needed, Sight::Ended] {
            check(sight, &["a", "b a", "c b"], "a b c -> Clear");
            check(sight, &["a", "b", "c a b"], "a b c -> Clear");
            check(sight, &[], " -> Clear");
        }
    }

    #[test]
    fn a_failure_is_known_to_all_that_come_after_it_and_to_nobody_beside_it() {
        check(Sight::Needed, &["A", "b A", "c b"], "A !b !c -> Failed");
        check(Sight::Needed, &["A", "b", "c b", "d A c"], "A b c !d -> Failed");
    }

    #[test]
    fn a_failure_is_known_to_all_whose_turn_comes_after_it() {
        check(Sight::Ended, &["root", "A root", "b root", "c b", "d"], "root d A b !c -> Failed");
    }
}
