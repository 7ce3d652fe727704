//! PostgreSQL as a target, against real servers: what tables fit, and what batches and ranges leave behind.

#![allow(clippy::unwrap_used)]

#[path = "../../api/tests/support/applier.rs"]
mod applier;

use applier::*;
use futures_util::StreamExt;
use rowferry_api::{
    Alteration, Applier, Batch, Cell, Created, Encoding, ErrorKind, Identity, Position, Range, RowBuilder, Source,
    Step, TableName, TableReader, TableRows, TableSchema, Target, TypeDefKind,
};
use rowferry_postgres::{PostgresSource, PostgresTarget, SourceOptions, TargetOptions};
use rowferry_testkit::{Database, Postgres};
use std::sync::Arc;

const PIPELINE: &str = "p";

/// Two databases: one gives tables their forms, the other is written to.
struct Ferry {
    source: Database,
    target: Database,
}

impl Ferry {
    async fn new(source_setup: &str, target_setup: &str) -> Self {
        let server = Postgres::shared();
        let ferry = Self { source: server.create_database("from"), target: server.create_database("into") };
        ferry.source.execute(source_setup).await;
        ferry.target.execute(target_setup).await;
        ferry
    }

    fn source(&self) -> PostgresSource {
        let options = SourceOptions {
            url: self.source.url(),
            slot: "unused".into(),
            publication: "unused".into(),
            backlog_bytes: 0,
        };
        PostgresSource::new(options).unwrap()
    }

    async fn reader(&self) -> Box<dyn TableReader> {
        self.source().open_tables().await.unwrap()
    }

    async fn form(&self, name: &str) -> Arc<TableSchema> {
        let tables = self.source().tables().await.unwrap();
        let name = TableName::new("public", name);
        tables.into_iter().find(|table| table.schema.name == name).unwrap().schema
    }

    /// An applier, with the pipeline at position 0.
    async fn applier(&self) -> Box<dyn Applier> {
        self.applier_at(self.target.url()).await
    }

    async fn applier_at(&self, url: String) -> Box<dyn Applier> {
        let target = PostgresTarget::new(TargetOptions { url }).unwrap();
        target.prepare(PIPELINE, &Identity::new("source"), &Position::new("0"), true).await.unwrap();
        target.open_applier(PIPELINE).await.unwrap()
    }

    /// Why a table of the target does not fit; empty if it does.
    async fn differences(&self, name: &str) -> String {
        match self.applier().await.create(&*self.form(name).await).await {
            Ok(created) => {
                assert_ne!(created, Created::New);
                String::new()
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
                error.to_string()
            }
        }
    }

    /// The target's rows, one a line, NULL as `-`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        lines(self.target.query_text(sql).await)
    }
}

async fn version() -> u32 {
    let number = Postgres::shared().create_database("version").value("SHOW server_version_num").await;
    number.parse::<u32>().unwrap() / 10_000
}

#[tokio::test]
async fn a_key_that_only_changes_its_text_keeps_its_row() {
    let table = "CREATE TABLE t (k numeric PRIMARY KEY, v text)";
    let ferry =
        Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (1.0, 'a'), (2, 'b'), (4, 'd'), (5, 'e')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let step = updates(&t, &[("1.0", "1.00 ?"), ("2", "3 ?"), ("4", "5 ?"), ("8", "9 ?")]);
    assert_eq!(apply(&mut applier, vec![step], Some("1")).await.unwrap(), ["('9')"]);
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, ["1.00 a", "3 b", "5 e"]);
    // Whole rows under an equal key, of the log and of a range.
    apply(&mut applier, vec![upserts(&t, &["3.0 B"])], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, ["1.00 a", "3.0 B", "5 e"]);
    replace(&mut applier, &t, &Range::Whole, &["1.000 A", "3 b", "5.0 E"]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, ["1.000 A", "3 b", "5.0 E"]);
}

