//! What a decoder of rows refuses, and how it picks cells.

use super::fixture::{Fixture, Value, values};
use super::*;
use crate::charset::Charsets;
use crate::kind::Kind;
use rowferry_api::{ErrorKind, Result};

fn form(columns: &[(&str, &str)]) -> Vec<(String, Kind)> {
    columns.iter().map(|(name, native)| ((*name).to_owned(), Kind::parse(native).unwrap())).collect()
}

/// A decoder of the fixture's table `small`, with one column of its form changed.
fn changed(name: &str, column: &str, native: &str) -> Result<RowDecoder> {
    let fixture = Fixture::read(name);
    let mut form = fixture.tables[0].form.clone();
    let at = form.iter().position(|(name, _)| name == column).unwrap();
    form[at].1 = Kind::parse(native).unwrap();
    RowDecoder::new(&fixture.table_map("f.small"), &form, &[0], &Charsets::default())
}

#[test]
fn a_column_of_another_type_is_an_error_that_names_it() {
    let latin1 = "varchar(300) character set latin1";
    assert!(changed("mysql-9.7-minimal", "vc", latin1).is_ok());
    let cases = [
        ("id", "bigint"),
        ("id", "int unsigned"),
        ("mu", "mediumint"),
        ("vc", "varchar(300)"),
        ("vc", "varchar(301) character set latin1"),
        ("vc", "char(300) character set latin1"),
        ("tx", "longtext"),
        ("bl", "tinyblob"),
        ("e", "set('x','y')"),
        ("e", "char(1)"),
    ];
    for (column, native) in cases {
        let error = changed("mysql-9.7-minimal", column, native).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.to_string().contains(&format!("\"{column}\"")), "{error}");
    }
    let error = changed("mysql-9.7-minimal", "vc", "varchar(300) character set latin2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
}

#[test]
fn text_and_bytes_are_told_apart_by_the_metadata() {
    for (column, native) in [("tx", "blob"), ("bl", "text")] {
        let error = changed("mysql-9.7-minimal", column, native).unwrap_err();
        assert!(error.to_string().contains(&format!("\"{column}\"")), "{error}");
    }
}

#[test]
fn labels_must_be_those_of_the_metadata() {
    assert!(changed("mysql-9.7-minimal", "e", "enum('x','y')").is_ok());
    for native in ["enum('y','x')", "enum('x')", "enum('x','y','z')", "enum('x','y','z') character set latin1"] {
        let error = changed("mysql-9.7-minimal", "e", native).unwrap_err();
        assert!(error.to_string().contains("\"e\""), "{error}");
    }
}

#[test]
fn columns_must_be_as_many_and_of_the_same_names() {
    let fixture = Fixture::read("mysql-9.7-minimal");
    let map = fixture.table_map("f.small");
    let decoder = |form: &[(String, Kind)], select: &[usize]| RowDecoder::new(&map, form, select, &Charsets::default());
    let mut form = fixture.tables[0].form.clone();
    assert!(decoder(&form, &[6]).is_ok());
    assert!(decoder(&form, &[7]).is_err());
    assert!(decoder(&form[1..], &[]).is_err());
    // The names are in the log of this server only with FULL metadata.
    form[1].0 = "other".into();
    let names = map.names().is_some();
    assert_eq!(decoder(&form, &[0]).is_err(), names);
}

/// `(7, 'x')` in a table of an INT and a VARCHAR(20), and a NULL.
fn two_columns() -> (Decoder, Vec<(String, Kind)>) {
    let mut decoder = Decoder::new(Flavor::Mysql);
    let body = [&[9, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 3][..], &[3, 15, 245, 3, 20, 0, 4, 6]].concat();
    decoder.parse(&event(19, &body)).unwrap();
    (decoder, form(&[("id", "int"), ("v", "varchar(20) character set latin1"), ("j", "json")]))
}

fn event(code: u8, body: &[u8]) -> Bytes {
    let mut raw = vec![0; 19];
    raw[4] = code;
    raw[9..13].copy_from_slice(&(19 + body.len() as u32).to_le_bytes());
    raw.extend(body);
    raw.into()
}

/// A row before and after.
type Images = (Option<Vec<Value>>, Option<Vec<Value>>);

fn rows(code: u8, body: &[u8], select: &[usize]) -> Result<Vec<Images>> {
    let (mut decoder, form) = two_columns();
    let body = [&[9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3][..], body].concat();
    let LogEvent::Rows(event) = decoder.parse(&event(code, &body))?.1 else { panic!() };
    let mut decoder = RowDecoder::new(&event.table, &form, select, &Charsets::default())?;
    let mut rows = Vec::new();
    decoder.rows(&event, |before, after| {
        rows.push((before.map(values), after.map(values)));
        Ok(())
    })?;
    Ok(rows)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn cells_come_in_the_order_that_was_asked_for() {
    let body = [7, 0b100, 7, 0, 0, 0, 1, 0xe9, 0b110, 8, 0, 0, 0];
    let rows = rows(30, &body, &[1, 0]).unwrap();
    assert_eq!(rows, [(None, Some(vec![text("é"), text("7")])), (None, Some(vec![Value::Null, text("8")]))]);
}

#[test]
fn what_an_image_after_lacks_comes_from_the_one_before() {
    // Before: id and v; after: j.
    let body = [0b011, 0b100, 0, 7, 0, 0, 0, 1, b'x', 0, 3, 0, 0, 0, 4, 1, 0];
    let rows = rows(31, &body, &[0, 1, 2]).unwrap();
    let before = vec![text("7"), text("x"), Value::Unchanged];
    assert_eq!(rows, [(Some(before), Some(vec![text("7"), text("x"), text("true")]))]);
}

#[test]
fn differences_from_a_document_that_the_log_lacks_are_an_error_with_a_mend() {
    // Before: id; after: j, with a difference.
    let difference = [0, 3, b'$', b'.', b'a', 3, 5, 1, 0];
    let body = [&[0b001, 0b100, 0, 7, 0, 0, 0, 1, 1, 0, 9, 0, 0, 0][..], &difference].concat();
    let error = rows(39, &body, &[0, 2]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.hint_text().unwrap().contains("binlog_row_value_options"));
    // A table whose JSON is not copied goes on.
    assert_eq!(rows(39, &body, &[0]).unwrap(), [(Some(vec![text("7")]), Some(vec![text("7")]))]);
}

#[test]
fn a_value_that_cannot_be_read_names_its_column() {
    let error = rows(30, &[7, 0, 7, 0, 0, 0, 1, b'x', 3, 0, 0, 0, 12, 1, 0xff], &[0, 2]).unwrap_err();
    assert!(error.to_string().contains("column \"j\" of d.t"), "{error}");
    let error = rows(30, &[7, 0, 7, 0, 0, 0, 9, b'x'], &[0]).unwrap_err();
    assert!(error.to_string().contains("column \"v\" of d.t"), "{error}");
    assert!(rows(30, &[0, 0], &[]).is_err());
}
