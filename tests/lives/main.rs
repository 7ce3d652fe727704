//! Lives of tables: halted and taken up again, dropped and made again, new while somebody writes, with other columns than
//! before. What the log alone does not say must not be lost.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::{Database, Postgres, Rowferry, config};
use serde_json::Value;
use std::time::Duration;

mod untold;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

/// A source, a PostgreSQL target, and a pipeline over all tables.
struct Ferry {
    source: Database,
    target: Database,
    rowferry: Rowferry,
}

impl Ferry {
    async fn new(setup: &str, more: &str) -> Self {
        let server = Postgres::shared();
        let (source, target) = (server.create_database("lives_source"), server.create_database("lives_target"));
        source.execute(setup).await;
        let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), more));
        Self { source, target, rowferry }
    }

    fn configure(&self, more: &str) {
        self.rowferry.set_config(&config::pipeline(&self.source, &config::postgres(&self.target), more));
    }

    /// The same, where an error of this text is meant to come.
    fn allowing(self, text: &str) -> Self {
        Self { rowferry: self.rowferry.allow_error(text), ..self }
    }

    async fn assert_same(&self) {
        assert_same(&self.source, Target::Postgres(&self.target)).await;
        self.rowferry.command(&["verify"]).expect_code(0);
    }

    fn state_of(&self, table: &str) -> (String, String) {
        let (_, status) = self.rowferry.json(&["status"]);
        let tables = status["pipelines"][0]["tables"].as_array().unwrap();
        let found = tables.iter().find(|one| one["name"] == table).unwrap_or_else(|| panic!("{table} in {status}"));
        (found["state"].as_str().unwrap().into(), found["reason"].as_str().unwrap_or_default().into())
    }
}

fn is_in(state: &'static str) -> impl Fn(&Value) -> bool {
    move |pipeline| pipeline["tables"].as_array().unwrap().iter().all(|table| table["state"] == state)
}

