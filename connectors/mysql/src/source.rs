//! MySQL and MariaDB as a source: who it is, its tables, its log.

use crate::catalog::{self, Entry, Which};
use crate::check;
use crate::connection::{ConnectOptions, Flavor, Server, from_mysql};
use crate::log_reader::{MysqlLogReader, Place};
use crate::position::{LogPosition, ResumePoint, file_number, place_of};
use crate::prepared;
use crate::shared::Shared;
use crate::status::{self, Origin};
use crate::table_reader::MysqlTableReader;
use crate::zero_dates::ZeroDates;
use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{
    Error, ErrorKind, Finding, Identity, LogKept, LogReader, LogStart, Position, Result, Source, SourceTable,
    TableName, TableReader, TableSchema,
};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// What the configuration says of a source.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Where the server is.
    pub url: String,
    /// As which replica we ask for the log; 0: a number made from the names of pipeline and database.
    pub server_id: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// What becomes of zero and partial dates: `halt`, `null` or `text`, and exceptions `database.table.column=null`.
    pub zero_dates: String,
}

/// A MySQL server, 5.6 to 9.x, or a MariaDB server, 10.5 to 11.8.
pub struct MysqlSource {
    connect: ConnectOptions,
    server_id: u32,
    zero_dates: Arc<ZeroDates>,
    /// For questions; connects when first needed and again when it was lost.
    asking: Mutex<Option<Asking>>,
    shared: Arc<Shared>,
    /// The files of the log with their bytes, as last seen, for distances.
    files: SyncMutex<Vec<(String, u64)>>,
    /// The server's kind, once it is known, for positions.
    flavor: SyncMutex<Option<Flavor>>,
}

/// How often a carried table is looked for before it is gone, and how long apart.
const MISSED_TRIES: u32 = 3;
const MISSED_PAUSE: Duration = Duration::from_millis(150);

/// A connection with what it is to.
struct Asking {
    conn: Conn,
    server: Server,
    origin: Origin,
}

/// A connection held while it is asked. One that is dropped in the middle of a question is of no more use.
struct Asked<'a> {
    held: MutexGuard<'a, Option<Asking>>,
    asking: Option<Asking>,
}

impl Asked<'_> {
    fn parts(&mut self) -> (&mut Conn, Server, &Origin) {
        let asking = self.asking.as_mut().expect("taken by `done` only");
        (&mut asking.conn, asking.server, &asking.origin)
    }

    /// The connection may be used again.
    fn done<T>(mut self, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            *self.held = self.asking.take();
        }
        result
    }
}

impl MysqlSource {
    /// Reads the options. Connects to nothing.
    pub fn new(options: SourceOptions) -> Result<Self> {
        let SourceOptions { url, server_id, pipeline, zero_dates } = options;
        let connect = ConnectOptions::parse(&url)?;
        let name = format!("{pipeline} {}", connect.database().unwrap_or_default());
        Ok(Self {
            connect,
            server_id: if server_id == 0 { server_id_of(&name) } else { server_id },
            zero_dates: Arc::new(ZeroDates::parse(&zero_dates)?),
            asking: Mutex::default(),
            shared: Arc::default(),
            files: SyncMutex::default(),
            flavor: SyncMutex::default(),
        })
    }