#[tokio::test]
async fn many_new_rows_are_copied_and_one_that_is_there_is_an_error_that_leaves_nothing() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text, w text)";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (300, 'old', 'old')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let cells: Vec<String> = (0..500).map(|k| format!("{k} a\\b -")).collect();
    let inserts = |range: std::ops::Range<usize>| {
        Step::Rows(TableRows {
            inserts: cells[range].iter().map(|cells| row(cells)).collect(),
            ..TableRows::new(t.clone())
        })
    };
    apply(&mut applier, vec![inserts(0..200)], Some("1")).await.unwrap();
    let error = apply(&mut applier, vec![inserts(200..400)], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
    assert_eq!(ferry.rows("SELECT count(*), max(k) FROM t").await, ["201 300"]);
    let mut any =
        TableRows { inserts: cells[200..400].iter().map(|cells| row(cells)).collect(), ..TableRows::new(t.clone()) };
    any.expect_any();
    apply(&mut applier, vec![Step::Rows(any)], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT count(*), sum(k), min(v), max(v), count(w) FROM t").await, [r"400 79800 a\b a\b 0"]);
}

#[tokio::test]
async fn new_rows_of_many_tables_are_all_there_or_none() {
    const TABLES: usize = 8;
    let setup: Vec<String> = (0..TABLES).map(|n| format!("CREATE TABLE t{n} (k int PRIMARY KEY, v date)")).collect();
    let ferry = Ferry::new(&setup.join(";"), &setup.join(";")).await;
    let mut applier = ferry.applier().await;
    let mut forms = Vec::new();
    for n in 0..TABLES {
        forms.push(ferry.form(&format!("t{n}")).await);
    }
    // One table has a value that goes as text between others, and one few rows.
    let batch = |from: usize| -> Vec<Step> {
        let step = |(n, form): (usize, &Arc<TableSchema>)| {
            let rows = if n == 5 { from..from + 3 } else { from..from + 20 };
            let value = |k: usize| if n == 2 && k == from + 7 { "infinity" } else { "2024-02-29" };
            let inserts = rows.map(|k| row(&format!("{k} {}", value(k)))).collect();
            Step::Rows(TableRows { inserts, ..TableRows::new(form.clone()) })
        };
        forms.iter().enumerate().map(step).collect()
    };
    let counts = async || {
        let count = |n| format!("SELECT {n} AS t, count(*), sum(k), count(*) FILTER (WHERE v = 'infinity') FROM t{n}");
        let counts: Vec<String> = (0..TABLES).map(count).collect();
        ferry.rows(&format!("{} ORDER BY t", counts.join(" UNION ALL "))).await
    };
    let whole = |batches: usize| -> Vec<String> {
        let counts = (0..TABLES).map(|n| {
            let in_one = if n == 5 { 3 } else { 20 };
            let keys = (0..batches).flat_map(|batch| batch * 20..batch * 20 + in_one);
            let infinite = if n == 2 { batches } else { 0 };
            format!("{n} {} {} {infinite}", in_one * batches, keys.sum::<usize>())
        });
        counts.collect()
    };
    apply(&mut applier, batch(0), Some("1")).await.unwrap();
    apply(&mut applier, batch(20), Some("2")).await.unwrap();
    assert_eq!(counts().await, whole(2));

    ferry.target.execute("INSERT INTO t1 VALUES (50, NULL)").await;
    let error = apply(&mut applier, batch(40), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
    assert!(error.to_string().contains("\"t1\""), "{error}");
    // The connection is another one now, and still knows where the target stood.
    ferry.target.execute("UPDATE rowferry.positions SET position = '20'").await;
    let error = apply(&mut applier, batch(60), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    ferry.target.execute("UPDATE rowferry.positions SET position = '2'").await;
    ferry.target.execute("DELETE FROM t1 WHERE k = 50; ALTER TABLE t3 ALTER v TYPE timestamp").await;
    let error = apply(&mut applier, batch(40), Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("\"t3\""), "{error}");
    assert_eq!(counts().await, whole(2));
    apply(&mut applier, batch(40), Some("3")).await.unwrap();
    assert_eq!(counts().await, whole(3));
    assert_eq!(ferry.rows("SELECT DISTINCT v FROM t3").await, ["2024-02-29 00:00:00"]);
}

/// Values whose binary form is made here, and ones that go as text, which the rows after them do too.
const PLAIN: &[(&str, &[&str])] = &[
    ("boolean", &["t", "f"]),
    ("smallint", &["-32768", "32767", "0"]),
    ("integer", &["-2147483648", "2147483647"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("real", &["1.5", "-3.4028235e+38", "1e-45", "0.1", "-0"]),
    ("double precision", &["1.7976931348623157e+308", "5e-324", "0.1", "-0", "1.2345678901234568e+17"]),
    ("numeric", &["0", "0.0000", "-0.00012345", "10000", "99999999999999999999.99999999999999999999", "1000000000000"]),
    ("numeric(10,2)", &["-12345678.90", "0.05", "1.00"]),
    ("text", &["", "a\tb\\c\nd", "\u{e4}\u{1f600}", "\\N"]),
    ("varchar(5)", &["abcde", "  a  "]),
    ("char(4)", &["ab  ", "abcd"]),
    ("bytea", &["\\x", "\\x00ff5c"]),
    ("uuid", &["00112233-4455-6677-8899-aabbccddeeff"]),
    ("json", &["{\"a\":  1}", "null"]),
    ("jsonb", &["{\"a\": 1.50}", "[]"]),
    ("date", &["0001-01-01", "2000-02-29", "9999-12-31", "1969-12-31"]),
    ("time", &["00:00:00", "23:59:59.999999", "12:30:00.5"]),
    ("timestamp", &["1582-10-15 00:00:00", "1999-12-31 23:59:59.999999", "2024-02-29 12:00:00.5"]),
    ("timestamp(3)", &["1999-12-31 23:59:59.123"]),
    ("timestamptz", &["0001-01-01 00:00:00+00", "2024-02-29 12:00:00.000001+00"]),
];
const OTHER: &[(&str, &str)] = &[
    ("real", "NaN"),
    ("double precision", "-Infinity"),
    ("numeric", "NaN"),
    ("date", "infinity"),
    ("time", "24:00:00"),
    ("timestamp", "0044-03-15 00:00:00 BC"),
    ("timestamptz", "10000-01-01 00:00:00+00"),
];

#[tokio::test]
async fn values_that_go_in_binary_are_the_same_as_in_text() {
    let columns: Vec<String> = PLAIN.iter().enumerate().map(|(place, (ty, _))| format!("c{place} {ty}")).collect();
    let table = |name: &str| format!("CREATE TABLE {name} (id int PRIMARY KEY, {})", columns.join(", "));
    let setup = format!("{}; {}; {}", table("t"), table("u"), table("w"));
    let ferry = Ferry::new(&setup, &setup).await;
    let mut applier = ferry.applier().await;
    let plain = (0..12).map(|number: usize| {
        let cells = PLAIN.iter().map(|(_, values)| values.get(number).map(|value| (*value).to_owned()));
        std::iter::once(Some(number.to_string())).chain(cells).collect::<Vec<_>>()
    });
    let others = OTHER.iter().enumerate().map(|(number, (ty, value))| {
        let cells = PLAIN
            .iter()
            .map(|(plain, values)| Some(if plain == ty { (*value).to_owned() } else { values[0].to_owned() }));
        std::iter::once(Some((100 + number).to_string())).chain(cells).collect::<Vec<_>>()
    });
    let rows: Vec<Vec<Option<String>>> = plain.chain(others).collect();

    let mut builder = RowBuilder::new();
    let inserts = rows.iter().map(|row| {
        for text in row {
            builder.push(text.as_deref().map_or(Cell::Null, |text| Cell::Text(text.as_bytes())));
        }
        builder.finish()
    });
    let step = Step::Rows(TableRows { inserts: inserts.collect(), ..TableRows::new(ferry.form("t").await) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();

    let cells = rows.iter().map(|row| row.iter().map(|text| text.as_deref().map(str::as_bytes)).collect());
    applier.replace(&*ferry.form("u").await, &Range::Whole, block(cells)).await.unwrap();

    // From a server to another they go untouched.
    let literal = |text: &Option<String>| {
        text.as_deref().map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
    };
    let values = rows.iter().map(|row| format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", ")));
    let values = values.collect::<Vec<_>>().join(", ");
    ferry.source.execute(&format!("SET timezone = 'UTC'; INSERT INTO w VALUES {values}; ANALYZE w")).await;
    let (w, mut reader) = (ferry.form("w").await, ferry.reader().await);
    let mut written = 0;
    for range in reader.split(&w, 5, false).await.unwrap() {
        let encoding = applier.encoding(&w, &w, &range).await.unwrap();
        assert_eq!(encoding == Encoding::PostgresBinary, matches!(range, Range::Native(_)), "{range:?}");
        let blocks = reader.read_encoded(&w, &range, encoding).await.unwrap();
        written += applier.replace(&w, &range, blocks).await.unwrap().rows;
    }
    assert_eq!(written, rows.len() as u64);

    for name in ["t", "u", "w"] {
        let texts: Vec<String> = (0..PLAIN.len()).map(|place| format!("c{place}")).collect();
        let sql = format!("SET timezone = 'UTC'; SELECT id, {} FROM {name} ORDER BY id", texts.join(", "));
        assert_eq!(ferry.target.query_text(&sql).await, rows, "{name}");
    }
}

/// Rows go untouched only between the same types, as they are when they are read.
#[tokio::test]
async fn other_types_than_the_sources_take_text() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp); INSERT INTO t VALUES (1, '2024-01-01 00:00:00'); CREATE TABLE e (id int PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY, at timestamp); CREATE TABLE e (id bigint PRIMARY KEY)",
    )
    .await;
    if version().await < 14 {
        return;
    }
    let (t, e) = (ferry.form("t").await, ferry.form("e").await);
    let (mut applier, mut reader) = (ferry.applier().await, ferry.reader().await);
    let (of_t, of_e) = (reader.split(&t, 5, false).await.unwrap(), reader.split(&e, 5, false).await.unwrap());
    assert_eq!(applier.encoding(&e, &e, &of_e[0]).await.unwrap(), Encoding::Text);
    let encoding = applier.encoding(&t, &t, &of_t[0]).await.unwrap();
    assert_eq!(encoding, Encoding::PostgresBinary);
    assert_eq!(applier.encoding(&t, &t, &Range::Whole).await.unwrap(), Encoding::Text);
    ferry.source.execute("SET timezone = 'Asia/Tokyo'; ALTER TABLE t ALTER at TYPE timestamptz").await;
    let range = reader.split(&t, 5, false).await.unwrap().remove(0);
    let blocks: Vec<_> = reader.read_encoded(&t, &range, encoding).await.unwrap().collect().await;
    let block = blocks[0].as_ref().unwrap();
    assert_eq!((block.encoding, &block.data[..]), (Encoding::Text, &b"1\t2023-12-31 15:00:00+00\n"[..]));
}

/// A server takes the bytes of one type for those of another: it must not come to that.
#[tokio::test]
async fn a_column_whose_type_changes_under_an_open_applier_keeps_its_values() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v bigint)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let inserts = |range: std::ops::Range<i32>| {
        let inserts = range.map(|id| row(&format!("{id} 5"))).collect();
        vec![Step::Rows(TableRows { inserts, ..TableRows::new(t.clone()) })]
    };
    apply(&mut applier, inserts(0..10), Some("1")).await.unwrap();
    ferry.target.execute("ALTER TABLE t ALTER v TYPE double precision").await;
    let error = apply(&mut applier, inserts(10..20), Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    apply(&mut applier, inserts(10..20), Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT DISTINCT v, count(*) FROM t GROUP BY v").await, ["5 20"]);
}

/// A row that moves takes its unknown cells with it, also over a row that a range brought under the new key, and whatever
/// the server takes for the same key.
#[tokio::test]
async fn rows_move_to_other_keys_together() {
    let table = "CREATE TABLE numbers (id numeric PRIMARY KEY, big text, n int);
                 CREATE TABLE pairs (a text, b int, big text, PRIMARY KEY (a, b))";
    let words = "CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE words (id text COLLATE folds PRIMARY KEY, big text, n int)";
    let setup = format!("{table}; {words}");
    let rows = "INSERT INTO numbers SELECT g, 'big' || g, 0 FROM generate_series(1, 9) g; INSERT INTO numbers VALUES (103, 'later', 7);
                INSERT INTO pairs VALUES ('x', 1, 'x1'), ('x', 2, 'x2'); INSERT INTO words VALUES ('a', 'big a', 0), ('b', 'big b', 0)";
    let ferry = Ferry::new(&setup, &format!("{setup}; {rows}")).await;
    let mut applier = ferry.applier().await;
    let (numbers, pairs, words) = (ferry.form("numbers").await, ferry.form("pairs").await, ferry.form("words").await);

    let moved = [("1", "101 ? 1"), ("2", "102 ? 1"), ("3", "103 ? 1"), ("4", "4.0 ? 1"), ("77", "177 ? 1")];
    let missing = apply(&mut applier, vec![updates(&numbers, &moved)], None).await.unwrap();
    assert_eq!(missing, ["('177')"]);
    let moved = [("5", "105 ? 1"), ("6", "106 ? 1"), ("88", "188 ? 1"), ("103.0", "103 ? 2")];
    let missing = apply(&mut applier, vec![updates(&numbers, &moved)], None).await.unwrap();
    assert_eq!(missing, ["('188')"]);
    // The first makes room for the second, as the server sees it.
    let moved = [("a", "c ? 1"), ("b", "A ? 1")];
    assert!(apply(&mut applier, vec![updates(&words, &moved)], None).await.unwrap().is_empty());
    assert!(apply(&mut applier, vec![updates(&words, &[("c", "C ? 2")])], None).await.unwrap().is_empty());
    let moved = [("x 1", "y 1 ?"), ("x 2", "x 3 ?")];
    assert!(apply(&mut applier, vec![updates(&pairs, &moved)], Some("1")).await.unwrap().is_empty());

    let expected = [
        "101 big1 1",
        "102 big2 1",
        "103 later 2",
        "105 big5 1",
        "106 big6 1",
        "4.0 big4 1",
        "7 big7 0",
        "8 big8 0",
        "9 big9 0",
    ];
    assert_eq!(ferry.rows("SELECT * FROM numbers ORDER BY id::text").await, expected);
    assert_eq!(ferry.rows("SELECT * FROM words ORDER BY big").await, ["C big a 2", "A big b 1"]);
    assert_eq!(ferry.rows("SELECT * FROM pairs ORDER BY big").await, ["y 1 x1", "x 3 x2"]);
}

#[tokio::test]
async fn tables_that_inherit_from_a_target_are_left_alone() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let setup =
        format!("{table}; CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 'mine'), (2, 'mine')");
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Empty);
    assert_eq!(apply(&mut applier, vec![updates(&t, &[("1", "1 ?")])], Some("1")).await.unwrap(), ["('1')"]);
    let steps = vec![upserts(&t, &["1 a", "2 b"]), updates(&t, &[("1", "1 x")]), deletes(&t, &["2"])];
    apply(&mut applier, steps, Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, ["1 x"]);
    replace(&mut applier, &t, &Range::Whole, &["3 c"]).await;
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, ["3 c"]);
    apply(&mut applier, vec![Step::Truncate(vec![t.clone()])], Some("3")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM ONLY t").await, [""; 0]);
    assert_eq!(ferry.rows("SELECT * FROM child ORDER BY k").await, ["1 mine", "2 mine"]);
}

