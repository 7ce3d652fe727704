//! What a pipeline shows of itself: to `rowferry status`, to progress bars, to whoever asks.

use rowferry_api::{LogKept, Position, TableName, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

/// Silence of a log after which it counts as cut off: an idle one speaks up every ten seconds.
pub(super) const SILENT_AFTER_US: i64 = 30_000_000;

/// Where a pipeline as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looks at both ends, creates what is missing.
    Starting,
    /// Tables are being copied.
    Copying,
    /// All tables are copied; the log has not passed all of them.
    CatchingUp,
    /// In step.
    Streaming,
    /// Lost a connection and tries again.
    Retrying,
    /// Stopped by an error or by a halted table.
    Halted,
    /// Ended as asked.
    Stopped,
}

impl Phase {
    /// The word in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Copying => "copying",
            Self::CatchingUp => "catching_up",
            Self::Streaming => "streaming",
            Self::Retrying => "retrying",
            Self::Halted => "halted",
            Self::Stopped => "stopped",
        }
    }
}

/// Figures of a running pipeline.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Where it stands.
    pub phase: Phase,
    /// What the target holds.
    pub applied: Option<Position>,
    /// The farthest position that was read from the log.
    pub read: Option<Position>,
    /// Bytes of log at the source that are not applied, as of the last look.
    pub lag_bytes: Option<u64>,
    /// When the source committed the oldest transaction that was read and is not applied.
    pub waiting_since: Option<Timestamp>,
    /// When the log last said anything, if only that it moved on (microseconds since 1970).
    pub heard_us: Option<i64>,
    /// When it was last known to be in step (microseconds since 1970), while it is not.
    pub behind_since_us: Option<i64>,
    /// The last error, also if it was overcome.
    pub last_error: Option<String>,
    /// Changes applied since the start.
    pub changes_applied: u64,
    /// Transactions of the source applied since the start.
    pub batches: u64,
    /// While it tries again.
    pub retry: Option<Retry>,
    /// When anything last got further (microseconds since 1970).
    pub moved_us: i64,
    /// Since when there is something to do.
    pub busy_since_us: Option<i64>,
    /// What is under way.
    pub work: UnderWay,
    /// Why nothing moves though there is something to do, once that has lasted too long.
    pub stalled: Option<String>,
    /// What the source keeps of its log for us, as of the last look.
    pub kept: Option<LogKept>,
    /// The source keeps more than it may.
    pub log_alert: Option<String>,
}

/// Tries in a row that did not get further.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// How many.
    pub tries: u32,
    /// When the first one failed (microseconds since 1970).
    pub since_us: i64,
    /// When the next one is due.
    pub next_us: i64,
}

/// What is under way.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnderWay {
    /// Since when the target has a batch.
    pub applying_since_us: Option<i64>,
    /// Tables that are being made, and parts that are being copied.
    pub copies: usize,
    /// Tables whose indexes and foreign keys are being built.
    pub builds: usize,
    /// A change of form is being carried over.
    pub alters: bool,
    /// Tables wait for transactions at the source that are older than their copy may be.
    pub waits_for_transactions: bool,
    /// Transactions are read and not applied.
    pub has_transactions: bool,
}

/// Figures and what flows just now. Shared by the tasks of one pipeline.
#[derive(Debug)]
pub struct Board {
    figures: Mutex<Figures>,
    /// Rows and bytes of ranges that are being copied, by table.
    flowing: Mutex<HashMap<TableName, (i64, i64)>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            figures: Mutex::new(Figures {
                phase: Phase::Starting,
                applied: None,
                read: None,
                lag_bytes: None,
                waiting_since: None,
                heard_us: None,
                behind_since_us: None,
                last_error: None,
                changes_applied: 0,
                batches: 0,
                retry: None,
                moved_us: super::life::now_us(),
                busy_since_us: None,
                work: UnderWay::default(),
                stalled: None,
                kept: None,
                log_alert: None,
            }),
            flowing: Mutex::default(),
        }
    }
}

impl Board {
    /// The figures, to read or to change. Held for a moment only.
    pub fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().expect("no code panics while it holds the figures")
    }

    /// Rows and bytes of a range came by (or turned out not to count).
    pub fn flowing(&self, table: &TableName, rows: i64, bytes: i64) {
        let mut flowing = self.flowing.lock().expect("no code panics while it holds the figures");
        let entry = flowing.entry(table.clone()).or_default();
        entry.0 += rows;
        entry.1 += bytes;
        drop(flowing);
        if rows > 0 {
            self.moves();
        }
    }

    /// Something got further.
    pub fn moves(&self) {
        self.figures().moved_us = super::life::now_us();
    }

    /// Rows and bytes of a table's ranges that are being copied now.
    pub fn flowing_of(&self, table: &TableName) -> (u64, u64) {
        let flowing = self.flowing.lock().expect("no code panics while it holds the figures");
        let (rows, bytes) = flowing.get(table).copied().unwrap_or_default();
        (rows.max(0) as u64, bytes.max(0) as u64)
    }

    /// Seconds that the target is behind the source at `now_us`.
    pub fn lag_seconds(&self, now_us: i64) -> f64 {
        let figures = self.figures();
        // One that is cut off is not in step.
        let silent = figures.heard_us.filter(|heard| now_us - heard > SILENT_AFTER_US);
        let since = [figures.waiting_since.map(|at| at.0), figures.behind_since_us, silent].into_iter().flatten().min();
        since.map_or(0.0, |since| (now_us - since).max(0) as f64 / 1e6)
    }
}
