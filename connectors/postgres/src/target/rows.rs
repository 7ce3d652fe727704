//! Statements and parameters for rows of one form: which columns are written, and how cells become text.

use super::binary::Binary;
use crate::connection::{from_pg, quote_name};
use crate::target::TargetTable;
use bytes::{BufMut, BytesMut};
use rowferry_api::{Cell, Error, ErrorKind, Key, Result, Row, TableSchema, decode_copy_row, encode_copy_cell};
use std::borrow::Cow;

/// A column that is written: its place among a row's cells, its quoted name, its type without numbers.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub place: usize,
    pub name: String,
    pub bare: String,
    pub native: String,
    /// How its values go in binary form, if that is known.
    pub binary: Option<Binary>,
    /// `=`, or the operator that stands for it.
    pub equals: String,
    /// A row that is there and has the same key has this column as it is to be.
    pub is_settled: bool,
}

impl Written {
    /// Whether two expressions of its type are the same value.
    pub(super) fn same(&self, left: &str, right: &str) -> String {
        format!("{left} {} {right}", self.equals)
    }
}

/// How rows of one form are written into one table.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The table, quoted.
    pub table: String,
    /// The table without those that inherit from it, for statements that read or change rows that are there.
    pub only: String,
    /// COPY writes it as INSERT does.
    pub takes_copy: bool,
    /// The table's own number, and the types of all of its columns.
    pub oid: u32,
    pub types: Vec<u32>,
    /// In the order of a row's cells; columns that the target has dropped since are left out.
    pub columns: Vec<Written>,
    /// In key order.
    pub keys: Vec<Written>,
}

impl Shape {
    pub(super) fn new(form: &TableSchema, target: &TargetTable) -> Result<Self> {
        let written = |place: usize| {
            let column = &form.columns[place];
            let have = target.columns.iter().find(|have| have.name == column.name && !have.generated)?;
            Some(Written {
                place,
                name: quote_name(&column.name),
                bare: have.bare.clone(),
                binary: Binary::of(&have.bare, have.type_oid),
                native: have.native.clone(),
                equals: have.equals.clone(),
                is_settled: form.key.contains(&place) && !have.has_forms,
            })
        };
        let keys: Option<Vec<Written>> = form.key.iter().map(|&place| written(place)).collect();
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| {
            Error::new(
                ErrorKind::Schema,
                format!("write table {}: the target's table lacks a column of the key", form.name),
            )
        })?;
        let columns = (0..form.columns.len()).filter_map(written).collect();
        Ok(Self {
            table: target.quoted.clone(),
            only: target.only(),
            takes_copy: target.takes_copy,
            oid: target.oid,
            types: target.columns.iter().map(|column| column.type_oid).collect(),
            columns,
            keys,
        })
    }

    /// How a COPY of its rows begins.
    pub(super) fn format(&self) -> Format {
        if self.columns.iter().all(|column| column.binary.is_some()) { Format::Binary } else { Format::Text }
    }

    pub(super) fn names(&self) -> String {
        list(self.columns.iter().map(|column| column.name.clone()))
    }

    pub(super) fn key_names(&self) -> String {
        list(self.keys.iter().map(|column| column.name.clone()))
    }

    /// `t.a = s.a AND t.b = s.b`
    pub(super) fn same_key(&self, left: &str, right: &str) -> String {
        let side = |side: &str, key: &Written| format!("{side}.{}", key.name);
        let pairs = self.keys.iter().map(|key| key.same(&side(left, key), &side(right, key)));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// `t.a = u.c1::integer AND t.b = ...`: the key of `t` against expressions, one a column of the key or more.
    pub(super) fn has_key(&self, typed: &[String]) -> String {
        let pairs = self.keys.iter().zip(typed).map(|(key, typed)| key.same(&format!("t.{}", key.name), typed));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// What stands before the rows' origin in an upsert, and what follows it.
    pub(super) fn upsert(&self, select: &str) -> String {
        let names = self.names();
        let others: Vec<String> = self
            .columns
            .iter()
            .filter(|column| !column.is_settled)
            .map(|column| format!("{0} = EXCLUDED.{0}", column.name))
            .collect();
        let action = if others.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", others.join(", ")) };
        format!(
            "INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE {select} ON CONFLICT ({}) DO {action}",
            self.table,
            self.key_names()
        )
    }
}

pub(super) fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// `unnest($1::text[], $2::text[]) AS u(...)` over columns, and each column back in its type.
pub(super) fn unnest(columns: &[&Written]) -> (String, Vec<String>) {
    let parameters = list((1..=columns.len()).map(|number| format!("${number}::text[]")));
    let names = list((1..=columns.len()).map(|number| format!("c{number}")));
    let typed =
        columns.iter().enumerate().map(|(index, column)| format!("u.c{}::{}", index + 1, column.bare)).collect();
    (format!("unnest({parameters}) AS u({names})"), typed)
}

/// Texts of one column, for an array parameter.
pub(super) type Texts<'a> = Vec<Option<Cow<'a, str>>>;

pub(super) fn text(cell: Cell<'_>) -> Result<Option<Cow<'_, str>>> {
    match cell {
        Cell::Null | Cell::Unchanged => Ok(None),
        Cell::Text(text) => std::str::from_utf8(text)
            .map(|text| Some(Cow::Borrowed(text)))
            .map_err(|error| Error::new(ErrorKind::BadRow, "write a row: a cell is not UTF-8").because(error)),
        Cell::Raw(bytes) => {
            let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
            Ok(Some(Cow::Owned(bytes.iter().fold(String::from("\\x"), hex))))
        }
    }
}

/// The cells of rows, column by column.
pub(super) fn columns_of<'a>(rows: &'a [&'a Row], columns: &[&Written]) -> Result<Vec<Texts<'a>>> {
    let mut texts: Vec<Texts<'a>> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        let mut wanted = columns.iter().enumerate().peekable();
        // Columns that are written stand in the order of the cells, so one walk over the row is enough.
        for (place, cell) in row.cells().enumerate() {
            while let Some((index, _)) = wanted.next_if(|(_, column)| column.place == place) {
                texts[index].push(text(cell)?);
            }
        }
    }
    Ok(texts)
}

/// The cells of keys, column by column.
pub(super) fn columns_of_keys<'a>(keys: &'a [&'a Key], width: usize) -> Result<Vec<Texts<'a>>> {
    let mut texts: Vec<Texts<'a>> = (0..width).map(|_| Vec::with_capacity(keys.len())).collect();
    for key in keys {
        if key.cells().count() != width {
            let what = format!("a key has {} cells, not {width}", key.cells().count());
            return Err(Error::new(ErrorKind::Protocol, what));
        }
        for (column, cell) in texts.iter_mut().zip(key.cells()) {
            column.push(text(cell)?);
        }
    }
    Ok(texts)
}

/// How rows go by COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

impl Format {
    /// What COPY says of it.
    pub(super) fn clause(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Binary => " (FORMAT binary)",
        }
    }

    /// Appends a row. `None`, and nothing appended, if it cannot go so: any row can go as text.
    pub(super) fn put(self, row: &Row, columns: &[Written], out: &mut BytesMut) -> Option<()> {
        match self {
            Self::Text => {
                put_text(row, columns, out);
                Some(())
            }
            Self::Binary => put_binary(columns, out, |put| written(row, columns).for_each(put)),
        }
    }
}

/// The cells that are written.
fn written<'a>(row: &'a Row, columns: &[Written]) -> impl Iterator<Item = Cell<'a>> {
    let mut wanted = columns.iter().peekable();
    row.cells()
        .enumerate()
        .filter_map(move |(place, cell)| wanted.next_if(|column| column.place == place).map(|_| cell))
}

