//! Ranges of partitioned tables.

use crate::{Shop, source_of};
use futures_util::StreamExt;
use rowferry_api::{Range, Source};
use rowferry_testkit::Postgres;

/// What is written between the cut and the first range is in no log that is followed.
#[tokio::test]
async fn leaves_that_come_after_the_cut_are_read() {
    let shop = Shop::new(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF p FOR VALUES FROM (0) TO (5); CREATE TABLE gone PARTITION OF p FOR VALUES FROM (5) TO (10);
         INSERT INTO p SELECT n, 'v' || n FROM generate_series(1, 4) n",
    )
    .await;
    let table = shop.table("p").await.schema;
    let mut reader = shop.source.open_tables().await.unwrap();
    let ranges = reader.split(&table, 100, false).await.unwrap();
    if shop.version < 14 {
        assert!(matches!(ranges[..], [Range::Keys { .. }]), "{ranges:?}");
        return;
    }
    let read = async |reader: &mut dyn rowferry_api::TableReader, range: &Range| {
        let blocks: Vec<_> = reader.read(&table, range, false).await.unwrap().collect().await;
        String::from_utf8(blocks.into_iter().flat_map(|block| block.unwrap().data.to_vec()).collect()).unwrap()
    };
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    // One who may read what is there, and of what comes only what the root shows.
    let user = format!("{}_reader", shop.database.name());
    shop.execute(&format!("CREATE ROLE {user} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")).await;
    let other = source_of(Postgres::shared().url_as(&user, shop.database.name()), shop.database.name());
    let mut other = other.open_tables().await.unwrap();
    assert_eq!(read(&mut *reader, &ranges[2]).await, "");
    shop.execute(
        "CREATE TABLE high PARTITION OF p FOR VALUES FROM (10) TO (99) PARTITION BY RANGE (id);
         CREATE TABLE higher PARTITION OF high FOR VALUES FROM (50) TO (60); INSERT INTO p VALUES (55, 'later'), (7, 'in a leaf from before')",
    )
    .await;
    assert_eq!(read(&mut *reader, &ranges[2]).await, "55\tlater\n");
    assert_eq!(read(&mut *other, &ranges[2]).await, "55\tlater\n");
    assert_eq!(read(&mut *reader, &ranges[0]).await, "7\tin a leaf from before\n");
    assert_eq!(read(&mut *reader, &ranges[1]).await, "1\tv1\n2\tv2\n3\tv3\n4\tv4\n");
}
