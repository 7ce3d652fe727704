//! kill -9 at any moment under a workload that checks itself, from each kind of source into each kind of target: no state of
//! the target is one that the source never had, nothing goes back, and in the end both ends are the same.
//!
//! `ROWFERRY_LONG=1` kills 204 times instead of 36 times.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::chaos::{Chaos, Plan, Status};
use rowferry_testkit::{End, Kind, Random, Rowferry, is_long};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
/// A batch with a swap of unique values is applied row by row, which takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_postgres_into_postgres() {
    kill(Kind::Postgres, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_postgres_into_sqlite() {
    kill(Kind::Postgres, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_postgres_into_mysql() {
    kill(Kind::Postgres, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_mysql_into_postgres() {
    kill(Kind::Mysql, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_mysql_into_sqlite() {
    kill(Kind::Mysql, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_from_mysql_into_mysql() {
    kill(Kind::Mysql, Kind::Mysql).await;
}

async fn kill(source: Kind, target: Kind) {
    let kills = if is_long() { 34 } else { 6 };
    let mut random = Random::from_env();
    let rowferry = Rowferry::new(BINARY, "").patience(PATIENCE);
    // Writers that do not wait for a target that is killed all the time would leave it more and more to do.
    let plan = Plan { transactions: 60 * kills, ..Plan::new(random.number()) };
    let end = |kind| End::create(kind, "chaos", rowferry.path("target.db"));
    let chaos = Chaos::prepare(end(source), end(target), plan).await;
    // What a killed process left unread is a backlog for the next one, and so is what the copies keep waiting.
    let backlog = if source == Kind::Postgres { ", backlog = \"256KiB\"" } else { "" };
    let (from, into) = (chaos.source().url(), chaos.target().url());
    rowferry.set_config(&chaos.config(&from, &into, backlog, "slice_rows = 1000\nmemory = \"8MiB\""));
    let mut traffic = chaos.start(Status { binary: BINARY.into(), config: rowferry.path("rowferry.toml") });
    for kill in 0..kills {
        let mut running = rowferry.spawn_run();
        // One in two comes some time after tables stream, the others whenever.
        let lives_ms = if kill % 2 == 1 {
            running.wait_streaming();
            1000 + random.below(2000)
        } else {
            30 + random.below(1200)
        };
        tokio::time::sleep(Duration::from_millis(lives_ms)).await;
        rowferry.refuse_errors(&running.kill9().stderr);
    }
    traffic.stop_writing().await;
    rowferry.run_until_caught_up();
    chaos.finish(traffic, kills).await.expect_clean();
    rowferry.command(&["verify"]).expect_code(0);
}