    async fn ask(&self) -> Result<Asked<'_>> {
        let mut held = self.asking.lock().await;
        if let Some(mut asking) = held.take()
            && asking.conn.ping().await.is_ok()
        {
            return Ok(Asked { held, asking: Some(asking) });
        }
        let (mut conn, server) = self.connect.connect().await?;
        if server.is_mysql(8, 0) {
            // Else the number of rows may be a day old.
            let fresh = "SET SESSION information_schema_stats_expiry = 0";
            conn.query_drop(fresh).await.map_err(|error| from_mysql("set up a session", error))?;
        }
        let origin = status::origin(&mut conn, server).await?;
        *self.flavor.lock().expect("no code panics while it holds this") = Some(server.flavor);
        Ok(Asked { held, asking: Some(Asking { conn, server, origin }) })
    }

    fn which(&self) -> Which<'_> {
        Which::Database(self.connect.database())
    }

    async fn entries(&self) -> Result<Vec<Entry>> {
        let mut asked = self.ask().await?;
        let (conn, server, _) = asked.parts();
        let mut entries = catalog::entries(conn, server, &self.which()).await;
        if let Ok(entries) = &mut entries {
            for entry in entries {
                self.zero_dates.apply(&mut entry.table.schema);
            }
        }
        asked.done(entries)
    }

    fn position(&self, position: &Position) -> Result<LogPosition> {
        let flavor = *self.flavor.lock().expect("no code panics while it holds this");
        // Without a dash there is no telling; MySQL's sets hold colons.
        let guessed = || {
            let gtids = place_of(position).split_once(' ').map_or("", |(_, gtids)| gtids);
            if gtids.contains(':') { Flavor::Mysql } else { Flavor::Mariadb }
        };
        LogPosition::parse(flavor.unwrap_or_else(guessed), position)
    }
}

/// A replica's number that two pipelines hardly share, far above what people give by hand.
fn server_id_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    0x4000_0000 | (hash & 0x3fff_ffff)
}

#[async_trait]
impl Source for MysqlSource {
    fn describe(&self) -> String {
        self.connect.describe()
    }

    /// With GTIDs any server that has our transactions will do; without, the log is this server's own.
    async fn identity(&self) -> Result<Identity> {
        let mut asked = self.ask().await?;
        let (_, server, origin) = asked.parts();
        let name = match (origin.has_gtids, server.flavor) {
            (true, Flavor::Mariadb) => "mariadb:gtid".to_owned(),
            (true, Flavor::Mysql) => "mysql:gtid".to_owned(),
            (false, _) => format!("mysql:{}", origin.server),
        };
        asked.done(Ok(Identity::new(name)))
    }

    async fn ping(&self) -> Result<()> {
        self.connect.ping().await
    }

    async fn check(&self, tables: &[SourceTable]) -> Result<Vec<Finding>> {
        let mut asked = self.ask().await?;
        let (conn, server, origin) = asked.parts();
        let findings =
            check::check(conn, server, origin, self.server_id, &self.zero_dates, tables, &self.which()).await;
        asked.done(findings)
    }

    /// A server without atomic DDL has no such table, or none of its indexes, for a moment while it is altered: one that is missed
    /// is looked for again.
    async fn tables(&self) -> Result<Vec<SourceTable>> {
        let mut tries = 0;
        loop {
            let tables: Vec<SourceTable> = self.entries().await?.into_iter().map(|entry| entry.table).collect();
            let has_lost_its_key = |schema: &TableSchema| {
                schema.key.is_empty()
                    && self.shared.carried(&schema.name).is_some_and(|carried| !carried.key.is_empty())
            };
            let found = |name: &TableName| {
                tables.iter().any(|table| table.schema.name == *name && !has_lost_its_key(&table.schema))
            };
            tries += 1;
            if tries >= MISSED_TRIES || self.shared.names().iter().all(found) {
                return Ok(tables);
            }
            tokio::time::sleep(MISSED_PAUSE).await;
        }
    }

    async fn catalog_version(&self) -> Result<u64> {
        let mut asked = self.ask().await?;
        let version = catalog::version(asked.parts().0, &self.which()).await;
        asked.done(version)
    }

    /// The log carries all tables, and the server keeps it as its own settings say.
    async fn prepare(&self, tables: &[SourceTable], resume: Option<&Position>) -> Result<LogStart> {
        self.shared.carry(tables);
        let mut asked = self.ask().await?;
        let (conn, server, origin) = asked.parts();
        let start = match resume {
            None => prepared::start(conn, server, origin).await.map(|start| (&start).into()),
            Some(resume) => match ResumePoint::parse(server.flavor, resume) {
                Ok(point) => {
                    let found = status::refuse_lost(conn, server, origin, &point.at).await;
                    if found.is_ok() {
                        prepared::warn_of_lost(conn, origin, &point).await;
                    }
                    found.map(|()| resume.clone())
                }
                Err(error) => Err(error),
            },
        };
        asked.done(start.map(|position| LogStart { position, is_older: resume.is_some() }))
    }

