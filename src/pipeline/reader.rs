//! The thread that reads the log and hands its events on in chunks; and passes confirmed positions back to the source.

use rowferry_api::{Error, ErrorKind, Event, LogReader, Position, Result, Source, TableSchema, failpoint};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Time that a reader which was told to end has for its farewell; it gives up by itself before.
const FAREWELL: Duration = Duration::from_secs(2);

/// Events in commit order, or the error that ended the log.
pub(super) type Chunk = Result<Vec<Event>>;

/// A running reader. Dropping it ends it.
pub(super) struct ReaderTask {
    /// What the log says.
    pub chunks: mpsc::Receiver<Chunk>,
    /// Its drop ends the thread.
    end: Option<oneshot::Sender<()>>,
    /// Resolves once the thread is through.
    through: Option<oneshot::Receiver<()>>,
}

/// What to read.
pub(super) struct Log {
    pub source: Arc<dyn Source>,
    pub from: Position,
    pub tables: Vec<Arc<TableSchema>>,
    pub followed: Vec<Arc<TableSchema>>,
}

impl ReaderTask {
    /// Opens the log and starts to read it, on a thread of its own: a reader may hold that up for a moment to let rows gather.
    /// At most `queue` chunks of about 256 KiB wait for the receiver.
    pub(super) async fn spawn(log: Log, queue: usize, confirmed: watch::Receiver<Option<Position>>) -> Result<Self> {
        let failed = |error| Error::new(ErrorKind::Other, "start the log's reader").because(error);
        let (sender, chunks) = mpsc::channel(queue);
        let (end, ended) = oneshot::channel();
        let (opened, is_open) = oneshot::channel();
        let (last, through) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let span = tracing::Span::current();
        // A panic in a decoder ends this thread only; the closed channel is then seen as an error.
        let read = move || {
            let _span = span.entered();
            runtime.block_on(async {
                match log.source.open_log(&log.from, &log.tables, &log.followed).await {
                    Ok(reader) => {
                        let _ = opened.send(Ok(()));
                        tokio::select! {
                            () = run(reader, sender, confirmed) => {}
                            () = given_up(ended) => {}
                        }
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            });
            drop(last);
        };
        std::thread::Builder::new().name("log-reader".into()).spawn(read).map_err(failed)?;
        let task = Self { chunks, end: Some(end), through: Some(through) };
        is_open.await.unwrap_or_else(|_| Err(Self::closed()))?;
        Ok(task)
    }

    /// Ends it, once it has told the source the last confirmed position, if that takes it in time.
    pub(super) async fn close(mut self) {
        self.chunks.close();
        drop(self.end.take());
        if let Some(through) = self.through.take() {
            let _ = through.await;
        }
    }

    /// The error to report once the channel has closed without one.
    pub(super) fn closed() -> Error {
        Error::new(ErrorKind::Protocol, "read the log: the reader ended without a reason")
            .hint("This is a defect; the position is kept and the next start goes on from it.")
    }
}

/// Waits until the reader was dropped, and some more for its farewell.
async fn given_up(ended: oneshot::Receiver<()>) {
    let _ = ended.await;
    tokio::time::sleep(FAREWELL).await;
}

impl Drop for ReaderTask {
    fn drop(&mut self) {
        // The thread sees the closed channel and ends; if it hangs in the network it is ended.
        self.chunks.close();
        drop(self.end.take());
    }
}

async fn run(
    mut reader: Box<dyn LogReader>,
    sender: mpsc::Sender<Chunk>,
    mut confirmed: watch::Receiver<Option<Position>>,
) {
    read(&mut *reader, &sender, &mut confirmed).await;
    drop(sender);
    let _ = confirm(&mut *reader, &mut confirmed);
    reader.close().await;
}

/// Reads until nobody takes it any more, or the log ends in an error.
async fn read(
    reader: &mut dyn LogReader,
    sender: &mpsc::Sender<Chunk>,
    confirmed: &mut watch::Receiver<Option<Position>>,
) {
    loop {
        let mut events = Vec::new();
        let chunk = loop {
            tokio::select! {
                () = sender.closed() => return,
                changed = confirmed.changed() => {
                    if changed.is_err() { return; }
                    if let Err(error) = confirm(reader, confirmed) { break Err(error); }
                }
                read = reader.next(&mut events) => break read.and_then(|()| received(&mut events)),
            }
        };
        let ended = chunk.is_err();
        let permit = loop {
            tokio::select! {
                permit = sender.reserve() => break permit,
                changed = confirmed.changed() => {
                    if changed.is_err() { return; }
                    // An error shows again at the next read.
                    let _ = confirm(reader, confirmed);
                }
            }
        };
        let Ok(permit) = permit else { return };
        permit.send(chunk);
        if ended {
            return;
        }
    }
}

fn received(events: &mut Vec<Event>) -> Chunk {
    failpoint!("read.received");
    Ok(std::mem::take(events))
}

fn confirm(reader: &mut dyn LogReader, confirmed: &mut watch::Receiver<Option<Position>>) -> Result<()> {
    let Some(position) = confirmed.borrow_and_update().clone() else { return Ok(()) };
    failpoint!("confirm.told");
    reader.confirm(&position)?;
    failpoint!("confirm.handed_on");
    Ok(())
}
