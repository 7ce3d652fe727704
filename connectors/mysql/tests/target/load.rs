//! Many new rows at once come to what a few come to.

use super::*;
use rowferry_api::Batch;

/// Columns whose values can go as fields of lines, and what may be in them; `None` is NULL.
const COLUMNS: [(&str, &[Option<&str>]); 16] = [
    ("i bigint unsigned", &[Some("18446744073709551615"), Some("0"), None]),
    ("m mediumint", &[Some("-8388608"), Some("t"), Some("f")]),
    ("d decimal(65,30)", &[Some("-12345678901234567890123456789012345.123456789012345678901234567890"), Some("0.1")]),
    ("f float", &[Some("0.1"), Some("-0"), Some("3.4028235e38"), Some("1e-45")]),
    ("g double", &[Some("-0"), Some("1.7976931348623157e308"), Some("5e-324"), Some("0.30000000000000004")]),
    ("c char(5)", &[Some(""), Some("\\N"), Some("a\tb\nc"), Some("\\"), Some("'\"`")]),
    ("v varchar(40) CHARACTER SET latin1", &[Some("\u{e4}\u{20ac}"), Some("x\0y\r\n"), Some(" ")]),
    ("s varchar(40) CHARACTER SET sjis", &[Some("\u{8868}\\\u{30bd}"), Some("\\t")]),
    ("k varchar(40) CHARACTER SET gbk", &[Some("\u{9644}\t\u{6728}"), None]),
    ("w text CHARACTER SET utf16", &[Some("\u{1f600}\n"), Some("")]),
    ("u longtext CHARACTER SET utf8mb4", &[Some("\u{1f600}\\n\\\\\n"), Some("\\N"), None]),
    ("e enum('a','','1','b\\\\') CHARACTER SET utf8mb4", &[Some("1"), Some(""), Some("b\\"), None]),
    ("z set('a','b\tc') CHARACTER SET utf8mb4", &[Some("a,b\tc"), Some("")]),
    ("y date", &[Some("0000-00-00"), Some("2024-00-31"), Some("9999-12-31")]),
    ("t time(6)", &[Some("-837:59:59.000001"), Some("00:00:00.5")]),
    ("p datetime(6)", &[Some("1000-01-01 00:00:00.000001"), Some("0000-00-00 00:00:00"), None]),
];

/// A row a number: the key, and a value of each column.
fn cells(number: usize) -> Vec<Option<String>> {
    let value = |(values, place): (&[Option<&str>], usize)| values[(number + place) % values.len()].map(str::to_owned);
    let values = COLUMNS.iter().enumerate().map(|(place, (_, values))| value((values, place)));
    std::iter::once(Some(number.to_string())).chain(values).collect()
}

fn rows(numbers: std::ops::Range<usize>) -> Vec<Row> {
    let mut builder = RowBuilder::new();
    let row = |number| {
        for cell in cells(number) {
            builder.push(cell.as_deref().map_or(Cell::Null, |text| Cell::Text(text.as_bytes())));
        }
        builder.finish()
    };
    numbers.map(row).collect()
}

#[tokio::test]
async fn values_are_what_they_are_row_by_row() {
    let columns: Vec<&str> = COLUMNS.iter().map(|(column, _)| *column).collect();
    // The first key is 0, which a server would count up from elsewhere.
    let create =
        |name: &str| format!("CREATE TABLE {name} (id int AUTO_INCREMENT PRIMARY KEY, {})", columns.join(", "));
    let setup = ["few", "many", "paged", "keyed", "staged"].map(create).join("; ");
    let ferry = Ferry::new(&setup, &setup).await;
    let mut applier = ferry.applier().await;
    let loads = async || ferry.rows("SHOW GLOBAL STATUS LIKE 'Com_load'").await;
    let inserts =
        |form: &Arc<TableSchema>, numbers| vec![Step::Rows(TableRows { inserts: rows(numbers), ..nothing(form) })];
    let few = ferry.form("few").await;
    for from in (0..2000).step_by(50) {
        apply(&mut applier, inserts(&few, from..from + 50), Some("1")).await.unwrap();
    }
    let before = loads().await;

    let many = ferry.form("many").await;
    apply(&mut applier, inserts(&many, 0..2000), Some("2")).await.unwrap();
    assert_ne!(loads().await, before);

    let lines: Vec<Vec<Option<String>>> = (0..2000).map(cells).collect();
    let lines =
        || block(lines.iter().map(|cells| cells.iter().map(|cell| cell.as_deref().map(str::as_bytes)).collect()));
    let (paged, keyed) = (ferry.form("paged").await, ferry.form("keyed").await);
    applier.replace(&paged, &Range::Native(String::new()), lines()).await.unwrap();
    applier.replace(&keyed, &Range::Whole, lines()).await.unwrap();

    let staged = ferry.form("staged").await;
    let steps = vec![Step::Rows(TableRows { upserts: rows(0..2000), ..nothing(&staged) })];
    assert!(applier.stage(&steps).await.unwrap());
    applier.apply(&Batch { steps, end: Some(Position::new("3")), staged: true }).await.unwrap();

    let read = async |name: &str| ferry.rows(&format!("SELECT * FROM {name} ORDER BY id")).await;
    let expected = read("few").await;
    assert_eq!(expected.len(), 2000);
    for name in ["many", "paged", "keyed", "staged"] {
        assert!(read(name).await == expected, "{name}");
    }
    let sums = ["few", "many", "paged", "keyed", "staged"]
        .map(|name| format!("SELECT SUM(CRC32(CONCAT_WS('|', {}))) FROM {name}", hex()));
    let sums = ferry.rows(&sums.join(" UNION ALL ")).await;
    assert_eq!(sums, vec![sums[0].clone(); 5]);
}

