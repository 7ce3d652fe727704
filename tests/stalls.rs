//! A pipeline that does not move although it has something to do says so and why, and one that cannot go on ends.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::{Database, Postgres, Rowferry, config};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const SOON: &str = "stalled_after = \"2s\"";
const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);
    INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (1, 'b')";

async fn ends(setup: &str) -> (Database, Database) {
    let server = Postgres::shared();
    let (source, target) = (server.create_database("stalls_source"), server.create_database("stalls_target"));
    source.execute(setup).await;
    (source, target)
}

fn is_stalled(text: &'static str) -> impl Fn(&Value) -> bool {
    move |pipeline| pipeline["stalled"].as_str().is_some_and(|why| why.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_at_the_target_is_seen_and_an_idle_source_is_none() {
    let (source, target) = ends(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SOON));
    let mut running = rowferry.spawn_run();
    let before = running.wait_streaming()["position"].clone();
    // Nothing to apply, but the log moves on and the position follows after some seconds.
    source.execute("SELECT pg_logical_emit_message(false, 'test', 'idle')").await;
    running.wait_status("the position of an idle log", |pipeline| pipeline["position"] != before);
    assert_eq!(running.stderr().matches("stalled:").count(), 0, "{}", running.stderr());
    assert_eq!(rowferry.json(&["status"]).0, 0);

    let holder = target.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE").await.unwrap();
    source.execute("UPDATE b SET v = 'later'; UPDATE a SET v = 'later'").await;
    let status = running.wait_status("the stall", is_stalled("the target"));
    assert_eq!(status["state"], "streaming", "{status}");
    assert_eq!(rowferry.json(&["status"]).0, 3, "what does not move is not healthy");
    assert!(rowferry.command(&["status"]).stdout.contains("STALLED"));
    holder.batch_execute("ROLLBACK").await.unwrap();
    running.wait_status("going on", |pipeline| {
        pipeline["stalled"].is_null() && pipeline["tables"][1]["rows_applied"].as_u64() >= Some(1)
    });
    assert_eq!(rowferry.json(&["status"]).0, 0);
    assert_eq!(running.stderr().matches("stalled:").count(), 1, "said once: {}", running.stderr());
    running.sigterm();
    assert_same(&source, Target::Postgres(&target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_form_that_is_held_up_is_seen() {
    let (source, target) = ends(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SOON));
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    let holder = target.client().await;
    holder.batch_execute("BEGIN; SELECT * FROM b").await.unwrap();
    source.execute("ALTER TABLE b ADD COLUMN w int; INSERT INTO b VALUES (2, 'two', 2)").await;
    running.wait_status("the stall", is_stalled("a change of form"));
    holder.batch_execute("ROLLBACK").await.unwrap();
    running.wait_status("going on", |pipeline| {
        pipeline["stalled"].is_null() && pipeline["tables"][1]["rows_applied"].as_u64() >= Some(1)
    });
    running.sigterm();
    assert_same(&source, Target::Postgres(&target)).await;
}

/// A copy that is held up is seen too, and a run that is to end by itself does not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_until_caught_up_gives_up_what_does_not_come() {
    let (source, target) = ends(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SOON));
    rowferry.run_until_caught_up();
    let holder = target.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE").await.unwrap();
    source.execute("INSERT INTO b VALUES (2, 'two')").await;
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1).expect_stderr(&["nothing has moved for", "the target"]);
    rowferry.command(&["resync", "--table", "public.b"]).expect_code(0);
    let mut running = rowferry.spawn_run();
    running.wait_status("a stall of the copy", |pipeline| pipeline["stalled"].is_string());
    holder.batch_execute("ROLLBACK").await.unwrap();
    running.wait_status("going on", |pipeline| pipeline["state"] == "streaming" && pipeline["stalled"].is_null());
    running.sigterm();
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_shows_its_tries() {
    let server = Postgres::start(&[]);
    let (source, target) = (server.create_database("down"), Postgres::shared().create_database("stalls_target"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SOON));
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    source.execute("UPDATE a SET v = 'up'").await;
    running.wait_status("it has moved", |pipeline| pipeline["tables"][0]["rows_applied"] == 1);
    tokio::task::block_in_place(|| server.kill());
    let status = running.wait_status("tries", |pipeline| {
        pipeline["retry"]["tries"].as_u64() >= Some(2) && is_stalled("retrying")(pipeline)
    });
    assert_eq!(status["state"], "retrying");
    let at = |name: &str| status["retry"][name].as_str().unwrap().to_owned();
    assert!(at("since") < at("next") && at("since").ends_with('Z'), "{status}");
    assert!(!status["last_error"].as_str().unwrap().is_empty());
    tokio::task::block_in_place(|| server.start_again());
    source.execute("UPDATE b SET v = 'again'").await;
    running.wait_status("going on", |pipeline| {
        pipeline["tables"][1]["rows_applied"] == 1 && pipeline["retry"].is_null() && pipeline["stalled"].is_null()
    });
    running.sigterm();
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;
}

const TORN: &str = "ALTER TABLE a RENAME COLUMN v TO w; BEGIN; INSERT INTO a VALUES (2, 'two'); INSERT INTO b VALUES (2, 'two'); COMMIT";

#[tokio::test(flavor = "multi_thread")]
async fn other_tables_go_on_without_a_halted_one() {
    let (source, target) = ends(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), ""));
    rowferry.run_until_caught_up();
    source.execute(TORN).await;
    rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&["halted: table public.a"]);
    assert_eq!(target.value("SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM b)").await, "1 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tables_stop_with_a_halted_one_where_that_is_asked_for() {
    let (source, target) = ends(TABLES).await;
    let stop = "on_table_halt = \"stop\"";
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), stop));
    rowferry.run_until_caught_up();
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    source.execute(TORN).await;
    running.wait_exit().expect_code(1).expect_stderr(&["on_table_halt", "public.a"]);
    let counts = "SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM b)";
    for _ in 0..2 {
        let ended = rowferry.command(&["run", "--until-caught-up"]);
        ended.expect_code(1).expect_stderr(&["on_table_halt", "public.a", "resync --table public.a"]);
        assert_eq!(target.value(counts).await, "1 1", "no transaction is torn");
    }
    target.execute("ALTER TABLE a RENAME COLUMN v TO w").await;
    rowferry.command(&["resync", "--table", "public.a"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&target)).await;
}
