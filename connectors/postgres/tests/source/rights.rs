//! What a user with few rights can read, and how.

use crate::{Shop, source_of};
use futures_util::StreamExt;
use rowferry_api::{Range, Source};
use rowferry_testkit::Postgres;

#[tokio::test]
async fn partitions_without_rights_of_their_own_are_read_through_their_root() {
    let shop = Shop::new(
        "CREATE SCHEMA hidden; CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE hidden.low PARTITION OF p FOR VALUES FROM (0) TO (5); CREATE TABLE hidden.high PARTITION OF p FOR VALUES FROM (5) TO (99);
         INSERT INTO p SELECT n, 'v' || n FROM generate_series(1, 9) n",
    )
    .await;
    let user = format!("{}_reader", shop.database.name());
    shop.execute(&format!("CREATE ROLE {user} LOGIN; GRANT SELECT ON p TO {user}")).await;
    let table = shop.table("p").await.schema;
    let source = source_of(Postgres::shared().url_as(&user, shop.database.name()), shop.database.name());
    let mut reader = source.open_tables().await.unwrap();
    let ranges = reader.split(&table, 4, false).await.unwrap();
    assert!(ranges.len() == 3 && ranges.iter().all(|range| matches!(range, Range::Keys { .. })), "{ranges:?}");
    let mut read = Vec::new();
    for range in &ranges {
        let mut blocks = reader.read(&table, range, false).await.unwrap();
        while let Some(block) = blocks.next().await {
            read.extend_from_slice(&block.unwrap().data);
        }
    }
    let mut lines: Vec<&str> = std::str::from_utf8(&read).unwrap().lines().collect();
    lines.sort_unstable();
    let expected: Vec<String> = (1..=9).map(|n| format!("{n}\tv{n}")).collect();
    assert_eq!(lines, expected);
}
