//! Ranges: what stands in their way.

use super::*;

#[tokio::test]
async fn only_rows_that_truly_stand_in_the_way_of_a_range_are_evicted() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, a text, b text, on_sale bool);
                 CREATE UNIQUE INDEX ta ON t (a) WHERE on_sale; CREATE UNIQUE INDEX tb ON t (lower(b))";
    let setup = format!(
        "{table}; INSERT INTO t VALUES (1, 'x', 'p', true), (2, 'y', 'q', true), (3, 'z', 'r', false), (4, 'w', 'S', true)"
    );
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // 1 and 2 swap; 3 is not on sale, so its z is in nobody's way; 4 holds the s that 5 takes.
    let rows = ["1 y p t", "2 x q t", "5 z s t"];
    let range = Range::Set(vec![key("1"), key("2"), key("5")]);
    let replaced = replace(&mut applier, &t, &range, &rows).await;
    assert_eq!(replaced.evicted, [key("4")]);
    let expected = ["1 y p t", "2 x q t", "3 z r f", "5 z s t"];
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, expected);
}

#[tokio::test]
async fn nulls_that_are_not_distinct_stand_in_the_way_too() {
    if version().await < 15 {
        return;
    }
    let table = "CREATE TABLE t (k bool PRIMARY KEY, a int, UNIQUE NULLS NOT DISTINCT (a))";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (true, NULL)")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let replaced = replace(&mut applier, &t, &Range::Set(vec![key("f")]), &["f -"]).await;
    assert_eq!(replaced.evicted, [key("t")], "as COPY prints it");
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["f -"]);
}
