//! The task that writes checkpoints: what is applied goes to the state directory, and what is there durably is confirmed
//! to the source. So confirmed <= checkpoint <= applied, and neither waits for the other.

use super::life::{Lives, now_us};
use rowferry_api::{Position, Result, Timestamp, failpoint};
use rowferry_state::CheckpointRecord;
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
        Self { applied, task: tokio::spawn(run(lives, receiver, confirmed)) }
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

async fn run(
    lives: Lives,
    mut applied: watch::Receiver<Option<AppliedTo>>,
    confirmed: watch::Sender<Option<Position>>,
) -> Result<()> {
    loop {
        let open = applied.changed().await.is_ok();
        let to = applied.borrow_and_update().clone();
        if let Some(to) = to {
            let record = CheckpointRecord {
                position: to.position.to_string(),
                committed_at_us: to.committed_at.map(|at| at.0),
                saved_at_us: now_us(),
            };
            failpoint!("checkpoint.applied");
            lives.write(move |state| state.set_checkpoint(&record)).await?;
            failpoint!("checkpoint.durable");
            confirmed.send_replace(Some(to.position));
        }
        if !open {
            return Ok(());
        }
    }
}
