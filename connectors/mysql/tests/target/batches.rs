//! What batches leave behind, and what they are refused for.

use super::*;

#[tokio::test]
async fn a_batch_deletes_updates_upserts_and_inserts() {
    let table = "CREATE TABLE t (a int, b varchar(10) CHARACTER SET latin1, v varchar(10), w int, PRIMARY KEY (a, b))";
    let ferry = Ferry::new(
        table,
        &format!("{table}; INSERT INTO t VALUES (1, 'x', 'old', 1), (2, 'x', 'old', 2), (3, 'x', 'old', 3), (4, 'x', 'old', 4)"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let step = Step::Rows(TableRows {
        deletes: vec![key("1 x"), key("9 x")],
        updates: vec![
            PartialUpdate { key: key("2 x"), row: row("2 x new ?") },
            PartialUpdate { key: key("3 x"), row: row("30 y ? 33") },
            PartialUpdate { key: key("7 x"), row: row("7 x new ?") },
        ],
        upserts: vec![row("4 x up -"), row("5 \u{e4} up 5")],
        inserts: vec![row("6 x in 6")],
        ..nothing(&t)
    });
    assert_eq!(apply(&mut applier, vec![step], Some("1")).await.unwrap(), ["('7', 'x')"]);
    let expected = ["2 x new 2", "4 x up -", "5 \u{e4} up 5", "6 x in 6", "30 y old 33"];
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY a").await, expected);
    let truncate = vec![Step::Truncate(vec![t.clone()]), inserts(&t, &["8 z in 8"])];
    apply(&mut applier, truncate, Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["8 z in 8"]);
    let held = ferry.target().position(ferry.target.name()).await.unwrap().unwrap();
    assert_eq!((held.position, held.source), (Position::new("2"), Identity::new("source")));
}

#[tokio::test]
async fn thousands_of_changes_take_a_few_statements_and_say_what_was_missing() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(40), w varchar(40))";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let new = (0..20_000).map(|id| row(&format!("{id} value-of-{id} untouched")));
    let step = Step::Rows(TableRows { inserts: new.collect(), ..nothing(&t) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    let update = |id: i32| PartialUpdate { key: key(&id.to_string()), row: row(&format!("{id} changed ?")) };
    let step = Step::Rows(TableRows { updates: (19_000..20_005).map(update).collect(), ..nothing(&t) });
    let missing: Vec<String> = (20_000..20_005).map(|id| format!("('{id}')")).collect();
    assert_eq!(apply(&mut applier, vec![step.clone()], Some("2")).await.unwrap(), missing);
    // Rows that have the values already are found all the same.
    assert_eq!(apply(&mut applier, vec![step], Some("3")).await.unwrap(), missing);
    let gone = (0..5_000).map(|id| key(&id.to_string()));
    let step = Step::Rows(TableRows { deletes: gone.collect(), ..nothing(&t) });
    apply(&mut applier, vec![step], Some("4")).await.unwrap();
    let counts = "SELECT COUNT(*), SUM(v = 'changed'), SUM(w = 'untouched'), MIN(id), SUM(id) FROM t";
    assert_eq!(ferry.rows(counts).await, ["15000 1000 15000 5000 187492500"]);
}

#[tokio::test]
async fn a_row_that_moves_takes_its_unknown_cells_with_it() {
    let table = "CREATE TABLE t (k varchar(10) PRIMARY KEY, v varchar(10))";
    let ferry =
        Ferry::new(table, &format!("{table}; INSERT INTO t VALUES ('a', 'a'), ('b', 'b'), ('c', 'c'), ('d', 'd')"))
            .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // To the same key by the collation, to a free one, to one that is there, and one that is not there.
    let step = updates(&t, &[("a", "A ?"), ("b", "x ?"), ("c", "d new"), ("y", "z ?")]);
    assert_eq!(apply(&mut applier, vec![step], Some("1")).await.unwrap(), ["('z')"]);
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY v").await, ["A a", "x b", "d new"]);
}

#[tokio::test]
async fn a_row_in_the_way_of_another_unique_index_is_an_error() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, u varchar(10), v int, UNIQUE KEY u (u))";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    for step in [
        upserts(&t, &["1 b 1", "2 a 2"]),
        upserts(&t, &["3 a 3", "4 c 4"]),
        inserts(&t, &["3 a 3"]),
        inserts(&t, &["1 c 3"]),
        updates(&t, &[("1", "1 b ?"), ("2", "2 a ?")]),
    ] {
        let error = apply(&mut applier, vec![step], Some("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
        assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 a 1", "2 b 2"]);
    }
    apply(&mut applier, vec![upserts(&t, &["1 c 1", "2 a 2", "3 b 3"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 c 1", "2 a 2", "3 b 3"]);
    // NULL in a column that has to hold something is a row's own fault.
    ferry.target.execute("ALTER TABLE t MODIFY v int NOT NULL").await;
    let error = apply(&mut applier, vec![upserts(&t, &["5 e -", "6 f 6"])], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
}

#[tokio::test]
async fn a_bad_row_undoes_its_call_and_the_earlier_part_stays() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5), d decimal(5,2))";
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY, v varchar(50), d decimal(9,3))", table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1 a 1.00"])], None).await.unwrap();
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["0"], "nothing is visible before the end");
    // Too long, rounded with a note only, no number, a wrong number of cells.
    for (bad, kind) in [
        ("3 too-long 1.00", ErrorKind::BadRow),
        ("3 a 1.005", ErrorKind::BadRow),
        ("3 a NaN", ErrorKind::BadRow),
        ("3 a 99999.00", ErrorKind::BadRow),
        ("3 a", ErrorKind::Protocol),
    ] {
        let error = apply(&mut applier, vec![upserts(&t, &["2 b 2.00", bad])], None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{bad}: {error}");
    }
    let error = apply(&mut applier, vec![updates(&t, &[("1", "1 ? 1.005"), ("1", "1 b ?")])], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![upserts(&t, &["4 d 4.00"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 a 1.00", "4 d 4.00"]);
    apply(&mut applier, vec![upserts(&t, &["5 e 5.00"])], None).await.unwrap();
    applier.rollback().await.unwrap();
    apply(&mut applier, vec![], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_position_that_another_process_moved_is_left_alone() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1"])], Some("1")).await.unwrap();
    let mut other = ferry.target().open_applier(ferry.target.name()).await.unwrap();
    apply(&mut other, vec![upserts(&t, &["2"])], Some("2")).await.unwrap();
    let error = apply(&mut applier, vec![upserts(&t, &["3"])], Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(ferry.rows("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    let identity = ferry.target().identity().await.unwrap().unwrap();
    let prepared = ferry.target().prepare(ferry.target.name(), &Identity::new("x"), &Position::new("9"), false).await;
    assert_eq!(prepared.unwrap(), identity);
    let held = ferry.target().position(ferry.target.name()).await.unwrap().unwrap();
    assert_eq!((held.position, held.source), (Position::new("2"), Identity::new("source")));
}

/// A column that follows updates by itself keeps what the log did not name.
#[tokio::test]
async fn a_column_that_follows_updates_is_written_by_the_log_only() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v int, at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE \
                 CURRENT_TIMESTAMP)";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (1, 1, '2001-01-01 12:00:00')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let before = ferry.rows("SELECT at FROM t").await;
    apply(&mut applier, vec![updates(&t, &[("1", "1 2 ?")])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT at FROM t WHERE v = 2").await, before);
}
