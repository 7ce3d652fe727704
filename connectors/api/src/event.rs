//! What a source's log says, in one form for all databases.

use crate::{Key, Position, Row, TableName, TableSchema};
use std::sync::Arc;

/// Microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// One step of a log, in commit order. Between a `Begin` and its `Commit` stand the changes of one source
/// transaction and of no other; a `Heartbeat` stands outside.
#[derive(Debug, Clone)]
pub enum Event {
    /// A transaction starts; the source has committed it.
    Begin {
        /// The source's own id of the transaction.
        xid: String,
    },
    /// Comes before the first change that uses this form of the table, and again when the form changes.
    Schema(Arc<TableSchema>),
    /// A row or a table changed.
    Change(Change),
    /// The transaction ends. Starting a reader at `position` gives what follows it.
    Commit {
        /// Where a reader starts to get what follows this transaction.
        position: Position,
        /// When the source committed it.
        committed_at: Timestamp,
        /// The source had committed it long before it sent it, by its own clock: more follows without a wait.
        is_late: bool,
    },
    /// A table is gone at the source, or left the set that the log carries.
    Dropped(TableName),
    /// Its rows may be others from here on than rows of the log say: another table took its name, partitions went.
    Replaced(TableName),
    /// The rows of a table cannot be read from here on: the log does not say what they look like. Others can.
    Unreadable {
        /// The table.
        table: TableName,
        /// What is missing, and what mends it.
        reason: String,
    },
    /// Nothing to apply, but the log moved on to `position`.
    Heartbeat {
        /// Where a reader starts to get what follows.
        position: Position,
    },
}

/// A change of one table.
#[derive(Debug, Clone)]
pub struct Change {
    /// The table in the form that the row's cells follow.
    pub table: Arc<TableSchema>,
    /// What happened.
    pub op: Op,
}

/// What happened to a row or a table.
#[derive(Debug, Clone)]
pub enum Op {
    /// A new row; every cell is there.
    Insert(Row),
    /// A changed row.
    Update {
        /// The key before the change. `after` holds the key after it, equal unless the key changed.
        key: Key,
        /// The row after the change; cells that the log did not carry are unchanged.
        after: Row,
    },
    /// A row is gone.
    Delete {
        /// The key that it had.
        key: Key,
    },
    /// The whole table was emptied. A statement over several tables is one event each, side by side.
    Truncate,
}

impl Change {
    /// Bytes that this change holds in memory, for budgets: its data and a fixed share for what surrounds it.
    pub fn size_bytes(&self) -> usize {
        /// The structs themselves, and the place that the net-change map needs for the key.
        const OVERHEAD_BYTES: usize = 200;
        OVERHEAD_BYTES
            + match &self.op {
                Op::Insert(row) => row.as_bytes().len(),
                Op::Update { key, after } => key.as_bytes().len() + after.as_bytes().len(),
                Op::Delete { key } => key.as_bytes().len(),
                Op::Truncate => 0,
            }
    }
}
