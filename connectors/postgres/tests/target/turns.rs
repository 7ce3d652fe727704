//! An applier and its twin.

use super::*;

#[tokio::test]
async fn an_applier_and_its_twin_take_turns() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut one) = (ferry.form("t").await, ferry.applier().await);
    let mut two = one.twin().unwrap().await.unwrap();
    let written = |keys: std::ops::Range<usize>, v: &str| {
        let rows: Vec<String> = keys.map(|k| format!("{k} {v}")).collect();
        vec![upserts(&t, &rows.iter().map(String::as_str).collect::<Vec<_>>())]
    };
    let staged = |steps: Vec<Step>, end: &str| Batch { steps, end: Some(Position::new(end)), staged: true };
    let held = async || ferry.rows("SELECT v, count(*), min(k), max(k) FROM t GROUP BY v ORDER BY v").await;

    assert!(two.stage(&written(0..200, "b")).await.unwrap());
    assert!(!one.stage(&written(0..20, "few")).await.unwrap());
    apply(&mut one, written(0..300, "a"), Some("1")).await.unwrap();
    assert_eq!(held().await, ["a 300 0 299"], "what is staged is not there");
    two.apply(&staged(written(0..200, "b"), "2")).await.unwrap();
    assert_eq!(held().await, ["a 100 200 299", "b 200 0 199"]);
    assert!(one.stage(&written(100..250, "c")).await.unwrap());
    one.apply(&staged(written(100..250, "c"), "3")).await.unwrap();
    assert_eq!(held().await, ["a 50 250 299", "b 100 0 99", "c 150 100 249"]);

    // Rows that were added since come too, and what was staged for another batch does not.
    assert!(two.stage(&written(0..200, "d")).await.unwrap());
    two.apply(&staged(written(0..250, "d"), "4")).await.unwrap();
    assert_eq!(held().await, ["a 50 250 299", "d 250 0 249"]);
    assert!(two.stage(&written(0..200, "other")).await.unwrap());
    apply(&mut two, written(0..200, "e"), Some("5")).await.unwrap();
    assert_eq!(held().await, ["a 50 250 299", "d 50 200 249", "e 200 0 199"]);

    // One learns of the other's new forms.
    assert!(two.stage(&written(0..200, "7")).await.unwrap());
    ferry.target.execute("ALTER TABLE t ALTER v TYPE int USING 0").await;
    let form = ferry.form("t").await;
    let _ = one.create(&form).await;
    two.apply(&staged(written(0..200, "7"), "6")).await.unwrap();
    assert_eq!(held().await, ["0 100 200 299", "7 200 0 199"]);

    // What is looked up while the other makes a new form does not stay.
    ferry.source.execute("ALTER TABLE t ADD more text").await;
    let form = ferry.form("t").await;
    let more = form.columns.last().unwrap().clone();
    let reader = ferry.target.client().await;
    reader.batch_execute("BEGIN; SELECT FROM t").await.unwrap();
    let altering = tokio::spawn(async move {
        one.alter(&form, &[Alteration::AddColumn(more)]).await.unwrap();
        (one, form)
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass)";
    while ferry.target.value(waits).await != "t" {
        assert!(!altering.is_finished());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(two.stage(&written(0..200, "9")).await.unwrap());
    reader.batch_execute("COMMIT").await.unwrap();
    let (mut one, form) = altering.await.unwrap();
    let rows: Vec<String> = (0..150).map(|k| format!("{k} 9 new")).collect();
    let step = upserts(&form, &rows.iter().map(String::as_str).collect::<Vec<_>>());
    apply(&mut two, vec![step], Some("6.5")).await.unwrap();
    assert_eq!(
        ferry.rows("SELECT v, more, count(*) FROM t GROUP BY 1, 2 ORDER BY 1").await,
        ["0 - 100", "7 - 50", "9 new 150"]
    );

    // Neither writes where somebody else has moved the position.
    assert!(one.stage(&written(0..200, "8")).await.unwrap());
    ferry.target.execute("UPDATE rowferry.positions SET position = '60'").await;
    let error = one.apply(&staged(written(0..200, "8"), "7")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(held().await, ["0 100 200 299", "7 50 150 199", "9 150 0 149"]);
}
