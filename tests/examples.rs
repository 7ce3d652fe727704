//! The configurations in `examples/` as they stand: checked, run over a table or two, run again after changes, verified.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{self, Target};
use rowferry_testkit::mysql::compare as from_mysql;
use rowferry_testkit::{Mysql, MysqlDatabase, Postgres, Rowferry};
use std::path::Path;

const SHOP: &str = "CREATE TABLE customers (id int PRIMARY KEY, name varchar(40) NOT NULL);
    CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers (id), total numeric(10, 2), placed timestamp NULL);
    INSERT INTO customers VALUES (1, 'Ada'), (2, 'Gr\u{e4}ce');
    INSERT INTO orders VALUES (10, 1, 12.50, '2024-01-02 03:04:05'), (11, 2, 0.10, NULL), (12, 2, -7, '2024-02-29 23:59:59')";
const CHANGES: &str = "UPDATE orders SET total = 99.99 WHERE id = 11; DELETE FROM orders WHERE id = 12;
    INSERT INTO customers VALUES (3, 'Edsger'); INSERT INTO orders VALUES (13, 3, 5, '2024-03-01 00:00:00')";

/// An example with these variables in its environment.
fn example(name: &str, variables: [(&str, &str); 2]) -> Rowferry {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).join("rowferry.toml");
    let rowferry = Rowferry::new(env!("CARGO_BIN_EXE_rowferry"), &std::fs::read_to_string(file).unwrap());
    variables.into_iter().fold(rowferry, |rowferry, (name, value)| rowferry.env(name, value))
}

/// Runs it over what is there and over what `change` makes of it.
async fn live(rowferry: &Rowferry, change: impl AsyncFnOnce(), compare: impl AsyncFn() -> usize) {
    rowferry.command(&["check"]).expect_code(0);
    rowferry.run_until_caught_up();
    assert_eq!(compare().await, 2);
    change().await;
    rowferry.run_until_caught_up();
    assert_eq!(compare().await, 2);
    rowferry.command(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_from_postgres() {
    // Of its own: both examples name the same slot.
    let server = Postgres::start(&[]);
    for name in ["postgres-to-postgres", "postgres-to-sqlite"] {
        let (source, target) = (server.create_database("shop"), Postgres::shared().create_database("new"));
        source.execute(SHOP).await;
        let urls = [("SHOP_URL", source.url()), ("OLD_URL", source.url())];
        let rowferry = example(name, urls.each_ref().map(|(name, url)| (*name, url.as_str())));
        let rowferry = rowferry.env("NEW_URL", &target.url());
        let file = rowferry.path("shop.db");
        let copy = || if name.ends_with("sqlite") { Target::Sqlite(&file) } else { Target::Postgres(&target) };
        live(&rowferry, async || source.execute(CHANGES).await, async || compare::assert_same(&source, copy()).await)
            .await;
        source.execute("SELECT pg_drop_replication_slot('rowferry_shop')").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_from_mysql_and_mariadb() {
    // Of its own: both examples name the database.
    let server = Mysql::start(&[]);
    for name in ["mariadb-to-postgres", "mysql-to-mysql"] {
        server.execute("DROP DATABASE IF EXISTS shop; CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4").await;
        let source = MysqlDatabase::at(&server.url("shop"));
        source.execute(SHOP).await;
        let (postgres, mysql) = (Postgres::shared().create_database("new"), Mysql::shared().create_database("new"));
        let into_mysql = name.ends_with("mysql");
        let target = if into_mysql { mysql.url() } else { postgres.url() };
        let variable = if into_mysql { "OLD_URL" } else { "SHOP_URL" };
        let rowferry = example(name, [(variable, &source.url()), ("NEW_URL", &target)]);
        let copy = || match into_mysql {
            true => from_mysql::Target::Mysql(&mysql),
            false => from_mysql::Target::Postgres(&postgres),
        };
        live(
            &rowferry,
            async || source.execute(CHANGES).await,
            async || from_mysql::assert_same(&source, copy()).await,
        )
        .await;
    }
}
