//! rowferry's own tables in the file: who the file is, and where each pipeline stands.

use crate::error::Explain;
use rowferry_api::{Error, ErrorKind, HeldPosition, Identity, Position, Result};
use rusqlite::{Connection, OptionalExtension};

/// Names that begin so are rowferry's own.
pub(crate) const PREFIX: &str = "rowferry_";

const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS rowferry_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS rowferry_positions (
        pipeline TEXT PRIMARY KEY, source TEXT NOT NULL, position TEXT NOT NULL, updated_at TEXT NOT NULL);
    INSERT INTO rowferry_meta VALUES ('identity', 'sqlite:' || lower(hex(randomblob(16)))) ON CONFLICT DO NOTHING;";

/// Creates the tables where they are missing, and the file's identity if it has none.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(CREATE).explain(|| "create rowferry's own tables".into())
}

/// The file's identity.
pub(crate) fn identity(connection: &Connection) -> Result<Option<Identity>> {
    if !exists(connection, "rowferry_meta")? {
        return Ok(None);
    }
    let sql = "SELECT value FROM rowferry_meta WHERE name = 'identity'";
    let found = connection.query_row(sql, [], |row| row.get::<_, String>(0)).optional();
    Ok(found.explain(|| "read the file's identity".into())?.map(Identity::new))
}

/// Where the pipeline stands.
pub(crate) fn held(connection: &Connection, pipeline: &str) -> Result<Option<HeldPosition>> {
    if !exists(connection, "rowferry_positions")? {
        return Ok(None);
    }
    let sql = "SELECT source, position FROM rowferry_positions WHERE pipeline = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let (source, position) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        Ok(HeldPosition { source: Identity::new(source), position: Position::new(position) })
    };
    let found =
        connection.prepare_cached(sql).and_then(|mut statement| statement.query_row([pipeline], read).optional());
    found.explain(|| format!("read the position of pipeline \"{pipeline}\""))
}

/// Makes `position` the pipeline's: if it has none yet, or `anew` whatever it has.
pub(crate) fn start(
    connection: &Connection,
    pipeline: &str,
    source: &Identity,
    position: &Position,
    anew: bool,
) -> Result<()> {
    let or = if anew { "REPLACE" } else { "IGNORE" };
    let sql = format!("INSERT OR {or} INTO rowferry_positions VALUES (?1, ?2, ?3, strftime('%Y-%m-%d %H:%M:%fZ'))");
    let done = connection.execute(&sql, [pipeline, source.as_str(), position.as_str()]);
    done.map(drop).explain(|| format!("write the position of pipeline \"{pipeline}\""))
}

/// Moves the pipeline to `position`. It must have one: only [`start`] makes one.
pub(crate) fn advance(connection: &Connection, pipeline: &str, position: &Position) -> Result<()> {
    let sql =
        "UPDATE rowferry_positions SET position = ?2, updated_at = strftime('%Y-%m-%d %H:%M:%fZ') WHERE pipeline = ?1";
    let done =
        connection.prepare_cached(sql).and_then(|mut statement| statement.execute([pipeline, position.as_str()]));
    match done.explain(|| format!("write the position of pipeline \"{pipeline}\""))? {
        1 => Ok(()),
        _ => Err(gone(pipeline)),
    }
}

/// The pipeline's position was removed.
pub(crate) fn gone(pipeline: &str) -> Error {
    Error::new(ErrorKind::Identity, format!("the file has no position of pipeline \"{pipeline}\" any more"))
        .hint("Somebody emptied rowferry_positions or put another file in its place: start again to see what is held.")
}

fn exists(connection: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    let found = connection.prepare_cached(sql).and_then(|mut statement| statement.query_row([table], |row| row.get(0)));
    found.explain(|| "read the list of tables".into())
}