/// The log must carry the table again from the moment that it is copied on.
#[tokio::test]
async fn a_table_that_was_halted_for_its_key_is_carried_after_a_resync() {
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')", "").await;
    let rowferry = &ferry.rowferry;
    rowferry.run_until_caught_up();
    ferry.source.execute("ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_eq!(ferry.state_of("public.t").0, "halted");
    ferry.source.execute("ALTER TABLE t ADD PRIMARY KEY (id); INSERT INTO t VALUES (2, 'b')").await;
    rowferry.command(&["resync", "--table", "public.t"]).expect_code(0);
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("UPDATE t SET v = 'c' WHERE id = 1; INSERT INTO t VALUES (3, 'd')").await;
    running.sigterm();
    rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

#[tokio::test]
async fn a_table_that_was_gone_is_copied_again_once_it_is_back() {
    let ferry = Ferry::new(
        "CREATE TABLE away (id int PRIMARY KEY, v text); INSERT INTO away VALUES (1, 'old');
         CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
        "",
    )
    .await;
    let ferry = ferry.allowing("gone at the source");
    let away_is = |state: &'static str| {
        move |pipeline: &Value| {
            let tables = pipeline["tables"].as_array().unwrap();
            tables.iter().any(|table| table["name"] == "public.away" && table["state"] == state)
        }
    };
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("DROP TABLE away").await;
    running.wait_status("halted", away_is("halted"));
    ferry.source.execute("CREATE TABLE away (id int PRIMARY KEY, v text); INSERT INTO away VALUES (2, 'new')").await;
    running.wait_status("in step again", away_is("streaming"));
    ferry.source.execute("INSERT INTO away VALUES (3, 'newer'); DROP TABLE away").await;
    running.wait_status("halted again", away_is("halted"));
    running.sigterm();
    // Made again while nobody looks.
    ferry.source.execute("CREATE TABLE away (v text, id int PRIMARY KEY); INSERT INTO away VALUES ('newest', 7)").await;
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// Rows of the log from before mean the column that was dropped.
#[tokio::test]
async fn a_column_that_comes_back_after_it_was_dropped_holds_nothing_old() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT g, 'old', 'old' FROM generate_series(1, 50) g",
        "",
    )
    .await;
    ferry.rowferry.run_until_caught_up();
    ferry.source.execute("UPDATE t SET v = v || id; ALTER TABLE t DROP v, DROP w").await;
    // The target has followed, and the rows before are still to come.
    let kill = [("ROWFERRY_FAILPOINT", "form.kept:1:kill")];
    assert_eq!(ferry.rowferry.spawn_with(&["run"], &kill).wait_exit().code, None);
    ferry.source.execute("ALTER TABLE t ADD v text, ADD w int; INSERT INTO t VALUES (100, 'new', 1)").await;
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

#[tokio::test]
async fn a_new_table_with_a_key_of_its_own_is_followed_by_that_key() {
    let key = "[pipeline.test.table.\"public.orders\"]\nkey = [\"order_no\"]";
    let ferry = Ferry::new("CREATE TABLE other (id int PRIMARY KEY)", key).await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry
        .source
        .execute(
            "CREATE TABLE orders (id int PRIMARY KEY, order_no int NOT NULL UNIQUE, v text); ALTER TABLE orders REPLICA IDENTITY FULL;
             INSERT INTO orders SELECT g, 11 - g, 'v' || g FROM generate_series(1, 10) g",
        )
        .await;
    running.wait_status("the new table is in step", |pipeline| {
        let tables = pipeline["tables"].as_array().unwrap();
        tables.iter().any(|table| table["name"] == "public.orders" && table["state"] == "streaming")
    });
    ferry.source.execute("DELETE FROM orders WHERE id = 3; UPDATE orders SET v = 'new' WHERE id = 5").await;
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    assert_same(&ferry.source, Target::Postgres(&ferry.target)).await;
}

#[tokio::test]
async fn another_key_halts_its_table_and_no_other() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL); INSERT INTO t VALUES (1, 11), (2, 12), (3, 13);
         CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
        "",
    )
    .await;
    let ferry = ferry.allowing("key");
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry
        .source
        .execute(
            "BEGIN; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (n); COMMIT;
             UPDATE t SET n = n + 100 WHERE n = 12; DELETE FROM t WHERE n = 13; INSERT INTO other VALUES (2)",
        )
        .await;
    running.wait_status("one halted, the other not", |pipeline| {
        let tables = pipeline["tables"].as_array().unwrap();
        let is = |name: &str, state: &str| tables.iter().any(|table| table["name"] == name && table["state"] == state);
        is("public.t", "halted") && is("public.other", "streaming") && pipeline["state"] != "stopped"
    });
    ferry.source.execute("INSERT INTO other VALUES (3)").await;
    running.wait_status("the other goes on", |pipeline| {
        let tables = pipeline["tables"].as_array().unwrap();
        tables.iter().any(|table| table["name"] == "public.other" && table["rows_applied"] == 2)
    });
    running.sigterm();
    ferry.target.execute("DROP TABLE t").await;
    ferry.rowferry.command(&["resync", "--table", "public.t"]).expect_code(0);
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

