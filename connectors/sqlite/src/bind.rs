//! Cells on their way into statements and out of result rows, without an allocation a cell.

use crate::error::failed;
use crate::float_text::{float4, float8};
use crate::types::Kind;
use bytes::{BufMut, BytesMut};
use rowferry_api::{Cell, Error, ErrorKind, Result, encode_copy_cell};
use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::io::Write;

/// Why a cell cannot be bound.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not what its type's text looks like, or the column would change it.
    Value(&'static str),
    /// SQLite says no.
    Sql(rusqlite::Error),
}

impl Refusal {
    /// The error, naming table and column. Does not name the value: the engine names the row.
    pub(crate) fn of_column(self, table: &str, column: &str) -> Error {
        match self {
            Self::Value(why) => Error::new(ErrorKind::BadRow, format!("write column {column} of {table}: {why}")),
            Self::Sql(error) => failed(error, format!("write column {column} of {table}")),
        }
    }
}

/// Binds a cell as parameter `?at`. `real`: the column's affinity turns text that looks like a number into a real.
/// `scratch` is reused between calls.
pub(crate) fn bind(
    statement: &mut Statement<'_>,
    at: usize,
    kind: Kind,
    real: bool,
    cell: Cell<'_>,
    scratch: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let value = value(kind, real, cell, scratch).map_err(Refusal::Value)?;
    statement.raw_bind_parameter(at, ToSqlOutput::Borrowed(value)).map_err(Refusal::Sql)
}

fn value<'a>(kind: Kind, real: bool, cell: Cell<'a>, scratch: &'a mut Vec<u8>) -> Result<ValueRef<'a>, &'static str> {
    let text = match (cell, kind) {
        (Cell::Null, _) => return Ok(ValueRef::Null),
        (Cell::Unchanged, _) => return Err("the log did not carry it"),
        (Cell::Raw(bytes), Kind::Bytes) => return Ok(ValueRef::Blob(bytes)),
        (Cell::Raw(text) | Cell::Text(text), _) => text,
    };
    match kind {
        Kind::Text => Ok(ValueRef::Text(text)),
        Kind::Int => parse(text).map(ValueRef::Integer).ok_or("it is not a whole number of 64 bits"),
        Kind::Bool => match text {
            b"t" => Ok(ValueRef::Integer(1)),
            b"f" => Ok(ValueRef::Integer(0)),
            _ => Err("it is not a boolean"),
        },
        Kind::Unsigned => match parse::<u64>(text) {
            Some(number) => Ok(i64::try_from(number).map_or(ValueRef::Text(text), ValueRef::Integer)),
            None => Err("it is not a whole number of 64 bits without sign"),
        },
        Kind::Float { .. } if text == b"NaN" => Ok(ValueRef::Text(text)),
        Kind::Float { single } => {
            let number = if single { parse::<f32>(text).map(f64::from) } else { parse::<f64>(text) };
            match number.ok_or("it is not a number")? {
                zero if zero == 0.0 && zero.is_sign_negative() => {
                    if real {
                        Err("a REAL column would turn -0 into 0; declare the column without a type")
                    } else {
                        Ok(ValueRef::Text(b"-0"))
                    }
                }
                number => Ok(ValueRef::Real(number)),
            }
        }
        Kind::Bytes => {
            unhex(text, scratch).ok_or("it is not bytes in hexadecimal")?;
            Ok(ValueRef::Blob(scratch))
        }
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn unhex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, odd) = text.strip_prefix(b"\\x")?.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    out.clear();
    out.reserve(pairs.len());
    for &[high, low] in pairs {
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Appends a stored value to a row in COPY text, in the text form of [`Type`](rowferry_api::Type).
pub(crate) fn put(kind: Kind, value: ValueRef<'_>, out: &mut BytesMut) {
    match (kind, value) {
        (_, ValueRef::Null) => encode_copy_cell(None, out),
        (Kind::Bool, ValueRef::Integer(number @ (0 | 1))) => out.put_u8(if number == 1 { b't' } else { b'f' }),
        (Kind::Float { single: true }, ValueRef::Integer(number)) => out.put_slice(float4(number as f32).as_bytes()),
        (Kind::Float { single: false }, ValueRef::Integer(number)) => out.put_slice(float8(number as f64).as_bytes()),
        (_, ValueRef::Integer(number)) => write!(out.writer(), "{number}").expect("a buffer grows"),
        (Kind::Float { single: true }, ValueRef::Real(number)) if fits_single(number) => {
            out.put_slice(float4(number as f32).as_bytes());
        }
        (_, ValueRef::Real(number)) => out.put_slice(float8(number).as_bytes()),
        (_, ValueRef::Text(text)) => encode_copy_cell(Some(text), out),
        (_, ValueRef::Blob(bytes)) => put_hex(bytes, out),
    }
}

/// What somebody else wrote into a column of singles is shown as it is.
fn fits_single(number: f64) -> bool {
    f64::from(number as f32).to_bits() == number.to_bits()
}

/// The backslash of `\x` is escaped in COPY text.
fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(3 + bytes.len() * 2);
    out.put_slice(b"\\\\x");
    for &byte in bytes {
        out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// A stored value as a key's cell.
pub(crate) fn key_text(kind: Kind, value: ValueRef<'_>) -> Option<Vec<u8>> {
    let mut copy = BytesMut::new();
    put(kind, value, &mut copy);
    let mut cell = None;
    rowferry_api::decode_copy_row(&copy, &mut Vec::new(), |_, text| cell = text.map(<[u8]>::to_vec));
    cell
}
