//! Connections: how a file is opened and what is set on every connection.

use crate::error::{Explain, failed, in_file};
use crate::float_text::{float4, float8};
use rowferry_api::{Error, ErrorKind, Result, float_order};
use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// How long a statement waits for another process.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(15);
/// Pages that the writer keeps in memory; the rest of a large transaction is in the WAL file.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 8 * 1024;
/// Pages in the WAL from which a commit copies them into the file.
const CHECKPOINT_PAGES: i64 = 4_000;
/// What a WAL that had to grow for a large transaction is cut back to.
const WAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// Prepared statements kept a connection.
const STATEMENTS: usize = 256;

/// Opens the file for writing, and creates it if it is not there.
pub(crate) fn writer(path: &Path) -> Result<Connection> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags, WRITER_CACHE_KIB)?;
        if connection.is_readonly(c"main").explain(|| "open the file".into())? {
            return Err(Error::new(ErrorKind::Config, "open the file for writing: it can only be read")
                .hint("Give the user of this process the right to write the file and its directory."));
        }
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .explain(|| "switch the journal to WAL".into())?;
        if mode != "wal" {
            tracing::warn!(path = %path.display(), mode, "the file cannot have a WAL: readers and the writer wait for each other");
        }
        // Where the file cannot have a WAL, only EXTRA keeps a commit over a power cut; with a WAL it is the same as FULL.
        set(&connection, "synchronous", "EXTRA")?;
        set(&connection, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        set(&connection, "journal_size_limit", WAL_LIMIT_BYTES)?;
        Ok(connection)
    };
    open().map_err(|error| in_file(busy(error), path))
}

/// Opens the file for reading; `None` if it is not there.
pub(crate) fn reader(path: &Path) -> Result<Option<Connection>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let open = || {
        // A reader of a WAL needs to write its lock file.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags, READER_CACHE_KIB)?;
        set(&connection, "query_only", 1)?;
        // The first read of the file: says whether it is a database at all.
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .explain(|| "read the list of tables".into())?;
        Ok(connection)
    };
    open().map(Some).map_err(|error| in_file(busy(error), path))
}

/// A file that cannot even be opened is held for long.
fn busy(error: Error) -> Error {
    if error.kind() != ErrorKind::Transient {
        return error;
    }
    let hint = "Another process holds the file locked: end it, or wait; `fuser FILE` shows who it is.";
    Error::new(ErrorKind::Busy, "open the file").because(error).hint(hint)
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: i64) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags).explain(|| "open the file".into())?;
    connection.busy_timeout(BUSY_TIMEOUT).explain(|| "set the busy timeout".into())?;
    // The source has checked them; parts of a transaction may break them for a moment.
    set(&connection, "foreign_keys", 0)?;
    set(&connection, "cache_size", -cache_kib)?;
    // Else a column that is not there is read as a string with its name.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)
        .explain(|| "refuse strings in double quotes".into())?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    refuse_utf16(&connection)?;
    add_functions(&connection).explain(|| "add functions".into())?;
    Ok(connection)
}

/// Its texts would sort by other bytes than those of the source.
fn refuse_utf16(connection: &Connection) -> Result<()> {
    let encoding: String = connection
        .query_row("PRAGMA encoding", [], |row| row.get(0))
        .explain(|| "ask for the file's encoding".into())?;
    if encoding == "UTF-8" {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("open the file: its texts are {encoding}, and UTF-8 is needed"))
        .hint("Name another `path`, or copy the file into one that was made with PRAGMA encoding = 'UTF-8'."))
}

fn set(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> Result<()> {
    connection.pragma_update(None, name, value).map_err(|error| failed(error, format!("set {name}")))
}

/// The order that both ends share, for keys that SQLite sorts otherwise: floats (NaN and -0 are kept as text) as whole numbers,
/// whole numbers without sign as eight bytes.
fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("rowferry_float4", 1, flags, |context| order_of_float(context, true))?;
    connection.create_scalar_function("rowferry_float8", 1, flags, |context| order_of_float(context, false))?;
    connection.create_scalar_function("rowferry_unsigned", 1, flags, order_of_unsigned)
}

fn order_of_float(context: &Context<'_>, single: bool) -> rusqlite::Result<ToSqlOutput<'static>> {
    let number = match context.get_raw(0) {
        ValueRef::Real(number) => number,
        ValueRef::Integer(number) => number as f64,
        ValueRef::Text(text) => {
            let order = float_order(text, single).map(Value::Integer);
            return Ok(ToSqlOutput::Owned(order.unwrap_or_else(|| Value::Text(String::from_utf8_lossy(text).into()))));
        }
        other => return Ok(ToSqlOutput::Owned(Value::try_from(other).unwrap_or(Value::Null))),
    };
    let text = if single { float4(number as f32) } else { float8(number) };
    Ok(ToSqlOutput::Owned(float_order(text.as_bytes(), single).map_or(Value::Null, Value::Integer)))
}

fn order_of_unsigned(context: &Context<'_>) -> rusqlite::Result<ToSqlOutput<'static>> {
    let number = match context.get_raw(0) {
        ValueRef::Integer(number) => u64::try_from(number).ok(),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let bytes = number.map(|number: u64| Value::Blob(number.to_be_bytes().to_vec()));
    Ok(ToSqlOutput::Owned(bytes.unwrap_or(Value::Null)))
}
