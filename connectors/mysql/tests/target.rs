//! MySQL and MariaDB as a target, against real servers: what tables are made, and what batches and ranges leave behind.

#![allow(clippy::unwrap_used)]

use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use rowferry_api::{
    Alteration, Applier, Batch, Block, BlockStream, Cell, Column, Created, Dialect, Error, ErrorKind, Fill, ForeignKey,
    Identity, Index, Key, PartialUpdate, Position, Range, Replaced, Row, RowBuilder, Severity, Source, Step, TableName,
    TableRows, TableSchema, Target, Type, encode_copy_cell,
};
use rowferry_mysql::{MysqlSource, MysqlTarget, SourceOptions, TargetOptions};
use rowferry_testkit::{Mysql, MysqlDatabase};
use std::sync::Arc;

/// Two databases: one gives tables their forms, the other is written to.
struct Ferry {
    source: MysqlDatabase,
    target: MysqlDatabase,
}

impl Ferry {
    async fn new(source_setup: &str, target_setup: &str) -> Self {
        let server = Mysql::shared();
        let ferry = Self { source: server.create_database("from"), target: server.create_database("into") };
        ferry.source.execute(source_setup).await;
        ferry.target.execute(target_setup).await;
        ferry
    }

    /// The form of a source's table, with the target's name.
    async fn form(&self, name: &str) -> Arc<TableSchema> {
        let options = SourceOptions {
            url: self.source.url(),
            server_id: 0,
            pipeline: "unused".into(),
            zero_dates: "text".into(),
        };
        let tables = MysqlSource::new(options).unwrap().tables().await.unwrap();
        let found = tables.into_iter().find(|table| table.schema.name == TableName::new(self.source.name(), name));
        let mut form = (*found.unwrap().schema).clone();
        form.name = self.target().table_name(&form.name);
        for key in &mut form.foreign_keys {
            key.references = self.target().table_name(&key.references);
        }
        Arc::new(form)
    }

    fn target(&self) -> MysqlTarget {
        MysqlTarget::new(TargetOptions { url: self.target.url() }).unwrap()
    }

    /// An applier, with the pipeline at position 0.
    async fn applier(&self) -> Box<dyn Applier> {
        let (target, pipeline) = (self.target(), self.target.name());
        target.prepare(pipeline, &Identity::new("source"), &Position::new("0"), true).await.unwrap();
        target.open_applier(pipeline).await.unwrap()
    }

    /// The target's rows, one a line, NULL as `-`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        lines(self.target.query_text(sql).await)
    }

    /// What the target's own reader says of a table, rows by key.
    async fn read(&self, form: &TableSchema, range: &Range) -> Vec<String> {
        let mut reader = self.target().open_tables().await.unwrap();
        let mut blocks = reader.read(form, range, true).await.unwrap();
        let mut lines = Vec::new();
        while let Some(block) = blocks.next().await {
            lines.extend(block.unwrap().lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        lines
    }
}

fn lines(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let line = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect::<Vec<_>>().join(" ")
    };
    rows.into_iter().map(line).collect()
}

/// `-` is NULL, `?` unchanged.
fn cell(text: &str) -> Cell<'_> {
    match text {
        "-" => Cell::Null,
        "?" => Cell::Unchanged,
        text => Cell::Text(text.as_bytes()),
    }
}

fn row(cells: &str) -> Row {
    let mut builder = RowBuilder::new();
    cells.split(' ').for_each(|text| builder.push(cell(text)));
    builder.finish()
}

fn key(cells: &str) -> Key {
    Key::from_cells(cells.split(' ').map(cell))
}

fn nothing(table: &Arc<TableSchema>) -> TableRows {
    TableRows::new(table.clone())
}

fn upserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { upserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

fn inserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { inserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

fn updates(table: &Arc<TableSchema>, rows: &[(&str, &str)]) -> Step {
    let update = |&(old, cells): &(&str, &str)| PartialUpdate { key: key(old), row: row(cells) };
    Step::Rows(TableRows { updates: rows.iter().map(update).collect(), ..nothing(table) })
}

fn deletes(table: &Arc<TableSchema>, keys: &[&str]) -> Step {
    Step::Rows(TableRows { deletes: keys.iter().map(|cells| key(cells)).collect(), ..nothing(table) })
}

async fn apply(applier: &mut Box<dyn Applier>, steps: Vec<Step>, end: Option<&str>) -> Result<Vec<String>, Error> {
    let applied = applier.apply(&Batch { steps, end: end.map(Position::new) }).await?;
    Ok(applied.missing.iter().map(|(_, key)| key.to_string()).collect())
}

fn block<'a>(rows: impl IntoIterator<Item = Vec<Option<&'a [u8]>>>) -> BlockStream<'static> {
    let mut data = BytesMut::new();
    for cells in rows {
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                data.put_u8(b'\t');
            }
            encode_copy_cell(cell, &mut data);
        }
        data.put_u8(b'\n');
    }
    Box::pin(futures_util::stream::iter([Ok(Block::new(data.freeze()))]))
}

