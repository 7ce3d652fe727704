//! XA transactions in two phases over the life of a pipeline: they are prepared in one place of the log and committed in another.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::mysql::compare::{Target, assert_same};
use rowferry_testkit::{Database, Mysql, MysqlDatabase, Postgres, Rowferry};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
/// More than a reader holds in memory: 12 MB.
const LARGE: &str = "INSERT INTO t SELECT 1000 + seq, repeat(char(97 + seq % 26), 600) FROM numbers";

/// Servers before these write a transaction down when it is committed.
fn is_logged_when_prepared(server: &Mysql) -> bool {
    server.flavor().is_mariadb() || server.flavor().version() >= (5, 7)
}

fn config(source: &MysqlDatabase, copy: &Database) -> String {
    format!(
        "[pipeline.shop]\nsource = {{ kind = \"mysql\", url = \"{}\" }}\ntarget = {{ kind = \"postgres\", url = \"{}\" }}\n\
         tables = [\"{}.*\"]\n",
        source.url(),
        copy.url(),
        source.name()
    )
}

async fn source(server: &Mysql, name: &str) -> MysqlDatabase {
    let source = server.create_database(name);
    source
        .execute(
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(600)) ENGINE = InnoDB; INSERT INTO t VALUES (1, 'one'), (2, 'two');
             CREATE TABLE numbers (seq INT PRIMARY KEY) ENGINE = InnoDB;
             CREATE TABLE digits (n INT PRIMARY KEY); INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
             INSERT INTO numbers SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n
             FROM digits a, digits b, digits c, digits d, digits e WHERE e.n < 2",
        )
        .await;
    source
}

/// Prepares a statement as a transaction of this name, and hangs up: whoever commits it is another session.
async fn prepare(source: &MysqlDatabase, xid: &str, statement: &str) {
    source.execute(&format!("XA START {xid}; {statement}; XA END {xid}; XA PREPARE {xid}")).await;
}

/// Ends a prepared transaction; a server takes a moment to see that its session has gone.
async fn end(source: &MysqlDatabase, statement: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = source.try_execute(statement).await {
        assert!(Instant::now() < until, "{statement}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_prepared_before_a_restart_come_when_they_are_committed() {
    let server = Mysql::start(&["--server-id=51"]);
    if !is_logged_when_prepared(&server) {
        return;
    }
    let source = source(&server, "restart").await;
    let copy = Postgres::shared().create_database("restart");
    let rowferry = Rowferry::new(BINARY, &config(&source, &copy));
    rowferry.run_until_caught_up();
    prepare(&source, "'small', 'branch', 9", "INSERT INTO t VALUES (10, 'small')").await;
    prepare(&source, "'large'", LARGE).await;
    prepare(&source, "'never'", "DELETE FROM t WHERE id = 1").await;
    source
        .execute("INSERT INTO t VALUES (3, 'other'); FLUSH BINARY LOGS; INSERT INTO t VALUES (4, 'in another file')")
        .await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
    // What was prepared stands in positions from one to the next.
    source.execute("UPDATE t SET v = 'again' WHERE id = 3").await;
    rowferry.run_until_caught_up();
    end(&source, "XA COMMIT 'small', 'branch', 9").await;
    end(&source, "XA ROLLBACK 'never'").await;
    source.execute("UPDATE t SET v = 'after' WHERE id IN (1, 10)").await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
    end(&source, "XA COMMIT 'large'").await;
    source.execute("DELETE FROM t WHERE id % 2 = 0 AND id > 1000; UPDATE t SET v = 'last' WHERE id = 1001").await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
    let (_, status) = rowferry.json(&["status"]);
    let copied: u64 = status["pipelines"][0]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["rows_copied"].as_u64().unwrap())
        .sum();
    assert_eq!(copied, 2 + 10 + 20_000, "the log was read, not the table");
    assert!(!status.to_string().contains("X'"), "a transaction that has ended stands in a position: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_when_a_copy_begins_is_waited_for() {
    let server = Mysql::start(&["--server-id=52"]);
    if !is_logged_when_prepared(&server) {
        return;
    }
    let source = source(&server, "begins").await;
    let copy = Postgres::shared().create_database("begins");
    prepare(&source, "'before'", "INSERT INTO t VALUES (10, 'before')").await;
    let rowferry = Rowferry::new(BINARY, &config(&source, &copy));
    let run = rowferry.spawn(&["run", "--until-caught-up"]);
    let until = Instant::now() + Duration::from_secs(20);
    while !run.stderr().contains("waiting for XA transactions") {
        assert!(Instant::now() < until, "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    end(&source, "XA COMMIT 'before'").await;
    run.wait_exit().expect_code(0);
    source.execute("UPDATE t SET v = 'after' WHERE id = 10").await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_rows_are_not_known_stops_the_pipeline_when_it_is_committed() {
    let server = Mysql::start(&["--server-id=53"]);
    if !is_logged_when_prepared(&server) {
        return;
    }
    let source = source(&server, "unknown").await;
    let copy = Postgres::shared().create_database("unknown");
    for xid in ["'one'", "'two'"] {
        prepare(&source, xid, &format!("INSERT INTO t VALUES (ascii(substr({xid}, 2, 1)), 'prepared')")).await;
    }
    let rowferry = Rowferry::new(BINARY, &config(&source, &copy)).allow_error("its rows are not known");
    // Those whom nobody ends hold nothing up for long.
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
    end(&source, "XA ROLLBACK 'two'").await;
    rowferry.run_until_caught_up();
    end(&source, "XA COMMIT 'one'").await;
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1).expect_stderr(&["XA transaction X'6f6e65',X'',1", "resync --all"]);
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_see_what_is_prepared_is_told() {
    let server = Mysql::start(&["--server-id=54"]);
    let source = source(&server, "sight").await;
    let name = source.name();
    server
        .execute(&format!(
            "CREATE USER 'reader'@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `{name}`.* TO 'reader'@'%';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%'"
        ))
        .await;
    let copy = Postgres::shared().create_database("sight");
    let theirs = config(&source, &copy).replace(&source.url(), &server.url_as("reader:secret", name));
    let rowferry = Rowferry::new(BINARY, &theirs);
    let unused = rowferry.command(&["check"]);
    assert!(!unused.expect_code(0).stdout.contains("XA transactions"), "{}", unused.stdout);
    prepare(&source, "'before'", "INSERT INTO t VALUES (10, 'before')").await;
    end(&source, "XA COMMIT 'before'").await;
    let flavor = server.flavor();
    let is_hidden = !flavor.is_mariadb() && flavor.version() >= (8, 0);
    let said = if is_hidden { "GRANT XA_RECOVER_ADMIN" } else { "a start waits for those that are prepared" };
    let checked = rowferry.command(&["check"]);
    assert!(checked.expect_code(0).stdout.contains(said), "{}", checked.stdout);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}
