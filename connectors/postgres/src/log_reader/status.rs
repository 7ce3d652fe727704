//! What the server hears from us, whatever our caller does: a task of its own writes status updates, also while nobody
//! reads and the socket's other direction is stalled. A server that hears nothing for `wal_sender_timeout` hangs up.

use crate::lsn::Lsn;
use crate::replication::FrameWriter;
use bytes::{BufMut, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longest silence towards the server. Each time it is asked how far it has read, since an idle one does not say so by
/// itself, and tables wait for the log to pass their high.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A server that went idle is asked where it stands after so long, so that a busy one is not asked at every pause.
const ASK_AFTER: Duration = Duration::from_millis(50);
/// Time for the farewell.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Seconds from 1970 to 2000, where PostgreSQL's clock starts.
const EPOCH_SECS: u64 = 946_684_800;

/// The task that writes. Dropping this tells the server the last confirmed position and ends the connection.
pub(super) struct Status {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    confirmed: AtomicU64,
    send: Notify,
    ask: Notify,
    end: Notify,
}

impl Status {
    /// `timeout`: after how long a silent client is hung up on.
    pub(super) fn start(writer: FrameWriter, confirmed: Lsn, timeout: Option<Duration>) -> Self {
        let every = timeout.map_or(ASK_EVERY, |timeout| (timeout / 3).min(ASK_EVERY));
        let shared = Arc::new(Shared {
            confirmed: AtomicU64::new(confirmed.0),
            send: Notify::new(),
            ask: Notify::new(),
            end: Notify::new(),
        });
        Self { task: tokio::spawn(write(writer, shared.clone(), every)), shared }
    }

    /// Never goes back.
    pub(super) fn confirm(&self, position: Lsn) {
        self.shared.confirmed.fetch_max(position.0, Ordering::AcqRel);
        self.shared.send.notify_one();
    }

    /// Answers the server.
    pub(super) fn reply(&self) {
        self.shared.send.notify_one();
    }

    /// Says farewell with the last confirmed position, as soon as the socket takes it.
    pub(super) fn end(&self) {
        self.shared.end.notify_one();
    }

    /// Asks soon how far the server has read: nothing comes just now.
    pub(super) fn ask_soon(&self) {
        self.shared.ask.notify_one();
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.shared.end.notify_one();
        let task = self.task.abort_handle();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(CLOSE_WITHIN).await;
                task.abort();
            })),
            Err(_) => task.abort(),
        }
    }
}

async fn write(mut writer: FrameWriter, shared: Arc<Shared>, every: Duration) {
    // The first question goes out at once: an idle server may say nothing by itself.
    let mut ask_at = Some(Instant::now());
    let mut due = Instant::now() + every;
    loop {
        let wake = ask_at.map_or(due, |ask_at| ask_at.min(due));
        let (ask, ended) = tokio::select! {
            () = shared.end.notified() => (false, true),
            () = shared.send.notified() => (false, false),
            () = shared.ask.notified() => {
                ask_at.get_or_insert(Instant::now() + ASK_AFTER);
                continue;
            }
            () = tokio::time::sleep_until(wake) => (true, false),
        };
        if ask {
            ask_at = None;
        }
        due = Instant::now() + every;
        let update = update(shared.confirmed.load(Ordering::Acquire), ask);
        if ended {
            let _ = writer.send(&update).await;
            return writer.close().await;
        }
        if writer.send(&update).await.is_err() {
            // The reading half sees the same broken connection and says so.
            return;
        }
    }
}

/// A standby status update. Written, flushed and applied are one to us: what is checkpointed.
fn update(confirmed: u64, ask: bool) -> BytesMut {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(Duration::from_secs(EPOCH_SECS));
    let mut frame = BytesMut::with_capacity(39);
    frame.put_u8(b'd');
    frame.put_u32(4 + 34);
    frame.put_u8(b'r');
    frame.put_u64(confirmed);
    frame.put_u64(confirmed);
    frame.put_u64(confirmed);
    frame.put_u64(u64::try_from(now.as_micros()).unwrap_or_default());
    frame.put_u8(ask.into());
    frame
}
