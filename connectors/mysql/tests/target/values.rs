//! Values: every kind of MySQL, and every type of PostgreSQL, by both ways in and read back.

use super::*;

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
    TableSchema::new(TableName::new(ferry.target.name(), name), Dialect::Postgres, columns, vec![0])
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
        // Its collations ignore blanks at the end: such a key is refused, whether it meets the other one or not.
        (false, Err(error)) if flavor.version() < (8, 0) => assert_eq!(error.kind(), ErrorKind::BadRow),
        (_, result) => {
            result.unwrap();
            assert_eq!(ferry.read(&form, &Range::Whole).await, ["A", "a", "a ", "\u{e4}"]);
        }
    }
}

/// A table that is there may compare its keys without the blanks at their ends, whatever the server could.
#[tokio::test]
async fn a_key_that_would_take_another_row_s_place_is_refused() {
    let ferry =
        Ferry::new("", "CREATE TABLE t (k varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY)").await;
    let form = Arc::new(postgres_form(&ferry, "t", vec![postgres_column("k", Type::Text, "character varying(20)")]));
    let mut applier = ferry.applier().await;
    applier.create(&form).await.unwrap();
    let step = |key: &str| {
        let mut builder = RowBuilder::new();
        builder.push(Cell::Text(key.as_bytes()));
        Step::Rows(TableRows { inserts: vec![builder.finish()], ..nothing(&form) })
    };
    apply(&mut applier, vec![step("a"), step(" b")], Some("1")).await.unwrap();
    let error = apply(&mut applier, vec![step("c"), step("a ")], Some("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRow, "{error}");
    applier.rollback().await.unwrap();
    assert_eq!(ferry.read(&form, &Range::Whole).await, [" b", "a"]);
}
