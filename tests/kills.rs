//! kill -9 in a snapshot repeats parts of it and never loses any; keys that move meanwhile. Kills under traffic are in `chaos.rs`.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::{Postgres, Rowferry, config};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

fn figure(pipeline: &serde_json::Value, name: &str) -> u64 {
    pipeline["tables"].as_array().unwrap().iter().map(|table| table[name].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_killed_at_half_goes_on_from_there_into_postgres() {
    let copy = Postgres::shared().create_database("kill_target");
    kill_in_the_snapshot(&config::postgres(&copy), |_| Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_killed_at_half_goes_on_from_there_into_sqlite() {
    kill_in_the_snapshot(config::SQLITE, Target::Sqlite).await;
}

async fn kill_in_the_snapshot<'a>(target: &str, open: impl Fn(&'a Path) -> Target<'a>) {
    const ROWS: u64 = 300_000;
    const SLICE_ROWS: u64 = 5_000;
    let source = Postgres::shared().create_database("kill_source");
    source
        .execute(&format!(
            "CREATE TABLE big (id int PRIMARY KEY, v text, at timestamptz);
             INSERT INTO big SELECT g, repeat(md5(g::text), 8), now() FROM generate_series(1, {ROWS}) g;
             CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small SELECT generate_series(1, 1000); ANALYZE"
        ))
        .await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, target, &format!("slice_rows = {SLICE_ROWS}")));
    let mut seen = 0;
    for parts in [5, 20] {
        let mut running = rowferry.spawn_run();
        let under_way = |pipeline: &serde_json::Value| figure(pipeline, "slices_done") >= seen + parts;
        let status = running.wait_status("parts copied", under_way);
        let (done, total) = (figure(&status, "slices_done"), figure(&status, "slices_total"));
        assert!(done < total, "the copy was over before it could be killed: {done} of {total} parts");
        running.kill9();
        let (code, stopped) = rowferry.json(&["status"]);
        assert_eq!(code, 3, "what does not run is not healthy");
        seen = figure(&stopped["pipelines"][0], "slices_done");
        assert!(seen >= done, "{seen} parts are known after the kill, {done} before it");
    }
    let file = Box::leak(rowferry.path("target.db").into_boxed_path());
    rowferry.run_until_caught_up();
    let (_, status) = rowferry.json(&["status"]);
    let copied = figure(&status["pipelines"][0], "rows_copied");
    // What was on its way when it was killed is copied twice: a few parts, not everything.
    assert!(copied <= ROWS + 1000 + 10 * SLICE_ROWS, "{copied} rows copied for {ROWS}");
    assert_same(&source, open(file)).await;
    rowferry.command(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_move_while_a_table_is_copied_into_postgres() {
    let copy = Postgres::shared().create_database("move_target");
    move_keys(&config::postgres(&copy), |_| Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_move_while_a_table_is_copied_into_sqlite() {
    move_keys(config::SQLITE, Target::Sqlite).await;
}

/// Every row goes to its neighbour's key, again and again, with a large value that the log does not repeat: where a slice has
/// a later row under the old key, the value must not go on with the wrong one.
async fn move_keys<'a>(target: &str, open: impl Fn(&'a Path) -> Target<'a>) {
    let source = Arc::new(Postgres::shared().create_database("move_source"));
    source
        .execute(
            "CREATE TABLE moving (id int PRIMARY KEY, big text, n int);
             ALTER TABLE moving ALTER big SET STORAGE EXTERNAL;
             INSERT INTO moving SELECT g, repeat(md5(g::text), 80), 0 FROM generate_series(1, 1000) g; ANALYZE",
        )
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (source, stop) = (source.clone(), stop.clone());
        async move {
            let client = source.client().await;
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) && rounds < 1000 {
                let shift = "BEGIN; UPDATE moving SET id = -id; UPDATE moving SET id = 1 - id WHERE id > -1000;
                             UPDATE moving SET id = 1 WHERE id = -1000; COMMIT";
                client.batch_execute(shift).await.unwrap();
                rounds += 1;
            }
            rounds
        }
    });
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, target, "slice_rows = 50"));
    let mut running = rowferry.spawn_run();
    running.wait_status("half of the parts", |pipeline| {
        let (done, total) = (figure(pipeline, "slices_done"), figure(pipeline, "slices_total"));
        total > 0 && done * 2 > total
    });
    stop.store(true, Ordering::Relaxed);
    println!("{} rounds of keys moved", writer.await.unwrap());
    running.wait_streaming();
    running.sigterm();
    rowferry.run_until_caught_up();
    let file = Box::leak(rowferry.path("target.db").into_boxed_path());
    assert_same(&source, open(file)).await;
}