fn blocks(rows: &[&str]) -> BlockStream<'static> {
    let cells = |row: &&'static str| row.split(' ').map(|text| (text != "-").then_some(text.as_bytes())).collect();
    let rows: Vec<&'static str> = rows.iter().map(|row| &*Box::leak((*row).to_owned().into_boxed_str())).collect();
    block(rows.iter().map(cells).collect::<Vec<_>>())
}

async fn replace(applier: &mut Box<dyn Applier>, table: &TableSchema, range: &Range, rows: &[&str]) -> Replaced {
    applier.replace(table, range, blocks(rows)).await.unwrap()
}

fn range(after: Option<&str>, upto: Option<&str>) -> Range {
    Range::Keys { after: after.map(key), upto: upto.map(key) }
}

#[tokio::test]
async fn a_table_is_made_once_and_its_indexes_later() {
    let ferry = Ferry::new(
        "CREATE TABLE parents (id int PRIMARY KEY);
         CREATE TABLE t (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(30) NOT NULL DEFAULT 'x', body text,
             at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, parent int, UNIQUE KEY by_name (name), KEY by_body (body(20)),
             CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
        "",
    )
    .await;
    let (parents, t, mut applier) = (ferry.form("parents").await, ferry.form("t").await, ferry.applier().await);
    assert_eq!(applier.create(&parents).await.unwrap(), Created::New);
    assert_eq!(applier.create(&t).await.unwrap(), Created::New);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Empty);
    apply(&mut applier, vec![upserts(&t, &["1 a b 2024-01-02 7"])], Some("1")).await.unwrap_err();
    let moment = "1\ta\tb\t2024-01-02 03:04:05+00\t7";
    let line: Vec<Option<&[u8]>> = moment.split('\t').map(|text| Some(text.as_bytes())).collect();
    applier.replace(&t, &Range::Whole, block([line])).await.unwrap();
    assert_eq!(applier.create(&t).await.unwrap(), Created::Filled);
    for _ in 0..2 {
        assert_eq!(applier.finish(&t).await.unwrap(), []);
    }
    let indexes = "SELECT DISTINCT INDEX_NAME, NON_UNIQUE, SUB_PART FROM information_schema.STATISTICS \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't' ORDER BY LOWER(INDEX_NAME)";
    assert_eq!(ferry.rows(indexes).await, ["by_body 1 20", "by_name 0 -", "of_parent 1 -", "PRIMARY 0 -"]);
    assert_eq!(applier.create(&t).await.unwrap(), Created::Filled);
    assert_eq!(ferry.read(&t, &Range::Whole).await, [moment]);
    let shown = ferry.target.query_text("SHOW CREATE TABLE t").await[0][1].clone().unwrap();
    for part in ["AUTO_INCREMENT", "DEFAULT 'x'", "ON DELETE CASCADE"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[tokio::test]
async fn a_change_of_form_is_carried_over_and_repeated() {
    let before = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5) NOT NULL DEFAULT 'it''s', gone int)";
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(50) DEFAULT 'it''s', n int NOT NULL DEFAULT 7, w text)",
        &format!("{before}; INSERT INTO t VALUES (1, 'a', 1)"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let column = |name: &str| t.columns[t.column_index(name).unwrap()].clone();
    let alterations = [
        Alteration::ChangeType(column("v")),
        Alteration::DropNotNull("v".into()),
        Alteration::AddColumn(Column { fill: Fill::Value("7".into()), ..column("n") }),
        Alteration::AddColumn(Column { fill: Fill::Value("it's".into()), ..column("w") }),
        Alteration::DropColumn("gone".into()),
    ];
    for _ in 0..2 {
        applier.alter(&t, &alterations).await.unwrap();
    }
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["1 a 7 it's"]);
    let longer = "a-text-of-more-than-five";
    apply(&mut applier, vec![upserts(&t, &[&format!("2 {longer} 8 -"), "3 - 9 -"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t WHERE id > 1").await, [format!("2 {longer} 8 -"), "3 - 9 -".into()]);
    ferry.target.execute("INSERT INTO t (id) VALUES (4)").await;
    assert_eq!(ferry.rows("SELECT * FROM t WHERE id = 4").await, ["4 it's 7 -"]);
}

/// A column's type, and texts of its cells as they come from a log or another table. `0x` are raw bytes.
const KINDS: &[(&str, &[&str])] = &[
    ("tinyint", &["-128", "127", "0"]),
    ("smallint unsigned", &["0", "65535"]),
    ("mediumint", &["-8388608", "8388607"]),
    ("int(8) unsigned zerofill", &["0", "42", "4294967295"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("bigint unsigned", &["18446744073709551615"]),
    ("decimal(12,2)", &["-1234567890.05", "0.00", "0.10"]),
    ("decimal(65,30)", &["-99999999999999999999999999999999999.999999999999999999999999999999"]),
    ("float", &["0.1", "-340282350000000000000000000000000000000", "16777216", "1.17549435e-38", "-0"]),
    ("double", &["0.1", "5e-324", "1.7976931348623157e308", "-0", "1.2345678901234568e17"]),
    ("bit(1)", &["0", "1"]),
    ("bit(12)", &["000000000000", "101010101010"]),
    ("bit(64)", &["1111111111111111111111111111111111111111111111111111111111111111"]),
    ("year", &["2024", "1901", "0"]),
    ("date", &["0001-01-01", "9999-12-31", "0000-00-00", "2024-00-10"]),
    ("time", &["-838:59:59", "00:00:00", "838:59:59"]),
    ("time(6)", &["12:00:00.5", "-01:00:00.000001", "12:00:10"]),
    ("datetime", &["2024-02-29 12:00:10", "0000-00-00 00:00:00"]),
    ("datetime(6)", &["9999-12-31 23:59:59.999999", "2024-02-29 12:00:10", "2024-02-29 12:00:10.1"]),
    ("timestamp NULL", &["2024-03-31 00:30:00+00", "0000-00-00 00:00:00+00", "2038-01-19 03:14:07+00"]),
    ("timestamp(3) NULL", &["2024-03-31 00:30:00.125+00", "1970-01-01 00:00:01+00"]),
    ("char(5)", &["", "ab", "\u{e4}\u{1f600}"]),
    ("varchar(50)", &["", "a ", "it's a \\ and \0 and\ttab\nline\r\u{1a}", "\\N"]),
    ("varchar(50) CHARACTER SET latin1", &["\u{e4}\u{20ac}"]),
    ("varchar(50) CHARACTER SET cp1251", &["\u{43f}\u{440}\u{438}"]),
    ("text", &["", "\\x41", "%_"]),
    ("binary(3)", &["0x000000", "0x615c27"]),
    ("varbinary(20)", &["0x", "0x00ff5c27220a0d1a80", "0xe28227"]),
    ("blob", &["0x", "0xc35c5c27"]),
    ("enum('a','b c','it''s','1')", &["a", "b c", "it's", "1"]),
    ("set('x','y','z')", &["", "x", "x,z"]),
    ("point", &["0x00000000010100000000000000000000000000000000000040"]),
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// Every kind by both ways in, with many columns of one row NULL.
#[tokio::test]
async fn every_kind_comes_back_by_value() {
    let flavor = Mysql::shared().flavor();
    let mut kinds: Vec<(&str, &[&str])> = KINDS.to_vec();
    if flavor.is_mariadb() {
        // It has no negative zero.
        for kind in &mut kinds {
            if let ("float" | "double", values) = kind {
                *values = &values[..3];
            }
        }
        kinds.extend([
            ("uuid", &["00112233-4455-6677-8899-aabbccddeeff"] as &[&str]),
            ("inet6", &["2001:db8::ff00:42:8329"]),
            ("json", &["{\"a\":  1.50}"]),
        ]);
    } else if flavor.version() >= (5, 7) {
        kinds.push(("json", &["{\"a\": 1.5, \"b\": [null, \"x\\\\\\n\"]}", "\"t\""]));
    }
    if !flavor.is_mariadb() && flavor.version() >= (9, 0) {
        kinds.push(("vector(2)", &["0x0000803f000000c0"]));
    }
    let columns: Vec<String> = kinds.iter().enumerate().map(|(place, (ty, _))| format!("c{place} {ty}")).collect();
    // A zero in a default is refused by some servers' own modes.
    let ferry = Ferry::new(
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, {0}); CREATE TABLE u (id int PRIMARY KEY, {0})",
            columns.join(", ")
        ),
        "",
    )
    .await;
    let mut applier = ferry.applier().await;
    let (t, u) = (ferry.form("t").await, ferry.form("u").await);
    for form in [&t, &u] {
        assert_eq!(applier.create(form).await.unwrap(), Created::New);
        assert_eq!(applier.create(form).await.unwrap(), Created::Empty);
    }
    let longest = kinds.iter().map(|(_, values)| values.len()).max().unwrap();
    let mut builder = RowBuilder::new();
    let (mut rows, mut copy) = (Vec::new(), Vec::new());
    for number in 0..=longest {
        let id = number.to_string();
        builder.push(Cell::Text(id.as_bytes()));
        let mut line = vec![Some(id.clone().into_bytes())];
        for (_, values) in &kinds {
            match values.get(number) {
                None => {
                    builder.push(Cell::Null);
                    line.push(None);
                }
                Some(text) => match text.strip_prefix("0x") {
                    Some(hex) => {
                        builder.push(Cell::Raw(&unhex(hex)));
                        line.push(Some(format!("\\x{hex}").into_bytes()));
                    }
                    None => {
                        builder.push(Cell::Text(text.as_bytes()));
                        line.push(Some(text.as_bytes().to_vec()));
                    }
                },
            }
        }
        rows.push(builder.finish());
        copy.push(line);
    }
    let lines: Vec<Vec<Option<&[u8]>>> =
        copy.iter().map(|line| line.iter().map(|cell| cell.as_deref()).collect()).collect();
    let step = Step::Rows(TableRows { inserts: rows.clone(), ..nothing(&t) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    applier.replace(&u, &Range::Whole, block(lines.clone())).await.unwrap();
    let mut expected = block(lines);
    let expected = expected.next().await.unwrap().unwrap();
    let expected: Vec<String> =
        expected.lines().map(|line| canonical(&kinds, std::str::from_utf8(line).unwrap())).collect();
    let canonical_rows = |lines: Vec<String>| lines.iter().map(|line| canonical(&kinds, line)).collect::<Vec<_>>();
    assert_eq!(canonical_rows(ferry.read(&t, &Range::Whole).await), expected);
    assert_eq!(canonical_rows(ferry.read(&u, &Range::Whole).await), expected);

    // Written again, whole and cell by cell, they stay what they are.
    let again = Step::Rows(TableRows { upserts: rows.clone(), ..nothing(&t) });
    let update = |row: &Row| PartialUpdate { key: Key::from_cells(row.cells().take(1)), row: row.clone() };
    let cells = Step::Rows(TableRows { updates: rows.iter().map(update).collect(), ..nothing(&u) });
    assert_eq!(apply(&mut applier, vec![again, cells], Some("2")).await.unwrap(), [""; 0]);
    assert_eq!(canonical_rows(ferry.read(&t, &Range::Whole).await), expected);
    assert_eq!(canonical_rows(ferry.read(&u, &Range::Whole).await), expected);
}

/// Floats by their bits; all others as they are.
fn canonical(kinds: &[(&str, &[&str])], line: &str) -> String {
    let cells =
        line.split('\t').enumerate().map(|(place, text)| match place.checked_sub(1).map(|place| kinds[place].0) {
            Some("float") if text != "\\N" => format!("{:08x}", text.parse::<f32>().unwrap().to_bits()),
            Some("double") if text != "\\N" => format!("{:016x}", text.parse::<f64>().unwrap().to_bits()),
            _ => text.to_owned(),
        });
    cells.collect::<Vec<_>>().join("\t")
}

#[tokio::test]
async fn a_batch_deletes_updates_upserts_and_inserts() {
    let table = "CREATE TABLE t (a int, b varchar(10) CHARACTER SET latin1, v varchar(10), w int, PRIMARY KEY (a, b))";
    let ferry = Ferry::new(
        table,
        &format!("{table}; INSERT INTO t VALUES (1, 'x', 'old', 1), (2, 'x', 'old', 2), (3, 'x', 'old', 3), (4, 'x', 'old', 4)"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let step = Step::Rows(TableRows {
        deletes: vec![key("1 x"), key("9 x")],
        updates: vec![
            PartialUpdate { key: key("2 x"), row: row("2 x new ?") },
            PartialUpdate { key: key("3 x"), row: row("30 y ? 33") },
            PartialUpdate { key: key("7 x"), row: row("7 x new ?") },
        ],
        upserts: vec![row("4 x up -"), row("5 \u{e4} up 5")],
        inserts: vec![row("6 x in 6")],
        ..nothing(&t)
    });
    assert_eq!(apply(&mut applier, vec![step], Some("1")).await.unwrap(), ["('7', 'x')"]);
    let expected = ["2 x new 2", "4 x up -", "5 \u{e4} up 5", "6 x in 6", "30 y old 33"];
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY a").await, expected);
    let truncate = vec![Step::Truncate(vec![t.clone()]), inserts(&t, &["8 z in 8"])];
    apply(&mut applier, truncate, Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t").await, ["8 z in 8"]);
    let held = ferry.target().position(ferry.target.name()).await.unwrap().unwrap();
    assert_eq!((held.position, held.source), (Position::new("2"), Identity::new("source")));
}

#[tokio::test]
async fn thousands_of_changes_take_a_few_statements_and_say_what_was_missing() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(40), w varchar(40))";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let new = (0..20_000).map(|id| row(&format!("{id} value-of-{id} untouched")));
    let step = Step::Rows(TableRows { inserts: new.collect(), ..nothing(&t) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    let update = |id: i32| PartialUpdate { key: key(&id.to_string()), row: row(&format!("{id} changed ?")) };
    let step = Step::Rows(TableRows { updates: (19_000..20_005).map(update).collect(), ..nothing(&t) });
    let missing: Vec<String> = (20_000..20_005).map(|id| format!("('{id}')")).collect();
    assert_eq!(apply(&mut applier, vec![step.clone()], Some("2")).await.unwrap(), missing);
    // Rows that have the values already are found all the same.
    assert_eq!(apply(&mut applier, vec![step], Some("3")).await.unwrap(), missing);
    let gone = (0..5_000).map(|id| key(&id.to_string()));
    let step = Step::Rows(TableRows { deletes: gone.collect(), ..nothing(&t) });
    apply(&mut applier, vec![step], Some("4")).await.unwrap();
    let counts = "SELECT COUNT(*), SUM(v = 'changed'), SUM(w = 'untouched'), MIN(id), SUM(id) FROM t";
    assert_eq!(ferry.rows(counts).await, ["15000 1000 15000 5000 187492500"]);
}

#[tokio::test]
async fn a_row_that_moves_takes_its_unknown_cells_with_it() {
    let table = "CREATE TABLE t (k varchar(10) PRIMARY KEY, v varchar(10))";
    let ferry =
        Ferry::new(table, &format!("{table}; INSERT INTO t VALUES ('a', 'a'), ('b', 'b'), ('c', 'c'), ('d', 'd')"))
            .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // To the same key by the collation, to a free one, to one that is there, and one that is not there.
    let step = updates(&t, &[("a", "A ?"), ("b", "x ?"), ("c", "d new"), ("y", "z ?")]);
    assert_eq!(apply(&mut applier, vec![step], Some("1")).await.unwrap(), ["('z')"]);
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY v").await, ["A a", "x b", "d new"]);
}

#[tokio::test]
async fn a_row_in_the_way_of_another_unique_index_is_an_error() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, u varchar(10), v int, UNIQUE KEY u (u))";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    for step in [
        upserts(&t, &["1 b 1", "2 a 2"]),
        upserts(&t, &["3 a 3", "4 c 4"]),
        inserts(&t, &["3 a 3"]),
        inserts(&t, &["1 c 3"]),
        updates(&t, &[("1", "1 b ?"), ("2", "2 a ?")]),
    ] {
        let error = apply(&mut applier, vec![step], Some("1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unique, "{error}");
        assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 a 1", "2 b 2"]);
    }
    apply(&mut applier, vec![upserts(&t, &["1 c 1", "2 a 2", "3 b 3"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 c 1", "2 a 2", "3 b 3"]);
    // NULL in a column that has to hold something is a row's own fault.
    ferry.target.execute("ALTER TABLE t MODIFY v int NOT NULL").await;
    let error = apply(&mut applier, vec![upserts(&t, &["5 e -", "6 f 6"])], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
}

#[tokio::test]
async fn a_bad_row_undoes_its_call_and_the_earlier_part_stays() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(5), d decimal(5,2))";
    let ferry = Ferry::new("CREATE TABLE t (id int PRIMARY KEY, v varchar(50), d decimal(9,3))", table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1 a 1.00"])], None).await.unwrap();
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["0"], "nothing is visible before the end");
    // Too long, rounded with a note only, no number, a wrong number of cells.
    for (bad, kind) in [
        ("3 too-long 1.00", ErrorKind::BadRow),
        ("3 a 1.005", ErrorKind::BadRow),
        ("3 a NaN", ErrorKind::BadRow),
        ("3 a 99999.00", ErrorKind::BadRow),
        ("3 a", ErrorKind::Protocol),
    ] {
        let error = apply(&mut applier, vec![upserts(&t, &["2 b 2.00", bad])], None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{bad}: {error}");
    }
    let error = apply(&mut applier, vec![updates(&t, &[("1", "1 ? 1.005"), ("1", "1 b ?")])], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    apply(&mut applier, vec![upserts(&t, &["4 d 4.00"])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["1 a 1.00", "4 d 4.00"]);
    apply(&mut applier, vec![upserts(&t, &["5 e 5.00"])], None).await.unwrap();
    applier.rollback().await.unwrap();
    apply(&mut applier, vec![], Some("2")).await.unwrap();
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_position_that_another_process_moved_is_left_alone() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![upserts(&t, &["1"])], Some("1")).await.unwrap();
    let mut other = ferry.target().open_applier(ferry.target.name()).await.unwrap();
    apply(&mut other, vec![upserts(&t, &["2"])], Some("2")).await.unwrap();
    let error = apply(&mut applier, vec![upserts(&t, &["3"])], Some("3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(ferry.rows("SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    let identity = ferry.target().identity().await.unwrap().unwrap();
    let prepared = ferry.target().prepare(ferry.target.name(), &Identity::new("x"), &Position::new("9"), false).await;
    assert_eq!(prepared.unwrap(), identity);
    let held = ferry.target().position(ferry.target.name()).await.unwrap().unwrap();
    assert_eq!((held.position, held.source), (Position::new("2"), Identity::new("source")));
}

#[tokio::test]
async fn a_range_is_made_what_the_source_holds() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, u varchar(10), UNIQUE KEY u (u))";
    let ferry = Ferry::new(
        table,
        &format!("{table}; INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (10, 'j'), (11, 'k')"),
    )
    .await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    // 3 is gone, 1 and 2 changed places, 4 takes what 10 holds, 5 is new.
    let replaced = replace(&mut applier, &t, &range(Some("1"), Some("5")), &["2 a", "4 j", "5 e"]).await;
    assert_eq!((replaced.rows, replaced.evicted), (3, vec![key("1"), key("10")]));
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 a", "4 j", "5 e", "11 k"]);
    let replaced = replace(&mut applier, &t, &Range::Set(vec![key("2"), key("4")]), &["2 j"]).await;
    assert_eq!((replaced.rows, replaced.evicted), (1, vec![]));
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 e", "11 k"]);
    let native = Range::Native(String::new());
    let error = applier.replace(&t, &native, blocks(&["12 l", "5 x"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["3"]);
    replace(&mut applier, &t, &native, &["12 l", "5 x"]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 x", "11 k", "12 l"]);
    replace(&mut applier, &t, &range(Some("11"), None), &[]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["2 j", "5 x", "11 k"]);
    replace(&mut applier, &t, &Range::Whole, &["11 m"]).await;
    assert_eq!(ferry.rows("SELECT * FROM t ORDER BY id").await, ["11 m"]);
}

#[tokio::test]
async fn ranges_of_texts_follow_their_bytes_and_not_the_collation() {
    let table = "CREATE TABLE t (a varchar(10), b decimal(5,2), PRIMARY KEY (a, b))";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let all = ["B 1.00", "a 10.00", "a 2.00", "b 1.00", "z 1.00", "\u{e4} 1.00", "\u{1f600} 1.00"];
    apply(&mut applier, vec![inserts(&t, &all[1..])], Some("1")).await.unwrap();
    apply(&mut applier, vec![deletes(&t, &["b 1.00"]), inserts(&t, &["B 1.00", "b 1.01"])], Some("2")).await.unwrap();
    let all = ["B 1.00", "a 10.00", "a 2.00", "b 1.01", "z 1.00", "\u{e4} 1.00", "\u{1f600} 1.00"];
    let read = |range| {
        let (ferry, t) = (&ferry, &t);
        async move { ferry.read(t, &range).await.iter().map(|line| line.replace('\t', " ")).collect::<Vec<_>>() }
    };
    assert_eq!(read(Range::Whole).await, all);
    assert_eq!(read(range(Some("B 1.00"), Some("a 2.00"))).await, all[1..3]);
    assert_eq!(read(range(Some("a 10.00"), Some("\u{e4} 0"))).await, all[2..5]);
    assert_eq!(read(range(Some("z 1.00"), None)).await, all[5..]);
    let set = Range::Set(vec![key("A 2.00"), key("b 1.01"), key("\u{e4} 1.00")]);
    assert_eq!(read(set).await, [all[3], all[5]]);
    replace(&mut applier, &t, &range(Some("a 10.00"), Some("\u{e4} 1.00")), &["z 1.00"]).await;
    assert_eq!(read(Range::Whole).await, ["B 1.00", "a 10.00", "z 1.00", "\u{1f600} 1.00"]);
}

#[tokio::test]
async fn long_rows_pass_and_too_long_ones_are_named() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v longtext, b longblob)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let (text, bytes) = ("it's ".repeat(400_000), vec![0x27_u8; 100_000]);
    let mut builder = RowBuilder::new();
    let mut long = |id: &str, text: &str| {
        builder.push(Cell::Text(id.as_bytes()));
        builder.push(Cell::Text(text.as_bytes()));
        builder.push(Cell::Raw(&bytes));
        builder.finish()
    };
    let upserts = vec![row("1 a -"), long("2", &text), row("3 c -"), long("4", &text)];
    let step = Step::Rows(TableRows { upserts, ..nothing(&t) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    applier
        .replace(&t, &Range::Native(String::new()), block([vec![Some(b"5" as &[u8]), Some(text.as_bytes()), None]]))
        .await
        .unwrap();
    let sizes = "SELECT id, LENGTH(v), LENGTH(b), v = REPEAT('it''s ', 400000) FROM t ORDER BY id";
    let expected = ["1 1 - 0", "2 2000000 100000 1", "3 1 - 0", "4 2000000 100000 1", "5 2000000 - 1"];
    assert_eq!(ferry.rows(sizes).await, expected);
    let limit: usize = ferry.target.value("SELECT @@max_allowed_packet").await.parse().unwrap();
    if limit <= 64 << 20 {
        let step = Step::Rows(TableRows { upserts: vec![long("6", &"x".repeat(limit))], ..nothing(&t) });
        let error = apply(&mut applier, vec![step], Some("2")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
        assert!(error.hint_text().unwrap().contains("max_allowed_packet"));
    }
    apply(&mut applier, vec![], Some("2")).await.unwrap();
}

/// A column that follows updates by itself keeps what the log did not name.
#[tokio::test]
async fn a_column_that_follows_updates_is_written_by_the_log_only() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v int, at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE \
                 CURRENT_TIMESTAMP)";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (1, 1, '2001-01-01 12:00:00')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let before = ferry.rows("SELECT at FROM t").await;
    apply(&mut applier, vec![updates(&t, &[("1", "1 2 ?")])], Some("1")).await.unwrap();
    assert_eq!(ferry.rows("SELECT at FROM t WHERE v = 2").await, before);
}

fn postgres_column(name: &str, ty: Type, native: &str) -> Column {
    Column {
        id: 0,
        name: name.into(),
        ty,
        native: native.into(),
        nullable: name != "k",
        default: Some("nextval('x'::regclass)".into()),
        identity: false,
        generated: None,
        fill: Fill::Null,
    }
}

/// Types of PostgreSQL, and texts of their values.
fn postgres_kinds() -> Vec<(Type, &'static str, &'static [&'static str])> {
    vec![
        (Type::Bool, "boolean", &["t", "f"]),
        (Type::Int { bits: 64, unsigned: false }, "bigint", &["-9223372036854775808"]),
        (Type::Float { bits: 32 }, "real", &["0.1", "-3.4028235e38"]),
        (Type::Numeric, "numeric", &["NaN", "1.10", "-123456789012345678901234567890.5"]),
        (Type::Numeric, "numeric(10,2)", &["-12345678.90"]),
        (Type::Text, "text", &["a ", "\u{1f600}", ""]),
        (Type::Text, "character varying(20)", &["a "]),
        (Type::Char, "character(5)", &["ab   "]),
        (Type::Bytes, "bytea", &["\\x00ff27"]),
        (Type::Date, "date", &["0001-01-01"]),
        (Type::Time, "time without time zone", &["24:00:00", "12:00:00.5"]),
        (Type::TimeTz, "time with time zone", &["12:00:00+02"]),
        (Type::Timestamp, "timestamp without time zone", &["9999-12-31 23:59:59.999999"]),
        (Type::TimestampTz, "timestamp with time zone", &["2099-12-31 23:59:59.5+00", "0001-01-01 00:00:00+00"]),
        (Type::Interval, "interval", &["1 mon -01:00:00"]),
        (Type::Uuid, "uuid", &["00112233-4455-6677-8899-aabbccddeeff"]),
        (Type::Json, "jsonb", &["{\"b\": 1.50, \"a\": 1}"]),
        (Type::Bits, "bit varying(9)", &["101"]),
        (Type::Enum, "public.mood", &["it's"]),
        (Type::Array(Box::new(Type::Text)), "text[]", &["{a,\"b c\"}"]),
        (Type::Other, "inet", &["10.0.0.1/8"]),
    ]
}

fn postgres_form(ferry: &Ferry, name: &str, columns: Vec<Column>) -> TableSchema {
    TableSchema {
        name: TableName::new(ferry.target.name(), name),
        dialect: Dialect::Postgres,
        columns,
        computed: Vec::new(),
        key: vec![0],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        types: Vec::new(),
    }
}

#[tokio::test]
async fn values_of_postgres_come_back_as_they_were() {
    let ferry = Ferry::new("", "").await;
    let kinds = postgres_kinds();
    let mut columns = vec![postgres_column("k", Type::Text, "text")];
    columns.extend(
        kinds
            .iter()
            .enumerate()
            .map(|(place, (ty, native, _))| postgres_column(&format!("c{place}"), ty.clone(), native)),
    );
    let mut form = postgres_form(&ferry, "t", columns);
    let index = |name: &str, columns: &[&str], unique: bool| Index {
        name: name.into(),
        unique,
        columns: columns.iter().map(ToString::to_string).collect(),
        partial: false,
        definition: format!("CREATE INDEX {name} ON {{table}} USING btree (x)"),
        constraint: None,
    };
    form.indexes = vec![
        index("by_text", &["c5", "c1"], false),
        index("one_text", &["c5"], true),
        index("one", &["c1", "c6"], true),
    ];
    form.foreign_keys = vec![ForeignKey {
        name: "self".into(),
        columns: vec!["c5".into()],
        references: form.name.clone(),
        referenced_columns: vec!["c5".into()],
        actions: "DEFERRABLE INITIALLY DEFERRED".into(),
    }];
    let form = Arc::new(form);
    let mut applier = ferry.applier().await;
    assert_eq!(applier.create(&form).await.unwrap(), Created::New);
    assert_eq!(applier.create(&form).await.unwrap(), Created::Empty);
    let longest = kinds.iter().map(|(.., values)| values.len()).max().unwrap();
    let keys = ["a", "B", "\u{e4}"];
    let rows: Vec<Vec<Option<&[u8]>>> = (0..longest)
        .map(|number| {
            let cells = kinds.iter().map(|(.., values)| values.get(number).map(|text| text.as_bytes()));
            std::iter::once(Some(keys[number].as_bytes())).chain(cells).collect()
        })
        .collect();
    let mut builder = RowBuilder::new();
    let upserts = rows.iter().map(|row| {
        row.iter().for_each(|cell| builder.push(cell.map_or(Cell::Null, Cell::Text)));
        builder.finish()
    });
    let step = Step::Rows(TableRows { upserts: upserts.collect(), ..nothing(&form) });
    apply(&mut applier, vec![step], Some("1")).await.unwrap();
    let first = ferry.read(&form, &Range::Whole).await;
    applier.replace(&form, &Range::Whole, block(rows.clone())).await.unwrap();
    assert_eq!(ferry.read(&form, &Range::Whole).await, first);
    let mut expected: Vec<String> = Vec::new();
    for number in [1, 0, 2] {
        let line = block([rows[number].clone()]).next().await.unwrap().unwrap();
        expected.extend(line.lines().map(|line| String::from_utf8_lossy(line).into_owned()));
    }
    let exponent = |lines: &[String]| {
        lines
            .iter()
            .map(|line| line.replace("-340282350000000000000000000000000000000", "-3.4028235e38"))
            .collect::<Vec<_>>()
    };
    assert_eq!(exponent(&first), expected);
    let findings = applier.finish(&form).await.unwrap();
    let subjects: Vec<&str> = findings.iter().map(|finding| finding.what.split(' ').nth(1).unwrap()).collect();
    assert_eq!(subjects, ["one_text", "self:"], "{findings:?}");
    // What no column of this server holds is a bad row.
    for (place, bad) in
        [(3, "Infinity"), (5, "NaN"), (10, "infinity"), (10, "0044-03-15 BC"), (13, "10000-01-01 00:00:00")]
    {
        let mut cells: Vec<Cell<'_>> = vec![Cell::Null; form.columns.len()];
        (cells[0], cells[place]) = (Cell::Text(b"bad"), Cell::Text(bad.as_bytes()));
        cells.iter().for_each(|cell| builder.push(*cell));
        let step = Step::Rows(TableRows { upserts: vec![builder.finish()], ..nothing(&form) });
        let error = apply(&mut applier, vec![step], Some("2")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRow, "{bad}: {error}");
    }
}

#[tokio::test]
async fn keys_of_postgres_differ_in_case_and_in_blanks() {
    let ferry = Ferry::new("", "").await;
    let form = Arc::new(postgres_form(&ferry, "t", vec![postgres_column("k", Type::Text, "text")]));
    let mut applier = ferry.applier().await;
    applier.create(&form).await.unwrap();
    apply(&mut applier, vec![inserts(&form, &["a", "A", "\u{e4}"])], Some("1")).await.unwrap();
    let blank = {
        let mut builder = RowBuilder::new();
        builder.push(Cell::Text(b"a "));
        builder.finish()
    };
    let step = Step::Rows(TableRows { inserts: vec![blank], ..nothing(&form) });
    let flavor = Mysql::shared().flavor();
    match (flavor.is_mariadb(), apply(&mut applier, vec![step], Some("2")).await) {
        // Its collations ignore blanks at the end: loudly.
        (false, Err(error)) if flavor.version() < (8, 0) => assert_eq!(error.kind(), ErrorKind::Unique),
        (_, result) => {
            result.unwrap();
            assert_eq!(ferry.read(&form, &Range::Whole).await, ["A", "a", "a ", "\u{e4}"]);
        }
    }
}

#[tokio::test]
async fn a_check_says_what_does_not_fit() {
    let ferry = Ferry::new(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(10), w int)",
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(5), w int NOT NULL, UNIQUE KEY u (v), KEY (w)) ENGINE = MyISAM",
    )
    .await;
    ferry.target.execute("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.w = 1").await;
    let t = ferry.form("t").await;
    let findings = ferry.target().check(&[(*t).clone()]).await.unwrap();
    let about: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Blocked)
        .map(|finding| finding.what.as_str())
        .collect();
    for (place, part) in
        ["MyISAM", "column v is varchar(5)", "column w is NOT NULL", "unique index u"].iter().enumerate()
    {
        assert!(about.get(place).is_some_and(|what| what.contains(part)), "{part} in {about:?}");
    }
    assert_eq!(about.len(), 4, "{about:?}");
    assert!(
        findings.iter().any(|finding| finding.mend.as_deref().is_some_and(|mend| mend.starts_with("DROP TRIGGER")))
    );
    let error = ferry.applier().await.create(&t).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
}
