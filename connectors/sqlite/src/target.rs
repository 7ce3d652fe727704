//! The target that the rest of rowferry sees.

use crate::applier::SqliteApplier;
use crate::error::in_file;
use crate::table_reader::SqliteTableReader;
use crate::writer::{Shared, blocking};
use crate::{check, open, positions};
use async_trait::async_trait;
use rowferry_api::{
    Applier, Capabilities, Error, ErrorKind, Finding, HeldPosition, Identity, Position, Result, TableName, TableReader,
    TableSchema, Target, failpoint,
};
use rusqlite::Connection;
use std::path::PathBuf;

/// What a configuration says of an SQLite target.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file. Created when it is first written; its directory must exist.
    pub path: PathBuf,
}

/// An SQLite file as a target. All appliers of one target share one writing connection.
#[derive(Debug)]
pub struct SqliteTarget {
    path: PathBuf,
    shared: Shared,
}

impl SqliteTarget {
    /// Opens nothing yet. An empty path is [`ErrorKind::Config`].
    pub fn new(options: SqliteOptions) -> Result<Self> {
        let path = options.path;
        if path.file_name().is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("SQLite file \"{}\": it is no file's name", path.display()),
            )
            .hint("Set `path` to a file, such as \"shop.db\"."));
        }
        Ok(Self { shared: Shared::new(&path), path })
    }

    /// Runs `work` with a reading connection of its own; `None` if the file is not there.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Option<T>> {
        let path = self.path.clone();
        blocking(move || match open::reader(&path)? {
            Some(connection) => work(&connection).map_err(|error| in_file(error, &path)),
            None => Ok(None),
        })
        .await
    }
}

#[async_trait]
impl Target for SqliteTarget {
    fn describe(&self) -> String {
        format!("SQLite file {}", self.path.display())
    }

    fn capabilities(&self) -> Capabilities {
        // One writes while the other waits for the source's first rows.
        Capabilities { transactions: true, transactional_ddl: true, parallel_writers: 2 }
    }

    fn table_name(&self, source: &TableName) -> TableName {
        match source.schema.as_str() {
            "" | "public" => TableName::new("", &source.name),
            schema => TableName::new("", format!("{schema}_{}", source.name)),
        }
    }

    fn parse_name(&self, text: &str, _source: &TableName) -> TableName {
        TableName::new("", text)
    }

    async fn identity(&self) -> Result<Option<Identity>> {
        self.read(positions::identity).await
    }

    async fn check(&self, tables: &[TableSchema]) -> Result<Vec<Finding>> {
        let (path, tables) = (self.path.clone(), tables.to_vec());
        blocking(move || check::check(&path, &tables)).await
    }

    async fn position(&self, pipeline: &str) -> Result<Option<HeldPosition>> {
        let pipeline = pipeline.to_owned();
        self.read(move |connection| positions::held(connection, &pipeline)).await
    }

    async fn prepare(&self, pipeline: &str, source: &Identity, position: &Position, anew: bool) -> Result<Identity> {
        let (pipeline, source, position) = (pipeline.to_owned(), source.clone(), position.clone());
        self.shared
            .with(move |writer| {
                writer.transaction(|writer| {
                    positions::create(&writer.connection)?;
                    failpoint!("sqlite.prepared");
                    positions::start(&writer.connection, &pipeline, &source, &position, anew)?;
                    positions::identity(&writer.connection)?
                        .ok_or_else(|| Error::new(ErrorKind::Other, "read the file's identity: there is none"))
                })
            })
            .await
    }

    async fn open_applier(&self, pipeline: &str) -> Result<Box<dyn Applier>> {
        let name = pipeline.to_owned();
        let held = self.read(move |connection| positions::held(connection, &name)).await?;
        let expected = held.map(|held| held.position);
        Ok(Box::new(SqliteApplier::new(self.shared.clone(), pipeline, expected)))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        let path = self.path.clone();
        let reader = blocking(move || SqliteTableReader::open(&path)).await?;
        Ok(Box::new(reader))
    }
}
