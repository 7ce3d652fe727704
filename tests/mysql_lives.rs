//! What happens to a pipeline from MySQL or MariaDB over its life: another server in the source's place,
//! a log that is gone, a form that changes while nobody reads.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::mysql::compare::{Target, assert_same};
use rowferry_testkit::{Database, Mysql, MysqlDatabase, Postgres, Rowferry, config as kit};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

fn config(source: &MysqlDatabase, target: &str) -> String {
    config_at(&source.url(), source.name(), target)
}

fn config_at(url: &str, database: &str, target: &str) -> String {
    format!(
        "[pipeline.shop]\nsource = {{ kind = \"mysql\", url = \"{url}\" }}\ntarget = {target}\ntables = [\"{database}.*\"]\n\
         slice_rows = 500\n"
    )
}

fn into_postgres(copy: &Database) -> String {
    format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url())
}

fn rows_copied(rowferry: &Rowferry) -> u64 {
    let (_, status) = rowferry.json(&["status"]);
    let tables = status["pipelines"][0]["tables"].as_array().unwrap().clone();
    tables.iter().map(|table| table["rows_copied"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_gtid_goes_on_at_the_other_server() {
    let common = ["--log-slave-updates=ON", "--binlog-format=ROW"];
    let first = Mysql::start(&[&common[..], &["--server-id=11"]].concat());
    let second = Mysql::start(&[&common[..], &["--server-id=12"]].concat());
    let source = first.create_database("failover");
    source
        .execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        .await;
    // The same place in its files is another one in its log.
    second.execute("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
    follow(&first, &second).await;
    let copy = Postgres::shared().create_database("failover");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy)));
    rowferry.run_until_caught_up();
    let copied = rows_copied(&rowferry);
    // Prepared at the first server, committed at the second one.
    let is_logged_when_prepared = first.flavor().is_mariadb() || first.flavor().version() >= (5, 7);
    if is_logged_when_prepared {
        let prepare = "XA START 'moves'; INSERT INTO t VALUES (4, 'prepared'); XA END 'moves'; XA PREPARE 'moves'";
        source.execute(prepare).await;
        rowferry.run_until_caught_up();
    }
    source.execute("INSERT INTO t VALUES (3, 'unread')").await;
    let replica = wait_for_rows(&second, source.name(), 3).await;
    first.stop();
    let stop = if has_new_words(&second) { "STOP REPLICA" } else { "STOP SLAVE" };
    replica.execute(&format!("{stop}; SET GLOBAL read_only = 0")).await;
    replica.execute(&format!("UPDATE `{}`.t SET v = 'deux' WHERE id = 2", source.name())).await;
    let commit = if is_logged_when_prepared { "XA COMMIT 'moves'".into() } else { insert_fourth(source.name()) };
    replica.execute(&commit).await;
    rowferry.set_config(&config_at(&second.url(source.name()), source.name(), &into_postgres(&copy)));
    rowferry.run_until_caught_up();
    let name = source.name();
    let rows = copy.query_text(&format!("SELECT id, v FROM {name}.t ORDER BY id")).await;
    let rows: Vec<String> =
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["1 one", "2 deux", "3 unread", "4 prepared"]);
    assert_eq!(rows_copied(&rowferry), copied, "nothing is copied again");
}

fn insert_fourth(database: &str) -> String {
    format!("INSERT INTO `{database}`.t VALUES (4, 'prepared')")
}

/// MySQL from 8.4 on has no other words for a replica.
fn has_new_words(server: &Mysql) -> bool {
    !server.flavor().is_mariadb() && server.flavor().version() >= (8, 4)
}

