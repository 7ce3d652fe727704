//! One backlog, replayed many times from the same start by different programs.
//!
//! The start is a copy of the target's data directory and of rowferry's state, both taken before the backlog was made:
//! rowferry refuses a target that is older than its state, so both go back together. At the source a slot that nobody
//! reads, `base`, keeps the log from that point on; each run reads through a fresh copy of it.

use crate::load::Load;
use crate::measure;
use crate::report::Run;
use crate::servers::{self, Ends};
use rowferry_testkit::{Database, Rowferry, Running};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::Client;

/// How often the target is asked whether the end is there.
const POLL: Duration = Duration::from_millis(5);
/// A drain that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(900);
/// Holds the end's marker: one row, inserted after everything else.
const MARKER: &str = "CREATE TABLE done (id int PRIMARY KEY)";

/// Who replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// PostgreSQL's own subscription, with its defaults.
    Native,
    /// rowferry into PostgreSQL.
    Rowferry,
    /// rowferry into an SQLite file.
    RowferrySqlite,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Rowferry => "rowferry",
            Self::RowferrySqlite => "rowferry_sqlite",
        }
    }
}

/// A backlog and everything that it takes to replay it.
pub(crate) struct Replay {
    native: Database,
    copy: Database,
    to_postgres: Rowferry,
    to_sqlite: Option<Rowferry>,
    start: TempDir,
    pub(crate) ends: Ends,
    load: Load,
    row_bytes: f64,
    expected: String,
    /// The source's log reaches to here once the backlog is made.
    end_lsn: String,
    /// Held: each has a transaction open.
    open: Vec<Client>,
}

/// A run that has begun.
pub(crate) struct Begun<'a> {
    pub(crate) process: Option<Running<'a>>,
    who: Who,
}

