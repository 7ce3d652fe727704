//! Rows in temporary tables, from where one statement writes them: brought there by the batch itself, or by one of two
//! appliers that take turns while the other writes the batch before.

use super::{PostgresApplier, STAGE_FROM};
use crate::connection::quote_name;
use crate::target::hash_of;
use crate::target::rows::{Shape, failed, list};
use rowferry_api::{Batch, Error, ErrorKind, Result, Row, Step, TableName, TableRows};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What appliers that take turns share.
#[derive(Debug, Default)]
pub(in crate::target) struct Shared {
    /// The position that one of them last saw in the target.
    held: Mutex<Option<String>>,
    /// Writers of an earlier process have ended.
    locked: AtomicBool,
    /// Another number once one of them has made or altered a table: what was looked up before, or meanwhile, may be of an older form.
    forms: AtomicU64,
}

impl Shared {
    pub(super) fn held(&self) -> Option<String> {
        self.held.lock().expect("no code panics while it holds this").clone()
    }

    pub(super) fn hold(&self, position: Option<&str>) {
        *self.held.lock().expect("no code panics while it holds this") = position.map(str::to_owned);
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    pub(super) fn locked(&self) {
        self.locked.store(true, Ordering::Relaxed);
    }

    /// A connection was lost: what it was doing may still go on.
    pub(super) fn unlock(&self) {
        self.locked.store(false, Ordering::Relaxed);
    }

    pub(super) fn forms(&self) -> u64 {
        self.forms.load(Ordering::Relaxed)
    }

    pub(super) fn other_forms(&self) {
        self.forms.fetch_add(1, Ordering::Relaxed);
    }
}

/// The rows of a step, in a temporary table.
#[derive(Debug)]
pub(super) struct Staged {
    pub table: String,
    pub rows: usize,
}

/// What is brought for the next batch.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// By the number of the step.
    steps: HashMap<usize, Staged>,
    /// Temporary tables that hold rows, needed or not.
    tables: Vec<String>,
}

impl Staging {
    /// What is there for this batch; nothing of it is there for another one.
    pub(super) fn take(&mut self, batch: &Batch) -> HashMap<usize, Staged> {
        let steps = std::mem::take(&mut self.steps);
        if batch.staged { steps } else { HashMap::new() }
    }

    /// It may be of an older form of a table.
    pub(super) fn forget(&mut self) {
        self.steps.clear();
    }
}

impl PostgresApplier {
    /// Forgets what is of an older form of a table, if an applier of the same pipeline has made another.
    pub(super) fn follow_forms(&mut self) {
        let forms = self.shared.forms();
        if forms != self.forms {
            self.forms = forms;
            self.forget();
        }
    }

    /// Brings the rows of large upserts into temporary tables, in a transaction of its own, which touches nothing else.
    pub(super) async fn bring(&mut self, steps: &[Step]) -> Result<bool> {
        if !self.is_usable() {
            return Err(Error::new(ErrorKind::Unreachable, "stage rows at the target: the connection was lost"));
        }
        self.follow_forms();
        self.staging.forget();
        let mut tables: HashSet<&TableName> = HashSet::new();
        let mut large: Vec<(usize, &TableRows)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if let Step::Rows(rows) = step
                && rows.upserts.len() >= STAGE_FROM
                && tables.insert(&rows.table.name)
            {
                large.push((number, rows));
            }
        }
        if large.is_empty() {
            return Ok(false);
        }
        // Nothing of it has to be there after a crash.
        self.run("BEGIN; SET LOCAL synchronous_commit = off").await?;
        self.empty().await?;
        for (number, rows) in large {
            let shape = self.shape(&rows.table).await?;
            let (table, create) = temporary(&shape, "next", "PRESERVE");
            self.run(&create).await?;
            self.staging.tables.push(table.clone());
            self.copy_rows(&shape, &table, &rows.upserts.iter().collect::<Vec<&Row>>()).await?;
            self.staging.steps.insert(number, Staged { table, rows: rows.upserts.len() });
        }
        self.run("COMMIT").await?;
        Ok(true)
    }

    /// Frees what the batch before last has used.
    async fn empty(&mut self) -> Result<()> {
        let tables = std::mem::take(&mut self.staging.tables);
        if tables.is_empty() { Ok(()) } else { self.run(&format!("TRUNCATE {}", tables.join(", "))).await }
    }

    /// An empty temporary table of the columns that are written, for this transaction.
    pub(in crate::target) async fn empty_stage(&mut self, shape: &Shape) -> Result<String> {
        let (stage, create) = temporary(shape, "stage", "DELETE");
        // Made by this transaction or an earlier one; rows of an earlier part of this transaction go.
        self.run(&format!("{create}; TRUNCATE {stage}")).await?;
        Ok(stage)
    }

    /// Writes all rows of a temporary table into the table.
    pub(super) async fn upsert_from(&mut self, shape: &Shape, stage: &str) -> Result<()> {
        let upsert = shape.upsert(&format!("SELECT {} FROM {stage}", shape.names()));
        self.client.batch_execute(&upsert).await.map_err(|error| failed(&shape.table, error))
    }
}

/// A temporary table of the columns that are written, and the statement that makes it unless it is there. `at_commit`: what becomes of
/// its rows.
fn temporary(shape: &Shape, purpose: &str, at_commit: &str) -> (String, String) {
    let columns = list(shape.columns.iter().map(|column| format!("{} {}", column.name, column.native)));
    let hash = hash_of(shape.table.bytes().chain(columns.bytes()));
    let name = quote_name(&format!("rowferry_{purpose}_{hash:016x}"));
    let create = format!("CREATE TEMP TABLE IF NOT EXISTS {name} ({columns}) ON COMMIT {at_commit} ROWS");
    (format!("pg_temp.{name}"), create)
}
