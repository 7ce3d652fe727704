//! How much log a source keeps while the target does not take it: measured, shown, and limited.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::{Database, Mysql, Postgres, Rowferry, config};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const LIMIT: u64 = 16 << 20;
/// Of text that no server compresses, about 24 MiB of log.
const MUCH: &str = "INSERT INTO much SELECT g, (SELECT string_agg(md5(g || '-' || n), '') FROM generate_series(1, 30) n) \
                    FROM generate_series(1, 24000) g";

struct Held {
    source: Database,
    target: Database,
    holder: tokio_postgres::Client,
}

/// Both ends in step, and a session of the target that lets nobody write.
async fn held(rowferry: impl FnOnce(&Database, &Database) -> Rowferry) -> (Held, Rowferry) {
    let server = Postgres::shared();
    let (source, target) = (server.create_database("limits_source"), server.create_database("limits_target"));
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE much (id int PRIMARY KEY, v text)").await;
    let rowferry = rowferry(&source, &target);
    rowferry.run_until_caught_up();
    let holder = target.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE t, much IN ACCESS EXCLUSIVE MODE").await.unwrap();
    (Held { source, target, holder }, rowferry)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_log_is_shown_and_past_its_limit_said() {
    let (held, rowferry) = held(|source, target| {
        Rowferry::new(BINARY, &config::pipeline(source, &config::postgres(target), "log_limit = \"16MiB\""))
            .allow_error("log_limit is 16777216")
    })
    .await;
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    held.source.execute("INSERT INTO t VALUES (1, 'waits')").await;
    held.source.execute(MUCH).await;
    let status = running.wait_status("the alert", |pipeline| pipeline["log"]["alert"].is_string());
    assert!(status["retained_bytes"].as_u64() > Some(LIMIT), "{status}");
    // Version 12 does not say it.
    let said = status["log"]["status"].as_str().unwrap_or("reserved");
    assert!(["reserved", "extended", "unreserved"].contains(&said), "{status}");
    assert_eq!(rowferry.json(&["status"]).0, 3);
    assert_eq!(running.stderr().matches("log_limit is").count(), 1, "{}", running.stderr());
    held.holder.batch_execute("ROLLBACK").await.unwrap();
    let status = running.wait_status("the log let go", |pipeline| pipeline["log"]["alert"].is_null());
    assert!(status["retained_bytes"].as_u64() <= Some(LIMIT), "{status}");
    running.sigterm();
    rowferry.run_until_caught_up();
    assert_same(&held.source, Target::Postgres(&held.target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_given_up_where_that_is_asked_for_and_never_in_silence() {
    let (held, rowferry) = held(|source, target| {
        let more = "log_limit = \"16MiB\"\non_log_limit = \"drop_slot\"";
        Rowferry::new(BINARY, &config::pipeline(source, &config::postgres(target), more))
    })
    .await;
    let running = rowferry.spawn_run();
    held.source.execute("INSERT INTO t VALUES (1, 'waits')").await;
    held.source.execute(MUCH).await;
    let ended = running.wait_exit();
    ended.expect_code(1).expect_stderr(&["log_limit is 16777216", "drop_slot", "resync --all --pipeline test"]);
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    assert_eq!(held.source.value(slots).await, "0");
    held.holder.batch_execute("ROLLBACK").await.unwrap();
    let again = rowferry.command(&["run", "--until-caught-up"]);
    again.expect_code(1).expect_stderr(&["given up", "log_limit is 16777216", "resync --all --pipeline test"]);
    assert_eq!(held.target.value("SELECT count(*) FROM much").await, "0", "nothing is skipped or begun anew by itself");
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&held.source, Target::Postgres(&held.target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_server_lets_go_by_itself_is_shown_with_its_time() {
    let server = Mysql::start(&[]);
    let days_only =
        server.flavor().is_mariadb() && server.flavor().version() < (10, 6) || server.flavor().version() < (8, 0);
    server
        .execute(if days_only {
            "SET GLOBAL expire_logs_days = 1"
        } else {
            "SET GLOBAL binlog_expire_logs_seconds = 86400"
        })
        .await;
    let (source, target) =
        (server.create_database("limits_source"), Postgres::shared().create_database("limits_target"));
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)").await;
    let rowferry = Rowferry::new(
        BINARY,
        &format!(
            "[pipeline.test]\nsource = {{ kind = \"mysql\", url = \"{}\" }}\ntarget = {}\ntables = [\"{}.*\"]\nlog_limit = \"16MiB\"\n\
             on_log_limit = \"drop_slot\"\n",
            source.url(),
            config::postgres(&target),
            source.name()
        ),
    )
    .allow_error("log_limit is 16777216");
    rowferry.run_until_caught_up();
    let holder = target.client().await;
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {}.t IN ACCESS EXCLUSIVE MODE", source.name())).await.unwrap();
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    for id in 0..3 {
        source.execute(&format!("INSERT INTO t VALUES ({id}, REPEAT('x', 7000000))")).await;
        server.execute("FLUSH BINARY LOGS").await;
    }
    let status = running.wait_status("the alert", |pipeline| {
        pipeline["log"]["alert"].is_string() && pipeline["log"]["expires_in_seconds"].is_i64()
    });
    assert!(status["retained_bytes"].as_u64() > Some(21_000_000), "{status}");
    let left = status["log"]["expires_in_seconds"].as_i64().unwrap();
    assert!((80_000..=86_400).contains(&left), "{status}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    running.wait_status("the log read", |pipeline| {
        pipeline["log"]["alert"].is_null() && pipeline["tables"][0]["rows_applied"] == 3
    });
    running.sigterm();
    rowferry.command(&["verify"]).expect_code(0);
}
