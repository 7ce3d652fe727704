//! The workload keeps its own promises where nothing is in between, and its reader sees what breaks them.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::chaos::{Chaos, Plan, Report, Status, TABLES};
use rowferry_testkit::{End, Mysql, Postgres, Random};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Says that everything streams.
fn streaming(folder: &tempfile::TempDir) -> Status {
    let tables: Vec<_> = TABLES
        .iter()
        .map(|name| format!(r#"{{"name":"public.{name}","state":"streaming","rows_copied":0}}"#))
        .collect();
    let binary = folder.path().join("status");
    let script = format!("#!/bin/sh\necho '{{\"pipelines\":[{{\"tables\":[{}]}}]}}'\n", tables.join(","));
    fs::write(&binary, script).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    Status { config: "none".into(), binary }
}

fn plan(transactions: u64) -> Plan {
    Plan {
        transactions,
        large_every: 60,
        large_rows: 5000,
        ddl_every: 20,
        pause_ms: 0,
        ..Plan::new(Random::from_env().number())
    }
}

/// The source is its own target; `spoil` is run there in the end, while it is still looked at.
async fn run(source: End, transactions: u64, spoil: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let target = End::at(&source.url());
    let chaos = Chaos::prepare(source, target, plan(transactions)).await;
    let mut traffic = chaos.start(streaming(&folder));
    traffic.wait_written().await;
    if !spoil.is_empty() {
        chaos.source().execute(spoil).await;
    }
    chaos.finish(traffic, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_postgres_keeps_the_invariants() {
    let report = run(End::Postgres(Postgres::shared().create_database("chaos")), 200, "").await;
    report.expect_clean();
    assert_eq!((report.written.transactions, report.written.ddl), (600, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_mysql_keeps_the_invariants() {
    let report = run(End::Mysql(Mysql::shared().create_database("chaos")), 200, "").await;
    report.expect_clean();
    assert_eq!((report.written.transactions, report.written.ddl), (600, 5));
}

/// Each of these would be the work of a target that lost, repeated, tore or mixed something.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_an_invariant_is_seen() {
    for (spoil, seen) in [
        ("UPDATE accounts_a SET balance = balance + 1 WHERE no = 7", "the money of all accounts"),
        ("INSERT INTO ledger (writer, side, account, amount) VALUES (1, 'b', 3, 0)", "entries are counted"),
        ("UPDATE mirror SET ticks = ticks - 1 WHERE id = 0", "counters move together"),
        ("DELETE FROM items WHERE order_id = (SELECT min(order_id) FROM items)", "an order is the sum"),
        ("UPDATE documents SET body = 'of another row' WHERE no = (SELECT min(no) FROM documents)", "has its own body"),
        ("DELETE FROM slots WHERE id = 3", "slots have each code once"),
        ("INSERT INTO scratch VALUES (-1, -1, ''), (-2, -2, '')", "scratch is of one round"),
        ("INSERT INTO batches VALUES (-1, 1)", "a batch is whole"),
        ("UPDATE counters SET ticks = -5 WHERE writer = 2", "went back"),
    ] {
        let report = run(End::Postgres(Postgres::shared().create_database("chaos")), 10, spoil).await;
        let broken = report.seen.broken.join("\n");
        assert!(broken.contains(seen), "{spoil}: {broken}");
    }
}
