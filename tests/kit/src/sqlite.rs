//! What an SQLite target holds, and what it must hold for each value of PostgreSQL.
//!
//! Booleans are 0 and 1, whole numbers are integers, floats are reals of the same bits (what SQLite cannot keep as a
//! real, NaN and the sign of zero, is text), bytes are blobs, and everything else is PostgreSQL's text.

use crate::compare::{Column, quoted};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// All rows of a table, each cell as its storage class and value.
pub(crate) fn rows(file: &Path, table: &str, columns: &[Column]) -> Result<Vec<Vec<Option<String>>>, String> {
    let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.base_type == "float4")).collect();
    values(file, table, &columns)
}

/// The same by columns' names, and whether they are floats of 32 bits.
pub(crate) fn values(file: &Path, table: &str, columns: &[(&str, bool)]) -> Result<Vec<Vec<Option<String>>>, String> {
    read(file, table, columns).map_err(|error| error.to_string())
}

/// The columns that a table has; none if it is not there.
pub(crate) fn column_names(file: &Path, table: &str) -> Vec<String> {
    let read = || {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
        statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
    };
    read().unwrap_or_default()
}

fn read(file: &Path, table: &str, columns: &[(&str, bool)]) -> rusqlite::Result<Vec<Vec<Option<String>>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // SQLite takes a quoted name that it does not know for a string: a qualified one it refuses.
    let list: Vec<_> = columns.iter().map(|(name, _)| format!("{0}.{1}", quoted(table), quoted(name))).collect();
    let mut statement = connection.prepare(&format!("SELECT {} FROM {}", list.join(", "), quoted(table)))?;
    let row = |row: &rusqlite::Row<'_>| {
        columns.iter().enumerate().map(|(at, &(_, single))| Ok(actual(single, row.get_ref(at)?))).collect()
    };
    statement.query_map([], row)?.collect()
}

fn actual(single: bool, value: ValueRef<'_>) -> Option<String> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => format!("integer {number}"),
        ValueRef::Real(number) if single => format!("real {:08x}", (number as f32).to_bits()),
        ValueRef::Real(number) => format!("real {:016x}", number.to_bits()),
        ValueRef::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => {
            format!("blob {}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    })
}

/// The row that the source's texts stand for, in the same notation as [`rows`], joined as the comparison does.
pub(crate) fn expected(columns: &[Column], row: &[Option<String>]) -> String {
    let cell = |(column, cell): (&Column, &Option<String>)| match cell {
        None => "NULL".to_owned(),
        Some(text) => format!("{:?}", value(&column.base_type, text)),
    };
    columns.iter().zip(row).map(cell).collect::<Vec<_>>().join(" | ")
}

fn value(base_type: &str, text: &str) -> String {
    match base_type {
        "bool" => format!("integer {}", i32::from(text == "t")),
        "int2" | "int4" | "int8" => format!("integer {text}"),
        "oid" | "xid" | "cid" => format!("integer {text}"),
        "xid8" if text.parse::<i64>().is_ok() => format!("integer {text}"),
        "float4" | "float8" if text == "NaN" || text == "-0" => format!("text {text}"),
        "float4" => format!("real {:08x}", text.parse::<f32>().expect("a float4").to_bits()),
        "float8" => format!("real {:016x}", text.parse::<f64>().expect("a float8").to_bits()),
        "bytea" => format!("blob {}", text.strip_prefix("\\x").expect("hex")),
        _ => format!("text {text}"),
    }
}
