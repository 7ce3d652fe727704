//! Batches: what they leave behind, whatever refuses them.

use super::*;

#[tokio::test]
async fn many_new_rows_are_copied_and_one_that_is_there_is_an_error_that_leaves_nothing() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text, w text)";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (300, 'old', 'old')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let cells: Vec<String> = (0..500).map(|k| format!("{k} a\\b -")).collect();
    let inserts = |range: std::ops::Range<usize>| {
        Step::Rows(TableRows {
            inserts: cells[range].iter().map(|cells| row(cells)).collect(),
            ..TableRows::new(t.clone())
        })
    };
    apply(&mut applier, vec![inserts(0..200)], Some("1")).await.unwrap();
    let error = apply(&mut applier, vec![inserts(200..400)], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
    assert_eq!(ferry.rows("SELECT count(*), max(k) FROM t").await, ["201 300"]);
    let mut any =
        TableRows { inserts: cells[200..400].iter().map(|cells| row(cells)).collect(), ..TableRows::new(t.clone()) };
    any.expect_any();
    apply(&mut applier, vec![Step::Rows(any)], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT count(*), sum(k), min(v), max(v), count(w) FROM t").await, [r"400 79800 a\b a\b 0"]);
}

#[tokio::test]
async fn new_rows_of_many_tables_are_all_there_or_none() {
    const TABLES: usize = 8;
    let setup: Vec<String> = (0..TABLES).map(|n| format!("CREATE TABLE t{n} (k int PRIMARY KEY, v date)")).collect();
    let ferry = Ferry::new(&setup.join(";"), &setup.join(";")).await;
    let mut applier = ferry.applier().await;
    let mut forms = Vec::new();
    for n in 0..TABLES {
        forms.push(ferry.form(&format!("t{n}")).await);
    }
    // One table has a value that goes as text between others, and one few rows.
    let batch = |from: usize| -> Vec<Step> {
        let step = |(n, form): (usize, &Arc<TableSchema>)| {
            let rows = if n == 5 { from..from + 3 } else { from..from + 20 };
            let value = |k: usize| if n == 2 && k == from + 7 { "infinity" } else { "2024-02-29" };
            let inserts = rows.map(|k| row(&format!("{k} {}", value(k)))).collect();
            Step::Rows(TableRows { inserts, ..TableRows::new(form.clone()) })
        };
        forms.iter().enumerate().map(step).collect()
    };
    let counts = async || {
        let count = |n| format!("SELECT {n} AS t, count(*), sum(k), count(*) FILTER (WHERE v = 'infinity') FROM t{n}");
        let counts: Vec<String> = (0..TABLES).map(count).collect();
        ferry.rows(&format!("{} ORDER BY t", counts.join(" UNION ALL "))).await
    };
    let whole = |batches: usize| -> Vec<String> {
        let counts = (0..TABLES).map(|n| {
            let in_one = if n == 5 { 3 } else { 20 };
            let keys = (0..batches).flat_map(|batch| batch * 20..batch * 20 + in_one);
            let infinite = if n == 2 { batches } else { 0 };
            format!("{n} {} {} {infinite}", in_one * batches, keys.sum::<usize>())
        });
        counts.collect()
    };
    apply(&mut applier, batch(0), Some("1")).await.unwrap();
    apply(&mut applier, batch(20), Some("2")).await.unwrap();
    assert_eq!(counts().await, whole(2));

    ferry.target.execute("INSERT INTO t1 VALUES (50, NULL)").await;
    let error = apply(&mut applier, batch(40), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
    assert!(error.to_string().contains("\"t1\""), "{error}");
    // The connection is another one now, and still knows where the target stood.
    ferry.target.execute("UPDATE rowferry.positions SET position = '20'").await;
    let error = apply(&mut applier, batch(60), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    ferry.target.execute("UPDATE rowferry.positions SET position = '2'").await;
    ferry.target.execute("DELETE FROM t1 WHERE k = 50; ALTER TABLE t3 ALTER v TYPE timestamp").await;
    let error = apply(&mut applier, batch(40), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("\"t3\""), "{error}");
    assert_eq!(counts().await, whole(2));
    apply(&mut applier, batch(40), Some("3")).await.unwrap();
    assert_eq!(counts().await, whole(3));
    assert_eq!(ferry.rows("SELECT DISTINCT v FROM t3").await, ["2024-02-29 00:00:00"]);
}

/// A row that moves takes its unknown cells with it, also over a row that a range brought under the new key, and whatever
/// the server takes for the same key.
#[tokio::test]
async fn rows_move_to_other_keys_together() {
    let table = "CREATE TABLE numbers (id numeric PRIMARY KEY, big text, n int);
                 CREATE TABLE pairs (a text, b int, big text, PRIMARY KEY (a, b))";
    let words = "CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE words (id text COLLATE folds PRIMARY KEY, big text, n int)";
    let setup = format!("{table}; {words}");
    let rows = "INSERT INTO numbers SELECT g, 'big' || g, 0 FROM generate_series(1, 9) g; INSERT INTO numbers VALUES (103, 'later', 7);
                INSERT INTO pairs VALUES ('x', 1, 'x1'), ('x', 2, 'x2'); INSERT INTO words VALUES ('a', 'big a', 0), ('b', 'big b', 0)";
    let ferry = Ferry::new(&setup, &format!("{setup}; {rows}")).await;
    let mut applier = ferry.applier().await;
    let (numbers, pairs, words) = (ferry.form("numbers").await, ferry.form("pairs").await, ferry.form("words").await);

    let moved = [("1", "101 ? 1"), ("2", "102 ? 1"), ("3", "103 ? 1"), ("4", "4.0 ? 1"), ("77", "177 ? 1")];
    let missing = apply(&mut applier, vec![updates(&numbers, &moved)], None).await.unwrap();
    assert_eq!(missing, ["('177')"]);
    let moved = [("5", "105 ? 1"), ("6", "106 ? 1"), ("88", "188 ? 1"), ("103.0", "103 ? 2")];
    let missing = apply(&mut applier, vec![updates(&numbers, &moved)], None).await.unwrap();
    assert_eq!(missing, ["('188')"]);
    // The first makes room for the second, as the server sees it.
    let moved = [("a", "c ? 1"), ("b", "A ? 1")];
    assert!(apply(&mut applier, vec![updates(&words, &moved)], None).await.unwrap().is_empty());
    assert!(apply(&mut applier, vec![updates(&words, &[("c", "C ? 2")])], None).await.unwrap().is_empty());
    let moved = [("x 1", "y 1 ?"), ("x 2", "x 3 ?")];
    assert!(apply(&mut applier, vec![updates(&pairs, &moved)], Some("1")).await.unwrap().is_empty());

    let expected = [
        "101 big1 1",
        "102 big2 1",
        "103 later 2",
        "105 big5 1",
        "106 big6 1",
        "4.0 big4 1",
        "7 big7 0",
        "8 big8 0",
        "9 big9 0",
    ];
    assert_eq!(ferry.rows("SELECT * FROM numbers ORDER BY id::text").await, expected);
    assert_eq!(ferry.rows("SELECT * FROM words ORDER BY big").await, ["C big a 2", "A big b 1"]);
    assert_eq!(ferry.rows("SELECT * FROM pairs ORDER BY big").await, ["y 1 x1", "x 3 x2"]);
}

#[tokio::test]
async fn tables_that_inherit_from_a_target_are_left_alone() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let setup =
        format!("{table}; CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 'mine'), (2, 'mine')");
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Empty);
    assert_eq!(apply(&mut applier, vec![updates(&t, &[("1", "1 ?")])], Some("1")).await.unwrap(), ["('1')"]);
    let steps = vec![upserts(&t, &["1 a", "2 b"]), updates(&t, &[("1", "1 x")]), deletes(&t, &["2"])];
    apply(&mut applier, steps, Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, ["1 x"]);
    replace(&mut applier, &t, &Range::Whole, &["3 c"]).await;
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, ["3 c"]);
    apply(&mut applier, vec![Step::Truncate(vec![t.clone()])], Some("3")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, [""; 0]);
    assert_eq!(ferry.rows("SELECT * FROM child ORDER BY k").await, ["1 mine", "2 mine"]);
}

