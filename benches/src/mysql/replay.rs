//! One backlog in a server's log, replayed many times from the same start.
//!
//! The start is a copy of the target server's data directory and of rowferry's state, both taken before the backlog was made.

use super::{Shop, finished};
use crate::measure::{self, Cpu};
use crate::report::Run;
use crate::servers;
use rowferry_testkit::mysql_async::Conn;
use rowferry_testkit::mysql_async::prelude::Queryable;
use rowferry_testkit::{Database, Mysql, Postgres, Rowferry, Running};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often the target is asked whether the end is there.
const POLL: Duration = Duration::from_millis(5);
/// A drain that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(900);

/// What makes a backlog.
pub(super) struct Load {
    /// Rows that are there before.
    pub(super) rows: u64,
    /// A statement with `i`, and how often it runs.
    pub(super) body: String,
    pub(super) times: u64,
    pub(super) changes: u64,
}

/// The server that is written to.
pub(super) enum Copy {
    Postgres(Database, Postgres),
    /// The same names as at the source, so that a replica of it can write them too.
    Mariadb(Mysql),
}

impl Copy {
    fn stop(&self) {
        match self {
            Self::Postgres(_, server) => server.stop(),
            Self::Mariadb(server) => server.stop(),
        }
    }

    fn start_again(&self) {
        match self {
            Self::Postgres(_, server) => server.start_again(),
            Self::Mariadb(server) => server.start_again(),
        }
    }

    fn data_dir(&self) -> PathBuf {
        match self {
            Self::Postgres(_, server) => server.data_dir(),
            Self::Mariadb(server) => server.data_dir(),
        }
    }

    fn cpu(&self) -> f64 {
        measure::cpu_of_tree(match self {
            Self::Postgres(_, server) => server.pid(),
            Self::Mariadb(server) => server.pid(),
        })
    }

    fn config(&self) -> String {
        match self {
            Self::Postgres(database, _) => format!("{{ kind = \"postgres\", url = \"{}\" }}", database.url()),
            Self::Mariadb(server) => format!("{{ kind = \"mysql\", url = \"{}\" }}", server.url("")),
        }
    }
}

/// A backlog and everything that it takes to replay it.
pub(super) struct Replay {
    rowferry: Rowferry,
    start: TempDir,
    pub(super) copy: Copy,
    pub(super) shop: Shop,
    pub(super) row_bytes: f64,
    pub(super) changes: u64,
    sums: String,
}

impl Replay {
    /// Fills the source, copies it, keeps that as the start; `before_backlog` is told of it, and then the backlog is made.
    pub(super) async fn prepare(
        binary: &Path,
        shop: Shop,
        copy: Copy,
        load: &Load,
        before_backlog: impl AsyncFnOnce(&Shop, &Copy),
    ) -> Self {
        if load.rows > 0 {
            shop.fill(load.rows).await;
        }
        let config = format!(
            "state_dir = \"state\"\n[pipeline.bench]\nsource = {{ kind = \"mysql\", url = \"{}\", zero_dates = \"halt\" }}\n\
             target = {}\ntables = [\"{name}.t\", \"{name}.done\"]\n",
            shop.source.url(),
            copy.config(),
            name = shop.source.name()
        );
        let rowferry = Rowferry::new(binary, &config).patience(PATIENCE);
        rowferry.run_until_caught_up();
        before_backlog(&shop, &copy).await;
        let start = tempfile::Builder::new().prefix("rowferry-bench-").tempdir().expect("create a folder");
        copy.stop();
        servers::replace_folder(&copy.data_dir(), &start.path().join("target"));
        copy.start_again();
        servers::replace_folder(&rowferry.path("state"), &start.path().join("state"));
        let began = Instant::now();
        shop.repeat(load.times, &load.body).await;
        shop.source.execute("INSERT INTO done VALUES (1)").await;
        println!("  backlog of {} changes made in {:.1} s", load.changes, began.elapsed().as_secs_f64());
        let (row_bytes, sums) = (shop.row_bytes().await, shop.sums().await);
        Self { rowferry, start, copy, shop, row_bytes, changes: load.changes, sums }
    }

