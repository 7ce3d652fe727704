//! Values that go in binary, as text or untouched, and keys that are equal in more than one way.

use super::*;

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
