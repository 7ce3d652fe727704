//! A pipeline between two private servers, each behind a proxy, under the workload.

use rowferry_testkit::chaos::{Chaos, Plan, Status, Traffic};
use rowferry_testkit::{End, Kind, Link, Mysql, Postgres, Proxy, Random, Rowferry, Running};
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

/// How long the target may take to hold what the source holds, once nothing is in its way.
const PATIENCE: Duration = Duration::from_secs(120);

/// A private server of either kind.
pub(crate) enum Server {
    Postgres(Postgres),
    Mysql(Mysql),
}

impl Server {
    fn start(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::start(&[("wal_sender_timeout", "10s")])),
            Kind::Mysql => Self::Mysql(Mysql::start(&["--innodb-lock-wait-timeout=2"])),
            Kind::Sqlite => panic!("SQLite has no server"),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::Mysql(server) => server.port(),
        }
    }

    fn end(&self) -> End {
        match self {
            Self::Postgres(server) => End::Postgres(server.create_database("chaos")),
            Self::Mysql(server) => End::Mysql(server.create_database("chaos")),
        }
    }

    pub(crate) fn stop(&self) {
        match self {
            Self::Postgres(server) => server.stop(),
            Self::Mysql(server) => server.stop(),
        }
    }

    pub(crate) fn kill(&self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::Mysql(server) => server.kill(),
        }
    }

    pub(crate) fn start_again(&self) {
        match self {
            Self::Postgres(server) => server.start_again(),
            Self::Mysql(server) => server.start_again(),
        }
    }
}

/// One end: its server, if it has one, and the proxy before it.
pub(crate) struct Place {
    pub(crate) server: Option<Server>,
    proxy: Option<Proxy>,
}

impl Place {
    fn start(kind: Kind) -> Self {
        let server = (kind != Kind::Sqlite).then(|| Server::start(kind));
        let proxy = server.as_ref().map(|server| Proxy::to(server.port()));
        Self { server, proxy }
    }

    fn url(&self, end: &End) -> String {
        self.proxy.as_ref().map_or_else(|| end.url(), |proxy| proxy.url(&end.url()))
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("an end with a server")
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("an end with a server")
    }
}

/// What both ends stand on. Dropped last.
pub(crate) struct Scene {
    pub(crate) rowferry: Rowferry,
    pub(crate) source: Place,
    pub(crate) target: Place,
    pub(crate) chaos: Chaos,
    pub(crate) faults: u64,
}

impl Scene {
    /// `more` stands in the pipeline's section; errors with one of these texts are expected.
    pub(crate) async fn set(source: Kind, target: Kind, more: &str, errors: &[&str]) -> Self {
        let rowferry = Rowferry::new(BINARY, "");
        let rowferry = errors.iter().fold(rowferry, |rowferry, error| rowferry.allow_error(error));
        Self::of(rowferry, source, target, more).await
    }

    /// The same for a program in a folder that is there.
    pub(crate) async fn of(rowferry: Rowferry, source: Kind, target: Kind, more: &str) -> Self {
        let (source, target) = (Place::start(source), Place::start(target));
        let there = match &target.server {
            Some(server) => server.end(),
            None => {
                std::fs::create_dir_all(rowferry.path("target")).unwrap();
                End::Sqlite(rowferry.path("target").join("copy.db"))
            }
        };
        // Slow enough for a machine that builds something else meanwhile: what is asked is whether it goes on, not how fast.
        let plan = Plan { writers: 2, large_rows: 5000, pause_ms: 40, ..Plan::new(Random::from_env().number()) };
        let chaos = Chaos::prepare(source.server().end(), there, plan).await;
        let (from, into) = (source.url(chaos.source()), target.url(chaos.target()));
        rowferry.set_config(&chaos.config(&from, &into, "", more));
        Self { rowferry, source, target, chaos, faults: 0 }
    }

    pub(crate) fn status(&self) -> Status {
        Status { binary: BINARY.into(), config: self.rowferry.path("rowferry.toml") }
    }

    pub(crate) fn start(&self) -> (Traffic, Running<'_>) {
        let traffic = self.chaos.start(self.status());
        let mut running = self.rowferry.spawn_run();
        running.wait_streaming();
        (traffic, running)
    }

    /// Waits until a running pipeline follows again. One that stopped has to have said why, and is started again.
    pub(crate) async fn goes_on<'a>(&'a self, mut running: Running<'a>, what: &str) -> Running<'a> {
        let began = Instant::now();
        let mut starts = 0;
        let written = self.chaos.written().await;
        while !self.chaos.holds(&written).await {
            if running.has_ended() {
                let ended = running.wait_exit();
                ended.expect_code(1).expect_stderr(&["error: "]);
                println!(
                    "{what}: stopped, {}",
                    ended.stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap()
                );
                starts += 1;
                assert!(starts < 4, "{what}: it stops again and again");
                running = self.rowferry.spawn_run();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: it does not go on: {}", running.stderr());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{what}: follows {:.1?} after", began.elapsed());
        running
    }

    /// Stops everything, catches up, and compares.
    pub(crate) async fn close(&self, mut traffic: Traffic, running: Running<'_>) {
        traffic.stop_writing().await;
        running.sigterm().expect_code(0);
        self.rowferry.run_until_caught_up();
        self.chaos.finish(traffic, self.faults).await.expect_clean();
        self.rowferry.command(&["verify"]).expect_code(0);
    }
}

/// Waits until something holds; panics after two minutes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Lets some traffic come, in whatever state the link is: there is nothing to wait for.
pub(crate) async fn meanwhile(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub(crate) fn open(proxy: &Proxy) {
    proxy.set(Link::Open);
}
