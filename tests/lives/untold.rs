//! Changes of rows that no log tells of: the catalog shows that they may have been, and the table is copied again.

use super::Ferry;

use rowferry_testkit::config;

impl Ferry {
    /// A pipeline over one table that has caught up.
    async fn of_one(setup: &str, table: &str) -> Self {
        let ferry = Self::new(setup, "").await;
        ferry.rowferry.set_config(&ferry.config_of_one(table, ""));
        assert_eq!(ferry.compared_after("").await, 0);
        ferry
    }

    fn config_of_one(&self, table: &str, more: &str) -> String {
        let config = config::pipeline(&self.source, &config::postgres(&self.target), more);
        config.replace("*.*", &format!("public.{table}"))
    }

    /// Runs statements, catches up, and compares both ends. Returns how many rows of the first table have been compared since it
    /// was last begun.
    async fn compared_after(&self, sql: &str) -> u64 {
        self.source.execute(sql).await;
        self.rowferry.run_until_caught_up();
        self.rowferry.command(&["verify"]).expect_code(0);
        let (_, status) = self.rowferry.json(&["status"]);
        status["pipelines"][0]["tables"][0]["rows_compared"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn values_that_a_new_type_makes() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, v text, n int, w varchar(10));
                 INSERT INTO t SELECT g, 'v' || g, g, 'w' FROM generate_series(1, 100) g";
    let ferry = Ferry::of_one(setup, "t").await;
    // Rows that were logged before must not come over those that are read.
    let same = "UPDATE t SET v = 'changed' WHERE id < 10; ALTER TABLE t ALTER v TYPE text USING upper(v); INSERT INTO t VALUES (101, 'x', 1)";
    assert_eq!(ferry.compared_after(same).await, 101);
    let wider = "ALTER TABLE t ALTER n TYPE bigint USING -n; INSERT INTO t VALUES (102, 'y', 3000000000)";
    assert_eq!(ferry.compared_after(wider).await, 102);
    let version: u32 = ferry.source.value("SHOW server_version_num").await.parse().unwrap();
    if version >= 170_000 {
        ferry.compared_after("ALTER TABLE t ADD g int GENERATED ALWAYS AS (id + 1) STORED").await;
        assert_eq!(ferry.compared_after("ALTER TABLE t ALTER g SET EXPRESSION AS (id + 2)").await, 102);
    }
    let nothing = "VACUUM FULL t; ALTER TABLE t ALTER v SET STATISTICS 7, ALTER w TYPE varchar(20); INSERT INTO t VALUES (103, 'z')";
    for statement in nothing.split("; ") {
        assert_eq!(ferry.compared_after(statement).await, 102, "{statement}");
    }
}

#[tokio::test]
async fn values_that_a_new_type_makes_while_it_runs() {
    let setup =
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 100) g";
    let ferry = Ferry::of_one(setup, "t").await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("ALTER TABLE t ALTER v TYPE text USING upper(v); INSERT INTO t VALUES (101, 'x')").await;
    running.wait_status("copied again", |pipeline| {
        let table = &pipeline["tables"][0];
        table["state"] == "streaming" && table["rows_compared"] == 101
    });
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn partitions_that_come_and_go() {
    let setup = "CREATE TABLE p (id int, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
                 CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
                 CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
                 CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30);
                 INSERT INTO p SELECT g, g % 30, 'v' FROM generate_series(1, 300) g";
    let ferry = Ferry::of_one(setup, "p").await;
    // Each with the rows that are compared.
    for (sql, rows) in [
        ("TRUNCATE p1; INSERT INTO p VALUES (1, 1, 'new')", 201),
        ("DROP TABLE p2", 101),
        ("ALTER TABLE p DETACH PARTITION p3", 1),
        ("ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30)", 101),
        (
            "ALTER TABLE p DETACH PARTITION p3; DELETE FROM p3 WHERE id < 31; UPDATE p3 SET v = 'away'; \
          ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30)",
            91,
        ),
        // What is filled and attached in one transaction.
        (
            "BEGIN; CREATE TABLE p4 (LIKE p); INSERT INTO p4 VALUES (1, 31, 'filled'); \
          ALTER TABLE p ATTACH PARTITION p4 FOR VALUES FROM (30) TO (40); COMMIT",
            92,
        ),
        (
            "BEGIN; CREATE TABLE p5 (LIKE p) PARTITION BY RANGE (at); CREATE TABLE p5a PARTITION OF p5 FOR VALUES FROM (40) TO (45); \
          INSERT INTO p5 VALUES (1, 41, 'below'); ALTER TABLE p ATTACH PARTITION p5 FOR VALUES FROM (40) TO (50); COMMIT",
            93,
        ),
        (
            "BEGIN; CREATE TABLE p6 (LIKE p); SAVEPOINT s; INSERT INTO p6 VALUES (1, 51, 'by another'); RELEASE s; \
          ALTER TABLE p ATTACH PARTITION p6 FOR VALUES FROM (50) TO (60); COMMIT",
            94,
        ),
        (
            "CREATE TABLE staging (LIKE p); INSERT INTO staging VALUES (1, 61, 'before'); BEGIN; ALTER TABLE staging RENAME TO p7; \
          ALTER TABLE p ATTACH PARTITION p7 FOR VALUES FROM (60) TO (70); COMMIT",
            95,
        ),
        ("TRUNCATE p7; INSERT INTO p VALUES (2, 61, 'new'); VACUUM FULL p7", 95),
        (
            "CREATE TABLE p8 PARTITION OF p FOR VALUES FROM (70) TO (80); INSERT INTO p VALUES (1, 71, 'short'); TRUNCATE p8",
            95,
        ),
    ] {
        run(&ferry, sql).await;
        assert_eq!(ferry.compared_after("").await, rows, "{sql}");
    }
}

