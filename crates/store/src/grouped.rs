//! Small writes that share transactions.
//!
//! ```text
//! callers ─► queue ─► one transaction for all of them ─(one is refused)─► each in its own
//! ```
//! Alone, each write costs a transaction. Writes that arrive while a transaction is being made share the next one, so
//! the cost of each falls as their number grows. No write waits for others to arrive.

use std::cmp::Ordering;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::database::Database;
use crate::fault::Fault;
use crate::writes::Room;

/// Most writes in one transaction, so that others need not wait long for it.
const TOGETHER: usize = 32;

/// A write that may share a transaction with others of its kind.
pub(crate) trait Grouped: Send + Sync + Sized + 'static {
    /// The outcome of a write.
    type Done: Send + 'static;

    /// Returns the order of two writes within a transaction.
    fn order(&self, other: &Self) -> Ordering;

    /// Tells whether this write ends an instance or a stage. Such writes are made on a full disk too.
    fn ends(&self) -> bool;

    /// Makes all writes in one transaction and returns their outcomes. After an error nothing was changed, unless the
    /// error says so.
    fn write(
        database: &Database,
        all: &[&Self],
        room: Room,
    ) -> impl Future<Output = Result<Vec<Self::Done>, Fault>> + Send;
}

/// A write whose caller waits for the outcome.
#[derive(Debug)]
struct Asked<W: Grouped> {
    write: W,
    answer: oneshot::Sender<Result<W::Done, Fault>>,
}

/// The queue of writes of one kind.
#[derive(Debug)]
pub(crate) struct Queue<W: Grouped>(mpsc::UnboundedSender<Asked<W>>);

impl<W: Grouped> Queue<W> {
    /// Starts the task that makes the writes. It ends when this is dropped.
    pub(crate) fn begin(database: Arc<Database>) -> Self {
        let (queue, mut asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while asked.recv_many(&mut batch, TOGETHER).await > 0 {
                answer(&database, std::mem::take(&mut batch)).await;
            }
        });
        Self(queue)
    }

    /// Makes a write durably and returns its outcome. The write is made even if the caller goes away.
    pub(crate) async fn make(&self, write: W) -> Result<W::Done, Fault> {
        let (answer, written) = oneshot::channel();
        // No answer means that the runtime is ending, so the outcome is not known.
        let ended = || Fault::Commit(sqlx::Error::WorkerCrashed);
        self.0.send(Asked { write, answer }).map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }
}

async fn answer<W: Grouped>(database: &Database, mut batch: Vec<Asked<W>>) {
    batch.sort_by(|a, b| a.write.order(&b.write));
    let all: Vec<&W> = batch.iter().map(|asked| &asked.write).collect();
    let mut answers = write_all(database, &all, Room::Free).await;
    // On a full disk, writes that end something are still made.
    let ends = |n: &usize| all[*n].ends() && answers[*n].as_ref().is_err_and(Fault::is_full);
    let ends: Vec<usize> = (0..all.len()).filter(ends).collect();
    if !ends.is_empty() {
        let of_ends: Vec<&W> = ends.iter().map(|n| all[*n]).collect();
        for (n, answer) in ends.into_iter().zip(write_all(database, &of_ends, Room::Reserve).await) {
            answers[n] = answer;
        }
    }
    for (asked, answer) in batch.into_iter().zip(answers) {
        // A caller that no longer waits finds the outcome in the rows.
        drop(asked.answer.send(answer));
    }
}

/// Makes writes in one transaction, or each in a transaction of its own when one of them is refused.
async fn write_all<W: Grouped>(database: &Database, all: &[&W], room: Room) -> Vec<Result<W::Done, Fault>> {
    let written = W::write(database, all, room).await;
    if all.len() == 1 || !written.as_ref().is_err_and(Fault::is_refusal) {
        return each(written, all.len());
    }
    // Nothing was changed, so the other writes are made one by one.
    let mut answers = Vec::with_capacity(all.len());
    for one in all {
        answers.extend(each(W::write(database, &[*one], room).await, 1));
    }
    answers
}

fn each<T>(written: Result<Vec<T>, Fault>, count: usize) -> Vec<Result<T, Fault>> {
    match written {
        Ok(done) => done.into_iter().map(Ok).collect(),
        Err(fault) => fault.for_all(count),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::open;

    /// A write to a full disk whose reserve has room.
    #[derive(Debug)]
    struct OnFullDisk(u32, bool);

    impl Grouped for OnFullDisk {
        type Done = u32;

        fn order(&self, other: &Self) -> Ordering {
            other.0.cmp(&self.0)
        }

        fn ends(&self) -> bool {
            self.1
        }

        async fn write(_: &Database, all: &[&Self], room: Room) -> Result<Vec<u32>, Fault> {
            assert!(room == Room::Free || all.iter().all(|write| write.ends()), "the reserve is for ends: {all:?}");
            if room == Room::Free { Err(Fault::Full) } else { Ok(all.iter().map(|write| write.0).collect()) }
        }
    }

    /// A write that can share a transaction unless one of the others is odd; an odd write has to be alone.
    #[derive(Debug)]
    struct OddAlone(u32);

    impl Grouped for OddAlone {
        type Done = (u32, usize);

        fn order(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }

        fn ends(&self) -> bool {
            false
        }

        async fn write(_: &Database, all: &[&Self], _: Room) -> Result<Vec<(u32, usize)>, Fault> {
            match all {
                [OddAlone(13)] => Err(Fault::Stale),
                [one] => Ok(vec![(one.0, 1)]),
                several if several.iter().any(|write| write.0 % 2 == 1) => Err(Fault::Stale),
                several => Ok(several.iter().map(|write| (write.0, several.len())).collect()),
            }
        }
    }

    async fn written<W: Grouped>(writes: Vec<W>) -> Vec<Result<W::Done, Fault>> {
        let database = Arc::clone(&open("sqlite::memory:").await.unwrap().store.database);
        let queue = Queue::begin(database);
        join_all(writes.into_iter().map(|write| queue.make(write))).await
    }

    #[tokio::test]
    async fn on_a_full_disk_what_ends_is_written() {
        let answers = written((0..6).map(|n| OnFullDisk(n, n % 2 == 0)).collect()).await;
        let ended: Vec<Option<u32>> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(ended, [Some(0), None, Some(2), None, Some(4), None]);
    }

    #[tokio::test]
    async fn what_comes_at_once_is_written_together() {
        let answers = written([8, 2, 4].map(OddAlone).into()).await;
        let together: Vec<(u32, usize)> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(together, [(8, 3), (2, 3), (4, 3)]);
    }

    #[tokio::test]
    async fn one_that_is_refused_does_not_harm_the_others() {
        let answers = written([8, 13, 4].map(OddAlone).into()).await;
        assert!(matches!(&answers[..], [Ok((8, 1)), Err(Fault::Stale), Ok((4, 1))]), "{answers:?}");
    }
}