#[tokio::test]
async fn a_partitioned_target_is_written_through_its_root() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let setup = format!(
        "{table} PARTITION BY RANGE (k); CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (5);
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (5) TO (9)"
    );
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let steps = vec![upserts(&t, &["1 a", "2 b", "6 c"]), updates(&t, &[("6", "6 x")]), deletes(&t, &["2"])];
    apply(&mut applier, steps, Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, ["1 a", "6 x"]);
    apply(&mut applier, vec![Step::Truncate(vec![t.clone()])], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, [""; 0]);
}

#[tokio::test]
async fn only_rows_that_truly_stand_in_the_way_of_a_range_are_evicted() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, a text, b text, on_sale bool);
                 CREATE UNIQUE INDEX ta ON t (a) WHERE on_sale; CREATE UNIQUE INDEX tb ON t (lower(b))";
    let setup = format!(
        "{table}; INSERT INTO t VALUES (1, 'x', 'p', true), (2, 'y', 'q', true), (3, 'z', 'r', false), (4, 'w', 'S', true)"
    );
    let ferry = Ferry::new(table, &setup).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // 1 and 2 swap; 3 is not on sale, so its z is in nobody's way; 4 holds the s that 5 takes.
    let rows = ["1 y p t", "2 x q t", "5 z s t"];
    let range = Range::Set(vec![key("1"), key("2"), key("5")]);
    let replaced = replace(&mut applier, &t, &range, &rows).await;
    assert_eq!(replaced.evicted, [key("4")]);
    let expected = ["1 y p t", "2 x q t", "3 z r f", "5 z s t"];
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY k").await, expected);
}

