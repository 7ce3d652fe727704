//! Rows in temporary tables, from where one statement writes them: brought there by the batch itself, or by one of two
//! appliers that take turns while the other writes the batch before.

use super::{PostgresApplier, STAGE_FROM};
use crate::connection::quote_name;
use crate::target::hash_of;
use crate::target::rows::{Shape, failed, list};
use rowferry_api::{Error, ErrorKind, Result, Row, Staged, Staging, Step};

impl PostgresApplier {
    /// Forgets what is of an older form of a table, if another applier has made a newer one.
    pub(super) fn follow_forms(&mut self) {
        if self.known.has_changed(&mut self.forms) {
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
        let large = Staging::worthwhile(steps, STAGE_FROM);
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
            self.stages_with_rows.push(table.clone());
            self.copy_rows(&shape, &table, &rows.upserts.iter().collect::<Vec<&Row>>()).await?;
            self.staging.put(number, Staged { table, rows: rows.upserts.len() });
        }
        self.run("COMMIT").await?;
        Ok(true)
    }

    /// Frees what the batch before last has used.
    async fn empty(&mut self) -> Result<()> {
        let tables = std::mem::take(&mut self.stages_with_rows);
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
