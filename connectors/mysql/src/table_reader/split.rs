//! Cuts a table into ranges.

use super::native::{NativeRange, compared, literal};
use crate::connection::{from_mysql, quote_name, quote_table, quote_text};
use crate::keys;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use rowferry_api::{Cell, Error, ErrorKind, Key, Range, Result, TableSchema, Type};

/// A table whose keys are this many times further apart than its rows are many is walked instead of cut by numbers.
const SPARSE: i128 = 4;

/// Ranges of the clustered index.
pub(super) async fn by_index(conn: &mut Conn, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    let bounds = match numbers(conn, table).await? {
        Some((least, most, rows)) if most - least <= rows.max(1) * SPARSE => {
            evenly(least, most, rows_per_range).into_iter().map(|bound| vec![bound.to_string()]).collect()
        }
        _ => walked(conn, table, rows_per_range).await?,
    };
    let mut ranges = Vec::with_capacity(bounds.len() + 1);
    let mut after = None;
    for bound in bounds {
        ranges.push(Range::Native(NativeRange::new(after, Some(bound.clone())).to_text()));
        after = Some(bound);
    }
    ranges.push(Range::Native(NativeRange::new(after, None).to_text()));
    Ok(ranges)
}

/// Ranges of keys in the order that all stores share.
pub(super) async fn by_keys(conn: &mut Conn, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    if table.key.is_empty() {
        return Ok(vec![Range::Whole]);
    }
    let bounds = match numbers(conn, table).await? {
        Some((least, most, rows)) if most - least <= rows.max(1) * SPARSE => evenly(least, most, rows_per_range)
            .into_iter()
            .map(|bound| Key::from_cells([Cell::Text(bound.to_string().as_bytes())]))
            .collect(),
        _ => sorted(conn, table, rows_per_range).await?,
    };
    if bounds.is_empty() {
        return Ok(vec![Range::Whole]);
    }
    let mut ranges = Vec::with_capacity(bounds.len() + 1);
    let mut after = None;
    for bound in bounds {
        ranges.push(Range::Keys { after, upto: Some(bound.clone()) });
        after = Some(bound);
    }
    ranges.push(Range::Keys { after, upto: None });
    Ok(ranges)
}

/// Whether an index over a column of the key has only the beginnings of its values. Servers then miss rows of a range where the
/// collation takes one letter for two.
pub(super) async fn has_prefix(conn: &mut Conn, table: &TableSchema) -> Result<bool> {
    let columns: Vec<String> = table.key_columns().map(|column| quote_text(&column.name)).collect();
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND COLUMN_NAME IN ({}) AND \
         SUB_PART IS NOT NULL",
        quote_text(&table.name.schema),
        quote_text(&table.name.name),
        columns.join(", ")
    );
    let count: Option<u64> = conn.query_first(sql).await.map_err(|error| failed(table, error))?;
    Ok(count != Some(0))
}

/// Least and largest key and the number of rows, about, where the key is one whole number.
async fn numbers(conn: &mut Conn, table: &TableSchema) -> Result<Option<(i128, i128, i128)>> {
    let mut key = table.key_columns();
    let (Some(column), None) = (key.next(), key.next()) else { return Ok(None) };
    if !matches!(column.ty, Type::Int { .. }) {
        return Ok(None);
    }
    let name = quote_name(&column.name);
    let sql = format!(
        "SELECT MIN({name}), MAX({name}), (SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND \
         TABLE_NAME = {}) FROM {}",
        quote_text(&table.name.schema),
        quote_text(&table.name.name),
        quote_table(&table.name)
    );
    let row: Option<Row> = conn.query_first(sql).await.map_err(|error| failed(table, error))?;
    let number = |at: usize| match row.as_ref()?.as_ref(at)? {
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse::<i128>().ok(),
        _ => None,
    };
    let (Some(least), Some(most)) = (number(0), number(1)) else { return Ok(None) };
    Ok(Some((least, most, number(2).unwrap_or(0))))
}

/// Bounds between the first and the last range.
fn evenly(least: i128, most: i128, rows_per_range: u64) -> Vec<i128> {
    let step = i128::from(rows_per_range.max(1));
    let mut bounds = Vec::new();
    let mut bound = least + step - 1;
    while bound < most {
        bounds.push(bound);
        bound += step;
    }
    bounds
}

/// Every so many rows' key, in the index's order, each looked up from the one before it.
async fn walked(conn: &mut Conn, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Vec<String>>> {
    let names: Vec<String> = table.key_columns().map(|column| quote_name(&column.name)).collect();
    let list = names.join(", ");
    let mut bounds: Vec<Vec<String>> = Vec::new();
    loop {
        let condition = match bounds.last() {
            Some(bound) => format!(" WHERE {}", compared(&names, bound, ">", ">")),
            None => String::new(),
        };
        let sql = format!(
            "SELECT {list} FROM {}{condition} ORDER BY {list} LIMIT 1 OFFSET {}",
            quote_table(&table.name),
            rows_per_range.max(1) - 1
        );
        let row: Option<Row> = conn.query_first(sql).await.map_err(|error| failed(table, error))?;
        let Some(row) = row else { return Ok(bounds) };
        let bound = table.key_columns().enumerate().map(|(place, column)| match row.as_ref(place) {
            Some(Value::Bytes(text)) => literal(column, text),
            _ => None,
        });
        match bound.collect::<Option<Vec<_>>>() {
            Some(bound) => bounds.push(bound),
            None => return Err(unreadable(table)),
        }
    }
}

/// Every so many rows' key in the shared order: the server sorts all keys once.
async fn sorted(conn: &mut Conn, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Key>> {
    let texts: Vec<String> = table.key_columns().map(keys::text_expression).collect();
    let sql =
        format!("SELECT {} FROM {} ORDER BY {}", texts.join(", "), quote_table(&table.name), keys::order_by(table));
    let mut rows = conn.query_iter(sql).await.map_err(|error| failed(table, error))?;
    let mut bounds = Vec::new();
    let mut count = 0_u64;
    while let Some(row) = rows.next().await.map_err(|error| failed(table, error))? {
        count += 1;
        if !count.is_multiple_of(rows_per_range.max(1)) {
            continue;
        }
        let cells: Option<Vec<Cell<'_>>> = (0..texts.len())
            .map(|place| match row.as_ref(place) {
                Some(Value::Bytes(text)) => Some(Cell::Text(text)),
                _ => None,
            })
            .collect();
        bounds.push(Key::from_cells(cells.ok_or_else(|| unreadable(table))?));
    }
    Ok(bounds)
}

fn failed(table: &TableSchema, error: mysql_async::Error) -> Error {
    from_mysql(format!("cut table {} into ranges", table.name), error)
}

fn unreadable(table: &TableSchema) -> Error {
    Error::new(ErrorKind::Schema, format!("cut table {} into ranges: a row has no key", table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_evenly() {
        assert_eq!(evenly(1, 10, 5), [5]);
        assert_eq!(evenly(1, 11, 5), [5, 10]);
        assert_eq!(evenly(-3, 3, 2), [-2, 0, 2]);
        assert!(evenly(5, 5, 1).is_empty());
        let top = i128::from(u64::MAX);
        assert_eq!(evenly(top - 1, top, 1), [top - 1]);
    }
}
