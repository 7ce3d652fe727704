//! The comparison sees what differs and nothing else.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::Postgres;
use rowferry_testkit::compare::{Target, differences, source_tables, structure_differences};

const TABLE: &str = "CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE TABLE t (id int PRIMARY KEY, ok bool, f4 real, f8 float8, n numeric(10,2), b bytea, s text, d positive);
    CREATE INDEX t_s ON t (s);
    INSERT INTO t VALUES (1, true, 0.1, 0.1, 1.10, '\\x00ff', E'a\\n\"b', 5), (2, NULL, 'NaN', '-0', 'NaN', '', '', 6),
        (3, false, 'Infinity', 1e300, 0, NULL, NULL, NULL)";

#[tokio::test]
async fn postgres_with_postgres() {
    let server = Postgres::shared();
    let (source, copy) = (server.create_database("compare"), server.create_database("compare"));
    source.execute(TABLE).await;
    copy.execute(TABLE).await;
    let target = Target::Postgres(&copy);
    let pairs = source_tables(&source, &target).await;
    assert_eq!(differences(&source, target, &pairs).await, Vec::<String>::new());
    assert_eq!(structure_differences(&source, &copy, &pairs).await, Vec::<String>::new());

    copy.execute("UPDATE t SET s = NULL WHERE id = 2; DROP INDEX t_s; ALTER TABLE t ALTER n TYPE numeric(11,2)").await;
    let found = differences(&source, target, &pairs).await.join("\n");
    assert!(found.contains("public.t: 2 differ, 3 at the source, 3 at the target"), "{found}");
    let found = structure_differences(&source, &copy, &pairs).await;
    assert!(found.contains(&"columns of public.t: - n numeric(10,2) not null: false".to_owned()), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("structure of public.t: - i CREATE USING btree")), "{found:?}");
}

#[tokio::test]
async fn postgres_with_sqlite() {
    let source = Postgres::shared().create_database("compare");
    source.execute(TABLE).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    let copy = rusqlite::Connection::open(&file).unwrap();
    copy.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, ok, f4 REAL, f8 REAL, n, b, s, d);
         INSERT INTO t VALUES (1, 1, 0.1, 0.1, '1.10', x'00ff', 'a' || char(10) || '\"b', 5),
            (2, NULL, 'NaN', 'x', 'NaN', x'', '', 6), (3, 0, 9e999, 1e300, '0.00', NULL, NULL, NULL);",
    )
    .unwrap();
    copy.execute("UPDATE t SET f8 = '-0' WHERE id = 2", []).unwrap();
    let target = Target::Sqlite(&file);
    let pairs = source_tables(&source, &target).await;
    let found = differences(&source, target, &pairs).await;
    assert_eq!(found.len(), 3, "REAL columns turn '-0' into 0: {found:?}");
    copy.execute_batch(
        "CREATE TABLE u (id INTEGER PRIMARY KEY, ok, f4, f8, n, b, s, d);
         INSERT INTO u SELECT * FROM t; UPDATE u SET f8 = '-0' WHERE id = 2; DROP TABLE t; ALTER TABLE u RENAME TO t;",
    )
    .unwrap();
    assert_eq!(differences(&source, target, &pairs).await, Vec::<String>::new());
}
