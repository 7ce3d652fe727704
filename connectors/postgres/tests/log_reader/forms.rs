//! What events come, in which forms, with which keys.

use super::*;

#[tokio::test]
async fn every_replica_identity_gives_the_key() {
    let log = Log::new(
        "CREATE TABLE by_key (a int, v text, b text, PRIMARY KEY (b, a));
         CREATE TABLE by_index (v text, code text NOT NULL, id int PRIMARY KEY);
         CREATE UNIQUE INDEX by_code ON by_index (code);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code;
         CREATE TABLE whole (v text, id int PRIMARY KEY);
         ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE none (id int PRIMARY KEY);
         ALTER TABLE none REPLICA IDENTITY NOTHING",
    )
    .await;
    let tables = log.tables().await;
    for table in ["by_key", "by_index", "whole"] {
        let (key, set) = match table {
            "by_key" => ("(a, v, b) VALUES (1, 'x', 'k'), (2, NULL, 'k')", "a = a + 10"),
            "by_index" => ("(v, code, id) VALUES ('x', 'c1', 1), (NULL, 'c2', 2)", "code = code || '!'"),
            _ => ("(v, id) VALUES ('x', 1), (NULL, 2)", "id = id + 10"),
        };
        let row = |nth: u32| {
            if table == "by_key" { format!("a % 10 = {nth}") } else { format!("id % 10 = {nth}") }
        };
        log.execute(&format!("INSERT INTO {table} {key}")).await;
        log.execute(&format!("UPDATE {table} SET v = 'y' WHERE {}", row(1))).await;
        log.execute(&format!("UPDATE {table} SET {set} WHERE {}", row(1))).await;
        log.execute(&format!("DELETE FROM {table}")).await;
    }
    log.execute("INSERT INTO none VALUES (5)").await;
    check(
        &log.events(&tables).await,
        "schema by_key(a* integer, v text, b* text)
         insert by_key (1, x, k)
         insert by_key (2, NULL, k)
         update by_key (k, 1) to (1, y, k)
         update by_key (k, 1) to (11, y, k)
         delete by_key (k, 2)
         delete by_key (k, 11)
         schema by_index(v text, code* text, id integer)
         insert by_index (x, c1, 1)
         insert by_index (NULL, c2, 2)
         update by_index (c1) to (y, c1, 1)
         update by_index (c1) to (y, c1!, 1)
         delete by_index (c2)
         delete by_index (c1!)
         schema whole(v text, id* integer)
         insert whole (x, 1)
         insert whole (NULL, 2)
         update whole (1) to (y, 1)
         update whole (1) to (y, 11)
         delete whole (2)
         delete whole (11)
         schema none(id* integer)
         insert none (5)",
    );
}

#[tokio::test]
async fn transactions_are_whole_and_positions_lead_past_them() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let start = log.confirmed().await;
    for id in 1..=3 {
        log.execute(&format!("BEGIN; INSERT INTO t VALUES ({id}0), ({id}1); COMMIT")).await;
        log.execute("BEGIN; INSERT INTO t VALUES (99); ROLLBACK").await;
    }
    let mut reader = log.try_open(&start, &log.tables().await, "").await.unwrap();
    let events = log.try_rest(&mut reader).await.unwrap();
    drop(reader);
    let frames: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Begin { .. } => Some('('),
            Event::Change(change) if change.table.name.name == "t" => Some('i'),
            Event::Commit { .. } => Some(')'),
            _ => None,
        })
        .collect();
    assert!(frames.starts_with("(ii)(ii)(ii)"), "{frames}");
    let commits: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Commit { .. })).collect();
    let Event::Commit { position, committed_at, .. } = commits[0] else { unreachable!() };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
    assert!((now - committed_at.0).abs() < 60_000_000, "{committed_at:?}");
    let mut reader = eventually(async || log.try_open(position, &log.tables().await, "").await).await;
    check(
        &log.rest(&mut reader).await,
        "schema t(id* integer)
         insert t (20)
         insert t (21)
         insert t (30)
         insert t (31)",
    );
}