    /// Puts the start back.
    fn restore(&self) {
        self.copy.stop();
        servers::replace_folder(&self.start.path().join("target"), &self.copy.data_dir());
        self.copy.start_again();
        servers::replace_folder(&self.start.path().join("state"), &self.rowferry.path("state"));
        servers::sync();
    }

    /// rowferry, from the start of its process until the last row is visible at the target.
    pub(super) async fn rowferry(&self, who: &str) -> Run {
        self.restore();
        let (source, target) = (self.shop.cpu(), self.copy.cpu());
        let began = Instant::now();
        let process = self.rowferry.spawn_run();
        self.wait_for_end(Some(&process)).await;
        let cpu = Cpu {
            program: measure::cpu_of_process(process.pid()),
            source: self.shop.cpu() - source,
            target: self.copy.cpu() - target,
        };
        let peak_kib = measure::peak_memory_kib(process.pid());
        let run = finished(who, began, self.changes, self.row_bytes, cpu, Some(peak_kib));
        process.sigterm().expect_code(0);
        self.compare().await;
        run
    }

    /// The target by itself, once it is told to begin.
    pub(super) async fn native(&self, begin: &str) -> Run {
        let Copy::Mariadb(server) = &self.copy else { panic!("only MariaDB replicates by itself") };
        self.restore();
        let (source, target) = (self.shop.cpu(), self.copy.cpu());
        let began = Instant::now();
        server.execute(begin).await;
        self.wait_for_end(None).await;
        let cpu = Cpu { program: 0.0, source: self.shop.cpu() - source, target: self.copy.cpu() - target };
        let run = finished("native", began, self.changes, self.row_bytes, cpu, None);
        server.execute("STOP SLAVE").await;
        self.compare().await;
        run
    }

    /// What rowferry holds ten seconds after it has nothing more to do.
    pub(super) async fn idle(&self) -> f64 {
        let mut process = self.rowferry.spawn_run();
        process.wait_streaming();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let kib = measure::memory_kib(process.pid());
        process.sigterm().expect_code(0);
        kib as f64 / 1024.0
    }

    async fn wait_for_end(&self, process: Option<&Running<'_>>) {
        let deadline = Instant::now() + PATIENCE;
        let mut polled = Polled::open(&self.copy, self.shop.source.name()).await;
        while !polled.has_end().await {
            if let Some(process) = process {
                assert!(!measure::has_ended(process.pid()), "rowferry ended: {}", process.stderr());
            }
            let said = process.map(Running::stderr).unwrap_or_default();
            assert!(Instant::now() < deadline, "the end does not come: {said}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn compare(&self) {
        let schema = self.shop.source.name();
        let there = match &self.copy {
            Copy::Postgres(database, _) => database.value(&super::sums_in_postgres(schema)).await,
            Copy::Mariadb(server) => {
                let mut client = Conn::from_url(server.url(schema)).await.expect("connect to the target");
                client.query_first(super::sums()).await.expect("ask the target").expect("an answer")
            }
        };
        assert_eq!(there, self.sums, "the target differs from the source");
    }
}

/// A target that is asked for the last row.
enum Polled {
    Postgres(tokio_postgres::Client, String),
    Mariadb(Conn, String),
}

impl Polled {
    async fn open(copy: &Copy, schema: &str) -> Self {
        let sql = format!("SELECT count(*) FROM {schema}.done");
        match copy {
            Copy::Postgres(database, _) => Self::Postgres(database.client().await, sql),
            Copy::Mariadb(server) => {
                Self::Mariadb(Conn::from_url(server.url("")).await.expect("connect to the target"), sql)
            }
        }
    }

    async fn has_end(&mut self) -> bool {
        let count: i64 = match self {
            Self::Postgres(client, sql) => client.query_one(sql.as_str(), &[]).await.expect("ask the target").get(0),
            Self::Mariadb(client, sql) => {
                client.query_first(sql.as_str()).await.expect("ask the target").expect("a count")
            }
        };
        count > 0
    }
}