#[tokio::test]
async fn nulls_that_are_not_distinct_stand_in_the_way_too() {
    if version().await < 15 {
        return;
    }
    let table = "CREATE TABLE t (k bool PRIMARY KEY, a int, UNIQUE NULLS NOT DISTINCT (a))";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (true, NULL)")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let replaced = replace(&mut applier, &t, &Range::Set(vec![key("f")]), &["f -"]).await;
    assert_eq!(replaced.evicted, [key("t")], "as COPY prints it");
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["f -"]);
}

#[tokio::test]
async fn keys_of_extension_types_are_found_with_their_own_equality() {
    let table = "CREATE EXTENSION citext; CREATE EXTENSION ltree;
                 CREATE TABLE t (k citext, l ltree, v text, w text, PRIMARY KEY (k, l)); CREATE TABLE u (l ltree PRIMARY KEY, v text)";
    let setup = format!(
        "{table}; INSERT INTO t VALUES ('Ab', 'a.b', 'x', 'y'), ('Cd', 'c.d', 'x', 'y'); INSERT INTO u VALUES ('a', 'x')"
    );
    let ferry = Ferry::new(table, &setup).await;
    let (t, u, mut applier) = (ferry.form("t").await, ferry.form("u").await, ferry.applier().await);
    let steps = vec![
        // The same key in another case: one row.
        updates(&t, &[("Ab a.b", "aB a.b z ?"), ("Cd c.d", "Cd c.d z ?")]),
        updates(&u, &[("a", "b ?")]),
    ];
    assert_eq!(apply(&mut applier, steps, Some("1")).await.unwrap(), [""; 0]);
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY l").await, ["aB a.b z y", "Cd c.d z y"]);
    assert_eq!(ferry.rows("SELECT * FROM u").await, ["b x"]);
    apply(&mut applier, vec![deletes(&t, &["Cd c.d"]), deletes(&u, &["b"])], Some("2")).await.unwrap();
    replace(&mut applier, &t, &Range::Whole, &["ab a.b 1 2"]).await;
    // As the source writes it.
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["ab a.b 1 2"]);
    assert_eq!(ferry.rows("SELECT * FROM u").await, [""; 0]);
    let mut reader =
        PostgresTarget::new(TargetOptions { url: ferry.target.url() }).unwrap().open_tables().await.unwrap();
    assert_eq!(reader.split(&t, 1, true).await.unwrap(), [Range::Whole], "no index has the bytes' order");
}

