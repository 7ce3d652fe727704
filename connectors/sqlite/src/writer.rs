//! The one connection that writes.

use crate::error::from_sqlite;
use rowferry_api::{Error, Result, TableName};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Patience with another process that holds the file.
const BUSY: Duration = Duration::from_secs(10);
/// Prepared statements kept.
const STATEMENTS: usize = 512;
/// Pages that SQLite may keep in memory, in KiB.
const CACHE_KIB: i64 = 16 << 10;

/// The connection and what is known of its tables.
pub(crate) struct Writer {
    pub connection: Connection,
    pub path: PathBuf,
    /// Columns of tables, as they are.
    pub columns: HashMap<TableName, Vec<Column>>,
    /// The position that this process last saw, by pipeline.
    pub held: HashMap<String, String>,
}

/// A column as SQLite has it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub name: String,
    pub declared: String,
    pub not_null: bool,
    pub has_default: bool,
    /// Its place in the primary key, from 1; 0 if it is not in it.
    pub key_place: i64,
}

impl Writer {
    /// Opens the file, and creates it where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error| from_sqlite(path, format!("open {}", path.display()), error);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // FULL: a commit is on disk when it returns. Foreign keys are declared for readers; they do not act here.
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; \
                 PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = FILE;"
            ))
            .map_err(failed)?;
        Ok(Self { connection, path: path.to_owned(), columns: HashMap::new(), held: HashMap::new() })
    }

    pub(crate) fn failed(&self, context: impl Into<String>, error: rusqlite::Error) -> Error {
        from_sqlite(&self.path, context, error)
    }

    /// Runs statements without parameters.
    pub(crate) fn run(&self, statements: &str) -> Result<()> {
        self.connection.execute_batch(statements).map_err(|error| self.failed("write to SQLite", error))
    }

    /// A table's columns; `None` if it is not there.
    pub(crate) fn columns(&mut self, table: &TableName) -> Result<Option<&[Column]>> {
        if !self.columns.contains_key(table) {
            let columns = columns(&self.connection, &table.name)
                .map_err(|error| self.failed(format!("look at table {table}"), error))?;
            if columns.is_empty() {
                return Ok(None);
            }
            self.columns.insert(table.clone(), columns);
        }
        Ok(self.columns.get(table).map(Vec::as_slice))
    }
}

/// Opens the file to read; `None` if it does not exist.
pub(crate) fn open_to_read(path: &Path) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error| from_sqlite(path, format!("open {}", path.display()), error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .or_else(|_| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX))
        .map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // The first look at the file's content says whether it is a database at all.
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(())).map_err(failed)?;
    Ok(Some(connection))
}

/// A table's columns; none if it is not there.
pub(crate) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement =
        connection.prepare("SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk FROM pragma_table_info(?1)")?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            key_place: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// A name as SQL writes it, whatever is in it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
