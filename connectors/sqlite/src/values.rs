//! Values in SQLite, and back, without loss.
//!
//! | type | stored as | declared |
//! |---|---|---|
//! | Bool | INTEGER 0 or 1 | INTEGER |
//! | Int up to 64 bits with a sign | INTEGER | INTEGER |
//! | Int of 64 bits without a sign | TEXT | TEXT |
//! | Float | REAL; NaN is TEXT `NaN`, since SQLite would store NULL; -0 is TEXT `-0`, since it would store 0 | no type |
//! | Numeric | TEXT, digits and scale as they are | TEXT |
//! | Bytes | BLOB | BLOB |
//! | all others | TEXT as it is | TEXT |
//!
//! Declared types decide the affinity (SQLite manual, "Datatypes In SQLite"): a column of numbers with a TEXT affinity
//! keeps `1.10`; with a NUMERIC one it would become 1.1.

use rowferry_api::{Cell, Type, encode_copy_cell};
use rusqlite::types::{ToSqlOutput, ValueRef};

/// How a type is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Bool,
    Integer,
    Real,
    Text,
    Blob,
}

impl Storage {
    pub(crate) fn of(ty: &Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int { bits: 64, unsigned: true } => Self::Text,
            Type::Int { .. } => Self::Integer,
            Type::Float { .. } => Self::Real,
            Type::Bytes => Self::Blob,
            _ => Self::Text,
        }
    }

    /// The type in CREATE TABLE.
    pub(crate) fn declared(self) -> &'static str {
        match self {
            Self::Bool | Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }
}

/// A cell as SQLite takes it. `scratch` holds decoded bytes until they are bound.
pub(crate) fn bind<'a>(storage: Storage, cell: Cell<'a>, scratch: &'a mut Vec<u8>) -> ToSqlOutput<'a> {
    let text = match cell {
        Cell::Null | Cell::Unchanged => return ToSqlOutput::Borrowed(ValueRef::Null),
        Cell::Raw(bytes) => return ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        Cell::Text(text) => text,
    };
    let value = match storage {
        Storage::Bool => match text {
            b"t" => ValueRef::Integer(1),
            b"f" => ValueRef::Integer(0),
            other => ValueRef::Text(other),
        },
        Storage::Integer => parse::<i64>(text).map_or(ValueRef::Text(text), ValueRef::Integer),
        Storage::Real => match parse::<f64>(text) {
            Some(number) if !number.is_nan() => ValueRef::Real(number),
            _ => ValueRef::Text(text),
        },
        Storage::Text => ValueRef::Text(text),
        Storage::Blob => {
            if unhex(text, scratch) {
                ValueRef::Blob(scratch)
            } else {
                ValueRef::Text(text)
            }
        }
    };
    ToSqlOutput::Borrowed(value)
}

/// Appends a stored value as a cell of COPY text, in the common form of its type.
pub(crate) fn put(storage: Storage, value: ValueRef<'_>, out: &mut bytes::BytesMut) {
    use std::fmt::Write;
    let written = match (storage, value) {
        (_, ValueRef::Null) => return encode_copy_cell(None, out),
        (_, ValueRef::Text(text)) => return encode_copy_cell(Some(text), out),
        (Storage::Bool, ValueRef::Integer(1)) => out.write_str("t"),
        (Storage::Bool, ValueRef::Integer(0)) => out.write_str("f"),
        (_, ValueRef::Integer(number)) => write!(out, "{number}"),
        (_, ValueRef::Real(number)) if number.is_infinite() => {
            out.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
        }
        (_, ValueRef::Real(number)) => write!(out, "{number}"),
        (_, ValueRef::Blob(bytes)) => {
            // A backslash is escaped in COPY text.
            let start = out.write_str("\\\\x");
            bytes.iter().fold(start, |result, byte| result.and_then(|()| write!(out, "{byte:02x}")))
        }
    };
    written.expect("a buffer in memory takes every text");
}

/// A value as a literal of DDL.
pub(crate) fn literal(storage: Storage, text: &str) -> String {
    let mut scratch = Vec::new();
    match bind(storage, Cell::Text(text.as_bytes()), &mut scratch) {
        ToSqlOutput::Borrowed(ValueRef::Integer(number)) => number.to_string(),
        ToSqlOutput::Borrowed(ValueRef::Real(number)) if number.is_finite() => format!("{number:?}"),
        ToSqlOutput::Borrowed(ValueRef::Real(number)) => if number > 0.0 { "9e999" } else { "-9e999" }.into(),
        ToSqlOutput::Borrowed(ValueRef::Blob(bytes)) => {
            let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
            format!("x'{}'", bytes.iter().fold(String::new(), hex))
        }
        _ => format!("'{}'", text.replace('\'', "''")),
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn unhex(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(digits) = text.strip_prefix(b"\\x") else { return false };
    let (pairs, odd) = digits.as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16);
    for &[high, low] in pairs {
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
        out.push((high * 16 + low) as u8);
    }
    odd.is_empty()
}