/// A user of the target who may not switch foreign keys off.
async fn plain_user(ferry: &Ferry) -> String {
    let (user, database) = (format!("{}_user", ferry.target.name()), ferry.target.name());
    ferry
        .target
        .execute(&format!("CREATE ROLE {user} LOGIN; GRANT CREATE ON DATABASE {database} TO {user}; GRANT ALL ON SCHEMA public TO {user}"))
        .await;
    Postgres::shared().url_as(&user, database)
}

#[tokio::test]
async fn foreign_keys_that_act_are_put_off_and_their_failure_keeps_the_earlier_parts() {
    let setup = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE)";
    let ferry = Ferry::new(setup, "").await;
    let (parent, child) = (ferry.form("parent").await, ferry.form("child").await);
    let mut applier = ferry.applier_at(plain_user(&ferry).await).await;
    for table in [&parent, &child] {
        assert_eq!(applier.create(table).await.unwrap(), Created::New);
    }
    for table in [&parent, &child] {
        assert_eq!(applier.finish(table).await.unwrap(), []);
    }
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(ferry.rows(key).await, ["FOREIGN KEY (p) REFERENCES parent(id) DEFERRABLE"]);
    replace(&mut applier, &parent, &Range::Whole, &["7"]).await;
    apply(&mut applier, vec![upserts(&child, &["1 1"])], None).await.unwrap();
    let error = apply(&mut applier, vec![upserts(&child, &["2 2"])], Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![upserts(&parent, &["1"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM child").await, ["1 1"], "the first part is there, the one that failed is not");
    // The log says itself what a cascade deletes.
    let error = apply(&mut applier, vec![deletes(&parent, &["1"])], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![deletes(&parent, &["1"]), deletes(&child, &["1"])], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM child").await, [""; 0]);
}

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

/// What comes after it must not take its answers for its own.
#[tokio::test]
async fn a_copy_that_the_server_refuses_to_begin_spoils_nothing_after_it() {
    let table = |name: &str| format!("CREATE TABLE {name} (k int PRIMARY KEY, v text)");
    let setup = format!("{}; {}", table("t"), table("u"));
    let ferry = Ferry::new(&setup, &setup).await;
    let user = plain_user(&ferry).await;
    ferry.target.execute("GRANT ALL ON t, u TO PUBLIC; REVOKE INSERT ON u FROM PUBLIC").await;
    let (t, u, mut applier) = (ferry.form("t").await, ferry.form("u").await, ferry.applier_at(user).await);
    let rows: Vec<String> = (0..20).map(|k| format!("{k} v")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let error = apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap_err();
        assert!(error.to_string().contains("permission denied for table u"), "{error}");
    }
    apply(&mut applier, vec![inserts(&t, &rows[..10])], None).await.unwrap();
    let error = apply(&mut applier, vec![inserts(&u, &rows)], None).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table u"), "{error}");
    let error = apply(&mut applier, vec![inserts(&t, &rows[10..])], Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    let error = applier.replace(&u, &Range::Whole, blocks(&rows)).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table u"), "{error}");
    assert_eq!(ferry.rows("SELECT count(*) FROM t").await, ["0"]);

    ferry.target.execute("GRANT INSERT ON u TO PUBLIC").await;
    apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap();
    assert_eq!(
        ferry.rows("SELECT count(*), sum(k) FROM t UNION ALL SELECT count(*), sum(k) FROM u").await,
        ["20 190"; 2]
    );
}

/// The server refuses it after it has said that it takes rows, and before it reads one.
#[tokio::test]
async fn a_trigger_that_refuses_a_statement_spoils_nothing_after_it() {
    let table = |name: &str| format!("CREATE TABLE {name} (k int PRIMARY KEY, v inet)");
    let setup = format!("{}; {}", table("t"), table("u"));
    let ferry = Ferry::new(&setup, &setup).await;
    ferry
        .target
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON u EXECUTE FUNCTION refuse(); ALTER TABLE u ENABLE ALWAYS TRIGGER refuse",
        )
        .await;
    let (t, u, mut applier) = (ferry.form("t").await, ferry.form("u").await, ferry.applier().await);
    let rows: Vec<String> = (0..20).map(|k| format!("{k} 10.0.0.{k}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    for _ in 0..3 {
        let error = apply(&mut applier, vec![inserts(&t, &rows), inserts(&u, &rows)], Some("1")).await.unwrap_err();
        assert!(error.to_string().contains("not today"), "{error}");
    }
    let error = applier.replace(&u, &Range::Native("(0,0):(9,1)".into()), blocks(&rows)).await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT count(*), sum(k) FROM t").await, ["20 190"]);
}

#[tokio::test]
async fn commits_are_durable_whatever_the_database_says() {
    let target = "CREATE TABLE t (id int PRIMARY KEY, said text DEFAULT current_setting('synchronous_commit'))";
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY)", target).await;
    ferry.target.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", ferry.target.name())).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["1 on"]);
}

#[tokio::test]
async fn columns_that_count_are_identities_where_they_can_be() {
    let ferry = Ferry::new(
        "CREATE DOMAIN num AS int; CREATE SEQUENCE s;
         CREATE TABLE t (id bigserial PRIMARY KEY, d num DEFAULT nextval('s') NOT NULL, n int DEFAULT nextval('s'))",
        "",
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    assert_eq!(applier.create(&t).await.unwrap(), Created::New);
    let columns = "SELECT attname, attidentity <> '', attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum";
    assert_eq!(ferry.rows(columns).await, ["id t t", "d f t", "n f f"]);
    apply(&mut applier, vec![upserts(&t, &["1 2 -"])], Some("1")).await.unwrap();
}

#[tokio::test]
async fn generated_columns_are_stored_where_the_target_knows_no_others() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED)";
    let ferry = Ferry::new(setup, "").await;
    let mut t = (*ferry.form("t").await).clone();
    t.computed[0].generated.as_mut().unwrap().stored = false;
    assert_eq!(ferry.applier().await.create(&t).await.unwrap(), Created::New);
}

#[tokio::test]
async fn labels_of_an_enum_come_in_their_order() {
    let setup = "CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd', 'e'); CREATE TABLE t (id int PRIMARY KEY, v e)";
    let ferry = Ferry::new(setup, "CREATE TYPE e AS ENUM ('c', 'e'); CREATE TABLE t (id int PRIMARY KEY, v e)").await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let def = t.types.iter().find(|def| matches!(def.kind, TypeDefKind::Enum { .. })).unwrap().clone();
    for _ in 0..2 {
        applier.alter(&t, &[Alteration::EnumLabels(def.clone())]).await.unwrap();
        assert_eq!(ferry.rows("SELECT unnest(enum_range(NULL::e))").await, ["a", "b", "c", "d", "e"]);
    }
}

#[tokio::test]
async fn an_identity_that_cannot_be_updated_does_not_fit() {
    let table = |how: &str| format!("CREATE TABLE t (id int GENERATED {how} AS IDENTITY PRIMARY KEY, v text)");
    let ferry = Ferry::new(&table("ALWAYS"), &table("ALWAYS")).await;
    let found = ferry.differences("t").await;
    let mend = r#"ALTER TABLE "public"."t" ALTER COLUMN "id" SET GENERATED BY DEFAULT"#;
    assert!(found.contains(mend), "{found}");
    ferry.target.execute(mend).await;
    assert_eq!(ferry.differences("t").await, "");
}

#[tokio::test]
async fn text_holds_every_type_but_a_keys() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric); CREATE TABLE u (id varchar(9) PRIMARY KEY)",
        "CREATE TABLE t (id text PRIMARY KEY, n text); CREATE TABLE u (id text PRIMARY KEY)",
    )
    .await;
    let found = ferry.differences("t").await;
    assert!(found.contains("column id is text there") && !found.contains("column n"), "{found}");
    assert_eq!(ferry.differences("u").await, "");
}

