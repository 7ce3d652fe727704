//! PostgreSQL as a source: who it is, its tables, its log.

use crate::catalog::{self, Entry, Which};
use crate::check::{self, Asked};
use crate::connection::{ConnectOptions, from_pg};
use crate::delivered::Delivered;
use crate::log_reader::{LogOptions, PostgresLogReader};
use crate::lsn::Lsn;
use crate::publication;
use crate::replication;
use crate::settle;
use crate::slot;
use crate::table_reader::PostgresTableReader;
use crate::timeline;
use async_trait::async_trait;
use rowferry_api::{
    Error, ErrorKind, Finding, Identity, LogKept, LogReader, LogStart, Position, Result, Source, SourceTable,
    TableReader, TableSchema, Untold,
};
use std::cmp::Ordering;
use std::sync::atomic::{AtomicBool, Ordering as AtomicOrdering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// What the configuration says of a source.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Where the server is.
    pub url: String,
    /// Replication slot; made if it is missing.
    pub slot: String,
    /// Publication; made if it is missing.
    pub publication: String,
    /// From so many bytes of unread log on it is read in large parts; 0: never.
    pub backlog_bytes: u64,
}

/// How long the server may leave the end of its log in memory while somebody waits for it.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);

/// A message that nobody reads. Its commit waits for this server's disk and for no standby.
const WRITE_LOG: &str =
    "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'rowferry', '')";

/// Has the end of the log written out, if it is not. A user without the right to it only waits longer.
async fn write_log(client: &Client) -> Result<(), tokio_postgres::Error> {
    let is_behind = "SELECT NOT pg_is_in_recovery() AND pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()";
    if client.query_one(is_behind, &[]).await?.get(0) {
        client.execute(WRITE_LOG, &[]).await?;
    }
    Ok(())
}

/// What is a backlog unless somebody says otherwise.
pub const BACKLOG_BYTES: u64 = 64 << 20;

/// A PostgreSQL server, 12 to 18.
pub struct PostgresSource {
    connect: ConnectOptions,
    slot: String,
    publication: String,
    backlog_bytes: u64,
    /// For questions to the catalog; connects when first needed and again when it was lost.
    client: Mutex<Option<Arc<Client>>>,
    /// Transactions below it may have changed a table before the log carried it; `None` once they have ended.
    mark: SyncMutex<Option<i64>>,
    /// The end of the log will be written out.
    log_due: Arc<AtomicBool>,
    delivered: Arc<Delivered>,
}

impl PostgresSource {
    /// Reads the options. Connects to nothing.
    pub fn new(options: SourceOptions) -> Result<Self> {
        let SourceOptions { url, slot, publication, backlog_bytes } = options;
        Ok(Self {
            connect: ConnectOptions::parse(&url)?,
            slot,
            publication,
            backlog_bytes,
            client: Mutex::default(),
            mark: SyncMutex::default(),
            log_due: Arc::default(),
            delivered: Arc::default(),
        })
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut held = self.client.lock().await;
        match held.as_ref().filter(|client| !client.is_closed()) {
            Some(client) => Ok(client.clone()),
            None => Ok(held.insert(Arc::new(self.connect.connect().await?)).clone()),
        }
    }

    /// For servers that keep pg_control_system to themselves.
    async fn system_identifier(&self) -> Result<String> {
        let context = "ask the server who it is";
        let mut connection = replication::connect(&self.connect).await?;
        let rows = connection.query("IDENTIFY_SYSTEM").await.map_err(|failure| failure.into_error(context))?;
        let first = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        first.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{context}: it does not say")))
    }

    fn mark(&self) -> MutexGuard<'_, Option<i64>> {
        self.mark.lock().expect("no code panics while it holds this")
    }

    /// `traces_of`: the publication, where it is asked what DDL leaves.
    async fn entries(&self, client: &Client, which: Which<'_>, traces_of: Option<&str>) -> Result<Vec<Entry>> {
        let logs_generated = publication::logs_generated(client, &self.publication).await?;
        catalog::entries(client, which, logs_generated, traces_of).await
    }
}

const IDENTITY: &str = "SELECT (SELECT system_identifier FROM pg_control_system())::text, oid::text FROM pg_database \
                        WHERE datname = current_database()";

async fn database_oid(client: &Client) -> Result<String> {
    let row = client.query_one("SELECT oid::text FROM pg_database WHERE datname = current_database()", &[]).await;
    Ok(row.map_err(|error| from_pg("ask for the database", error))?.get(0))
}

#[async_trait]
impl Source for PostgresSource {
    fn describe(&self) -> String {
        self.connect.describe()
    }

