//! Two connections that take turns at the target: the rows of the next batch are brought while the one before waits.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::mysql_async::Conn;
use rowferry_testkit::mysql_async::prelude::Queryable;
use rowferry_testkit::{Database, Mysql, MysqlDatabase, Postgres, Rowferry, Running, config};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const ROWS: u32 = 12_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A source of one table.
async fn filled() -> Database {
    let source = Postgres::shared().create_database("turns_from");
    let rows = format!("SELECT g, repeat('x', 300), 0 FROM generate_series(1, {ROWS}) g");
    source.execute(&format!("CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t {rows}")).await;
    source
}

/// Waits until it is so.
async fn until(what: &str, running: &Running<'_>, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: {}", running.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Several batches of 2 MiB each: all rows, 500 a transaction, some deleted and some inserted again.
async fn change(source: &Database, round: u32) {
    let from = "i * 500 + 1 AND i * 500 + 500";
    source
        .execute(&format!(
            "DO $$ BEGIN FOR i IN 0..{} LOOP
                 UPDATE t SET v = repeat(chr(97 + {round}), 300), n = n + 1 WHERE id BETWEEN {from};
                 DELETE FROM t WHERE id BETWEEN {from} AND id % 7 = {round};
                 INSERT INTO t SELECT g, 'again', {round} FROM generate_series(i * 500 + 1, i * 500 + 500) g WHERE g % 7 = {round} AND g % 2 = 0;
                 COMMIT;
             END LOOP; END $$",
            ROWS / 500 - 1
        ))
        .await;
}

/// Changes all rows and runs, up to where a batch waits for a lock at the target and the next one is staged. Nothing is written to the table
/// until that client commits.
async fn blocked<'a>(
    rowferry: &'a Rowferry,
    source: &Database,
    target: &Database,
    round: u32,
) -> (Running<'a>, Client) {
    change(source, round).await;
    let lock = target.client().await;
    lock.batch_execute("BEGIN; LOCK TABLE t IN SHARE MODE").await.unwrap();
    let running = rowferry.spawn(&["run", "--until-caught-up"]);
    // The rows of a batch are in a temporary table while the batch before it waits for the table's lock.
    let staged = "SELECT EXISTS (SELECT FROM pg_class WHERE relname LIKE 'rowferry\\_next\\_%') \
                  AND EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass)";
    until("nothing is staged", &running, async || target.value(staged).await == "t").await;
    (running, lock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_brought_ahead_is_applied_once_and_in_its_place() {
    let (source, target) = (filled().await, Postgres::shared().create_database("turns_into"));
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), "memory = \"8MiB\""));
    rowferry.run_until_caught_up();

    let (running, lock) = blocked(&rowferry, &source, &target, 0).await;
    running.kill9();
    lock.batch_execute("COMMIT").await.unwrap();
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;

    let (running, lock) = blocked(&rowferry, &source, &target, 1).await;
    change(&source, 2).await;
    source.execute("ALTER TABLE t ADD more int DEFAULT 5; UPDATE t SET more = id WHERE id % 3 = 0").await;
    lock.batch_execute("COMMIT").await.unwrap();
    running.wait_exit().expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;

    // The connection that staged is gone when its turn comes.
    let (running, lock) = blocked(&rowferry, &source, &target, 3).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name LIKE 'rowferry%' AND state = 'idle' AND query = 'COMMIT'";
    assert_eq!(target.value(end).await, "1");
    lock.batch_execute("COMMIT").await.unwrap();
    running.wait_exit().expect_code(0);
    assert_same(&source, Target::Postgres(&target)).await;
}

/// As [`blocked`], at MySQL.
async fn blocked_at_mysql<'a>(
    rowferry: &'a Rowferry,
    source: &Database,
    target: &MysqlDatabase,
    round: u32,
) -> (Running<'a>, Conn) {
    change(source, round).await;
    let mut lock = target.client().await;
    lock.query_drop("LOCK TABLES t READ").await.unwrap();
    // A temporary table is counted, and no other session sees it.
    let made = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_create_table', 'Com_create_temporary_table')";
    let before = target.query_text(made).await;
    let running = rowferry.spawn(&["run", "--until-caught-up"]);
    let (waits, brings) = ("Waiting for table%", "%rowferry_next%");
    let blocked = format!(
        "SELECT SUM(STATE LIKE '{waits}') = 1 AND SUM(COALESCE(INFO, '') LIKE '{brings}') = 0 \
         FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"
    );
    let is_staged = async || target.query_text(made).await != before && target.value(&blocked).await == "1";
    until("nothing is staged", &running, is_staged).await;
    (running, lock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_brought_ahead_at_mysql_is_too() {
    let (source, target) = (filled().await, Mysql::shared().create_database("turns_into"));
    let into = format!("{{ kind = \"mysql\", url = \"{}\" }}", target.url());
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &into, "memory = \"8MiB\""));
    rowferry.run_until_caught_up();

    let (running, lock) = blocked_at_mysql(&rowferry, &source, &target, 0).await;
    running.kill9();
    drop(lock);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Mysql(&target)).await;

    let (running, lock) = blocked_at_mysql(&rowferry, &source, &target, 1).await;
    change(&source, 2).await;
    source.execute("ALTER TABLE t ADD more int DEFAULT 5; UPDATE t SET more = id WHERE id % 3 = 0").await;
    drop(lock);
    running.wait_exit().expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Mysql(&target)).await;

    // The connection that staged is gone when its turn comes.
    let (running, lock) = blocked_at_mysql(&rowferry, &source, &target, 3).await;
    let kill = format!(
        "SELECT CONCAT('KILL ', GROUP_CONCAT(ID SEPARATOR ' and ')) FROM information_schema.PROCESSLIST \
         WHERE COMMAND = 'Sleep' AND DB = '{}' AND ID NOT IN (CONNECTION_ID(), {})",
        target.name(),
        lock.id()
    );
    // While it brings rows it is not idle.
    let is_killed = async || match target.query_text(&kill).await.remove(0).remove(0) {
        Some(kill) => target.try_execute(&kill).await.is_ok(),
        None => false,
    };
    until("the connection that staged is not idle", &running, is_killed).await;
    drop(lock);
    running.wait_exit().expect_code(0);
    assert_same(&source, Target::Mysql(&target)).await;
}