#[tokio::test]
async fn a_table_that_was_dropped_and_made_again_is_another_table() {
    let ferry = Ferry::new(
        "CREATE TABLE live (id int PRIMARY KEY, v text); INSERT INTO live SELECT g, 'old' FROM generate_series(1, 100) g;
         CREATE TABLE still (id int PRIMARY KEY, v text); INSERT INTO still SELECT g, 'old' FROM generate_series(1, 100) g;
         CREATE TABLE swapped (id int PRIMARY KEY, v text); INSERT INTO swapped VALUES (1, 'old')",
        "",
    )
    .await;
    let rowferry = &ferry.rowferry;
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    // While it runs, in one step that no look at the catalog falls into.
    ferry
        .source
        .execute(
            "BEGIN; DROP TABLE live; CREATE TABLE live (id int PRIMARY KEY, v text); INSERT INTO live VALUES (5, 'new'); COMMIT;
             BEGIN; CREATE TABLE swapped_new (v text, id int PRIMARY KEY); INSERT INTO swapped_new VALUES ('new', 2);
             ALTER TABLE swapped RENAME TO swapped_old; ALTER TABLE swapped_new RENAME TO swapped; DROP TABLE swapped_old; COMMIT",
        )
        .await;
    running.wait_status("live copied again", |pipeline| {
        let tables = pipeline["tables"].as_array().unwrap();
        tables.iter().any(|table| table["name"] == "public.live" && table["rows_copied"] == 1)
    });
    running.wait_status("all in step", is_in("streaming"));
    ferry.source.execute("INSERT INTO live VALUES (6, 'newer'); INSERT INTO swapped VALUES ('newer', 3)").await;
    running.sigterm();
    // And while it does not run.
    ferry
        .source
        .execute(
            "DROP TABLE still; CREATE TABLE still (id int PRIMARY KEY, v text); INSERT INTO still VALUES (7, 'new')",
        )
        .await;
    rowferry.run_until_caught_up();
    ferry.source.execute("INSERT INTO still VALUES (8, 'newer')").await;
    rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// What a transaction wrote before the log began to carry its table is not in the log: the copy has to wait for it.
#[tokio::test]
async fn a_new_table_is_copied_after_the_transactions_that_were_under_way() {
    let ferry = Ferry::new("CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1)", "").await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("CREATE TABLE fresh (id int PRIMARY KEY, v text)").await;
    let writer = ferry.source.client().await;
    writer.batch_execute("BEGIN; INSERT INTO fresh VALUES (1, 'under way')").await.unwrap();
    running.wait_status("the new table", |pipeline| {
        pipeline["tables"].as_array().unwrap().iter().any(|table| table["name"] == "public.fresh")
    });
    let name = ferry.source.name();
    let published =
        format!("SELECT count(*) FROM pg_publication_tables WHERE pubname = '{name}' AND tablename = 'fresh'");
    while ferry.source.value(&published).await == "0" {
        tokio::task::yield_now().await;
    }
    writer.batch_execute("INSERT INTO fresh VALUES (2, 'after'); COMMIT").await.unwrap();
    running.wait_status("all in step", is_in("streaming"));
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// No row of the log says that an enum has a label more, or that a column may be NULL.
#[tokio::test]
async fn changes_that_no_row_announces_are_carried_over_before_their_rows() {
    let ferry = Ferry::new(
        "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, m mood, v text NOT NULL);
         INSERT INTO t VALUES (1, 'ok', 'a')",
        "on_bad_row = \"dead_letter\"",
    )
    .await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("ALTER TYPE mood ADD VALUE 'better'").await;
    ferry
        .source
        .execute("UPDATE t SET m = 'better'; ALTER TABLE t ALTER v DROP NOT NULL; INSERT INTO t VALUES (2, 'ok', NULL)")
        .await;
    let done = |pipeline: &Value| pipeline["tables"][0]["rows_applied"].as_u64() >= Some(2);
    let status = running.wait_status("both changes", done);
    assert_eq!(status["tables"][0]["dead_letters"], 0, "{status}");
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

#[tokio::test]
async fn a_column_that_did_not_travel_before_brings_its_values() {
    let leaves_out = "[pipeline.test.table.\"public.t\"]\ncolumns = [\"!note\"]";
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, note text, v int); INSERT INTO t SELECT g, 'note ' || g, g FROM generate_series(1, 50) g",
        leaves_out,
    )
    .await;
    ferry.rowferry.run_until_caught_up();
    assert_eq!(ferry.target.value("SELECT count(*) FROM information_schema.columns WHERE table_name = 't'").await, "2");
    ferry.configure("");
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

#[tokio::test]
async fn another_target_name_is_another_table() {
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)", "").await;
    ferry.rowferry.run_until_caught_up();
    ferry.configure("[pipeline.test.table.\"public.t\"]\ntarget = \"t2\"");
    ferry.source.execute("INSERT INTO t VALUES (3)").await;
    ferry.rowferry.run_until_caught_up();
    assert_eq!(ferry.target.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t2").await, "1,2,3");
}

/// A halted table goes on after the target was changed by hand, and the others never stopped.
#[tokio::test]
async fn a_rename_that_was_followed_by_hand_goes_on() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, before text); INSERT INTO t VALUES (1, 'a'); CREATE TABLE other (id int PRIMARY KEY)",
        "",
    )
    .await;
    let rowferry = &ferry.rowferry;
    rowferry.run_until_caught_up();
    ferry
        .source
        .execute("ALTER TABLE t RENAME before TO after; UPDATE t SET after = 'b'; INSERT INTO other VALUES (1)")
        .await;
    rowferry.command(&["run", "--until-caught-up"]).expect_code(1);
    let (state, reason) = ferry.state_of("public.t");
    assert!(state == "halted" && reason.contains("renamed to after") && reason.contains("resync"), "{state}: {reason}");
    assert_eq!(ferry.target.value("SELECT count(*) FROM other").await, "1");
    ferry.target.execute("ALTER TABLE t RENAME before TO after").await;
    rowferry.command(&["resync", "--table", "public.t"]).expect_code(0);
    rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// The log still says what was written under the old name: it must not be replayed over what is copied under the new one.