/// Runs statements, each in a transaction of its own unless one of them begins one.
async fn run(ferry: &Ferry, sql: &str) {
    let statements: Vec<&str> = if sql.contains("BEGIN") { vec![sql] } else { sql.split("; ").collect() };
    for statement in statements {
        ferry.source.execute(statement).await;
    }
}

/// What is done to partitions every day is not worth a copy.
#[tokio::test]
async fn partitions_of_which_the_log_tells_all() {
    let setup = "CREATE TABLE p (id int, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
                 CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
                 INSERT INTO p SELECT g, g % 10, 'v' FROM generate_series(1, 300) g";
    let ferry = Ferry::of_one(setup, "p").await;
    for told in [
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (1, 21, 'new')",
        "BEGIN; CREATE TABLE p4 PARTITION OF p FOR VALUES FROM (30) TO (40); INSERT INTO p VALUES (1, 31, 'new'); COMMIT",
        "CREATE TABLE p6 PARTITION OF p FOR VALUES FROM (50) TO (70) PARTITION BY RANGE (at);
         CREATE TABLE p6a PARTITION OF p6 FOR VALUES FROM (50) TO (60); INSERT INTO p VALUES (1, 51, 'new')",
        "VACUUM FULL p1",
        "CREATE INDEX ON p (v)",
        "ALTER TABLE p ALTER v SET STATISTICS 7",
    ] {
        run(&ferry, told).await;
        assert_eq!(ferry.compared_after("").await, 0, "{told}");
    }
}

