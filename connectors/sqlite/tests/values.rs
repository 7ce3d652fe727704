//! Every type goes through `apply` and `replace` and comes back as it was.

#![allow(clippy::unwrap_used)]

mod support;

use rowferry_api::*;
use support::*;

/// Values of each type that are hard to keep.
fn hard_values() -> Vec<(Type, Vec<&'static str>)> {
    let unsigned = Type::Int { bits: 64, unsigned: true };
    vec![
        (Type::Bool, vec!["t", "f"]),
        (INT, vec!["0", "-1", "9223372036854775807", "-9223372036854775808"]),
        (unsigned, vec!["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"]),
        (
            Type::Float { bits: 64 },
            vec![
                "0",
                "-0",
                "NaN",
                "Infinity",
                "-Infinity",
                "5e-324",
                "1.7976931348623157e+308",
                "0.1",
                "1e+20",
                "3",
                "1e-05",
                "9007199254740993",
                "9.999999999999999e+22",
            ],
        ),
        (
            Type::Float { bits: 32 },
            vec!["0", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e+38", "0.1", "16777216", "1e+06"],
        ),
        (
            Type::Numeric,
            vec![
                "1.10",
                "1.1",
                "0",
                "0.00",
                "NaN",
                "Infinity",
                "-Infinity",
                "-0.000000000000000000001",
                "123456789012345678901234567890.123456789012345678901234567890",
            ],
        ),
        (
            Type::Text,
            vec![
                "",
                " ",
                "a",
                "A",
                "1",
                "1.0",
                "NULL",
                "\\N",
                "\\",
                "a\tb\nc\rd\\",
                "ä€😀",
                "0x10",
                "1e5",
                "'\"--",
                "infinity",
                "\u{fffd}",
            ],
        ),
        (Type::Char, vec!["a    ", "     "]),
        (Type::Bytes, vec!["\\x", "\\x00", "\\x5c", "\\x00ff10090a0d5c"]),
        (Type::Date, vec!["2020-02-29", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"]),
        (Type::Time, vec!["00:00:00", "24:00:00", "23:59:59.999999"]),
        (Type::TimeTz, vec!["12:00:00+05:30"]),
        (Type::Timestamp, vec!["2020-01-01 00:00:00", "infinity", "4714-11-24 00:00:00 BC"]),
        (Type::TimestampTz, vec!["2020-01-01 00:00:00.000001+00"]),
        (Type::Interval, vec!["1 year 2 mons -3 days +04:05:06.7", "00:00:00"]),
        (Type::Uuid, vec!["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        (Type::Json, vec!["1", "1.10", "{\"a\": 1e400}", "null", "\"\""]),
        (Type::Xml, vec!["<a>&amp;</a>"]),
        (Type::Bits, vec!["", "0", "0101", "1"]),
        (Type::Enum, vec!["1", "new"]),
        (Type::Array(Box::new(Type::Text)), vec!["{}", "{NULL,\"NULL\",\"a,b\"}", "[0:1]={1,2}"]),
        (Type::Other, vec!["$1.00", "(1,2)", "10.0.0.0/8", "16/B374D848"]),
    ]
}

fn form(ty: &Type) -> TableSchema {
    let mut form = table("t", 1, vec![column("id", INT), column("v", ty.clone()), column("w", ty.clone())]);
    form.columns[1].nullable = false;
    form
}

fn expected(ty: &Type) -> Vec<Vec<Option<String>>> {
    let values = hard_values().into_iter().find(|(other, _)| other == ty).unwrap().1;
    let row = |(at, value): (usize, &&str)| {
        let again = (at % 2 == 0).then(|| (*value).to_owned());
        vec![Some(at.to_string()), Some((*value).to_owned()), again]
    };
    values.iter().enumerate().map(row).collect()
}

fn assert_equal(form: &TableSchema, expected: &[Vec<Option<String>>], actual: &[Vec<Option<String>>]) {
    let canonical = |rows: &[Vec<Option<String>>]| rows.iter().map(|row| canonical(form, row)).collect::<Vec<_>>();
    assert!(canonical(expected) == canonical(actual), "{:?}: {expected:?} became {actual:?}", form.columns[1].ty);
}

#[tokio::test]
async fn every_type_comes_back_from_apply() {
    let place = Place::new().await;
    for (ty, _) in hard_values() {
        let form = form(&ty);
        let expected = expected(&ty);
        place.sql("DROP TABLE IF EXISTS t");
        let mut applier = place.applier().await;
        assert_eq!(applier.create(&form).await.unwrap(), Created::New);
        let upserts =
            expected.iter().map(|cells| row(&cells.iter().map(Option::as_deref).collect::<Vec<_>>())).collect();
        applier.apply(&batch(vec![rows(&form, vec![], vec![], upserts)], Some("1"))).await.unwrap();
        assert_equal(&form, &expected, &place.read(&form, &Range::Whole).await);
        assert_eq!(applier.create(&form).await.unwrap(), Created::Filled);
    }
}

#[tokio::test]
async fn every_type_comes_back_from_replace() {
    let place = Place::new().await;
    for (ty, _) in hard_values() {
        let form = form(&ty);
        let expected = expected(&ty);
        place.sql("DROP TABLE IF EXISTS t");
        let mut applier = place.applier().await;
        applier.create(&form).await.unwrap();
        for _ in 0..2 {
            let replaced = applier.replace(&form, &Range::Whole, blocks(expected.clone())).await.unwrap();
            assert_eq!((replaced.rows, replaced.evicted.len()), (expected.len() as u64, 0));
            assert_equal(&form, &expected, &place.read(&form, &Range::Whole).await);
        }
    }
}

#[tokio::test]
async fn every_type_serves_as_a_key() {
    let place = Place::new().await;
    for (ty, values) in hard_values() {
        let form = table("t", 1, vec![column("k", ty.clone()), column("v", INT)]);
        place.sql("DROP TABLE IF EXISTS t");
        let mut applier = place.applier().await;
        applier.create(&form).await.unwrap();
        let order = KeyOrder::of(&ty);
        // A source has either as a key, not both.
        let is_minus_zero = |value: &str| matches!(order, KeyOrder::Float { .. }) && value == "-0";
        let values: Vec<&str> = values.iter().copied().filter(|value| !is_minus_zero(value)).collect();
        let all: Vec<Vec<Option<String>>> = values
            .iter()
            .enumerate()
            .map(|(at, value)| vec![Some((*value).to_owned()), Some(at.to_string())])
            .collect();
        applier.replace(&form, &Range::Whole, blocks(all)).await.unwrap();
        let mut sorted: Vec<String> =
            place.read(&form, &Range::Whole).await.into_iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(sorted.len(), values.len(), "{ty:?}");
        assert!(sorted.is_sorted_by(|a, b| order.compare(a.as_bytes(), b.as_bytes()).is_lt()), "{ty:?}: {sorted:?}");
        for (at, middle) in sorted.iter().enumerate() {
            let ranges = [
                Range::Keys { after: None, upto: Some(key(&[middle])) },
                Range::Keys { after: Some(key(&[middle])), upto: None },
            ];
            let below = place.read(&form, &ranges[0]).await.len();
            let above = place.read(&form, &ranges[1]).await.len();
            assert_eq!((below, above), (at + 1, sorted.len() - at - 1), "{ty:?} at {middle}");
            let one = place.read(&form, &Range::Set(vec![key(&[middle])])).await;
            assert_eq!(one[0][0].as_ref(), Some(middle));
        }
        let set = Range::Set(sorted.iter().rev().map(|text| key(&[text])).collect());
        assert_eq!(place.read(&form, &set).await, place.read(&form, &Range::Whole).await);
        // Removing them by range and by key removes each.
        let gone = sorted.split_off(sorted.len() / 2);
        if let Some(middle) = sorted.last() {
            let range = Range::Keys { after: Some(key(&[middle])), upto: None };
            applier.replace(&form, &range, blocks(vec![])).await.unwrap();
            assert_eq!(place.read(&form, &Range::Whole).await.len(), sorted.len(), "{ty:?}: {gone:?}");
        }
        let deletes = sorted.iter().map(|text| key(&[text])).collect();
        applier.apply(&batch(vec![rows(&form, deletes, vec![], vec![])], Some("1"))).await.unwrap();
        assert_eq!(place.read(&form, &Range::Whole).await.len(), if sorted.is_empty() { 1 } else { 0 }, "{ty:?}");
    }
}

/// The table in the docs of `types`.
#[tokio::test]
async fn values_are_stored_as_documented() {
    let place = Place::new().await;
    let unsigned = Type::Int { bits: 64, unsigned: true };
    let cases = [
        (Type::Bool, "t", "integer:1"),
        (INT, "-9223372036854775808", "integer:-9223372036854775808"),
        (unsigned.clone(), "5", "integer:5"),
        (unsigned, "18446744073709551615", "text:18446744073709551615"),
        (Type::Float { bits: 64 }, "3", "real:3.0"),
        (Type::Float { bits: 64 }, "NaN", "text:NaN"),
        (Type::Float { bits: 64 }, "-0", "text:-0"),
        (Type::Float { bits: 32 }, "-Infinity", "real:-inf"),
        (Type::Bytes, "\\x00ff", "blob:[00, ff]"),
        (Type::Numeric, "1.10", "text:1.10"),
        (Type::Json, "1.10", "text:1.10"),
        (Type::Enum, "007", "text:007"),
    ];
    let columns = cases.iter().enumerate().map(|(at, (ty, ..))| column(&format!("c{at}"), ty.clone()));
    let form = table("t", 1, std::iter::once(column("id", INT)).chain(columns).collect());
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    let cells: Vec<_> = std::iter::once(Some("1")).chain(cases.iter().map(|(_, text, _)| Some(*text))).collect();
    applier.apply(&batch(vec![rows(&form, vec![], vec![], vec![row(&cells)])], Some("1"))).await.unwrap();
    let expected: Vec<&str> = std::iter::once("integer:1").chain(cases.iter().map(|(_, _, stored)| *stored)).collect();
    assert_eq!(place.stored("SELECT * FROM t"), vec![expected]);
}

#[tokio::test]
async fn raw_bytes_and_their_hexadecimal_text_are_one_value() {
    let place = Place::new().await;
    let form = table("t", 1, vec![column("k", Type::Bytes), column("v", Type::Bytes)]);
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    let mut builder = RowBuilder::new();
    builder.push(Cell::Raw(b"\x01\xff"));
    builder.push(Cell::Raw(b"\\x"));
    let first = builder.finish();
    let second = row(&[Some("\\x01FF"), Some("\\x00")]);
    applier.apply(&batch(vec![rows(&form, vec![], vec![], vec![first])], Some("1"))).await.unwrap();
    assert_eq!(place.stored("SELECT * FROM t"), [["blob:[01, ff]", "blob:[5c, 78]"]]);
    applier.apply(&batch(vec![rows(&form, vec![], vec![], vec![second])], Some("2"))).await.unwrap();
    assert_eq!(place.stored("SELECT * FROM t"), [["blob:[01, ff]", "blob:[00]"]]);
}
