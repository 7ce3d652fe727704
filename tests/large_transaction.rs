//! A transaction of 5 million rows arrives at once, in bounded memory.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Postgres, Rowferry, config};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROWS: u64 = 5_000_000;

/// With the default budget of 64 MiB the process stays under 256 MiB, and a reader of the target sees none of the rows or
/// all of them.
#[tokio::test(flavor = "multi_thread")]
async fn five_million_rows_in_one_transaction() {
    let server = Postgres::shared();
    let (source, copy) = (server.create_database("large_source"), Arc::new(server.create_database("large_target")));
    source.execute("CREATE TABLE rows (id int PRIMARY KEY, n int)").await;
    let more = "memory = \"64MiB\"";
    let rowferry =
        Rowferry::new(env!("CARGO_BIN_EXE_rowferry"), &config::pipeline(&source, &config::postgres(&copy), more))
            .patience(Duration::from_secs(400));
    rowferry.run_until_caught_up();

    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    let done = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(read_until(copy.clone(), done.clone(), looks.clone()));
    let began = Instant::now();
    source.execute(&format!("INSERT INTO rows SELECT g, -g FROM generate_series(1, {ROWS}) g")).await;
    println!("written in {:.1?}", began.elapsed());
    running.wait_status("the rows applied", |pipeline| pipeline["tables"][0]["rows_applied"].as_u64() >= Some(ROWS));
    println!("applied after {:.1?}", began.elapsed());
    let peak_kib = running.peak_memory_kib();
    running.sigterm().expect_code(0);
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();

    assert!(looks.load(Ordering::Relaxed) > 5, "nobody looked while the rows arrived");
    assert_eq!(copy.value("SELECT count(*) || ' ' || sum(id) || ' ' || sum(n) FROM rows").await, sums());
    println!("peak memory {} MiB", peak_kib / 1024);
    assert!(peak_kib < 256 * 1024, "{} MiB at the most", peak_kib / 1024);
}

fn sums() -> String {
    let sum = ROWS * (ROWS + 1) / 2;
    format!("{ROWS} {sum} -{sum}")
}

/// Both ends of the key and its middle are there together or not at all: three looks into an index, one snapshot.
async fn read_until(copy: Arc<rowferry_testkit::Database>, done: Arc<AtomicBool>, looks: Arc<AtomicU64>) {
    let client = copy.client().await;
    let sql = format!("SELECT count(*) FROM rows WHERE id IN (1, {}, {ROWS})", ROWS / 2);
    while !done.load(Ordering::Relaxed) {
        let seen: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert!(seen == 0 || seen == 3, "a part of the transaction was visible: {seen} of 3 rows");
        looks.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
