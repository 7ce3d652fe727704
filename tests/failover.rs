//! A standby of PostgreSQL takes its primary's place: from version 17 on it has the slot, and rowferry goes on there.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, differences, source_tables};
use rowferry_testkit::{Database, Postgres, Rowferry, config};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

fn rows_copied(rowferry: &Rowferry) -> u64 {
    let (_, status) = rowferry.json(&["status"]);
    let tables = status["pipelines"][0]["tables"].as_array().unwrap().clone();
    tables.iter().map(|table| table["rows_copied"].as_u64().unwrap()).sum()
}

/// Waits until this is true at the standby.
async fn wait(standby: &Database, sql: &str, meanwhile: impl AsyncFn()) {
    let until = Instant::now() + Duration::from_secs(120);
    while standby.query_text(sql).await != [[Some("t".to_owned())]] {
        assert!(Instant::now() < until, "not so at the standby: {sql}");
        meanwhile().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_goes_on_with_the_slot() {
    let primary = Postgres::start(&[]);
    let source = primary.create_database("failover");
    if source.value("SHOW server_version_num").await.parse::<u32>().unwrap() < 170_000 {
        println!("skipped: slots are known to standbys from PostgreSQL 17 on (ROWFERRY_PG_BIN)");
        return;
    }
    source
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 500) g",
        )
        .await;
    let standby = tokio::task::block_in_place(|| primary.standby());
    let promoted = Database::at(&standby.url(source.name()));
    let config_at = |url: &str| config::pipeline_from(url, source.name(), config::SQLITE, "");
    let rowferry = Rowferry::new(BINARY, &config_at(&source.url()));
    rowferry.run_until_caught_up();
    let slot = format!("FROM pg_replication_slots WHERE slot_name = '{}'", source.name());
    assert_eq!(source.value(&format!("SELECT failover {slot}")).await, "t");
    let copied = rows_copied(&rowferry);

    // The standby keeps a copy once the slot has moved on from what it knew when it was begun.
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    let is_kept = format!("SELECT synced AND NOT temporary {slot}");
    wait(&promoted, &is_kept, async || {
        source.execute("UPDATE t SET v = v || '.' WHERE id = 1; SELECT pg_log_standby_snapshot()").await;
    })
    .await;
    running.sigterm();
    source.execute("UPDATE t SET v = 'unread' WHERE id <= 100; DELETE FROM t WHERE id = 500").await;
    wait(&promoted, "SELECT count(*) = 499 FROM t", async || ()).await;
    tokio::task::block_in_place(|| primary.stop());
    tokio::task::block_in_place(|| standby.promote());
    promoted.execute("INSERT INTO t VALUES (1000, 'written after the failover')").await;
    rowferry.set_config(&config_at(&promoted.url()));
    rowferry.run_until_caught_up();
    let file = rowferry.path("target.db");
    let pairs = source_tables(&promoted, &Target::Sqlite(&file)).await;
    assert_eq!(differences(&promoted, Target::Sqlite(&file), &pairs).await, Vec::<String>::new());
    assert_eq!(rows_copied(&rowferry), copied, "nothing is copied again");
    rowferry.command(&["verify"]).expect_code(0);
}
