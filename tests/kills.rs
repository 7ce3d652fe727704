//! kill -9 at any moment repeats work and never loses any: in the snapshot, and under traffic.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, differences, source_tables};
use rowferry_testkit::{Database, Postgres, Random, Rowferry, config};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

fn figure(pipeline: &serde_json::Value, name: &str) -> u64 {
    pipeline["tables"].as_array().unwrap().iter().map(|table| table[name].as_u64().unwrap()).sum()
}

async fn assert_same(source: &Database, target: Target<'_>) {
    let pairs = source_tables(source, &target).await;
    let found = differences(source, target, &pairs).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
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
async fn random_kills_under_traffic_into_postgres() {
    let copy = Postgres::shared().create_database("kill_target");
    kill_at_random(&config::postgres(&copy), Some(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_under_traffic_into_sqlite() {
    kill_at_random(config::SQLITE, None).await;
}

async fn kill_at_random(target: &str, copy: Option<&Database>) {
    const KILLS: u32 = 15;
    let mut random = Random::from_env();
    let source = Arc::new(Postgres::shared().create_database("kill_source"));
    source.execute(TRAFFIC_TABLES).await;
    // What a killed process left unread is a backlog for the next one, and so is what the copies keep waiting.
    let config = config::pipeline(&source, target, "slice_rows = 2000");
    let rowferry = Rowferry::new(
        BINARY,
        &config.replacen("kind = \"postgres\", ", "kind = \"postgres\", backlog = \"64KiB\", ", 1),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3u64)
        .map(|writer| tokio::spawn(write(source.clone(), stop.clone(), Random::new(random.number() ^ writer))))
        .collect();
    for kill in 0..KILLS {
        let running = rowferry.spawn_run();
        tokio::time::sleep(Duration::from_millis(30 + random.below(900))).await;
        rowferry.refuse_errors(&running.kill9().stderr);
        if kill == KILLS / 2 {
            source.execute("ALTER TABLE accounts ADD added int NOT NULL DEFAULT 5").await;
        }
        // The first rounds may end inside the snapshot: from then on readers see only states that the source had.
        if kill == KILLS / 2 {
            rowferry.run_until_caught_up();
        }
        if kill >= KILLS / 2 {
            assert_eq!(sum_of_balances(copy, &rowferry).await, "100000.00", "after kill {kill}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    println!("{written} transactions written, {KILLS} kills");
    assert_eq!(
        source.value("SELECT sum(balance) FROM accounts").await,
        "100000.00",
        "the traffic keeps its own promise"
    );
    rowferry.run_until_caught_up();
    let file = rowferry.path("target.db");
    assert_same(&source, copy.map_or(Target::Sqlite(&file), Target::Postgres)).await;
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

const TRAFFIC_TABLES: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(12, 2) NOT NULL, note text, big text);
    ALTER TABLE accounts ALTER big SET STORAGE EXTERNAL;
    INSERT INTO accounts SELECT g, 100, 'n' || g, repeat('b', 3000) FROM generate_series(1, 1000) g;
    CREATE TABLE ledger (id bigserial PRIMARY KEY, account int, amount numeric(12, 2), at timestamptz DEFAULT now());
    INSERT INTO ledger (account, amount) SELECT g % 1000 + 1, 0 FROM generate_series(1, 30000) g;
    CREATE TABLE slots (id int PRIMARY KEY, code text UNIQUE);
    INSERT INTO slots SELECT g, 'c' || g FROM generate_series(1, 500) g;
    CREATE TABLE scratch (id int PRIMARY KEY, v text);
    ANALYZE";

/// Transfers keep the sum; beside them inserts, deletes, key changes, swaps of unique values, truncates, rollbacks.
async fn write(source: Arc<Database>, stop: Arc<AtomicBool>, mut random: Random) -> u64 {
    let client = source.client().await;
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let (a, b, c) = (1 + random.below(1000), 1 + random.below(1000), 1 + random.below(500));
        let statements = match random.below(10) {
            0..4 => format!(
                "UPDATE accounts SET balance = balance - 1.25, note = '{b}' WHERE id = {a};
                 UPDATE accounts SET balance = balance + 1.25 WHERE id = {b} AND EXISTS (SELECT FROM accounts WHERE id = {a});
                 DO $$ BEGIN IF (SELECT count(*) FROM accounts WHERE id IN ({a}, {b})) < 2 THEN RAISE 'undo'; END IF; END $$;
                 INSERT INTO ledger (account, amount) VALUES ({a}, -1.25), ({b}, 1.25)"
            ),
            4 => format!("UPDATE accounts SET id = id + 100000 WHERE id = {a}"),
            5 => "UPDATE accounts SET id = id - 100000 WHERE id > 100000".to_owned(),
            6 => format!(
                "UPDATE slots SET code = 'tmp' WHERE id = {c};
                 UPDATE slots SET code = 'c' || {c} || '-' || {a} WHERE id = {c} % 500 + 1;
                 UPDATE slots SET code = 'd' || {c} || '-' || {b} WHERE id = {c}"
            ),
            7 => format!("DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE account = {a} LIMIT 5)"),
            8 => format!("TRUNCATE scratch; INSERT INTO scratch SELECT g, 'v{a}' FROM generate_series(1, {c}) g"),
            _ => format!("UPDATE accounts SET big = repeat('{b}', 1000) WHERE id = {a}; UPDATE scratch SET id = -id WHERE id = {c}"),
        };
        // In one state of the source: an account that moves away and back between two statements would break the sum there too.
        // Deadlocks and the transfers that found no account are rolled back: that is traffic, too.
        if client.batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {statements}; COMMIT")).await.is_ok() {
            written += 1;
        } else {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    written
}

async fn sum_of_balances(copy: Option<&Database>, rowferry: &Rowferry) -> String {
    match copy {
        Some(copy) => copy.value("SELECT sum(balance) FROM accounts").await,
        None => {
            // Numbers are text there: added up as whole cents.
            let file = rusqlite::Connection::open(rowferry.path("target.db")).unwrap();
            file.busy_timeout(Duration::from_secs(10)).unwrap();
            let sql = "SELECT sum(CAST(replace(balance, '.', '') AS INTEGER)) FROM accounts";
            let cents: i64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
            format!("{}.{:02}", cents / 100, cents % 100)
        }
    }
}
