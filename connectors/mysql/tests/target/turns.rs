//! Two appliers that take turns, and what appliers of one target tell each other.

use super::*;
use rowferry_api::Batch;

/// Rows `k v`, enough of them to be brought ahead.
fn written(table: &Arc<TableSchema>, keys: std::ops::Range<usize>, v: &str) -> Vec<Step> {
    let rows: Vec<String> = keys.map(|k| format!("{k} {v}")).collect();
    vec![upserts(table, &rows.iter().map(String::as_str).collect::<Vec<_>>())]
}

fn staged(steps: Vec<Step>, end: &str) -> Batch {
    Batch { steps, end: Some(Position::new(end)), staged: true }
}

#[tokio::test]
async fn an_applier_and_its_twin_take_turns() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v varchar(10))";
    let ferry = Ferry::new(table, table).await;
    let (t, mut one) = (ferry.form("t").await, ferry.applier().await);
    let mut two = one.twin().unwrap().await.unwrap();
    let held = async || ferry.rows("SELECT v, COUNT(*), MIN(k), MAX(k) FROM t GROUP BY v ORDER BY v").await;

    assert!(two.stage(&written(&t, 0..2000, "b")).await.unwrap());
    assert!(!one.stage(&written(&t, 0..200, "few")).await.unwrap());
    apply(&mut one, written(&t, 0..3000, "a"), Some("1")).await.unwrap();
    assert_eq!(held().await, ["a 3000 0 2999"], "what is staged is not there");
    two.apply(&staged(written(&t, 0..2000, "not-sent"), "2")).await.unwrap();
    assert_eq!(held().await, ["a 1000 2000 2999", "b 2000 0 1999"]);
    assert!(one.stage(&written(&t, 1000..2500, "c")).await.unwrap());
    one.apply(&staged(written(&t, 1000..2500, "c"), "3")).await.unwrap();
    assert_eq!(held().await, ["a 500 2500 2999", "b 1000 0 999", "c 1500 1000 2499"]);

    // Rows that were added since come too, and what was staged for another batch does not.
    assert!(two.stage(&written(&t, 0..2000, "d")).await.unwrap());
    two.apply(&staged(written(&t, 0..2500, "d"), "4")).await.unwrap();
    assert_eq!(held().await, ["a 500 2500 2999", "d 2500 0 2499"]);
    assert!(two.stage(&written(&t, 0..2000, "other")).await.unwrap());
    apply(&mut two, written(&t, 0..2000, "e"), Some("5")).await.unwrap();
    assert_eq!(held().await, ["a 500 2500 2999", "d 500 2000 2499", "e 2000 0 1999"]);

    // One learns of the other's new forms.
    assert!(two.stage(&written(&t, 0..2000, "7")).await.unwrap());
    ferry.target.execute("UPDATE t SET v = '0'; ALTER TABLE t MODIFY v int").await;
    ferry.source.execute("ALTER TABLE t ADD more int").await;
    let form = ferry.form("t").await;
    let more = form.columns.last().unwrap().clone();
    one.alter(&form, &[Alteration::AddColumn(more)]).await.unwrap();
    two.apply(&staged(written(&t, 0..2000, "8"), "6")).await.unwrap();
    assert_eq!(held().await, ["0 1000 2000 2999", "8 2000 0 1999"]);
    let rows: Vec<String> = (0..1500).map(|k| format!("{k} 9 {k}")).collect();
    let steps = vec![upserts(&form, &rows.iter().map(String::as_str).collect::<Vec<_>>())];
    assert!(one.stage(&steps).await.unwrap());
    one.apply(&staged(steps, "7")).await.unwrap();
    assert_eq!(
        ferry.rows("SELECT v, SUM(more = k), COUNT(*) FROM t GROUP BY v ORDER BY v").await,
        ["0 - 1000", "8 - 500", "9 1500 1500"]
    );

    // What a column cannot hold is refused as it is without a twin.
    let error = two.stage(&written(&t, 0..2000, "x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");

    // Neither writes where somebody else has moved the position.
    assert!(one.stage(&written(&t, 0..2000, "5")).await.unwrap());
    ferry.target.execute("UPDATE rowferry.positions SET position = '60' WHERE position = '7'").await;
    let error = one.apply(&staged(written(&t, 0..2000, "5"), "8")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(held().await, ["0 1000 2000 2999", "8 500 1500 1999", "9 1500 0 1499"]);
}

/// An upsert guards the rows of other keys only if it knows of the index that they would meet under.
#[tokio::test]
async fn a_unique_index_that_another_applier_has_built_is_known_to_all() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, u varchar(10), UNIQUE KEY u (u))";
    let ferry = Ferry::new(table, "").await;
    let target = ferry.target();
    target.prepare("p", &Identity::new("source"), &Position::new("0"), true).await.unwrap();
    let mut appliers = [target.open_applier("p").await.unwrap(), target.open_applier("p").await.unwrap()];
    let t = ferry.form("t").await;
    let [one, other] = &mut appliers;
    assert_eq!(one.create(&t).await.unwrap(), Created::New);
    apply(one, vec![upserts(&t, &["1 a", "2 b"])], Some("1")).await.unwrap();
    assert_eq!(other.finish(&t).await.unwrap(), []);
    let error = apply(one, vec![upserts(&t, &["3 a"])], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 a", "2 b"]);
}
