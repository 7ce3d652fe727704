//! The one writing connection of a target, and who holds it.
//!
//! It is behind an async mutex and moves to a blocking thread for each call. Whoever drops it inside a transaction
//! rolls that back, also where the future of a call was dropped while its thread still ran.

use crate::catalog::quoted;
use crate::error::{Explain, in_file};
use crate::open;
use crate::plan::Plan;
use rowferry_api::{Error, ErrorKind, Result, TableName, TableSchema};
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The place of the one writer; empty until it is first needed.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    path: Arc<Path>,
    slot: Arc<Mutex<Option<Writer>>>,
}

impl Shared {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.into(), slot: Arc::default() }
    }

    /// Waits until nobody else writes.
    pub(crate) async fn hold(&self) -> Result<Held> {
        let mut guard = self.slot.clone().lock_owned().await;
        if guard.is_some() {
            return Ok(Held(guard));
        }
        let path = self.path.clone();
        blocking(move || {
            *guard = Some(Writer::open(&path)?);
            Ok(Held(guard))
        })
        .await
    }

    /// Runs `work` with the writer on a blocking thread and gives it back.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = self.hold().await?;
        run(held, work).await?.1
    }
}

/// The writer while one call or one open transaction has it.
#[derive(Debug)]
pub(crate) struct Held(OwnedMutexGuard<Option<Writer>>);

impl Held {
    pub(crate) fn writer(&mut self) -> &mut Writer {
        self.0.as_mut().expect("only an open writer is held")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(writer) = self.0.as_mut() {
            writer.roll_back();
        }
    }
}

/// Runs `work` on a blocking thread. The outer result is an error only if it panicked.
pub(crate) async fn run<T: Send + 'static>(
    mut held: Held,
    work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
) -> Result<(Held, Result<T>)> {
    blocking(move || {
        let writer = held.writer();
        let result = work(writer).map_err(|error| in_file(error, &writer.path));
        Ok((held, result))
    })
    .await
}

/// Runs what blocks off the async threads. A panic in it is an error.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Other, "work with an SQLite file").because(error)),
    }
}

/// The connection, and statements worked out for the tables that it writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    path: PathBuf,
    file: Option<FileId>,
    plans: HashMap<TableName, Arc<Plan>>,
    /// The file's `schema_version` that the plans were made under.
    plans_version: i64,
}

impl Writer {
    fn open(path: &Path) -> Result<Self> {
        let connection = open::writer(path)?;
        Ok(Self { connection, path: path.to_owned(), file: file_id(path), plans: HashMap::new(), plans_version: -1 })
    }

    /// Starts a writing transaction. Refuses if the path no longer leads to the file that is open: what is written
    /// there would be lost.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if file_id(&self.path) != self.file {
            return Err(Error::new(
                ErrorKind::Identity,
                "the file was moved, removed or replaced while it was written to",
            )
            .hint("Put the file back, or start again; a new file is filled from the start by `rowferry resync`."));
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").explain(|| "begin a transaction".into())?;
        let version = self
            .connection
            .prepare_cached("PRAGMA schema_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .explain(|| "read schema_version".into())?;
        if version != self.plans_version {
            self.plans.clear();
            self.plans_version = version;
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<()> {
        self.connection.execute_batch("COMMIT").explain(|| "commit".into())
    }

    /// Ends the open transaction, if there is one.
    pub(crate) fn roll_back(&mut self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.connection.execute_batch("ROLLBACK") {
            // Nothing was committed, and the file's journal undoes the rest when it is next opened.
            tracing::warn!(path = %self.path.display(), %error, "a rollback failed");
        }
    }

    /// Runs `work` in a transaction of its own.
    pub(crate) fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.begin()?;
        let result = work(self).and_then(|value| self.commit().map(|()| value));
        if result.is_err() {
            self.roll_back();
        }
        result
    }

    /// How to write rows of this form. Only inside a transaction, so that the table stays what it is.
    pub(crate) fn plan(&mut self, table: &TableSchema) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&table.name)
            && plan.is_for(table)
        {
            return Ok(plan.clone());
        }
        let plan = Arc::new(Plan::new(&self.connection, table)?);
        self.plans.insert(table.name.clone(), plan.clone());
        Ok(plan)
    }

    /// Whether the table has no row.
    pub(crate) fn is_empty(&self, table: &str) -> Result<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", quoted(table));
        self.connection.query_row(&sql, [], |row| row.get(0)).explain(|| format!("look into {table}"))
    }
}

/// Which file a path leads to; `None` if to none, or where the system does not tell.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<FileId> {
    None
}
