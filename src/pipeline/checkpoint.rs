//! The task that writes checkpoints: what is applied goes to the state directory, and what is there durably is confirmed
//! to the source. So confirmed <= checkpoint <= applied, and neither waits for the other.

use super::life::{Lives, now_us};
use rowferry_api::{Position, Result, Timestamp, failpoint};
use rowferry_state::CheckpointRecord;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// From one checkpoint to the next, at least: each waits for the disk, which an end that runs on the same one needs for its commits.
/// A start goes by the position in the target, so a checkpoint that is a little behind repeats nothing.
const PACE: Duration = Duration::from_millis(200);

/// What is applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AppliedTo {
    /// The target holds everything up to here.
    pub position: Position,
    /// When the source committed the last transaction before it, if one was applied.
    pub committed_at: Option<Timestamp>,
}

/// A running task. It writes the latest position only: positions that came and went while it wrote are skipped.
pub(super) struct Checkpointer {
    applied: watch::Sender<Option<AppliedTo>>,
    task: JoinHandle<Result<()>>,
}

impl Checkpointer {
    /// Starts it. What it has written is sent to `confirmed`.
    pub(super) fn spawn(lives: Lives, confirmed: watch::Sender<Option<Position>>) -> Self {
        let (applied, receiver) = watch::channel(None);
        let write = move |record: CheckpointRecord| {
            let lives = lives.clone();
            async move { lives.write(move |state| state.set_checkpoint(&record)).await }
        };
        Self { applied, task: tokio::spawn(run(write, receiver, confirmed)) }
    }

    /// The target has moved on.
    pub(super) fn applied(&self, to: AppliedTo) {
        self.applied.send_replace(Some(to));
    }

    /// Whether the task has ended, which it does by itself on an error only.
    pub(super) fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Writes what is left and ends; or the error that ended it before.
    pub(super) async fn close(self) -> Result<()> {
        drop(self.applied);
        self.task.await.unwrap_or(Ok(()))
    }
}

async fn run<W: Future<Output = Result<()>>>(
    write: impl Fn(CheckpointRecord) -> W,
    mut applied: watch::Receiver<Option<AppliedTo>>,
    confirmed: watch::Sender<Option<Position>>,
) -> Result<()> {
    let mut written = None;
    loop {
        let is_open = applied.wait_for(|to| *to != written).await.is_ok();
        let to = applied.borrow().clone();
        if let Some(to) = to.filter(|to| written.as_ref() != Some(to)) {
            let record = CheckpointRecord {
                position: to.position.to_string(),
                committed_at_us: to.committed_at.map(|at| at.0),
                saved_at_us: now_us(),
            };
            failpoint!("checkpoint.applied");
            write(record).await?;
            failpoint!("checkpoint.durable");
            confirmed.send_replace(Some(to.position.clone()));
            written = Some(to);
        }
        if !is_open {
            return Ok(());
        }
        // The wait ends early when nothing will be applied any more.
        let _ = tokio::time::timeout(PACE, applied.wait_for(|_| false)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::time::{Instant, sleep};

    fn to(position: &str) -> AppliedTo {
        AppliedTo { position: Position::new(position), committed_at: None }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_position_is_written_at_once_and_those_after_it_together_and_the_last_when_it_ends() {
        let began = Instant::now();
        let writes = Arc::new(Mutex::new(Vec::new()));
        let write = {
            let writes = writes.clone();
            move |record: CheckpointRecord| {
                let writes = writes.clone();
                async move {
                    writes.lock().unwrap().push((record.position, began.elapsed()));
                    Ok(())
                }
            }
        };
        let (sender, receiver) = watch::channel(None);
        let (confirm, confirmed) = watch::channel(None);
        let task = tokio::spawn(run(write, receiver, confirm));
        for number in 1..=5 {
            sender.send_replace(Some(to(&number.to_string())));
            sleep(PACE / 10).await;
        }
        sleep(PACE * 2).await;
        assert_eq!(*confirmed.borrow(), Some(Position::new("5")));
        sender.send_replace(Some(to("6")));
        sleep(PACE / 10).await;
        sender.send_replace(Some(to("7")));
        let ended = began.elapsed();
        drop(sender);
        task.await.unwrap().unwrap();
        let expected = [("1", Duration::ZERO), ("5", PACE), ("6", PACE * 5 / 2), ("7", ended)];
        assert_eq!(*writes.lock().unwrap(), expected.map(|(position, at)| (position.to_owned(), at)));
    }
}