#[tokio::test]
async fn unchanged_large_values_stay_unchanged_unless_the_log_carries_them() {
    let log = Log::new(
        "CREATE TABLE part (id int PRIMARY KEY, big text, n int);
         CREATE TABLE whole (id int PRIMARY KEY, big text, n int);
         ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE keyed (code text PRIMARY KEY, big text, n int);
         ALTER TABLE part ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE keyed ALTER code SET STORAGE EXTERNAL",
    )
    .await;
    let tables = log.tables().await;
    for table in ["part", "whole"] {
        log.execute(&format!("INSERT INTO {table} VALUES (1, repeat('b', 9000), 0)")).await;
        log.execute(&format!("UPDATE {table} SET n = 1")).await;
        log.execute(&format!("UPDATE {table} SET id = 2")).await;
        log.execute(&format!("UPDATE {table} SET big = repeat('c', 9000)")).await;
        log.execute(&format!("UPDATE {table} SET big = NULL")).await;
    }
    log.execute("INSERT INTO keyed VALUES (repeat('k', 2200), repeat('b', 9000), 0)").await;
    log.execute("UPDATE keyed SET n = 1").await;
    check(
        &log.events(&tables).await,
        "schema part(id* integer, big text, n integer)
         insert part (1, bx9000, 0)
         update part (1) to (1, unchanged, 1)
         update part (1) to (2, unchanged, 1)
         update part (2) to (2, cx9000, 1)
         update part (2) to (2, NULL, 1)
         schema whole(id* integer, big text, n integer)
         insert whole (1, bx9000, 0)
         update whole (1) to (1, bx9000, 1)
         update whole (1) to (2, bx9000, 1)
         update whole (2) to (2, cx9000, 1)
         update whole (2) to (2, NULL, 1)
         schema keyed(code* text, big text, n integer)
         insert keyed (kx2200, bx9000, 0)
         update keyed (kx2200) to (kx2200, unchanged, 1)",
    );
}

#[tokio::test]
async fn a_truncate_names_all_its_tables_side_by_side() {
    let log = Log::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
         CREATE TABLE c (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)",
    )
    .await;
    let tables = log.tables().await;
    log.execute("TRUNCATE c, a CASCADE").await;
    log.execute("INSERT INTO c VALUES (1)").await;
    check(
        &log.events(&tables).await,
        "schema c(id* integer)
         schema a(id* integer)
         schema b(id* integer)
         truncate c
         truncate a
         truncate b
         insert c (1)",
    );
}

#[tokio::test]
async fn a_form_comes_once_and_again_only_when_it_changed() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v varchar(10))").await;
    let given = log.table("t").await;
    let mut reader = log.open(std::slice::from_ref(&given)).await;
    log.execute("INSERT INTO t VALUES (1, 'a')").await;
    let events = log.try_rest(&mut reader).await.unwrap();
    let first = events.iter().find_map(|event| match event {
        Event::Schema(table) if table.name.name == "t" => Some(table.clone()),
        _ => None,
    });
    assert!(Arc::ptr_eq(&first.unwrap(), &given), "nothing differs, so it is the form that was given");
    // The server describes the table again after each of these.
    log.execute("CREATE INDEX ON t (v)").await;
    log.execute("INSERT INTO t VALUES (2, 'b')").await;
    log.execute("ALTER TABLE t ALTER v SET DEFAULT 'd'").await;
    log.execute("INSERT INTO t VALUES (3, 'c')").await;
    check(&log.rest(&mut reader).await, "insert t (2, b)\ninsert t (3, c)");
    log.execute("ALTER TABLE t ADD note text DEFAULT 'n'").await;
    log.execute("UPDATE t SET v = 'z' WHERE id = 1").await;
    log.execute("ALTER TABLE t ALTER v TYPE text").await;
    log.execute("INSERT INTO t VALUES (4, 'd')").await;
    log.execute("ALTER TABLE t DROP note").await;
    log.execute("INSERT INTO t VALUES (5, 'e')").await;
    // ALTER TYPE rewrote the table, which the log carries as new rows under another name: not in it.
    check(
        &log.rest(&mut reader).await,
        "schema t(id* integer, v character varying(10), note text)
         update t (1) to (1, z, n)
         schema t(id* integer, v text, note text)
         insert t (4, d, n)
         schema t(id* integer, v text)
         insert t (5, e)",
    );
}

#[tokio::test]
async fn the_log_s_form_may_be_older_than_the_catalog() {
    let log = Log::new(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE t (id int PRIMARY KEY, gone numeric(5,2), mood mood, old_name text)",
    )
    .await;
    let given = log.table("t").await;
    log.execute("INSERT INTO t VALUES (1, 1.50, 'ok', 'x')").await;
    log.execute("UPDATE t SET id = 2").await;
    log.execute(
        "ALTER TABLE t DROP gone; ALTER TABLE t RENAME old_name TO new_name; ALTER TABLE t RENAME id TO number",
    )
    .await;
    log.execute("UPDATE t SET number = 3").await;
    let mut reader = log.open(&[given]).await;
    let events = log.try_rest(&mut reader).await.unwrap();
    check(
        &shown(&events),
        "schema t(id* integer, gone numeric(5,2), mood public.mood, old_name text)
         insert t (1, 1.50, ok, x)
         update t (1) to (2, 1.50, ok, x)
         schema t(number* integer, mood public.mood, new_name text)
         update t (2) to (3, ok, x)",
    );
    drop(reader);
    // A table that is gone altogether, and was not asked for.
    log.execute("CREATE TABLE brief (id int PRIMARY KEY, b bool); INSERT INTO brief VALUES (1, true)").await;
    log.execute("DELETE FROM brief; DROP TABLE brief").await;
    let events = eventually(async || log.try_open(&log.confirmed().await, &[], "").await).await;
    let mut events = events;
    let shown = log.rest(&mut events).await;
    assert!(shown.contains("schema brief(id integer, b boolean)\ninsert brief (1, t)\ndelete brief ()"), "{shown}");
}