    /// Reads wait for what the log has said, so nothing is missed by one that comes now.
    async fn settled(&self) -> Result<()> {
        Ok(())
    }

    async fn head(&self) -> Result<Position> {
        let mut asked = self.ask().await?;
        let (conn, server, origin) = asked.parts();
        let head = status::head(conn, server, origin).await;
        if let Ok(head) = &head {
            let known = |files: &[(String, u64)]| files.iter().any(|(file, _)| *file == head.file);
            if !known(&self.files.lock().expect("no code panics while it holds this")) {
                // A user without the right to list them sees no distances across files.
                if let Ok(files) = status::files(conn).await {
                    *self.files.lock().expect("no code panics while it holds this") = files;
                }
            }
        }
        asked.done(head.map(|head| (&head).into()))
    }

    fn compare(&self, a: &Position, b: &Position) -> Result<Option<Ordering>> {
        Ok(self.position(a)?.compare(&self.position(b)?))
    }

    fn distance_bytes(&self, from: &Position, to: &Position) -> Option<u64> {
        let (from, to) = (self.position(from).ok()?, self.position(to).ok()?);
        if from.server != to.server {
            return None;
        }
        if from.file == to.file {
            return Some(to.offset.saturating_sub(from.offset));
        }
        let (first, last) = (file_number(&from.file), file_number(&to.file));
        if last < first {
            return Some(0);
        }
        let files = self.files.lock().expect("no code panics while it holds this");
        let between = files.iter().filter(|(file, _)| (first..last).contains(&file_number(file)));
        Some((between.map(|(_, bytes)| bytes).sum::<u64>() + to.offset).saturating_sub(from.offset))
    }

    /// The server keeps its log by its own settings: what counts is how much lies between us and its end.
    async fn log_kept(&self, applied: Option<&Position>) -> Result<LogKept> {
        let mut asked = self.ask().await?;
        let (conn, server, origin) = asked.parts();
        let point = applied.map(|applied| ResumePoint::parse(server.flavor, applied)).transpose();
        let kept = match point {
            Ok(point) => status::kept(conn, point.as_ref().and_then(|point| point.oldest_of(&origin.server))).await,
            Err(error) => Err(error),
        };
        asked.done(kept)
    }

    fn follows_forms(&self) -> bool {
        true
    }

    async fn open_log(
        &self,
        from: &Position,
        tables: &[Arc<TableSchema>],
        followed: &[Arc<TableSchema>],
    ) -> Result<Box<dyn LogReader>> {
        let place = Place {
            connect: self.connect.clone(),
            server_id: self.server_id,
            zero_dates: self.zero_dates.clone(),
            shared: self.shared.clone(),
        };
        Ok(Box::new(MysqlLogReader::open(place, from, tables, followed).await?))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        let (received, zero_dates) = (self.shared.clone(), self.zero_dates.clone());
        let source = crate::table_reader::AtSource { shared: received, zero_dates };
        Ok(Box::new(MysqlTableReader::open(self.connect.clone(), Some(source)).await?))
    }
}

/// The position that `error` says is not there any more.
pub(crate) fn log_error(context: &str, error: mysql_async::Error) -> Error {
    let error = from_mysql(context, error);
    if error.kind() != ErrorKind::LogLost {
        return error;
    }
    let text = error.to_string();
    // The same code as for a log that is gone.
    if text.contains("server_uuid/server_id") {
        return Error::new(ErrorKind::Busy, text).hint(
            "Another process reads the log under the same number: end it, or set another `server_id` in the source's options.",
        );
    }
    status::lost(text)
}
