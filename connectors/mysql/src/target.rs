//! MySQL and MariaDB as a target.
//!
//! `applier` and `updates` write batches, `replace` ranges, `ddl` and `finish` make and alter tables, `types` says what a
//! column is here, `fit` and `check` whether what is there will do. rowferry's own tables are in the database `rowferry`.
//! What a server cannot hold (NaN, infinities, dates before year 0 or after 9999, and by its own rules more) is refused as
//! a bad row, never changed.

mod applier;
mod catalog;
mod check;
mod ddl;
mod finish;
mod fit;
mod json;
mod load;
mod positions;
mod reader;
mod replace;
mod session;
mod shape;
mod stage;
mod types;
mod updates;
mod write;

use crate::connection::ConnectOptions;
use applier::MysqlApplier;
use async_trait::async_trait;
use reader::TargetReader;
use rowferry_api::{
    Applier, Capabilities, Error, ErrorKind, Finding, HeldPosition, Identity, KnownTables, Position, Result, TableName,
    TableReader, TableSchema, Target, failpoint,
};
use session::Session;
use std::sync::Arc;

/// What the configuration says of a target.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// Where the server is. Tables of all schemas go into the database that it names; without one, each goes into the
    /// database by its schema's name.
    pub url: String,
}

/// A server of MySQL, 5.6 to 9, or MariaDB, 10.5 to 11.
pub struct MysqlTarget {
    connect: ConnectOptions,
    known: Arc<KnownTables>,
}

/// Connections that gain from writing side by side.
const WRITERS: usize = 16;

impl MysqlTarget {
    /// Reads the options. Connects to nothing.
    pub fn new(options: TargetOptions) -> Result<Self> {
        Ok(Self { connect: ConnectOptions::parse(&options.url)?, known: Arc::default() })
    }

    /// Pipelines into two databases of a server are two, also if they have one name.
    fn own_name(&self, pipeline: &str) -> String {
        match self.connect.database() {
            Some(database) => format!("{pipeline}@{database}"),
            None => pipeline.to_owned(),
        }
    }

    async fn session(&self) -> Result<Session> {
        Session::open(&self.connect).await
    }
}

#[async_trait]
impl Target for MysqlTarget {
    fn describe(&self) -> String {
        self.connect.describe()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { transactions: true, transactional_ddl: false, parallel_writers: WRITERS }
    }

    fn table_name(&self, source: &TableName) -> TableName {
        TableName::new(self.connect.database().unwrap_or(&source.schema), source.name.clone())
    }

    fn parse_name(&self, text: &str, source: &TableName) -> TableName {
        match text.split_once('.') {
            Some((database, name)) => TableName::new(database, name),
            None => TableName::new(self.table_name(source).schema, text),
        }
    }

    async fn identity(&self) -> Result<Option<Identity>> {
        positions::identity(&mut self.session().await?).await
    }

    async fn ping(&self) -> Result<()> {
        self.connect.ping().await
    }

    async fn check(&self, tables: &[TableSchema]) -> Result<Vec<Finding>> {
        check::check(&mut self.session().await?, tables).await
    }

    async fn position(&self, pipeline: &str) -> Result<Option<HeldPosition>> {
        positions::held(&mut self.session().await?, &self.own_name(pipeline)).await
    }

    async fn prepare(&self, pipeline: &str, source: &Identity, position: &Position, anew: bool) -> Result<Identity> {
        let mut session = self.session().await?;
        positions::create(&mut session).await?;
        failpoint!("mysql.prepared");
        positions::start(&mut session, &self.own_name(pipeline), source, position, anew).await?;
        positions::identity(&mut session).await?.ok_or_else(|| {
            Error::new(ErrorKind::Other, "read the target's identity: rowferry.identity is empty")
                .hint("Another process empties rowferry's own tables: leave them alone.")
        })
    }

    async fn open_applier(&self, pipeline: &str) -> Result<Box<dyn Applier>> {
        let (options, known) = (self.connect.clone(), self.known.clone());
        Ok(Box::new(MysqlApplier::open(options, &self.own_name(pipeline), known, Arc::default()).await?))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        Ok(Box::new(TargetReader::open(&self.connect).await?))
    }
}