#[tokio::test]
async fn a_table_that_the_publication_did_not_carry_for_a_while() {
    let setup =
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g";
    let ferry = Ferry::of_one(setup, "t").await;
    let publication = ferry.source.value("SELECT quote_ident(pubname) FROM pg_publication").await;
    let missed = format!("ALTER PUBLICATION {publication} DROP TABLE t; INSERT INTO t VALUES (101, 'missed')");
    assert_eq!(ferry.compared_after(&missed).await, 101);
    // Put back by hand before anybody looks.
    let hidden = format!(
        "ALTER PUBLICATION {publication} DROP TABLE t; DELETE FROM t WHERE id < 11; ALTER PUBLICATION {publication} ADD TABLE ONLY t"
    );
    assert_eq!(ferry.compared_after(&hidden).await, 91);
    let fewer = format!(
        "ALTER PUBLICATION {publication} SET (publish = 'insert'); DELETE FROM t WHERE id < 21;
         ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')"
    );
    assert_eq!(ferry.compared_after(&fewer).await, 81);
    assert_eq!(ferry.compared_after("INSERT INTO t VALUES (5, 'told')").await, 81);
    // While it runs.
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry
        .source
        .execute(&format!("ALTER PUBLICATION {publication} DROP TABLE t; INSERT INTO t VALUES (6, 'missed')"))
        .await;
    running.wait_status("copied again", |pipeline| {
        let table = &pipeline["tables"][0];
        table["state"] == "streaming" && table["rows_compared"] == 83
    });
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// Its updates would not say which row they are of.
#[tokio::test]
async fn a_partition_that_does_not_log_the_configured_key() {
    let setup = "CREATE TABLE p (id int, v text NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id); ALTER TABLE p REPLICA IDENTITY FULL;
                 CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); ALTER TABLE p1 REPLICA IDENTITY FULL;
                 INSERT INTO p SELECT g, 'v' || g FROM generate_series(1, 9) g";
    let keyed = "[pipeline.test.table.\"public.p\"]\nkey = [\"v\"]";
    let ferry = Ferry::new(setup, keyed).await;
    ferry.rowferry.set_config(&ferry.config_of_one("p", keyed));
    let ferry = ferry.allowing("the replica identity of 1 of its partitions lacks the key");
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)").await;
    running.wait_status("halted", |pipeline| pipeline["tables"][0]["state"] == "halted");
    ferry.source.execute("ALTER TABLE p2 REPLICA IDENTITY FULL; INSERT INTO p VALUES (11, 'eleven'); UPDATE p SET v = 'XI' WHERE id = 11").await;
    ferry.rowferry.command(&["resync", "--table", "public.p"]).expect_code(0);
    running.wait_streaming();
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// The server lets a published table have one, and writes nothing of it down.
#[tokio::test]
async fn a_partition_without_a_log() {
    let setup = "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)";
    let ferry = Ferry::of_one(setup, "p").await;
    let ferry = ferry.allowing("1 of its partitions are UNLOGGED");
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry
        .source
        .execute("CREATE UNLOGGED TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (11)")
        .await;
    running.wait_status("halted", |pipeline| pipeline["tables"][0]["state"] == "halted");
    ferry.source.execute("ALTER TABLE p2 SET LOGGED").await;
    ferry.rowferry.command(&["resync", "--table", "public.p"]).expect_code(0);
    running.wait_streaming();
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
    // And one that is made while nobody looks.
    ferry.source.execute("CREATE UNLOGGED TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30)").await;
    ferry.rowferry.command(&["run", "--until-caught-up"]).expect_code(1);
    assert_eq!(ferry.state_of("public.p").0, "halted");
}

/// What the log says of a new table from before it was seen must not come over what is read.
#[tokio::test]
async fn a_new_table_whose_values_were_made_others_before_it_is_seen() {
    let setup = "CREATE TABLE before (id serial PRIMARY KEY, v text)";
    let ferry = Ferry::new(setup, "").await;
    let name = ferry.source.name();
    ferry.source.execute(&format!("CREATE PUBLICATION {name} FOR ALL TABLES")).await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    // The log comes to the rows of the new table only after it was seen: what is before them waits at the target.
    let holder = ferry.target.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE before").await.unwrap();
    let many = "INSERT INTO before (v) SELECT repeat('x', 100) FROM generate_series(1, 1000)";
    ferry.source.execute(&format!("DO $$ BEGIN FOR i IN 1..200 LOOP {many}; COMMIT; END LOOP; END $$")).await;
    ferry.source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'lower' FROM generate_series(1, 20) g").await;
    ferry.source.execute("ALTER TABLE t ALTER v TYPE text USING upper(v)").await;
    running.wait_status("seen", |pipeline| pipeline["tables"].as_array().unwrap().len() == 2);
    holder.batch_execute("COMMIT").await.unwrap();
    running.wait_status("two tables in step", |pipeline| {
        let tables = pipeline["tables"].as_array().unwrap();
        tables.len() == 2 && tables.iter().all(|table| table["state"] == "streaming")
    });
    running.sigterm();
    ferry.rowferry.run_until_caught_up();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// Its rows are no longer where they were when it was cut: what could not be read is not taken for read.
#[tokio::test]
async fn a_table_that_is_rewritten_while_it_is_copied() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let setup = format!("{table}; INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 1000) g; ANALYZE t");
    let ferry = Ferry::new(&setup, "slice_rows = 10").await;
    ferry.target.execute(table).await;
    let holder = ferry.target.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN EXCLUSIVE MODE").await.unwrap();
    let mut running = ferry.rowferry.spawn_run();
    running.wait_status("copying", |pipeline| pipeline["tables"][0]["state"] == "copying");
    // It waits for the range that is being read.
    let client = ferry.source.client().await;
    let rewrite = tokio::spawn(async move { client.batch_execute("VACUUM FULL t").await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query = 'VACUUM FULL t' AND wait_event_type = 'Lock'";
    while ferry.source.value(waits).await != "1" {
        tokio::task::yield_now().await;
    }
    holder.batch_execute("COMMIT").await.unwrap();
    rewrite.await.unwrap().unwrap();
    let status = running.wait_streaming();
    assert_ne!(status["tables"][0]["rows_compared"], 0, "it was not copied again: {status}");
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}
