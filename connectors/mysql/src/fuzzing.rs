//! Ways into the decoders for fuzzers: each reads bytes to the end, and gives nothing back. No part of the interface.

use crate::binlog::{self, Decoder, LogEvent, LogType, RowDecoder, RowsEvent, TableMap};
use crate::charset::Charsets;
use crate::connection::Flavor;
use crate::gtid::GtidSet;
use crate::kind::Kind;
use crate::statements::{Forms, SqlMode, Statement, parse};

/// What is compressed may be inflated to events of so many bytes here.
pub const MAX_EVENT_BYTES: u64 = 256 << 10;

const HEADER_LEN: usize = 19;
const SIZE_AT: usize = 9;

/// Events one after the other as in a file of the log, behind its first four bytes. Sizes that do not fit are made to, so
/// that bodies are read; every event's rows are decoded in a form that fits their TABLE_MAP.
/// `with_payloads`: also of the events that MySQL's compressed transactions hold.
pub fn log(data: &[u8], is_mariadb: bool, with_payloads: bool) {
    let flavor = if is_mariadb { Flavor::Mariadb } else { Flavor::Mysql };
    let mut decoder = Decoder::with_limit(flavor, MAX_EVENT_BYTES);
    let mut rest = data;
    while rest.len() >= HEADER_LEN {
        let size = rest[SIZE_AT..].first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size) as usize);
        let size = size.clamp(HEADER_LEN, rest.len());
        let mut event = rest[..size].to_vec();
        event[SIZE_AT..SIZE_AT + 4].copy_from_slice(&(size as u32).to_le_bytes());
        rest = &rest[size..];
        let Ok((_, event)) = decoder.parse(&event.into()) else { continue };
        match event {
            LogEvent::Payload(payload) if with_payloads => {
                for inner in payload.events().map_while(Result::ok) {
                    if let Ok((_, event)) = decoder.parse_inner(&inner) {
                        content(&event);
                    }
                }
            }
            event => content(&event),
        }
    }
}

fn content(event: &LogEvent) {
    match event {
        LogEvent::Rows(rows) => {
            for place in 0..2 {
                decode_rows(rows, place);
            }
        }
        LogEvent::Query(query) => statement(&query.statement, query.sql_mode.unwrap_or(0)),
        _ => {}
    }
}

fn decode_rows(rows: &RowsEvent, place: usize) {
    let table = &rows.table;
    let column = |index: usize| {
        let name = table.names().map_or_else(String::new, |names| names[index].clone());
        (name, kind(table, index, index + place))
    };
    let form: Vec<(String, Kind)> = (0..table.columns.len()).map(column).collect();
    let select: Vec<usize> = (0..form.len()).collect();
    if let Ok(mut decoder) = RowDecoder::new(table, &form, &select, &Charsets::default()) {
        let _ = decoder.rows(rows, |_, _| Ok(()));
    }
}

/// A kind that a column of the log may be. Where there are several, `choice` decides.
fn kind(map: &TableMap, index: usize, choice: usize) -> Kind {
    const BINARY: u64 = 63;
    let is_bytes = map.collation(index).map_or(choice.is_multiple_of(2), |collation| collation == BINARY);
    let charset = |max_bytes: u32| match choice % 3 {
        0 if max_bytes.is_multiple_of(4) => ("utf8mb4".to_owned(), 4),
        1 if max_bytes.is_multiple_of(2) => ("ucs2".to_owned(), 2),
        _ => ("latin1".to_owned(), 1),
    };
    let labels = |count| match map.labels(index) {
        Some(labels) => labels.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect(),
        None => (0..count).map(|number| number.to_string()).collect(),
    };
    match map.columns[index] {
        LogType::Int { bytes } => Kind::Int { bits: bytes * 8, unsigned: map.is_unsigned(index) == Some(true) },
        LogType::Float => Kind::Float,
        LogType::Double => Kind::Double,
        LogType::Decimal { precision, scale } => Kind::Decimal { precision, scale },
        LogType::Year => Kind::Year,
        LogType::Bit { bits } => Kind::Bit { bits: bits as u8 },
        LogType::Date => Kind::Date,
        LogType::OldTime => Kind::Time { digits: 0 },
        LogType::OldDatetime => Kind::Datetime { digits: 0 },
        LogType::OldTimestamp => Kind::Timestamp { digits: 0 },
        LogType::Time { digits } => Kind::Time { digits },
        LogType::Datetime { digits } => Kind::Datetime { digits },
        LogType::Timestamp { digits } => Kind::Timestamp { digits },
        LogType::String { max_bytes: 16 } if choice % 3 == 1 => Kind::Uuid,
        LogType::String { max_bytes: 16 } if choice % 3 == 2 => Kind::Inet6,
        LogType::String { max_bytes: 4 } if choice % 3 == 1 => Kind::Inet4,
        LogType::String { max_bytes } if is_bytes => Kind::Binary { bytes: max_bytes.into() },
        LogType::String { max_bytes } => {
            let (charset, bytes) = charset(max_bytes.into());
            Kind::Char { chars: u32::from(max_bytes) / bytes, charset }
        }
        LogType::Varchar { max_bytes, compressed } => {
            let bytes = u32::from(max_bytes).saturating_sub(compressed.into());
            if is_bytes {
                Kind::Varbinary { bytes }
            } else {
                let (charset, char_bytes) = charset(bytes);
                Kind::Varchar { chars: bytes / char_bytes, charset }
            }
        }
        LogType::Blob { length_bytes, .. } => {
            let max_bytes = (1u64 << (8 * u32::from(length_bytes))) - 1;
            if is_bytes { Kind::Blob { max_bytes } } else { Kind::Text { max_bytes, charset: charset(0).0 } }
        }
        LogType::Geometry { .. } => Kind::Geometry,
        LogType::Json { .. } => Kind::Json,
        LogType::Vector { .. } => Kind::Vector,
        LogType::Enum { bytes } => {
            Kind::Enum { labels: labels(if bytes == 1 { 9 } else { 300 }), charset: "utf8mb4".into() }
        }
        LogType::Set { bytes } => Kind::Set { labels: labels(8 * usize::from(bytes)), charset: "utf8mb4".into() },
    }
}

/// A document of MySQL's binary JSON.
pub fn json(document: &[u8]) {
    let _ = binlog::json_text(document);
}

/// A document and differences that are applied to it: a length (two bytes, little-endian), the document, the differences.
pub fn json_differences(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (document, differences) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let _ = binlog::patched_json_text(document, differences);
}

/// A statement under this `sql_mode`, and what it does to the forms of tables.
pub fn statement(text: &str, sql_mode: u64) {
    let Statement::Ddl(changes) = parse(text, "shop", SqlMode(sql_mode)) else { return };
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let mut forms = Forms::new(flavor, false);
        if let Statement::Ddl(made) = parse("CREATE TABLE t (a INT, b TEXT, c CHAR(3))", "shop", SqlMode(0)) {
            made.iter().chain(&changes).for_each(|change| drop(forms.apply(change)));
        }
    }
}

/// A set of GTIDs as text.
pub fn gtid_set(text: &str) {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let _ = GtidSet::parse(flavor, text);
    }
}
