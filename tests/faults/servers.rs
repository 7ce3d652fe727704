//! What happens to the servers.

use crate::scene::{Scene, Server, meanwhile, until};
use rowferry_testkit::mysql_async::prelude::Queryable;
use rowferry_testkit::{Database, End, Kind, MysqlDatabase, is_long};

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_mysql() {
    go_away(Kind::Postgres, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_into_postgres() {
    go_away(Kind::Mysql, Kind::Postgres).await;
}

/// Restarts and crashes of each end; the target is away for long, and what waits is held by the source and not by memory.
async fn go_away(source: Kind, target: Kind) {
    const MOST_MEMORY_KIB: u64 = 160 << 10;
    let mut scene = Scene::set(source, target, "memory = \"16MiB\"", &[]).await;
    scene.faults = 5;
    let (traffic, mut running) = scene.start();
    for (end, place) in [("source", &scene.source), ("target", &scene.target)] {
        tokio::task::block_in_place(|| place.server().stop());
        tokio::task::block_in_place(|| place.server().start_again());
        running = scene.goes_on(running, &format!("{end} restarted")).await;
        tokio::task::block_in_place(|| place.server().kill());
        tokio::task::block_in_place(|| place.server().start_again());
        running = scene.goes_on(running, &format!("{end} crashed")).await;
    }
    tokio::task::block_in_place(|| scene.target.server().stop());
    meanwhile(if is_long() { 60_000 } else { 6000 }).await;
    tokio::task::block_in_place(|| scene.target.server().start_again());
    running = scene.goes_on(running, "target away").await;
    let peak_kib = running.peak_memory_kib();
    println!("peak memory {} MiB", peak_kib / 1024);
    assert!(peak_kib < MOST_MEMORY_KIB, "{peak_kib} KiB held while the target was away");
    scene.close(traffic, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_at_postgres() {
    lock(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_at_mysql() {
    lock(Kind::Mysql).await;
}

/// Another session at the target holds rows: rowferry waits for it, runs into the server's time for locks where there is one, or
/// is ended by a deadlock, and goes on when the rows are free.
async fn lock(target: Kind) {
    let mut scene = Scene::set(Kind::Postgres, target, "", &[]).await;
    scene.faults = 3;
    let (traffic, mut running) = scene.start();
    // Which of both tables is written first is not said: in one of both orders there is a deadlock.
    let rounds = [("accounts_a", None), ("mirror", Some("counters")), ("counters", Some("mirror"))];
    // InnoDB ends the session that has written less, which would be ours.
    let rounds = if target == Kind::Mysql { &rounds[..1] } else { &rounds[..] };
    for &(table, then) in rounds {
        match scene.chaos.target() {
            End::Postgres(database) => hold_at_postgres(database, table, then).await,
            End::Mysql(database) => hold_at_mysql(database, table).await,
            End::Sqlite(_) => unreachable!("not asked for"),
        }
        running = scene.goes_on(running, &format!("{table} locked, then {then:?}")).await;
    }
    let said = running.stderr().to_lowercase();
    assert!(target == Kind::Mysql || said.contains("deadlock"), "there was none: {said}");
    scene.close(traffic, running).await;
}

async fn hold_at_postgres(database: &Database, table: &str, then: Option<&str>) {
    let (client, other) = (database.client().await, database.client().await);
    // It is not this session that the server ends.
    client
        .batch_execute(&format!("SET deadlock_timeout = '60s'; BEGIN; SELECT FROM {table} FOR UPDATE"))
        .await
        .unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0";
    until("rowferry waits", async || other.query_one(waits, &[]).await.unwrap().get(0)).await;
    match then {
        Some(then) => client.batch_execute(&format!("SELECT FROM {then} FOR UPDATE")).await.unwrap(),
        None => meanwhile(1500).await,
    }
    client.batch_execute("ROLLBACK").await.unwrap();
}

async fn hold_at_mysql(database: &MysqlDatabase, table: &str) {
    let (mut client, mut other) = (database.client().await, database.client().await);
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop(format!("SELECT * FROM {table} FOR UPDATE")).await.unwrap();
    // For a row, or, with a change of form, for the table.
    let waits = "SELECT (SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT') \
                 + (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%metadata lock%')";
    until("rowferry waits", async || other.query_first::<u64, _>(waits).await.unwrap() != Some(0)).await;
    // Longer than this server lets a statement wait.
    meanwhile(3000).await;
    client.query_drop("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_target_made_read_only() {
    let scene = Scene::set(Kind::Postgres, Kind::Postgres, "", &["read-only"]).await;
    let Server::Postgres(server) = scene.target.server() else { unreachable!("as set") };
    let admin = server.create_database("admin");
    let client = admin.client().await;
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    read_only(scene, async |value| {
        client.batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}")).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_target_made_read_only() {
    let scene = Scene::set(Kind::Postgres, Kind::Mysql, "", &["read-only", "read_only"]).await;
    let Server::Mysql(server) = scene.target.server() else { unreachable!("as set") };
    // Root writes all the same.
    server
        .execute(
            "CREATE USER 'writer'@'%' IDENTIFIED BY 'secret'; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, \
             ALTER, CREATE TEMPORARY TABLES, LOCK TABLES ON *.* TO 'writer'@'%'",
        )
        .await;
    let config = std::fs::read_to_string(scene.rowferry.path("rowferry.toml")).unwrap();
    scene.rowferry.set_config(&config.replace("mysql://root@", "mysql://writer:secret@"));
    let database = server.create_database("admin");
    read_only(scene, async |value| database.execute(&format!("SET GLOBAL read_only = {value}")).await).await;
}

async fn read_only(mut scene: Scene, set: impl AsyncFn(&str)) {
    scene.faults = 1;
    let (traffic, mut running) = scene.start();
    set("on").await;
    // It says so, and ends or tries again.
    let has_said = |text: &str| text.contains("read-only") || text.contains("read_only");
    until("the refusal", async || running.has_ended() || has_said(&running.stderr())).await;
    assert!(has_said(&running.stderr()), "{}", running.stderr());
    set("off").await;
    let running = scene.goes_on(running, "read-only").await;
    scene.close(traffic, running).await;
}
