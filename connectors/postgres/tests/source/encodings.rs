//! Keys of a server whose encoding orders text otherwise than UTF-8 does.

use crate::source_of;
use futures_util::{StreamExt, stream};
use rowferry_api::{Block, Cell, Key, Range, Source, Target};
use rowferry_postgres::{ConnectOptions, PostgresTarget, TargetOptions};
use rowferry_testkit::Postgres;

#[tokio::test]
async fn keys_of_another_encoding_are_in_the_order_of_utf_8() {
    let server = Postgres::shared();
    let home = server.create_database("home");
    let name = format!("{}_jp", home.name());
    home.execute(&format!("CREATE DATABASE {name} ENCODING 'EUC_JP' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"))
        .await;
    let client = ConnectOptions::parse(&server.url(&name)).unwrap().connect().await.unwrap();
    // In EUC_JP the half-width katakana come first.
    let setup = "CREATE TABLE public.t (k text, n int, PRIMARY KEY (k, n)); INSERT INTO public.t VALUES ('ｱ', 1), ('あ', 2), ('一', 3)";
    client.batch_execute(setup).await.unwrap();
    let source = source_of(server.url(&name), "unused");
    let table = source.tables().await.unwrap().remove(0).schema;
    let mut reader = source.open_tables().await.unwrap();
    assert_eq!(reader.split(&table, 1, true).await.unwrap(), [Range::Whole], "no index has that order");
    let after = Key::from_cells([Cell::Text("あ".as_bytes()), Cell::Text(b"2")]);
    let upper = Range::Keys { after: Some(after), upto: None };
    for (range, expected) in [(&Range::Whole, "あ\t2\n一\t3\nｱ\t1\n"), (&upper, "一\t3\nｱ\t1\n")] {
        let mut blocks = reader.read(&table, range, true).await.unwrap();
        let mut read = Vec::new();
        while let Some(block) = blocks.next().await {
            read.extend_from_slice(&block.unwrap().data);
        }
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }
    // As a target it removes the same rows of a range.
    let target = PostgresTarget::new(TargetOptions { url: server.url(&name) }).unwrap();
    let mut applier = target.open_applier("p").await.unwrap();
    let block = Block::new("一\t3\n".into());
    applier.replace(&table, &upper, Box::pin(stream::iter([Ok(block)]))).await.unwrap();
    let rows = client.query("SELECT n FROM public.t ORDER BY n", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [2, 3]);
}
