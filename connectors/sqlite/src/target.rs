//! SQLite as a target: one file.

use crate::applier::SqliteApplier;
use crate::error::{ended, from_sqlite};
use crate::table_reader::SqliteTableReader;
use crate::writer::{Writer, open_to_read};
use crate::fit;
use async_trait::async_trait;
use rowferry_api::{
    Applier, Capabilities, Finding, HeldPosition, Identity, Position, Result, TableName, TableReader, TableSchema, Target,
};
use rusqlite::OptionalExtension;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// What the configuration says of a target.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; made if it is missing.
    pub path: PathBuf,
}

/// A SQLite file. rowferry's own tables there are `rowferry_positions` and `rowferry_meta`.
pub struct SqliteTarget {
    path: PathBuf,
    writer: OnceCell<Arc<Mutex<Writer>>>,
}

const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rowferry_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO rowferry_meta (name, value) VALUES ('id', lower(hex(randomblob(16)))) ON CONFLICT (name) DO NOTHING;
    CREATE TABLE IF NOT EXISTS rowferry_positions (pipeline TEXT PRIMARY KEY, source TEXT NOT NULL, position TEXT NOT NULL,
        updated_at TEXT NOT NULL);";

impl SqliteTarget {
    /// Takes the options. Opens nothing.
    pub fn new(options: SqliteOptions) -> Result<Self> {
        Ok(Self { path: options.path, writer: OnceCell::new() })
    }

    async fn writer(&self) -> Result<Arc<Mutex<Writer>>> {
        let open = || async {
            let path = self.path.clone();
            let writer = tokio::task::spawn_blocking(move || Writer::open(&path)).await.map_err(ended)??;
            Ok(Arc::new(Mutex::new(writer)))
        };
        self.writer.get_or_try_init(open).await.cloned()
    }

    /// Reads from the file, if it exists.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path, &rusqlite::Connection) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let path = self.path.clone();
        let work = move || open_to_read(&path)?.map(|connection| read(&path, &connection)).transpose();
        tokio::task::spawn_blocking(work).await.map_err(ended)?
    }
}

fn has_table(connection: &rusqlite::Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1", [name], |row| {
        row.get::<_, i64>(0).map(|count| count > 0)
    })
}

fn id_of(path: &Path, connection: &rusqlite::Connection) -> Result<Option<Identity>> {
    let read = || {
        if !has_table(connection, "rowferry_meta")? {
            return Ok(None);
        }
        connection.query_row("SELECT value FROM rowferry_meta WHERE name = 'id'", [], |row| row.get::<_, String>(0)).optional()
    };
    let id = read().map_err(|error| from_sqlite(path, "read the file's identity", error))?;
    Ok(id.map(|id| Identity::new(format!("sqlite:{id}"))))
}

#[async_trait]
impl Target for SqliteTarget {
    fn describe(&self) -> String {
        format!("SQLite file {}", self.path.display())
    }

    /// One connection writes; a second range can be read while the first is written, which gains nothing measurable.
    fn capabilities(&self) -> Capabilities {
        Capabilities { transactions: true, transactional_ddl: true, parallel_writers: 1 }
    }

    fn table_name(&self, source: &TableName) -> TableName {
        let name = match source.schema.as_str() {
            "" | "public" => source.name.clone(),
            schema => format!("{schema}_{}", source.name),
        };
        TableName::new("", name)
    }

    fn parse_name(&self, text: &str, _source: &TableName) -> TableName {
        TableName::new("", text)
    }

    async fn identity(&self) -> Result<Option<Identity>> {
        Ok(self.read(id_of).await?.flatten())
    }

    async fn check(&self, tables: &[TableSchema]) -> Result<Vec<Finding>> {
        let (path, tables) = (self.path.clone(), tables.to_vec());
        tokio::task::spawn_blocking(move || fit::check(&path, &tables)).await.map_err(ended)?
    }

    async fn position(&self, pipeline: &str) -> Result<Option<HeldPosition>> {
        let pipeline = pipeline.to_owned();
        let read = move |path: &Path, connection: &rusqlite::Connection| {
            let read = || {
                if !has_table(connection, "rowferry_positions")? {
                    return Ok(None);
                }
                let text = "SELECT source, position FROM rowferry_positions WHERE pipeline = ?1";
                let held = |row: &rusqlite::Row<'_>| {
                    Ok(HeldPosition {
                        source: Identity::new(row.get::<_, String>(0)?),
                        position: Position::new(row.get::<_, String>(1)?),
                    })
                };
                connection.query_row(text, [&pipeline], held).optional()
            };
            read().map_err(|error| from_sqlite(path, "read the position", error))
        };
        Ok(self.read(read).await?.flatten())
    }

    async fn prepare(&self, pipeline: &str, source: &Identity, position: &Position) -> Result<Identity> {
        let writer = self.writer().await?.lock_owned().await;
        let (pipeline, source, position) = (pipeline.to_owned(), source.clone(), position.clone());
        let work = move || {
            writer.run(OWN_TABLES)?;
            writer
                .connection
                .execute(
                    "INSERT INTO rowferry_positions (pipeline, source, position, updated_at) VALUES (?1, ?2, ?3, datetime('now')) \
                     ON CONFLICT (pipeline) DO NOTHING",
                    (&pipeline, source.as_str(), position.as_str()),
                )
                .map_err(|error| writer.failed("write the first position", error))?;
            let id = id_of(&writer.path, &writer.connection)?;
            id.ok_or_else(|| writer.failed("read the file's identity", rusqlite::Error::QueryReturnedNoRows))
        };
        tokio::task::spawn_blocking(work).await.map_err(ended)?
    }

    async fn open_applier(&self, pipeline: &str) -> Result<Box<dyn Applier>> {
        Ok(Box::new(SqliteApplier::new(self.writer().await?, pipeline)))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        Ok(Box::new(SqliteTableReader::new(self.path.clone())))
    }
}