/// The bytes of each column.
fn hex() -> String {
    let name = |(column, _): &(&str, &[Option<&str>])| {
        let name = column.split(' ').next().unwrap();
        format!("COALESCE(HEX({name}), '-')")
    };
    COLUMNS.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_cannot_be_stored_as_it_is_is_refused_as_a_whole() {
    let table =
        "CREATE TABLE t (id int PRIMARY KEY, n tinyint NOT NULL, v varchar(3) CHARACTER SET latin1, UNIQUE KEY v (v))";
    let ferry = Ferry::new(table, &format!("{table}; INSERT INTO t VALUES (150, 1, 'old')")).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    for (row, kind, says) in [
        ("150 1 -", ErrorKind::Unique, ""),
        ("100 1 old", ErrorKind::Unique, ""),
        ("100 128 -", ErrorKind::BadRow, "(1264)"),
        ("100 1 long", ErrorKind::BadRow, "(1406)"),
        ("100 1 \u{1f600}", ErrorKind::BadRow, "(1366)"),
        ("100 - -", ErrorKind::BadRow, "(1048)"),
        ("100 x -", ErrorKind::BadRow, "no number"),
    ] {
        let good = (0..300).filter(|id| *id != 150 && *id != 100).map(|id| format!("{id} 1 -"));
        let all: Vec<String> = good.chain([row.to_owned()]).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let error = apply(&mut applier, vec![inserts(&t, &all)], Some("1")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{row}: {error}");
        let said = error.to_string();
        // A field that does not fit is cut (1265) where a literal is refused.
        assert!(said.contains(says) || said.contains("(1265)") || said.contains("(1263)"), "{row}: {said}");
        assert_eq!(ferry.rows("SELECT id, n, v FROM t").await, ["150 1 old"], "{row}");
        // A range that met rows is asked for again, and goes through a temporary table from then on.
        let kind = if kind == ErrorKind::Unique { ErrorKind::Transient } else { kind };
        let mut another = ferry.target().open_applier(ferry.target.name()).await.unwrap();
        let error = another.replace(&t, &Range::Native(String::new()), blocks(&all)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{row}: {error}");
        assert_eq!(ferry.rows("SELECT id, n, v FROM t").await, ["150 1 old"], "{row}");
    }
}

/// As characters of a field a number of bits would be other bits.
#[tokio::test]
async fn values_without_a_field_go_as_literals() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, b bit(12), y year, v varbinary(9), g geometry)";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let point = "\\x000000000101000000000000000000f03f0000000000000040";
    let rows: Vec<String> = (0..300).map(|id| format!("{id} 101 0000 \\x5c0a27 {point}")).collect();
    apply(&mut applier, vec![inserts(&t, &rows.iter().map(String::as_str).collect::<Vec<_>>())], Some("1"))
        .await
        .unwrap();
    let values = "SELECT COUNT(*), b + 0, y, HEX(v), ST_AsText(g) FROM t GROUP BY 2, 3, 4, 5";
    assert_eq!(ferry.rows(values).await, ["300 5 0000 5C0A27 POINT(1 2)"]);
}

#[tokio::test]
async fn where_lines_are_refused_rows_go_as_literals() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))";
    let rows: Vec<String> = (0..300).map(|id| format!("{id} v{id}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let sum = "SELECT COUNT(*), SUM(id), SUM(v = CONCAT('v', id)) FROM t";

    // It may not ask with the table that it asks with.
    let ferry = Ferry::new(table, table).await;
    let (t, _) = (ferry.form("t").await, ferry.applier().await);
    let user = format!("lines_{}", std::process::id());
    let grants =
        format!("GRANT ALL ON {}.* TO '{user}'; GRANT SELECT, UPDATE ON rowferry.* TO '{user}'", ferry.target.name());
    Mysql::shared().execute(&format!("CREATE USER '{user}'; {grants}")).await;
    let options = TargetOptions { url: Mysql::shared().url_as(&user, ferry.target.name()) };
    let mut applier = MysqlTarget::new(options).unwrap().open_applier(ferry.target.name()).await.unwrap();
    apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap();
    assert_eq!(ferry.rows(sum).await, ["300 44850 300"]);

    // What it warns of is not said.
    let server = Mysql::start(&["--max-error-count=0"]);
    let ferry = Ferry { source: server.create_database("from"), target: server.create_database("into") };
    ferry.source.execute(table).await;
    ferry.target.execute(table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap();
    assert_eq!(ferry.rows(sum).await, ["300 44850 300"]);
    let rows: Vec<String> = (300..600).map(|id| format!("{id} more-than-it-takes")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let error = apply(&mut applier, vec![inserts(&t, &rows)], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    assert_eq!(ferry.rows(sum).await, ["300 44850 300"]);
}

/// A field of NULL would be the present time there, without a word.
#[tokio::test]
async fn null_is_not_the_present_time() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, at timestamp NOT NULL DEFAULT '2020-01-01 00:00:00')";
    let ferry = Ferry::new(table, table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let step = |at: Cell<'_>| {
        let mut builder = RowBuilder::new();
        let row = |id: u32| {
            builder.push(Cell::Text(id.to_string().as_bytes()));
            builder.push(at);
            builder.finish()
        };
        vec![Step::Rows(TableRows { inserts: (0..300).map(row).collect(), ..nothing(&t) })]
    };
    let error = apply(&mut applier, step(Cell::Null), Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    assert_eq!(ferry.rows("SELECT COUNT(*) FROM t").await, ["0"]);
    apply(&mut applier, step(Cell::Text(b"2024-01-02 03:04:05")), Some("1")).await.unwrap();
    let seen = "SELECT COUNT(*), MIN(CONVERT_TZ(at, @@time_zone, '+00:00')), MAX(id) FROM t";
    assert_eq!(ferry.rows(seen).await, ["300 2024-01-02 03:04:05 299"]);
}

#[tokio::test]
async fn packets_are_no_longer_than_the_server_takes() {
    let server = Mysql::start(&["--max-allowed-packet=1M"]);
    let ferry = Ferry { source: server.create_database("from"), target: server.create_database("into") };
    let table = "CREATE TABLE t (id int PRIMARY KEY, n tinyint, v longtext)";
    ferry.source.execute(table).await;
    ferry.target.execute(table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let rows: Vec<String> = (0..300).map(|id| format!("{id} 1 {}", id.to_string().repeat(5_000))).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap();
    let sum = "SELECT COUNT(*), SUM(id), SUM(n), SUM(v = REPEAT(id, 5000)) FROM t";
    assert_eq!(ferry.rows(sum).await, ["300 44850 300 300"]);
    replace(&mut applier, &t, &Range::Whole, &rows[..250]).await;
    assert_eq!(ferry.rows(sum).await, ["250 31125 250 250"]);
}

/// Whether a server takes lines is asked once a connection, and it may not any more.
#[tokio::test]
async fn lines_that_are_not_taken_any_more_are_tried_again_without() {
    let server = Mysql::start(&[]);
    let ferry = Ferry { source: server.create_database("from"), target: server.create_database("into") };
    let table = "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))";
    ferry.source.execute(table).await;
    ferry.target.execute(table).await;
    let (t, mut applier) = (ferry.form("t").await, ferry.applier().await);
    let rows: Vec<String> = (0..2000).map(|id| format!("{id} v{id}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    server.execute("SET GLOBAL local_infile = 0").await;
    let error = apply(&mut applier, vec![inserts(&t, &rows)], Some("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    let sum = "SELECT COUNT(*), SUM(id), SUM(v = CONCAT('v', id)) FROM t";
    assert_eq!(ferry.rows(sum).await, ["0 - -"]);

    // And a server may ask for a key of every table: which of the two, goes by its kind.
    for setting in ["sql_require_primary_key", "innodb_force_primary_key"] {
        let _ = ferry.target.try_execute(&format!("SET GLOBAL {setting} = 1")).await;
    }
    let mut applier = ferry.target().open_applier(ferry.target.name()).await.unwrap();
    let steps = vec![upserts(&t, &rows)];
    assert!(applier.stage(&steps).await.unwrap());
    applier.apply(&Batch { steps, end: Some(Position::new("1")), staged: true }).await.unwrap();
    assert_eq!(ferry.rows(sum).await, ["2000 1999000 2000"]);
}