/// Appends a row in COPY's binary format, of the cells that `cells` puts; nothing if one of them goes as text only, or if they
/// are not as many as the columns.
fn put_binary(columns: &[Written], out: &mut BytesMut, cells: impl FnOnce(&mut dyn FnMut(Cell<'_>))) -> Option<()> {
    let start = out.len();
    out.put_i16(i16::try_from(columns.len()).ok()?);
    let mut rest = columns.iter();
    let mut put = Some(());
    cells(&mut |cell| put = put.and_then(|()| rest.next()?.binary?.put(cell, out)));
    let put = put.filter(|()| rest.next().is_none());
    if put.is_none() {
        out.truncate(start);
    }
    put
}

/// Appends a row of COPY text in binary format; nothing if it cannot go so.
pub(super) fn put_line(line: &[u8], columns: &[Written], scratch: &mut Vec<u8>, out: &mut BytesMut) -> Option<()> {
    put_binary(columns, out, |put| {
        decode_copy_row(line, scratch, |_, cell| put(cell.map_or(Cell::Null, Cell::Text)));
    })
}

/// Appends a row in COPY text format.
fn put_text(row: &Row, columns: &[Written], out: &mut BytesMut) {
    for (index, cell) in written(row, columns).enumerate() {
        if index > 0 {
            out.put_u8(b'\t');
        }
        match cell {
            Cell::Null | Cell::Unchanged => encode_copy_cell(None, out),
            Cell::Text(text) => encode_copy_cell(Some(text), out),
            Cell::Raw(bytes) => {
                out.put_slice(b"\\\\x");
                bytes.iter().for_each(|byte| out.put_slice(format!("{byte:02x}").as_bytes()));
            }
        }
    }
    out.put_u8(b'\n');
}

/// An error while writing a table.
pub(super) fn failed(table: &str, error: tokio_postgres::Error) -> Error {
    from_pg(format!("write table {table}"), error)
}