#[tokio::test]
async fn rows_of_the_old_form_are_not_replayed_over_a_resync() {
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY, before text); INSERT INTO t VALUES (1, 'a')", "").await;
    ferry.rowferry.run_until_caught_up();
    ferry.source.execute("INSERT INTO t VALUES (2, 'b')").await;
    ferry.source.execute("ALTER TABLE t RENAME before TO after").await;
    ferry.target.execute("ALTER TABLE t RENAME before TO after").await;
    ferry.rowferry.command(&["resync", "--table", "public.t"]).expect_code(0);
    let ended = ferry.rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(0);
    ferry.assert_same().await;
}

/// A log that was kept since long before, of a slot that was there or of a state that is lost, says what rows were before columns
/// went and came.
#[tokio::test]
async fn rows_of_an_older_form_are_not_replayed_over_a_first_copy() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'a' FROM generate_series(1, 50) g;
         CREATE TABLE before (id serial PRIMARY KEY, v text)",
        "",
    )
    .await;
    let name = ferry.source.name();
    ferry.source.execute(&format!("CREATE PUBLICATION {name} FOR TABLE t, before")).await;
    ferry.source.execute(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    // The log takes its time before it comes to the rows.
    let change = "INSERT INTO before (v) SELECT repeat('x', 100) FROM generate_series(1, 100000);
                  UPDATE t SET v = 'old'; ALTER TABLE t DROP v; ALTER TABLE t ADD v text";
    for statement in change.split(";") {
        ferry.source.execute(statement).await;
    }
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
    for statement in change.split(";") {
        ferry.source.execute(statement).await;
    }
    std::fs::remove_dir_all(ferry.rowferry.path("rowferry-state")).unwrap();
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// After everything was lost at the target, indexes and constraints are built again too.
#[tokio::test]
async fn an_emptied_target_is_made_again_whole() {
    let ferry = Ferry::new(
        "CREATE TABLE a (id int PRIMARY KEY, v int UNIQUE); CREATE INDEX a_v2 ON a ((v + 1));
         CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a); INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1)",
        "",
    )
    .await;
    let rowferry = &ferry.rowferry;
    rowferry.run_until_caught_up();
    ferry.target.execute("DROP SCHEMA rowferry CASCADE; DROP TABLE a, b").await;
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1).expect_stderr(&["resync --all"]);
    rowferry.command(&["resync", "--all"]).expect_code(0);
    rowferry.run_until_caught_up();
    ferry.assert_same().await;
    let constraints = "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY conname) FROM pg_constraint WHERE conrelid IN ('a'::regclass, 'b'::regclass)";
    assert_eq!(ferry.target.value(constraints).await, ferry.source.value(constraints).await);
    assert_eq!(ferry.target.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'a_v2'").await, "1");
}

