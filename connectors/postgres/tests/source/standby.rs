//! A commit that waits for a synchronous standby stands in the log and is not visible yet.

use super::*;
use futures_util::StreamExt;
use rowferry_api::{Cell, Event, Op, Range, TableReader, TableSchema};

#[tokio::test]
async fn a_read_waits_for_what_the_log_has_said() {
    let server = Postgres::start(&[]);
    let shop = Shop::on(&server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let tables = shop.tables().await;
    let start = shop.source.prepare(&tables, None).await.unwrap();
    let forms: Vec<_> = tables.iter().map(|table| table.schema.clone()).collect();
    let mut log = shop.source.open_log(&start.position, &forms, &[]).await.unwrap();
    let form = shop.table("t").await.schema;
    let mut reader = shop.source.open_tables().await.unwrap();

    set_standbys(&shop, "nobody").await;
    let client = shop.database.client().await;
    let insert = tokio::spawn(async move { client.batch_execute("INSERT INTO t VALUES (7)").await });
    let is_it = |event: &Event| match event {
        Event::Change(change) => match &change.op {
            Op::Insert(row) => row.cell(0) == Some(Cell::Text(b"7")),
            _ => false,
        },
        _ => false,
    };
    let mut events = Vec::new();
    while !events.iter().any(is_it) {
        log.next(&mut events).await.unwrap();
    }
    assert_eq!(shop.database.value("SELECT count(*) FROM t").await, "1", "it is visible before its standby has it");

    // And one of a process that starts while it waits.
    let later = source_of(shop.database.url(), shop.database.name());
    later.prepare(&tables, Some(&start.position)).await.unwrap();
    let mut later = later.open_tables().await.unwrap();

    let (rows, later, ()) = tokio::join!(rows(&mut *reader, &form), rows(&mut *later, &form), set_standbys(&shop, ""));
    assert_eq!((rows.as_str(), later.as_str()), ("1\n7\n", "1\n7\n"));
    insert.await.unwrap().unwrap();
}

async fn rows(reader: &mut dyn TableReader, form: &TableSchema) -> String {
    let blocks: Vec<_> = reader.read(form, &Range::Whole, true).await.unwrap().collect().await;
    String::from_utf8(blocks.into_iter().flat_map(|block| block.unwrap().data.to_vec()).collect()).unwrap()
}

async fn set_standbys(shop: &Shop, names: &str) {
    shop.execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
    shop.execute("SELECT pg_reload_conf()").await;
    while shop.database.value("SHOW synchronous_standby_names").await != names {
        tokio::task::yield_now().await;
    }
}