async fn follow(first: &Mysql, second: &Mysql) {
    first.execute("CREATE USER repl@'%' IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE ON *.* TO repl@'%'").await;
    let mariadb = first.flavor().is_mariadb();
    let auto = if mariadb { "MASTER_USE_GTID = slave_pos" } else { "MASTER_AUTO_POSITION = 1" };
    let (change, start) = match has_new_words(first) {
        true => (
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'repl', SOURCE_PASSWORD = \
                 'x', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
                first.port()
            ),
            "START REPLICA",
        ),
        false => (
            format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'repl', MASTER_PASSWORD = 'x', {auto}",
                first.port()
            ),
            "START SLAVE",
        ),
    };
    second.execute(&change).await;
    second.execute(start).await;
}

/// Waits until the replica has so many rows of `t`.
async fn wait_for_rows(replica: &Mysql, database: &str, rows: u64) -> MysqlDatabase {
    let own = replica.create_database("look");
    let sql = format!("SELECT COUNT(*) FROM `{database}`.t");
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while own.try_query_text(&sql).await.ok().and_then(|found| found[0][0].clone()) != Some(rows.to_string()) {
        assert!(std::time::Instant::now() < until, "the replica does not follow: {}", replica.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lacks_our_transactions_is_refused() {
    let server = Mysql::start(&["--server-id=21"]);
    let source = server.create_database("stranger");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await;
    let copy = Postgres::shared().create_database("stranger");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy)))
        .allow_error("has not been where we are")
        .allow_error("is server");
    rowferry.run_until_caught_up();
    let other = Mysql::start(&["--server-id=22"]);
    other.execute(&format!("CREATE DATABASE `{0}`; CREATE TABLE `{0}`.t (id INT PRIMARY KEY)", source.name())).await;
    rowferry.set_config(&config_at(&other.url(source.name()), source.name(), &into_postgres(&copy)));
    rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&["resync --all"]);
    let rows = copy.value(&format!("SELECT count(*) FROM {}.t", source.name())).await;
    assert_eq!(rows, "2", "nothing was changed");
    // The mend that the message names makes it the source: what it lacks goes, what it has besides comes.
    other.execute(&format!("INSERT INTO `{}`.t VALUES (2), (7)", source.name())).await;
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    let rows = copy.value(&format!("SELECT string_agg(id::text, ',' ORDER BY id) FROM {}.t", source.name())).await;
    assert_eq!(rows, "2,7");
    assert_eq!(rows_copied(&rowferry), 1, "the row that was the same was written");
}

/// The same server with its log begun anew, as after a backup was loaded: it comes to our position again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restored_is_refused_and_a_resync_mends_it() {
    let server = Mysql::start(&["--server-id=23"]);
    let source = server.create_database("restored");
    source
        .execute("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2); UPDATE t SET v = 3 WHERE id = 1")
        .await;
    for target in [into_postgres(&Postgres::shared().create_database("restored")), kit::SQLITE.to_owned()] {
        source.execute("UPDATE t SET v = v + 1 WHERE id = 1; UPDATE t SET v = v + 1 WHERE id = 1").await;
        let rowferry = Rowferry::new(BINARY, &config(&source, &target)).allow_error("has not been where we are");
        rowferry.run_until_caught_up();
        let reset = if has_new_words(&server) { "RESET BINARY LOGS AND GTIDS" } else { "RESET MASTER" };
        source.execute(reset).await;
        source.execute("UPDATE t SET v = v + 10 WHERE id = 2").await;
        rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&["resync --all"]);
        rowferry.command(&["resync", "--all"]).expect_code(0);
        rowferry.run_until_caught_up();
        assert_eq!(rows_copied(&rowferry), 1, "into {target}");
        rowferry.command(&["verify"]).expect_code(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_purged_is_refused_and_a_resync_mends_it() {
    let server = Mysql::start(&["--server-id=31"]);
    let source = server.create_database("purged");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let copy = Postgres::shared().create_database("purged");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy))).allow_error("the log");
    rowferry.run_until_caught_up();
    source.execute("UPDATE t SET v = 10 WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 3)").await;
    source.execute("FLUSH BINARY LOGS").await;
    let logs = source.query_text("SHOW BINARY LOGS").await;
    let last = logs.last().unwrap()[0].clone().unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    // The server keeps a file until it has seen that its reader is gone.
    while source.query_text("SHOW BINARY LOGS").await.len() > 1 {
        assert!(std::time::Instant::now() < until, "the server keeps the log for somebody");
        let _ = source.try_execute(&format!("PURGE BINARY LOGS TO '{last}'")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&["resync --all"]);
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_eq!(rows_copied(&rowferry), 2, "rows that were the same were written");
    assert_same(&source, Target::Postgres(&copy)).await;
}

