//! `verify` finds exactly what differs, `--repair` and `resync` mend it, and both work while rows change.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Target, assert_same};
use rowferry_testkit::{Postgres, Rowferry, config};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const TABLES: &str = "
    CREATE TABLE items (id int PRIMARY KEY, name text, price numeric(10, 2));
    INSERT INTO items SELECT g, 'n' || g, g FROM generate_series(1, 20000) g;
    CREATE TABLE words (word text, n int, PRIMARY KEY (word, n));
    INSERT INTO words SELECT 'w' || g % 100, g FROM generate_series(1, 5000) g";
/// 3 cells changed, 2 rows missing, 1 row too many; `words` untouched.
const DAMAGE: &str = "
    UPDATE items SET price = '0.01' WHERE id IN (7, 5000);
    UPDATE items SET name = NULL WHERE id = 19999;
    DELETE FROM items WHERE id IN (1, 12345);
    INSERT INTO items VALUES (20001, 'extra', '1.00');";

fn table<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["tables"].as_array().unwrap().iter().find(|table| table["name"] == name).unwrap()
}

fn assert_damage_is_found(rowferry: &Rowferry) {
    let (code, document) = rowferry.json(&["verify"]);
    assert_eq!(code, 3);
    let items = table(&document, "public.items");
    assert_eq!(items["status"], "differ", "{items}");
    let counts: Vec<_> = ["differing", "missing", "extra"].iter().map(|count| items[count].as_u64().unwrap()).collect();
    assert_eq!(counts, [3, 2, 1], "{items}");
    assert_eq!(table(&document, "public.words")["status"], "match");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_and_repairs_in_postgres() {
    let server = Postgres::shared();
    let (source, copy) = (server.create_database("verify_source"), server.create_database("verify_target"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&copy), ""));
    rowferry.run_until_caught_up();
    rowferry.command(&["verify"]).expect_code(0);
    copy.execute(DAMAGE).await;

    // While nothing runs.
    assert_damage_is_found(&rowferry);
    let (_, document) = rowferry.json(&["verify", "--table", "public.words"]);
    assert_eq!(document["tables"].as_array().unwrap().len(), 1);

    // While it runs, and rows change.
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    source.execute("UPDATE items SET price = price + 1 WHERE id BETWEEN 100 AND 300").await;
    assert_damage_is_found(&rowferry);
    rowferry.command(&["verify", "--repair"]);
    rowferry.command(&["verify"]).expect_code(0);
    running.sigterm().expect_code(0);
    assert_same(&source, Target::Postgres(&copy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_and_repairs_in_sqlite() {
    let source = Postgres::shared().create_database("verify_source");
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, ""));
    rowferry.run_until_caught_up();
    let file = rowferry.path("target.db");
    rusqlite::Connection::open(&file).unwrap().execute_batch(DAMAGE).unwrap();
    assert_damage_is_found(&rowferry);
    rowferry.command(&["verify", "--repair"]);
    rowferry.run_until_caught_up();
    rowferry.command(&["verify"]).expect_code(0);
    assert_same(&source, Target::Sqlite(&file)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resync_copies_a_table_again() {
    let server = Postgres::shared();
    let (source, copy) = (server.create_database("resync_source"), server.create_database("resync_target"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&copy), ""));
    rowferry.run_until_caught_up();

    copy.execute(
        "DELETE FROM items WHERE id % 2 = 0; INSERT INTO items SELECT -g, 'x', 0 FROM generate_series(1, 100) g",
    )
    .await;
    rowferry.command(&["resync", "--table", "public.items"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;

    copy.execute("DELETE FROM words; UPDATE items SET name = 'damaged'").await;
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    rowferry.command(&["resync", "--table", "public.items", "--table", "public.words"]).expect_code(0);
    source.execute("UPDATE items SET name = 'changed meanwhile' WHERE id < 50").await;
    running.sigterm().expect_code(0);
    rowferry.run_until_caught_up();
    assert_same(&source, Target::Postgres(&copy)).await;
}
