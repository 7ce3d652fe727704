//! Either end going away and coming back while rowferry runs: it says so, tries again, and loses nothing.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same, differences, source_tables};
use rowferry_testkit::{Postgres, Rowferry, config};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const TABLES: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 1000) g";

fn applied(at_least: u64) -> impl Fn(&Value) -> bool {
    move |pipeline| pipeline["state"] == "streaming" && pipeline["tables"][0]["rows_applied"].as_u64() >= Some(at_least)
}

/// Ends the server at one end without a clean shutdown, then restarts it as an operator would.
async fn restart(which: fn(&'static Postgres, &'static Postgres) -> &'static Postgres) {
    let source_server: &'static Postgres = Box::leak(Box::new(Postgres::start(&[])));
    let target_server: &'static Postgres = Box::leak(Box::new(Postgres::start(&[])));
    let (source, target) = (source_server.create_database("source"), target_server.create_database("target"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), ""));
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    let server = which(source_server, target_server);
    tokio::task::block_in_place(|| server.kill());
    let status = running.wait_status("trying again", |pipeline| pipeline["state"] == "retrying");
    assert!(!status["last_error"].as_str().unwrap_or_default().is_empty(), "{status}");
    let (code, _) = rowferry.json(&["status"]);
    assert_eq!(code, 3, "what does not move is not healthy");
    if which(source_server, target_server).port() == target_server.port() {
        source.execute("UPDATE t SET v = 'while the target was down' WHERE id <= 100").await;
    }
    tokio::task::block_in_place(|| server.start_again());
    source.execute("UPDATE t SET v = 'after a crash' WHERE id <= 10").await;
    running.wait_status("going on", applied(10));
    tokio::task::block_in_place(|| server.restart());
    source.execute("INSERT INTO t VALUES (5000, 'after a restart')").await;
    running.wait_status("going on", applied(11));
    running.sigterm();
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;
    rowferry.command(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_source() {
    restart(|source, _| source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_target() {
    restart(|_, target| target).await;
}

/// Two pipelines of one process, from one source into both kinds of target.
#[tokio::test]
async fn of_two_pipelines_in_one_process() {
    let server = Postgres::shared();
    let (source, target) = (server.create_database("two_source"), server.create_database("two_target"));
    source.execute(TABLES).await;
    let name = source.name();
    let pipeline = |which: &str, target: &str| {
        format!(
            "[pipeline.{which}]\nsource = {{ kind = \"postgres\", url = \"{}\", slot = \"{name}_{which}\", publication = \"{name}_{which}\" }}\n\
             target = {target}\ntables = [\"public.*\"]\n",
            source.url()
        )
    };
    let both = pipeline("one", &config::postgres(&target)) + &pipeline("two", config::SQLITE);
    let rowferry = Rowferry::new(BINARY, &both);
    rowferry.run_until_caught_up();
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    source.execute("UPDATE t SET v = 'changed' WHERE id <= 100; DELETE FROM t WHERE id > 900").await;
    running.kill9();
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;
    let file = rowferry.path("target.db");
    let pairs = source_tables(&source, &Target::Sqlite(&file)).await;
    assert_eq!(differences(&source, Target::Sqlite(&file), &pairs).await, Vec::<String>::new());
    rowferry.command(&["verify", "--pipeline", "two"]).expect_code(0);
}