/// Two columns of one type change their places while nobody reads, in a log that has no names.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_log_without_names_are_read_by_the_form_of_their_time() {
    let options: &[&str] =
        if Mysql::shared().flavor().version() >= (8, 0) { &["--binlog-row-metadata=MINIMAL"] } else { &[] };
    let server = Mysql::start(options);
    let source = server.create_database("forms");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT); INSERT INTO t VALUES (1, 10, 20)").await;
    let copy = Postgres::shared().create_database("forms");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy)));
    rowferry.run_until_caught_up();
    // Each time the catalog has another order than the rows that were written before the ALTER.
    for (round, column) in [(0, 'b'), (1, 'a'), (2, 'b')] {
        let first = 10 * round + 2;
        source
            .execute(&format!(
                "INSERT INTO t (id, a, b) VALUES ({first}, 10, 20); ALTER TABLE t MODIFY {column} INT AFTER id;
                 INSERT INTO t (id, a, b) VALUES ({first} + 1, 10, 20); UPDATE t SET a = a + 1 WHERE id = {first} + 1"
            ))
            .await;
        rowferry.run_until_caught_up();
        assert_same(&source, Target::Postgres(&copy)).await;
    }
    let (_, status) = rowferry.json(&["status"]);
    assert_eq!(status["pipelines"][0]["tables"][0]["rows_copied"], 1, "the log was read, not the table");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_changed_by_a_statement_stop_the_pipeline() {
    let source = Mysql::shared().create_database("statements");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)").await;
    let copy = Postgres::shared().create_database("statements");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy))).allow_error("by a statement");
    rowferry.run_until_caught_up();
    source
        .execute(
            "CREATE TABLE other (id INT PRIMARY KEY); SET SESSION binlog_format = 'STATEMENT'; UPDATE t SET v = 2; \
             SET SESSION binlog_format = 'ROW'",
        )
        .await;
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1).expect_stderr(&["rows of", "binlog_format = ROW", "resync --all"]);
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}

/// Rows of the log from before mean the column that was dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_back_after_it_was_dropped_holds_nothing_old() {
    let source = Mysql::shared().create_database("comes_back");
    source
        .execute(
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), w VARCHAR(20));
             INSERT INTO t VALUES (1, 'old', 'old'), (2, 'old', 'old')",
        )
        .await;
    let copy = Postgres::shared().create_database("comes_back");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy)));
    rowferry.run_until_caught_up();
    source.execute("UPDATE t SET v = CONCAT(v, id), w = 'older'; ALTER TABLE t DROP COLUMN v, DROP COLUMN w").await;
    // The target has followed, and the rows before are still to come.
    let kill = [("ROWFERRY_FAILPOINT", "form.kept:1:kill")];
    assert_eq!(rowferry.spawn_with(&["run"], &kill).wait_exit().code, None);
    source
        .execute("ALTER TABLE t ADD COLUMN v VARCHAR(20), ADD COLUMN w INT; INSERT INTO t VALUES (100, 'new', 1)")
        .await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}