#[tokio::test]
async fn a_given_form_with_fewer_columns_lends_its_key() {
    let log = Log::new(
        "CREATE TABLE t (a int, b text NOT NULL, c int NOT NULL, PRIMARY KEY (a)); ALTER TABLE t REPLICA IDENTITY FULL",
    )
    .await;
    let mut narrow = (*log.table("t").await).clone();
    narrow.columns.remove(0);
    narrow.key = vec![1, 0];
    log.execute("INSERT INTO t VALUES (1, 'x', 2); UPDATE t SET a = 5; DELETE FROM t").await;
    check(
        &log.events(&[Arc::new(narrow)]).await,
        "schema t(a integer, b* text, c* integer)
         insert t (1, x, 2)
         update t (2, x) to (5, x, 2)
         delete t (2, x)",
    );
}

#[tokio::test]
async fn a_key_that_the_log_does_not_carry_makes_its_table_unreadable() {
    let log = Log::new(
        "CREATE TABLE t (id int PRIMARY KEY, email text NOT NULL UNIQUE);
         CREATE TABLE nullable (id int, code text); ALTER TABLE nullable REPLICA IDENTITY FULL",
    )
    .await;
    let with_key = async |name: &str, column: &str| {
        let mut table = (*log.table(name).await).clone();
        table.key = vec![table.column_index(column).unwrap()];
        Arc::new(table)
    };
    let tables = [with_key("t", "email").await, with_key("nullable", "code").await];
    let start = log.confirmed().await;
    // With the primary key unchanged, the log has no old row: the old email is not in it.
    for (sql, names) in [
        ("INSERT INTO t VALUES (1, 'a'); UPDATE t SET email = 'b'", "public.t"),
        ("INSERT INTO nullable VALUES (1, 'a'); UPDATE nullable SET code = NULL", "public.nullable"),
        ("INSERT INTO nullable VALUES (2, NULL)", "public.nullable"),
    ] {
        let start = if sql.contains("INTO t") { start.clone() } else { log.source().head().await.unwrap() };
        log.execute(sql).await;
        let mut reader = eventually(async || log.try_open(&start, &tables, "").await).await;
        let events = log.try_rest(&mut reader).await.unwrap();
        let unreadable = events.iter().find_map(|event| match event {
            Event::Unreadable { table, reason } => Some((table.to_string(), reason)),
            _ => None,
        });
        let (table, reason) = unreadable.unwrap();
        assert_eq!(table, names);
        assert!(reason.contains("REPLICA IDENTITY") && reason.contains("resync --table"), "{reason}");
    }
    // Nobody asked for it with that key: it passes.
    let start = log.source().head().await.unwrap();
    log.execute("UPDATE t SET email = 'c'").await;
    let mut reader = eventually(async || log.try_open(&start, &[], "").await).await;
    assert!(log.rest(&mut reader).await.contains("update t (1) to (1, c)"));
}

#[tokio::test]
async fn names_of_any_kind_are_read() {
    let log = Log::new(
        r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."a""b'c\d é" ("Id" int PRIMARY KEY, "select" text, "ü\" text)"#,
    )
    .await;
    log.execute(r#"INSERT INTO "My Schema"."a""b'c\d é" VALUES (1, 'x', 'y')"#).await;
    check(
        &log.events(&log.tables().await).await,
        r#"schema a"b'c\d é(Id* integer, select text, ü\ text)
           insert a"b'c\d é (1, x, y)"#,
    );
}

#[tokio::test]
async fn publications_with_odd_names_are_found() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let name = r#"it's "my" \pub, really"#;
    log.execute(&format!("CREATE PUBLICATION \"{}\" FOR TABLE t", name.replace('"', "\"\""))).await;
    let from = log.source().head().await.unwrap();
    log.execute("INSERT INTO t VALUES (1)").await;
    let mut reader = PostgresLogReader::open(log.options("", name), &from, &log.tables().await).await.unwrap();
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Commit { .. })) {
        reader.next(&mut events).await.unwrap();
    }
    check(&shown(&events), "schema t(id* integer)\ninsert t (1)");
}