#[tokio::test]
async fn a_partitioned_target_is_written_through_its_root() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let setup = format!(
        "{table} PARTITION BY RANGE (k); CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (5);
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (5) TO (9)"
    );
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let steps = vec![upserts(&t, &["1 a", "2 b", "6 c"]), updates(&t, &[("6", "6 x")]), deletes(&t, &["2"])];
    apply(&mut applier, steps, Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, ["1 a", "6 x"]);
    apply(&mut applier, vec![Step::Truncate(vec![t.clone()])], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, [""; 0]);
}

/// A user of the target who may not switch foreign keys off.
async fn plain_user(ferry: &Ferry) -> String {
    let (user, database) = (format!("{}_user", ferry.target.name()), ferry.target.name());
    ferry
        .target
        .execute(&format!("CREATE ROLE {user} LOGIN; GRANT CREATE ON DATABASE {database} TO {user}; GRANT ALL ON SCHEMA public TO {user}"))
        .await;
    Postgres::shared().url_as(&user, database)
}

#[tokio::test]
async fn foreign_keys_that_act_are_put_off_and_their_failure_keeps_the_earlier_parts() {
    let setup = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE)";
    let ferry = Ferry::new(setup, "").await;
    let (parent, child) = (ferry.form("parent").await, ferry.form("child").await);
    let mut applier = ferry.applier_at(plain_user(&ferry).await).await;
    for table in [&parent, &child] {
        assert_eq!(applier.create(table).await.unwrap(), Created::New);
    }
    for table in [&parent, &child] {
        assert_eq!(applier.finish(table).await.unwrap(), []);
    }
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(ferry.rows(key).await, ["FOREIGN KEY (p) REFERENCES parent(id) DEFERRABLE"]);
    replace(&mut applier, &parent, &Range::Whole, &["7"]).await;
    apply(&mut applier, vec![upserts(&child, &["1 1"])], None).await.unwrap();
    let error = apply(&mut applier, vec![upserts(&child, &["2 2"])], Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![upserts(&parent, &["1"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM child").await, ["1 1"], "the first part is there, the one that failed is not");
    // The log says itself what a cascade deletes.
    let error = apply(&mut applier, vec![deletes(&parent, &["1"])], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![deletes(&parent, &["1"]), deletes(&child, &["1"])], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM child").await, [""; 0]);
}

/// What comes after it must not take its answers for its own.
#[tokio::test]
async fn a_copy_that_the_server_refuses_to_begin_spoils_nothing_after_it() {
    let table = |name: &str| format!("CREATE TABLE {name} (k int PRIMARY KEY, v text)");
    let setup = format!("{}; {}", table("t"), table("u"));
    let ferry = Ferry::new(&setup, &setup).await;
    let user = plain_user(&ferry).await;
    ferry.target.execute("GRANT ALL ON t, u TO PUBLIC; REVOKE INSERT ON u FROM PUBLIC").await;
    let (t, u, mut applier) = (ferry.form("t").await, ferry.form("u").await, ferry.applier_at(user).await);
    let rows: Vec<String> = (0..20).map(|k| format!("{k} v")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let error = apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap_err();
        assert!(error.to_string().contains("permission denied for table u"), "{error}");
    }
    apply(&mut applier, vec![inserts(&t, &rows[..10])], None).await.unwrap();
    let error = apply(&mut applier, vec![inserts(&u, &rows)], None).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table u"), "{error}");
    let error = apply(&mut applier, vec![inserts(&t, &rows[10..])], Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let error = applier.replace(&u, &Range::Whole, blocks(&rows)).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table u"), "{error}");
    assert_eq!(ferry.rows("SELECT count(*) FROM t").await, ["0"]);

    ferry.target.execute("GRANT INSERT ON u TO PUBLIC").await;
    apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap();
    assert_eq!(
        ferry.rows("SELECT count(*), sum(k) FROM t UNION ALL SELECT count(*), sum(k) FROM u").await,
        ["20 190"; 2]
    );
}

/// The server refuses it after it has said that it takes rows, and before it reads one.
#[tokio::test]
async fn a_trigger_that_refuses_a_statement_spoils_nothing_after_it() {
    let table = |name: &str| format!("CREATE TABLE {name} (k int PRIMARY KEY, v inet)");
    let setup = format!("{}; {}", table("t"), table("u"));
    let ferry = Ferry::new(&setup, &setup).await;
    ferry
        .target
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON u EXECUTE FUNCTION refuse(); ALTER TABLE u ENABLE ALWAYS TRIGGER refuse",
        )
        .await;
    let (t, u, mut applier) = (ferry.form("t").await, ferry.form("u").await, ferry.applier().await);
    let rows: Vec<String> = (0..20).map(|k| format!("{k} 10.0.0.{k}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let error = apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap_err();
        assert!(error.to_string().contains("not today"), "{error}");
    }
    let error = applier.replace(&u, &Range::Native("(0,0):(9,1)".into()), blocks(&rows)).await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT count(*), sum(k) FROM t").await, ["20 190"]);
}

#[tokio::test]
async fn commits_are_durable_whatever_the_database_says() {
    let target = "CREATE TABLE t (id int PRIMARY KEY, said text DEFAULT current_setting('synchronous_commit'))";
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY)", target).await;
    ferry.target.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", ferry.target.name())).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["1 on"]);
}