#[tokio::test]
async fn a_computed_column_must_be_computed_at_both_ends() {
    let computed = "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED)";
    let ferry = Ferry::new(computed, "CREATE TABLE t (id int PRIMARY KEY, g int)").await;
    assert!(ferry.differences("t").await.contains("column g is computed at the source"));
    ferry.target.execute(&format!("DROP TABLE t; {computed}")).await;
    assert_eq!(ferry.differences("t").await, "");
}

#[tokio::test]
async fn a_unique_index_fits_if_the_source_keeps_it_too() {
    let table = "(id int PRIMARY KEY, a int, b int, c int NOT NULL)";
    let source = "CREATE UNIQUE INDEX whole ON t (a); CREATE UNIQUE INDEX part ON t (b) WHERE b > 0; CREATE UNIQUE INDEX expr ON t ((a + b));
                  ALTER TABLE t ADD CONSTRAINT late UNIQUE (c) DEFERRABLE";
    let ferry = Ferry::new(&format!("CREATE TABLE t {table}; {source}"), "").await;
    let cases = [
        ("CREATE UNIQUE INDEX i ON t (a)", true),
        ("CREATE UNIQUE INDEX i ON t (a) WHERE a > 9", true),
        ("CREATE UNIQUE INDEX i ON t (b, a)", true),
        ("CREATE UNIQUE INDEX i ON t (id, c)", true),
        ("CREATE UNIQUE INDEX i ON t (b) WHERE b > 0", true),
        ("CREATE UNIQUE INDEX i ON t ((a + b))", true),
        ("ALTER TABLE t ADD CONSTRAINT i UNIQUE (c) DEFERRABLE", true),
        ("ALTER TABLE t ADD x int GENERATED BY DEFAULT AS IDENTITY; CREATE UNIQUE INDEX i ON t (x)", true),
        ("CREATE UNIQUE INDEX i ON t (b)", false),
        ("CREATE UNIQUE INDEX i ON t (c)", false),
        ("CREATE UNIQUE INDEX i ON t (b, c)", false),
        ("CREATE UNIQUE INDEX i ON t (a) NULLS NOT DISTINCT", false),
    ];
    let known = version().await >= 15;
    for (index, fits) in cases.into_iter().filter(|(index, _)| known || !index.contains("NULLS NOT")) {
        ferry.target.execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t {table}; {index}")).await;
        let found = ferry.differences("t").await;
        assert_eq!(found.is_empty(), fits, "{index}: {found}");
        assert!(fits || found.contains("unique index i"), "{found}");
    }
}

#[tokio::test]
async fn a_name_that_the_server_would_cut_off_is_refused() {
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY)", "").await;
    let form = ferry.form("t").await;
    let long = |end: &str| TableSchema {
        name: TableName::new("public", format!("{}{end}", "é".repeat(31))),
        ..TableSchema::clone(&form)
    };
    let mut applier = ferry.applier().await;
    applier.create(&long("1")).await.unwrap();
    let target = PostgresTarget::new(TargetOptions { url: ferry.target.url() }).unwrap();
    let error = applier.create(&long("12")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    assert!(error.to_string().contains("64 bytes"), "{error}");
    let found = target.check(&[long("12")]).await.unwrap();
    assert!(
        found.iter().any(|finding| finding.mend.as_ref().is_some_and(|mend| mend.contains("set `target`"))),
        "{found:?}"
    );
}
