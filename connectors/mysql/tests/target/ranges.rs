//! What ranges leave behind.

use super::*;

#[tokio::test]
async fn a_range_is_made_what_the_source_holds() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, u varchar(10), UNIQUE KEY u (u))";
    let ferry = Ferry::new(
        table,
        &format!("{table}; INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (10, 'j'), (11, 'k')"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // 3 is gone, 1 and 2 changed places, 4 takes what 10 holds, 5 is new.
    let replaced = replace(&mut applier, &t, &range(Some("1"), Some("5")), &["2 a", "4 j", "5 e"]).await;
    assert_eq!((replaced.rows, replaced.evicted), (3, vec![key("1"), key("10")]));
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 a", "4 j", "5 e", "11 k"]);
    let replaced = replace(&mut applier, &t, &Range::Set(vec![key("2"), key("4")]), &["2 j"]).await;
    assert_eq!((replaced.rows, replaced.evicted), (1, vec![]));
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 e", "11 k"]);
    let native = Range::Native(String::new());
    let error = applier.replace(&t, &native, blocks(&["12 l", "5 x"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["3"]);
    replace(&mut applier, &t, &native, &["12 l", "5 x"]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 x", "11 k", "12 l"]);
    replace(&mut applier, &t, &range(Some("11"), None), &[]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 x", "11 k"]);
    replace(&mut applier, &t, &Range::Whole, &["11 m"]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["11 m"]);
}

#[tokio::test]
async fn ranges_of_texts_follow_their_bytes_and_not_the_collation() {
    let table = "CREATE TABLE t (a varchar(10), b decimal(5,2), PRIMARY KEY (a, b))";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let all = ["B 1.00", "a 10.00", "a 2.00", "b 1.00", "z 1.00", "\u{e4} 1.00", "\u{1f600} 1.00"];
    apply(&mut applier, vec![inserts(&t, &all[1..])], Some("1")).await.unwrap();
    apply(&mut applier, vec![deletes(&t, &["b 1.00"]), inserts(&t, &["B 1.00", "b 1.01"])], Some("2")).await.unwrap();
    let all = ["B 1.00", "a 10.00", "a 2.00", "b 1.01", "z 1.00", "\u{e4} 1.00", "\u{1f600} 1.00"];
    let read = |range| {
        let (ferry, t) = (&ferry, &t);
        async move { ferry.read(t, &range).await.iter().map(|line| line.replace('\t', " ")).collect::<Vec<_>>() }
    };
    assert_eq!(read(Range::Whole).await, all);
    assert_eq!(read(range(Some("B 1.00"), Some("a 2.00"))).await, all[1..3]);
    assert_eq!(read(range(Some("a 10.00"), Some("\u{e4} 0"))).await, all[2..5]);
    assert_eq!(read(range(Some("z 1.00"), None)).await, all[5..]);
    let set = Range::Set(vec![key("A 2.00"), key("b 1.01"), key("\u{e4} 1.00")]);
    assert_eq!(read(set).await, [all[3], all[5]]);
    replace(&mut applier, &t, &range(Some("a 10.00"), Some("\u{e4} 1.00")), &["z 1.00"]).await;
    assert_eq!(read(Range::Whole).await, ["B 1.00", "a 10.00", "z 1.00", "\u{1f600} 1.00"]);
}

#[tokio::test]
async fn long_rows_pass_and_too_long_ones_are_named() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v longtext, b longblob)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let (text, bytes) = ("it's ".repeat(400_000), vec![0x27_u8; 100_000]);
    let mut builder = RowBuilder::new();
    let mut long = |id: &str, text: &str| {
        builder.push(Cell::Text(id.as_bytes()));
        builder.push(Cell::Text(text.as_bytes()));
        builder.push(Cell::Raw(&bytes));
        builder.finish()
    };
    let upserts = vec![row("1 a -"), long("2", &text), row("3 c -"), long("4", &text)];
    let step = Step::Rows(TableRows { upserts, ..nothing(&t) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    applier
        .replace(&t, &Range::Native(String::new()), block([vec![Some(b"5" as &[u8]), Some(text.as_bytes()), None]]))
        .await
        .unwrap();
    let sizes = "SELECT id, LENGTH(v), LENGTH(b), v = REPEAT('it''s ', 400000) FROM t ORDER BY id";
    let expected = ["1 1 - 0", "2 2000000 100000 1", "3 1 - 0", "4 2000000 100000 1", "5 2000000 - 1"];
    assert_eq!(ferry.rows(sizes).await, expected);
    let limit: usize = ferry.target.value("SELECT @@max_allowed_packet").await.parse().unwrap();
    if limit <= 64 << 20 {
        let step = Step::Rows(TableRows { upserts: vec![long("6", &"x".repeat(limit))], ..nothing(&t) });
        let error = apply(&mut applier, vec![step], Some("2")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
        assert!(error.hint_text().unwrap().contains("max_allowed_packet"));
    }
    apply(&mut applier, vec![], Some("2")).await.unwrap();
}
