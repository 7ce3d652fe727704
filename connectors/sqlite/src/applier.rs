//! Applies batches on the writing connection.

use crate::error::ended;
use crate::shape::{Shape, Written, bind_row};
use crate::writer::{Writer, quote};
use crate::{ddl, replace};
use async_trait::async_trait;
use rowferry_api::{
    Alteration, Applied, Applier, Batch, BlockStream, Cell, Created, Error, ErrorKind, Finding, Key, KeyEncoder,
    PartialUpdate, Position, Range, Replaced, Result, Row, Step, TableRows, TableSchema,
};
use rusqlite::OptionalExtension;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Writes through the shared connection.
pub(crate) struct SqliteApplier {
    writer: Arc<Mutex<Writer>>,
    pipeline: String,
    /// Held while a transaction is open, so that nobody else writes into it.
    open: Option<OwnedMutexGuard<Writer>>,
}

impl SqliteApplier {
    pub(crate) fn new(writer: Arc<Mutex<Writer>>, pipeline: &str) -> Self {
        Self { writer, pipeline: pipeline.to_owned(), open: None }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writer = self.writer.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || work(&mut writer)).await.map_err(ended)?
    }
}

#[async_trait]
impl Applier for SqliteApplier {
    async fn create(&mut self, table: &TableSchema) -> Result<Created> {
        let table = table.clone();
        self.blocking(move |writer| ddl::create(writer, &table)).await
    }

    async fn alter(&mut self, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
        let (after, alterations) = (after.clone(), alterations.to_vec());
        self.blocking(move |writer| ddl::alter(writer, &after, &alterations)).await
    }

    async fn finish(&mut self, table: &TableSchema) -> Result<Vec<Finding>> {
        let table = table.clone();
        self.blocking(move |writer| ddl::finish(writer, &table)).await
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let was_open = self.open.is_some();
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => self.writer.clone().lock_owned().await,
        };
        let (batch, pipeline) = (batch.clone(), self.pipeline.clone());
        let work = move || {
            let result = apply(&mut writer, &pipeline, &batch, was_open);
            let stays_open = if result.is_ok() { batch.end.is_none() } else { was_open };
            (stays_open.then_some(writer), result)
        };
        let (open, result) = tokio::task::spawn_blocking(work).await.map_err(ended)?;
        self.open = open;
        result
    }

    async fn rollback(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        tokio::task::spawn_blocking(move || writer.run("ROLLBACK")).await.map_err(ended)?
    }

    async fn replace(&mut self, table: &TableSchema, range: &Range, rows: BlockStream<'_>) -> Result<Replaced> {
        let writer = self.writer.clone().lock_owned().await;
        replace::replace(writer, table, range, rows).await
    }
}

impl Drop for SqliteApplier {
    fn drop(&mut self) {
        if let Some(writer) = self.open.take() {
            // The connection outlives this applier; what it left open must not.
            let _ = writer.run("ROLLBACK");
        }
    }
}

fn apply(writer: &mut Writer, pipeline: &str, batch: &Batch, was_open: bool) -> Result<Applied> {
    writer.run(if was_open { "SAVEPOINT rowferry" } else { "BEGIN IMMEDIATE" })?;
    let result = steps(writer, pipeline, batch).and_then(|applied| {
        match &batch.end {
            Some(end) => {
                writer.run("COMMIT")?;
                writer.held.insert(pipeline.to_owned(), end.as_str().to_owned());
            }
            None if was_open => writer.run("RELEASE rowferry")?,
            None => {}
        }
        Ok(applied)
    });
    if result.is_err() {
        // SQLite rolls back by itself on some errors; then there is nothing left to undo.
        let _ = writer.run(if was_open { "ROLLBACK TO rowferry; RELEASE rowferry" } else { "ROLLBACK" });
        writer.columns.clear();
    }
    result
}

fn steps(writer: &mut Writer, pipeline: &str, batch: &Batch) -> Result<Applied> {
    let mut applied = Applied::default();
    for step in &batch.steps {
        match step {
            Step::Rows(rows) => apply_rows(writer, rows, &mut applied)?,
            Step::Truncate(tables) => {
                for table in tables {
                    writer.run(&format!("DELETE FROM {}", quote(&table.name.name)))?;
                }
            }
        }
    }
    if let Some(end) = &batch.end {
        move_position(writer, pipeline, end)?;
    }
    Ok(applied)
}

