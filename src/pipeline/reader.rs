//! The task that reads the log and hands its events on in chunks; and passes confirmed positions back to the source.

use rowferry_api::{Error, ErrorKind, Event, LogReader, Position, Result};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Time that the source gets to take the last confirmed position when the reader ends.
const LAST_CONFIRM_MS: u64 = 200;

/// Events in commit order, or the error that ended the log.
pub(super) type Chunk = Result<Vec<Event>>;

/// A running reader. Dropping it ends the task.
pub(super) struct ReaderTask {
    /// What the log says.
    pub chunks: mpsc::Receiver<Chunk>,
    task: JoinHandle<()>,
}

impl ReaderTask {
    /// Starts reading. At most `queue` chunks of about 256 KiB wait for the receiver.
    pub(super) fn spawn(
        reader: Box<dyn LogReader>,
        queue: usize,
        confirmed: watch::Receiver<Option<Position>>,
    ) -> Self {
        let (sender, chunks) = mpsc::channel(queue);
        // A panic in a decoder ends this task only; the closed channel is then seen as an error.
        let task = tokio::spawn(run(reader, sender, confirmed));
        Self { chunks, task }
    }

    /// The error to report once the channel has closed without one.
    pub(super) fn closed() -> Error {
        Error::new(ErrorKind::Protocol, "read the log: the reader ended without a reason")
            .hint("This is a defect; the position is kept and the next start goes on from it.")
    }
}

impl Drop for ReaderTask {
    fn drop(&mut self) {
        self.chunks.close();
        // The task sees the closed channel and ends; if it hangs in the network it is ended.
        let abort = self.task.abort_handle();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(LAST_CONFIRM_MS * 2)).await;
            abort.abort();
        });
    }
}

async fn run(
    mut reader: Box<dyn LogReader>,
    sender: mpsc::Sender<Chunk>,
    mut confirmed: watch::Receiver<Option<Position>>,
) {
    loop {
        let mut events = Vec::new();
        let chunk = loop {
            tokio::select! {
                () = sender.closed() => return finish(reader, &mut confirmed).await,
                changed = confirmed.changed() => {
                    if changed.is_err() { return; }
                    if let Err(error) = confirm(&mut *reader, &mut confirmed) { break Err(error); }
                }
                read = reader.next(&mut events) => break read.map(|()| std::mem::take(&mut events)),
            }
        };
        let ended = chunk.is_err();
        let permit = loop {
            tokio::select! {
                permit = sender.reserve() => break permit,
                changed = confirmed.changed() => {
                    if changed.is_err() { return; }
                    // An error shows again at the next read.
                    let _ = confirm(&mut *reader, &mut confirmed);
                }
            }
        };
        let Ok(permit) = permit else { return finish(reader, &mut confirmed).await };
        permit.send(chunk);
        if ended {
            return;
        }
    }
}

fn confirm(reader: &mut dyn LogReader, confirmed: &mut watch::Receiver<Option<Position>>) -> Result<()> {
    let position = confirmed.borrow_and_update().clone();
    position.map_or(Ok(()), |position| reader.confirm(&position))
}

/// Leaves the source with the last confirmed position, if it takes it in time.
async fn finish(mut reader: Box<dyn LogReader>, confirmed: &mut watch::Receiver<Option<Position>>) {
    let _ = confirm(&mut *reader, confirmed);
    let mut events = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(LAST_CONFIRM_MS), async {
        while reader.next(&mut events).await.is_ok() {
            events.clear();
        }
    })
    .await;
}
