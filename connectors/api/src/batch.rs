//! What an applier is given: net changes, worked out by the engine, in steps that must be kept in order.

use crate::{Key, Position, Row, TableSchema};
use std::sync::Arc;

/// Steps to apply in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order; each step sees what the one before it left.
    pub steps: Vec<Step>,
    /// Where the log stands after this batch. `None`: a part of a source transaction that goes on, so nothing becomes
    /// visible or durable yet.
    pub end: Option<Position>,
    /// The steps are those of this applier's last [`stage`](crate::Applier::stage), but for rows that stand behind them since.
    pub staged: bool,
}

/// One step of a batch.
#[derive(Debug, Clone)]
pub enum Step {
    /// Net changes of one table.
    Rows(TableRows),
    /// Empty these tables together, as one statement did at the source.
    Truncate(Vec<Arc<TableSchema>>),
}

/// Net changes of one table: each key stands in one of the lists only. Apply deletes, then updates, then upserts, then inserts.
#[derive(Debug, Clone)]
pub struct TableRows {
    /// The form that the rows' cells follow, with the target's names. A column of it that the target's table no longer
    /// has (dropped since) is left out when writing.
    pub table: Arc<TableSchema>,
    /// Rows to remove. One that is not there is no error.
    pub deletes: Vec<Key>,
    /// Rows of which some cells are unchanged.
    pub updates: Vec<PartialUpdate>,
    /// Rows to write whole, whether they are there or not. No cell is unchanged.
    pub upserts: Vec<Row>,
    /// Rows to write whole that the target does not have, as far as the source's log can tell: one that is there may be
    /// written over, or be an error of [`ErrorKind::Unique`](crate::ErrorKind::Unique). No cell is unchanged.
    pub inserts: Vec<Row>,
}

impl TableRows {
    /// No changes of a table.
    pub fn new(table: Arc<TableSchema>) -> Self {
        Self { table, deletes: Vec::new(), updates: Vec::new(), upserts: Vec::new(), inserts: Vec::new() }
    }

    /// The same, for a target that may have any of the rows.
    pub fn expect_any(&mut self) {
        self.upserts.append(&mut self.inserts);
    }
}

/// A change of a row of which some cells are not known.
#[derive(Debug, Clone)]
pub struct PartialUpdate {
    /// The row to change.
    pub key: Key,
    /// The cells to write; the unchanged ones keep what the target's row has. Its key cells are the key after
    /// the change. If they differ from `key` and a row of the new key is there already, that row takes the
    /// cells and the row of `key` is removed.
    pub row: Row,
}

/// What applying a batch did.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Partial updates that found no row: the keys, after the change, to read again from the source.
    pub missing: Vec<(Arc<TableSchema>, Key)>,
}

/// What replacing a range did.
#[derive(Debug, Clone, Default)]
pub struct Replaced {
    /// Rows written.
    pub rows: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
    /// Keys of rows that stood in the way of a unique constraint and were removed: to read again from the source.
    pub evicted: Vec<Key>,
}