fn move_position(writer: &mut Writer, pipeline: &str, end: &Position) -> Result<()> {
    let context = "write the position";
    let held = match writer.held.get(pipeline) {
        Some(held) => Some(held.clone()),
        None => writer
            .connection
            .query_row("SELECT position FROM rowferry_positions WHERE pipeline = ?1", [pipeline], |row| row.get(0))
            .optional()
            .map_err(|error| writer.failed(context, error))?,
    };
    let moved = writer
        .connection
        .prepare_cached(
            "UPDATE rowferry_positions SET position = ?2, updated_at = datetime('now') WHERE pipeline = ?1 AND position = ?3",
        )
        .and_then(|mut statement| statement.execute((pipeline, end.as_str(), held.unwrap_or_default())))
        .map_err(|error| writer.failed(context, error))?;
    if moved == 1 {
        return Ok(());
    }
    writer.held.remove(pipeline);
    Err(Error::new(ErrorKind::Busy, format!("write the position of pipeline \"{pipeline}\": another process has moved it"))
        .hint("Two processes apply the same pipeline to the same file: stop one of them."))
}

fn apply_rows(writer: &mut Writer, rows: &TableRows, applied: &mut Applied) -> Result<()> {
    let shape = Shape::new(writer, &rows.table)?;
    let failed = |error| writer.failed(format!("write table {}", rows.table.name), error);
    let mut scratch = Vec::new();
    if !rows.deletes.is_empty() {
        let text = format!("DELETE FROM {} WHERE {}", shape.table, shape.is_key(1));
        let mut statement = writer.connection.prepare_cached(&text).map_err(failed)?;
        for key in &rows.deletes {
            shape.bind_key(&mut statement, 1, key, &mut scratch).map_err(failed)?;
            statement.raw_execute().map_err(failed)?;
        }
    }
    let mut encoder = KeyEncoder::new(&rows.table.key);
    for change in &rows.updates {
        if let Some(missing) = update(writer, &shape, change, &mut encoder).map_err(failed)? {
            applied.missing.push((rows.table.clone(), missing));
        }
    }
    if rows.upserts.is_empty() {
        return Ok(());
    }
    let mut statement = writer.connection.prepare_cached(&shape.upsert()).map_err(failed)?;
    for row in &rows.upserts {
        bind_row(&mut statement, shape.columns.iter(), row, &mut scratch).map_err(failed)?;
        statement.raw_execute().map_err(failed)?;
    }
    Ok(())
}

/// Writes the cells that are known. Returns the key after the change if there is no row to change.
fn update(
    writer: &Writer,
    shape: &Shape,
    change: &PartialUpdate,
    encoder: &mut KeyEncoder,
) -> rusqlite::Result<Option<Key>> {
    let new_key = encoder.key(&change.row).unwrap_or_else(|| change.key.clone());
    if set_cells(writer, shape, &new_key, &change.row, false)? {
        if new_key != change.key {
            let mut statement =
                writer.connection.prepare_cached(&format!("DELETE FROM {} WHERE {}", shape.table, shape.is_key(1)))?;
            shape.bind_key(&mut statement, 1, &change.key, &mut Vec::new())?;
            statement.raw_execute()?;
        }
        return Ok(None);
    }
    let moved = new_key != change.key && set_cells(writer, shape, &change.key, &change.row, true)?;
    Ok((!moved).then_some(new_key))
}

/// Whether there was a row of this key.
fn set_cells(writer: &Writer, shape: &Shape, key: &Key, row: &Row, with_key: bool) -> rusqlite::Result<bool> {
    let present: Vec<bool> = row.cells().map(|cell| cell != Cell::Unchanged).collect();
    let columns: Vec<&Written> =
        shape.columns.iter().filter(|column| present[column.place] && (with_key || !column.is_key)).collect();
    let mut scratch = Vec::new();
    if columns.is_empty() {
        let text = format!("SELECT 1 FROM {} WHERE {}", shape.table, shape.is_key(1));
        let mut statement = writer.connection.prepare_cached(&text)?;
        shape.bind_key(&mut statement, 1, key, &mut scratch)?;
        return statement.raw_query().next().map(|row| row.is_some());
    }
    let mut statement = writer.connection.prepare_cached(&shape.update(&columns))?;
    bind_row(&mut statement, columns.iter().copied(), row, &mut scratch)?;
    shape.bind_key(&mut statement, columns.len() + 1, key, &mut scratch)?;
    Ok(statement.raw_execute()? > 0)
}