impl Replay {
    /// Makes both ends, the start, and then the backlog. `sqlite`: also for [`Who::RowferrySqlite`].
    pub(crate) async fn prepare(binary: &Path, load: Load, sqlite: bool) -> Self {
        let ends = Ends::start();
        let source = &ends.source_database;
        let (native, copy) = (ends.target.create_database("native"), ends.target.create_database("rowferry"));
        source.execute("CREATE SCHEMA apart; CREATE TABLE apart.unpublished (id int)").await;
        for database in [source, &native] {
            make_tables(database, &load).await;
        }
        source.execute(&format!("CREATE PUBLICATION bench FOR TABLE {}, done", load.tables.join(", "))).await;
        let postgres = format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url());
        let to_postgres = pipeline(binary, source, Who::Rowferry, &postgres, "");
        to_postgres.run_until_caught_up();
        let to_sqlite = sqlite.then(|| {
            let target = r#"{ kind = "sqlite", path = "state/target.db" }"#;
            let rowferry = pipeline(binary, source, Who::RowferrySqlite, target, "");
            std::fs::create_dir_all(rowferry.path("state")).expect("create the state's folder");
            rowferry.run_until_caught_up();
            rowferry
        });
        // Nothing was written since rowferry's slot was made: what it keeps is right for all of them.
        source.execute("SELECT pg_copy_logical_replication_slot('rowferry', 'base')").await;
        subscribe(&native, source).await;
        let row_bytes = source.value(&load.row_bytes_sql).await.parse().expect("a number of bytes");
        let start = tempfile::Builder::new().prefix("rowferry-bench-").tempdir().expect("create a folder");
        let (expected, end_lsn, open) = (String::new(), String::new(), Vec::new());
        let mut this =
            Self { native, copy, to_postgres, to_sqlite, start, ends, load, row_bytes, expected, end_lsn, open };
        this.keep_start().await;
        this.open = open_transactions(&this.ends.source_database, this.load.open_transactions).await;
        this.make_backlog().await;
        this
    }

    /// Copies the target's data directory and the states as they are now.
    async fn keep_start(&self) {
        for database in [&self.native, &self.copy] {
            database.execute("VACUUM ANALYZE").await;
        }
        self.native.execute("CHECKPOINT").await;
        self.ends.target.stop();
        servers::replace_folder(&self.ends.target.data_dir(), &self.start.path().join("target"));
        self.ends.target.start_again();
        for (who, rowferry) in
            [(Who::Rowferry, Some(&self.to_postgres)), (Who::RowferrySqlite, self.to_sqlite.as_ref())]
        {
            if let Some(rowferry) = rowferry {
                servers::replace_folder(&rowferry.path("state"), &self.start.path().join(who.name()));
            }
        }
    }

    async fn make_backlog(&mut self) {
        let source = &self.ends.source_database;
        let client = source.client().await;
        let began = Instant::now();
        client.batch_execute("SET synchronous_commit = off").await.expect("set up the load");
        if !self.load.changes_sql.is_empty() {
            for sql in &self.load.changes_sql {
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?} in: {sql}"));
            }
            client
                .batch_execute("SET synchronous_commit = on; INSERT INTO done VALUES (1)")
                .await
                .expect("end the load");
        }
        println!("  backlog of {} changes made in {:.1} s", self.load.changes, began.elapsed().as_secs_f64());
        self.end_lsn = source.value("SELECT pg_current_wal_lsn()").await;
        self.expected = servers::checksum(source, &self.load.tables).await;
    }

    /// Puts the start back, replays, and compares both ends.
    pub(crate) async fn run(&self, who: Who) -> Run {
        self.restore(who).await;
        let cpu_before = self.ends.cpu(None);
        let began = Instant::now();
        let begun = self.begin(who).await;
        self.wait_for_end(&begun).await;
        let seconds = began.elapsed().as_secs_f64();
        let pid = begun.process.as_ref().map(Running::pid);
        let cpu = self.ends.cpu(pid).since(cpu_before);
        let peak_kib = pid.map(measure::peak_memory_kib);
        self.finish(begun).await;
        self.compare(who).await;
        let run = Run {
            who: who.name().to_owned(),
            seconds,
            rows: self.load.changes,
            row_bytes: self.row_bytes,
            cpu,
            peak_kib,
        };
        println!("  {run}");
        run
    }

    /// Puts the start back; afterwards the slot of this contender stands at it.
    pub(crate) async fn restore(&self, who: Who) {
        self.ends.target.stop();
        servers::replace_folder(&self.start.path().join("target"), &self.ends.target.data_dir());
        self.ends.target.start_again();
        if let Some(rowferry) = self.rowferry(who) {
            servers::replace_folder(&self.start.path().join(who.name()), &rowferry.path("state"));
        }
        for other in [Who::Native, Who::Rowferry, Who::RowferrySqlite] {
            self.ends.drop_slot(other.name()).await;
        }
        self.copy_slot(who.name()).await;
        self.ends.settle(&self.native).await;
    }

    /// Makes a slot that stands at the start.
    pub(crate) async fn copy_slot(&self, name: &str) {
        let sql = format!("SELECT pg_copy_logical_replication_slot('base', '{name}')");
        self.ends.source_database.execute(&sql).await;
    }

    pub(crate) async fn begin(&self, who: Who) -> Begun<'_> {
        match self.rowferry(who) {
            None => {
                self.native.execute("ALTER SUBSCRIPTION native ENABLE").await;
                Begun { process: None, who }
            }
            Some(rowferry) => Begun { process: Some(rowferry.spawn_run()), who },
        }
    }

    async fn wait_for_end(&self, begun: &Begun<'_>) {
        let deadline = Instant::now() + PATIENCE;
        let mut target = Polled::open(self, begun.who).await;
        while !target.has_end().await {
            if let Some(process) = &begun.process {
                assert!(!measure::has_ended(process.pid()), "rowferry ended: {}", process.stderr());
            }
            let said = begun.process.as_ref().map(Running::stderr).unwrap_or_default();
            assert!(Instant::now() < deadline, "{} does not come to the end: {said}", begun.who.name());
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn finish(&self, begun: Begun<'_>) {
        match begun.process {
            None => self.native.execute("ALTER SUBSCRIPTION native DISABLE").await,
            Some(process) => drop(process.sigterm()),
        }
    }

    /// A figure of a run that lost something is none.
    pub(crate) async fn compare(&self, who: Who) {
        match who {
            Who::Native | Who::Rowferry => {
                let there = servers::checksum(self.target(who), &self.load.tables).await;
                assert_eq!(there, self.expected, "the target of {} differs from the source", who.name());
            }
            Who::RowferrySqlite => {
                let rowferry = self.rowferry(who).expect("a rowferry");
                rowferry.command(&["verify"]).expect_code(0);
            }
        }
    }

    /// The database that a contender writes to, if it is one of PostgreSQL.
    pub(crate) fn target(&self, who: Who) -> &Database {
        if who == Who::Native { &self.native } else { &self.copy }
    }

    fn rowferry(&self, who: Who) -> Option<&Rowferry> {
        match who {
            Who::Native => None,
            Who::Rowferry => Some(&self.to_postgres),
            Who::RowferrySqlite => Some(self.to_sqlite.as_ref().expect("prepared for SQLite")),
        }
    }

    pub(crate) fn end_lsn(&self) -> &str {
        &self.end_lsn
    }

    pub(crate) fn changes(&self) -> u64 {
        self.load.changes
    }

    pub(crate) fn row_bytes(&self) -> f64 {
        self.row_bytes
    }
}

/// A target that is asked for the marker.
enum Polled {
    Postgres(Client, tokio_postgres::Statement),
    Sqlite(std::path::PathBuf),
}

impl Polled {
    async fn open(replay: &Replay, who: Who) -> Self {
        if who == Who::RowferrySqlite {
            return Self::Sqlite(replay.rowferry(who).expect("a rowferry").path("state/target.db"));
        }
        let client = replay.target(who).client().await;
        let statement = client.prepare("SELECT id FROM done").await.expect("prepare a question to the target");
        Self::Postgres(client, statement)
    }

    async fn has_end(&mut self) -> bool {
        match self {
            Self::Postgres(client, statement) => {
                !client.query(&*statement, &[]).await.expect("ask the target").is_empty()
            }
            Self::Sqlite(path) => {
                let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
                let count = rusqlite::Connection::open_with_flags(path, flags)
                    .and_then(|file| file.query_row("SELECT count(*) FROM done", [], |row| row.get::<_, i64>(0)));
                // The file is busy for a moment while its writer opens it.
                count.is_ok_and(|count| count > 0)
            }
        }
    }
}

/// A subscription that does nothing yet and takes both ends to be the same now.
async fn subscribe(native: &Database, source: &Database) {
    let subscribe = format!(
        "CREATE SUBSCRIPTION native CONNECTION '{}' PUBLICATION bench \
         WITH (slot_name = 'native', create_slot = false, enabled = false, copy_data = false)",
        source.url()
    );
    native.execute(&subscribe).await;
    let states = "SELECT string_agg(DISTINCT srsubstate::text, '') FROM pg_subscription_rel";
    assert_eq!(native.value(states).await, "r", "states of the subscription's tables");
}

async fn make_tables(database: &Database, load: &Load) {
    database.execute(&format!("{}; {MARKER}", load.tables_sql)).await;
    for sql in &load.rows_sql {
        database.execute(sql).await;
    }
    database.execute("VACUUM ANALYZE").await;
}

/// A folder with a pipeline, slot and publication given. Everything that has to go back to the start is in `state`.
pub(crate) fn pipeline(binary: &Path, source: &Database, who: Who, target: &str, more: &str) -> Rowferry {
    let config = format!(
        "state_dir = \"state\"\n\
         [pipeline.bench]\n\
         source = {{ kind = \"postgres\", url = \"{}\", slot = \"{}\", publication = \"bench\" }}\n\
         target = {target}\n\
         tables = [\"public.*\"]\n\
         {more}\n",
        source.url(),
        who.name()
    );
    Rowferry::new(binary, &config).patience(PATIENCE)
}

async fn open_transactions(source: &Database, number: usize) -> Vec<Client> {
    let mut open = Vec::new();
    for _ in 0..number {
        let client = source.client().await;
        client.batch_execute("BEGIN; INSERT INTO apart.unpublished VALUES (1)").await.expect("open a transaction");
        open.push(client);
    }
    open
}