/// The catalog says the same before and after.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_others_in_between_are_read_again() {
    let source = Mysql::shared().create_database("in_between");
    source
        .execute(
            "CREATE TABLE gone (id INT PRIMARY KEY, a INT); INSERT INTO gone VALUES (1, 10), (2, 20);
             CREATE TABLE mended (id INT PRIMARY KEY, a VARCHAR(50)) DEFAULT CHARSET latin1;
             INSERT INTO mended VALUES (1, _latin1 x'436166c3a9'), (2, 'plain')",
        )
        .await;
    if Mysql::shared().flavor().is_mariadb() {
        source.execute("CREATE TABLE kept (id INT PRIMARY KEY, a INT) WITH SYSTEM VERSIONING; INSERT INTO kept VALUES (1, 1), (2, 2)").await;
    }
    let copy = Postgres::shared().create_database("in_between");
    let rowferry = Rowferry::new(BINARY, &config(&source, &into_postgres(&copy)));
    rowferry.run_until_caught_up();
    source
        .execute(
            "ALTER TABLE gone DROP COLUMN a; INSERT INTO gone VALUES (3); ALTER TABLE gone ADD COLUMN a INT; UPDATE gone SET a = 7 WHERE id = 2;
             ALTER TABLE mended MODIFY a VARBINARY(50); ALTER TABLE mended MODIFY a VARCHAR(50) CHARACTER SET utf8mb4",
        )
        .await;
    if Mysql::shared().flavor().is_mariadb() {
        source
            .execute("DELETE FROM kept WHERE id = 2; UPDATE kept SET a = 10 WHERE id = 1; ALTER TABLE kept DROP SYSTEM VERSIONING")
            .await;
    }
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_of_a_replica_is_enough() {
    let server = Mysql::start(&["--server-id=41"]);
    let source = server.create_database("rights");
    let name = source.name();
    server
        .execute(&format!(
            "CREATE USER 'reader'@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `{name}`.* TO 'reader'@'%';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';
             CREATE USER 'blind'@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON `{name}`.* TO 'blind'@'%'"
        ))
        .await;
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let copy = Postgres::shared().create_database("rights");
    let rowferry =
        Rowferry::new(BINARY, &config_at(&server.url_as("reader:secret", name), name, &into_postgres(&copy)));
    rowferry.command(&["check"]).expect_code(0);
    rowferry.run_until_caught_up();
    source.execute("UPDATE t SET v = 'c' WHERE id = 1; INSERT INTO t VALUES (3, 'd')").await;
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
    rowferry.command(&["verify"]).expect_code(0);
    rowferry.set_config(&config_at(&server.url_as("blind:secret", name), name, &into_postgres(&copy)));
    let checked = rowferry.command(&["check"]);
    checked.expect_code(3);
    assert!(checked.stdout.contains("GRANT REPLICATION SLAVE"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_dates_become_what_their_columns_are_declared_to_be() {
    let source = Mysql::shared().create_database("zero_dates");
    let row = |id: u32| format!("({id}, '0000-00-00', '2024-00-10 01:02:03', '2024-05-06', '0000-00-00 00:00:00')");
    source
        .execute(&format!(
            "SET SESSION sql_mode = ''; CREATE TABLE t (id INT PRIMARY KEY, n DATE NOT NULL, x DATETIME, d DATE, z TIMESTAMP NULL);
             INSERT INTO t VALUES {}",
            row(1)
        ))
        .await;
    let copy = Postgres::shared().create_database("zero_dates");
    let name = source.name();
    let policies = format!("zero_dates = \"null, {name}.t.x=text\" }}");
    let config = config(&source, &into_postgres(&copy)).replacen('}', &format!(", {policies}"), 1);
    let rowferry = Rowferry::new(BINARY, &config);
    rowferry.run_until_caught_up();
    source.execute(&format!("SET SESSION sql_mode = ''; INSERT INTO t VALUES {}", row(2))).await;
    rowferry.run_until_caught_up();
    let sql = format!("SELECT id, coalesce(n::text, '-'), x, d, coalesce(z::text, '-') FROM {name}.t ORDER BY id");
    let rows = copy.query_text(&sql).await;
    let rows: Vec<String> =
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|")).collect();
    assert_eq!(rows, ["1|-|2024-00-10 01:02:03|2024-05-06|-", "2|-|2024-00-10 01:02:03|2024-05-06|-"]);
    rowferry.command(&["verify"]).expect_code(0);
}