    /// The system identifier and the database: a promoted standby is the same history, another database is not.
    async fn identity(&self) -> Result<Identity> {
        let client = self.client().await?;
        let (system, database) = match client.query_one(IDENTITY, &[]).await {
            Ok(row) => (row.get::<_, String>(0), row.get::<_, String>(1)),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                (self.system_identifier().await?, database_oid(&client).await?)
            }
            Err(error) => return Err(from_pg("ask the server who it is", error)),
        };
        Ok(Identity::new(format!("postgres:{system}:{database}")))
    }

    /// The timeline. A standby follows its primary to another one while we read.
    async fn branch(&self) -> Result<Option<String>> {
        let row = self.client().await?.query_one("SELECT pg_is_in_recovery()", &[]).await;
        let is_standby: bool = row.map_err(|error| from_pg("ask whether the server is a standby", error))?.get(0);
        if is_standby { Ok(None) } else { Ok(Some(timeline::current(&self.connect).await?.to_string())) }
    }

    async fn refuse_branched(&self, branch: &str, resume: &Position) -> Result<()> {
        let Ok(before) = branch.parse() else { return Ok(()) };
        timeline::refuse_branched(&self.connect, before, Lsn::try_from(resume)?).await
    }

    async fn ping(&self) -> Result<()> {
        self.connect.connect().await.map(drop)
    }

    async fn hang_up(&self) {
        *self.client.lock().await = None;
    }

    async fn check(&self, tables: &[SourceTable]) -> Result<Vec<Finding>> {
        let client = self.client().await?;
        let names: Vec<_> = tables.iter().map(|table| table.schema.name.clone()).collect();
        let oids: Vec<u32> = catalog::oids(&client, &names).await?.into_values().collect();
        let entries = self.entries(&client, Which::Oids(&oids), None).await?;
        let asked = Asked { slot: &self.slot, publication: &self.publication, tables, entries: &entries };
        check::check(&client, &asked).await
    }

    async fn tables(&self) -> Result<Vec<SourceTable>> {
        let client = self.client().await?;
        Ok(self
            .entries(&client, Which::All, Some(&self.publication))
            .await?
            .into_iter()
            .map(|entry| entry.table)
            .collect())
    }

    async fn catalog_version(&self) -> Result<u64> {
        catalog::version(&*self.client().await?, &self.publication).await
    }

    async fn untold(&self, before: &str, now: &str) -> Result<Untold> {
        // A table that was gone at one of the looks is told of by its name.
        if before.is_empty() || now.is_empty() {
            return Ok(Untold::default());
        }
        catalog::untold(&*self.client().await?, before, now).await
    }

    async fn prepare(&self, tables: &[SourceTable], resume: Option<&Position>) -> Result<LogStart> {
        let client = self.client().await?;
        if let Some(resume) = resume {
            let resume = Lsn::try_from(resume)?;
            slot::refuse_lost(&client, &self.slot, resume).await?;
            publication::refuse_missing(&client, &self.publication, resume).await?;
            self.delivered.add_waiting(&client).await?;
        }
        // The slot decodes with the catalog of its time: a publication made after it would not be found there.
        let changed = publication::include(&client, &self.publication, tables).await?;
        let mark = settle::mark(&client).await?;
        // An earlier process may have changed the publication, and ended, before it read the tables.
        if resume.is_some() || changed {
            *self.mark() = Some(mark);
        }
        Ok(match resume {
            Some(resume) => LogStart { position: resume.clone(), is_older: true },
            None => {
                let start = slot::create(&client, &self.connect, &self.slot, &self.publication, mark).await?;
                LogStart { position: start.at.into(), is_older: start.is_older }
            }
        })
    }

    async fn settled(&self) -> Result<()> {
        let Some(mark) = *self.mark() else { return Ok(()) };
        settle::wait(&*self.client().await?, &self.connect, mark).await?;
        // Another call of `prepare` may have set a later one meanwhile.
        self.mark().take_if(|now| *now == mark);
        Ok(())
    }

    async fn head(&self) -> Result<Position> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text",
                &[],
            )
            .await
            .map_err(|error| from_pg("ask for the end of the log", error))?;
        Ok(Lsn::parse(row.get(0))?.before_header().into())
    }

    /// An idle server leaves in memory, for up to five seconds, what no commit waits for (which transactions are open, a
    /// page that a read tidied up), and sends only what is written out.
    async fn hurry(&self) -> Result<()> {
        let client = self.client().await?;
        if !self.log_due.swap(true, AtomicOrdering::AcqRel) {
            let due = self.log_due.clone();
            tokio::spawn(async move {
                tokio::time::sleep(WRITTEN_WITHIN).await;
                due.store(false, AtomicOrdering::Release);
                if let Err(error) = write_log(&client).await {
                    tracing::debug!(%error, "the end of the log is not written out at once");
                }
            });
        }
        Ok(())
    }

    fn compare(&self, a: &Position, b: &Position) -> Result<Option<Ordering>> {
        Ok(Some(Lsn::try_from(a)?.cmp(&Lsn::try_from(b)?)))
    }

    fn distance_bytes(&self, from: &Position, to: &Position) -> Option<u64> {
        Some(Lsn::try_from(to).ok()?.0.saturating_sub(Lsn::try_from(from).ok()?.0))
    }

    async fn log_kept(&self, _applied: Option<&Position>) -> Result<LogKept> {
        slot::kept(&*self.client().await?, &self.slot).await
    }

    fn can_give_up_log(&self) -> bool {
        true
    }

    async fn give_up_log(&self) -> Result<()> {
        slot::drop_own(&*self.client().await?, &self.slot).await
    }

    async fn open_log(
        &self,
        from: &Position,
        tables: &[Arc<TableSchema>],
        _followed: &[Arc<TableSchema>],
    ) -> Result<Box<dyn LogReader>> {
        let options = LogOptions {
            connect: self.connect.clone(),
            slot: self.slot.clone(),
            publication: self.publication.clone(),
            backlog_bytes: self.backlog_bytes,
            delivered: self.delivered.clone(),
        };
        Ok(Box::new(PostgresLogReader::open(options, from, tables).await?))
    }

    async fn open_tables(&self) -> Result<Box<dyn TableReader>> {
        Ok(Box::new(PostgresTableReader::open(self.connect.clone(), self.delivered.clone()).await?))
    }
}
