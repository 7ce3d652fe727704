//! Where a log starts, and what a publication that is there may be.

use crate::Shop;
use rowferry_api::{Cell, Change, Error, ErrorKind, Event, Op, Position, Source};
use std::time::Duration;

impl Shop {
    async fn start(&self, tables: &[&str]) -> Position {
        self.resume(tables, None).await.unwrap()
    }

    async fn resume(&self, tables: &[&str], from: Option<&Position>) -> Result<Position, Error> {
        let all = self.tables().await;
        let chosen: Vec<_> =
            all.into_iter().filter(|table| tables.contains(&table.schema.name.name.as_str())).collect();
        assert_eq!(chosen.len(), tables.len());
        self.source.prepare(&chosen, from).await.map(|start| start.position)
    }

    /// Whether what the last `prepare` waits for has ended.
    /// Long enough for those of other tests to end: the server's transactions are waited for, whatever their database.
    async fn settles(&self) -> bool {
        self.settles_within(Duration::from_secs(60)).await
    }

    async fn waits(&self) -> bool {
        !self.settles_within(Duration::from_millis(700)).await
    }

    async fn settles_within(&self, patience: Duration) -> bool {
        match tokio::time::timeout(patience, self.source.settled()).await {
            Ok(result) => {
                result.unwrap();
                true
            }
            Err(_) => false,
        }
    }
}

const TWO: &str = "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)";

#[tokio::test]
async fn a_table_that_the_log_carries_anew_waits_for_older_transactions() {
    let shop = Shop::new(TWO).await;
    assert!(shop.settles().await, "nothing was prepared");
    let from = shop.start(&["a"]).await;
    let older = shop.database.client().await;
    older.batch_execute("BEGIN; INSERT INTO b VALUES (1)").await.unwrap();
    shop.resume(&["a", "b"], Some(&from)).await.unwrap();
    assert!(shop.waits().await, "its change of b may be missing in the log");
    let younger = shop.database.client().await;
    younger.batch_execute("BEGIN; INSERT INTO b VALUES (2)").await.unwrap();
    older.batch_execute("COMMIT").await.unwrap();
    assert!(shop.settles().await, "the younger one is not waited for");
    // A process that resumes cannot know whether an earlier one has waited.
    shop.resume(&["a", "b"], Some(&from)).await.unwrap();
    assert!(shop.waits().await);
    younger.batch_execute("COMMIT").await.unwrap();
    assert!(shop.settles().await);
    older.batch_execute("BEGIN; INSERT INTO b VALUES (3)").await.unwrap();
    assert!(shop.settles().await, "it was waited for once");
}

#[tokio::test]
async fn a_slot_that_was_there_moves_behind_what_a_new_publication_cannot_decode() {
    let shop = Shop::new(TWO).await;
    shop.start(&["a"]).await;
    shop.execute(&format!("DROP PUBLICATION {}", shop.database.name())).await;
    let older = shop.database.client().await;
    older.batch_execute("BEGIN; INSERT INTO a VALUES (1)").await.unwrap();
    let table = shop.table("a").await;
    let tables = [table.clone()];
    // The second one finds the publication that the first, which was dropped, has made.
    for _ in 0..2 {
        let preparing = shop.source.prepare(&tables, None);
        assert!(tokio::time::timeout(Duration::from_millis(700), preparing).await.is_err(), "it waits");
    }
    older.batch_execute("COMMIT").await.unwrap();
    let start = shop.start(&["a"]).await;
    assert!(shop.settles().await);
    let mut log = shop.source.open_log(&start, &[table.schema], &[]).await.unwrap();
    shop.execute("INSERT INTO a VALUES (2)").await;
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Change(_))) {
        log.next(&mut events).await.unwrap();
    }
    let changes: Vec<_> = events.iter().filter(|event| matches!(event, Event::Change(_))).collect();
    let [Event::Change(Change { op: Op::Insert(row), .. })] = changes[..] else { panic!("{changes:?}") };
    assert_eq!(row.cell(0), Some(Cell::Text(b"2")));
}

#[tokio::test]
async fn a_log_whose_publication_is_gone_is_lost() {
    let shop = Shop::new(TWO).await;
    let from = shop.start(&["a"]).await;
    shop.execute(&format!("DROP PUBLICATION {}", shop.database.name())).await;
    let error = shop.resume(&["a"], Some(&from)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LogLost, "{error}");
    assert!(error.to_string().contains("publication"), "{error}");
    let made = shop.database.value("SELECT count(*) FROM pg_publication").await;
    assert_eq!(made, "0", "nothing is made in its place");
}

#[tokio::test]
async fn a_publication_that_leaves_something_out_is_refused() {
    let shop = Shop::new(TWO).await;
    let name = shop.database.name().to_owned();
    let from = shop.start(&["a"]).await;
    let changes = [
        (format!("ALTER PUBLICATION {name} SET TABLE a WHERE (id > 5)"), "ALTER PUBLICATION", 15),
        (format!("ALTER PUBLICATION {name} SET TABLE a (id)"), "ALTER PUBLICATION", 15),
        (
            format!("ALTER PUBLICATION {name} SET TABLE a; ALTER PUBLICATION {name} SET (publish = 'insert, update')"),
            "truncate",
            12,
        ),
    ];
    for (change, mend, since) in changes {
        if shop.version < since {
            continue;
        }
        shop.execute(&change).await;
        for from in [None, Some(&from)] {
            let error = shop.resume(&["a"], from).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{change}: {error}");
            let hint = error.hint_text().unwrap();
            assert!(hint.contains(mend), "{hint}");
        }
        let error = shop.resume(&["a"], Some(&from)).await.unwrap_err();
        shop.execute(error.hint_text().unwrap()).await;
        shop.resume(&["a"], Some(&from)).await.unwrap();
    }
}

#[tokio::test]
async fn a_partitioned_table_is_refused_by_a_publication_that_names_its_partitions() {
    let shop = Shop::new(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
         CREATE TABLE a (id int PRIMARY KEY)",
    )
    .await;
    if shop.version < 13 {
        return;
    }
    let name = shop.database.name();
    shop.execute(&format!("CREATE PUBLICATION {name} FOR TABLE a WITH (publish_via_partition_root = false)")).await;
    let error = shop.resume(&["a", "p"], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let carried = format!("SELECT count(*) FROM pg_publication_tables WHERE pubname = '{name}'");
    assert_eq!(shop.database.value(&carried).await, "1", "nothing was added");
    let check = shop.source.check(&[shop.table("p").await]).await.unwrap();
    assert!(check.iter().any(|finding| finding.mend.as_deref() == error.hint_text()), "{check:?}");
    shop.resume(&["a", "p1"], None).await.unwrap();
    shop.execute(&format!("ALTER PUBLICATION {name} DROP TABLE p1")).await;
    shop.execute(error.hint_text().unwrap()).await;
    shop.resume(&["a", "p"], None).await.unwrap();
}