/// Rows that were read ahead of the log are read again where they move. That must come to an end while others still move.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_keys_keep_moving_gets_in_step() {
    let ferry = Ferry::new(
        "CREATE TABLE moving (id int PRIMARY KEY, big text); ALTER TABLE moving ALTER big SET STORAGE EXTERNAL;
         INSERT INTO moving SELECT g, repeat(md5(g::text), 80) FROM generate_series(1, 2000) g; ANALYZE",
        "slice_rows = 100",
    )
    .await;
    let client = ferry.source.client().await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut moves = 0_u64;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            let id = 1 + moves * 7919 % 2000;
            let statement = format!("UPDATE moving SET id = -id WHERE id IN ({id}, -{id})");
            client.batch_execute(&statement).await.unwrap();
            moves += 1;
        }
        moves
    });
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    drop(stop);
    println!("{} keys moved", writer.await.unwrap());
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// Rows of a table in step are written as new ones; one that somebody put there by hand is written over all the same.
#[tokio::test]
async fn a_row_that_somebody_put_into_the_target_is_written_over() {
    let ferry =
        Ferry::new("CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE); INSERT INTO t VALUES (0, 'v0')", "").await;
    ferry.rowferry.run_until_caught_up();
    ferry.target.execute("INSERT INTO t VALUES (77, 'by hand')").await;
    ferry.source.execute("INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 500) g").await;
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// Killed while it makes tables: one that is made and not yet known to be has to take a new form all the same.
#[tokio::test]
async fn tables_that_change_while_they_are_being_made() {
    const TABLES: u32 = 60;
    let tables = |each: &str| (0..TABLES).map(|n| each.replace('#', &n.to_string())).collect::<String>();
    let setup = tables("CREATE TABLE t# (id int PRIMARY KEY); INSERT INTO t# SELECT generate_series(1, 3);");
    let ferry = Ferry::new(&setup, "").await;
    for (kill, made) in [6, 18, 30, 42, 54].into_iter().enumerate() {
        let running = ferry.rowferry.spawn_run();
        let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        while ferry.target.value(count).await.parse::<u32>().unwrap() < made {
            tokio::task::yield_now().await;
        }
        running.kill9();
        ferry.source.execute(&tables(&format!("ALTER TABLE t# ADD c{kill} int NOT NULL DEFAULT 1;"))).await;
    }
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// Ranges go on being handed out until the log says that the form has changed, and again once the target has it: none between.
#[tokio::test]
async fn columns_that_come_while_a_table_is_copied() {
    const COLUMNS: u32 = 20;
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g",
        "slice_rows = 100",
    )
    .await;
    let mut running = ferry.rowferry.spawn_run();
    let copied =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('public.t') AND attname ~ '^c' AND attnum > 0";
    for number in 0..COLUMNS {
        ferry
            .source
            .execute(&format!("ALTER TABLE t ADD c{number} int; UPDATE t SET c{number} = id WHERE id < 10"))
            .await;
        let comes = async {
            while ferry.target.value(copied).await.parse::<u32>().unwrap() <= number {
                tokio::task::yield_now().await;
            }
        };
        let comes = tokio::time::timeout(Duration::from_secs(60), comes).await;
        assert!(comes.is_ok(), "column {number} does not come: {:?}", ferry.state_of("public.t"));
    }
    running.wait_streaming();
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}
