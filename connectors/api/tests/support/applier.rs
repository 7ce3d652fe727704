//! Short words for what a batch is made of, for tests of appliers. Each connector's tests include this file.

#![allow(dead_code, reason = "not every connector's tests use all of it")]

use bytes::{BufMut, BytesMut};
use rowferry_api::{
    Applier, Batch, Block, BlockStream, Cell, Error, Key, PartialUpdate, Position, Range, Replaced, Row, RowBuilder,
    Step, TableRows, TableSchema, encode_copy_cell,
};
use std::sync::Arc;

/// Rows of a query, each a line, NULL as `-`.
pub(crate) fn lines(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let line = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect::<Vec<_>>().join(" ")
    };
    rows.into_iter().map(line).collect()
}

/// `-` is NULL, `?` unchanged.
fn cell(text: &str) -> Cell<'_> {
    match text {
        "-" => Cell::Null,
        "?" => Cell::Unchanged,
        text => Cell::Text(text.as_bytes()),
    }
}

/// Cells with blanks between them, in a row.
pub(crate) fn row(cells: &str) -> Row {
    let mut builder = RowBuilder::new();
    cells.split(' ').for_each(|text| builder.push(cell(text)));
    builder.finish()
}

pub(crate) fn key(cells: &str) -> Key {
    Key::from_cells(cells.split(' ').map(cell))
}

pub(crate) fn nothing(table: &Arc<TableSchema>) -> TableRows {
    TableRows::new(table.clone())
}

pub(crate) fn upserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { upserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

pub(crate) fn inserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { inserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

pub(crate) fn updates(table: &Arc<TableSchema>, rows: &[(&str, &str)]) -> Step {
    let update = |&(old, cells): &(&str, &str)| PartialUpdate { key: key(old), row: row(cells) };
    Step::Rows(TableRows { updates: rows.iter().map(update).collect(), ..nothing(table) })
}

pub(crate) fn deletes(table: &Arc<TableSchema>, keys: &[&str]) -> Step {
    Step::Rows(TableRows { deletes: keys.iter().map(|cells| key(cells)).collect(), ..nothing(table) })
}

/// The keys of partial updates that found no row.
pub(crate) async fn apply(
    applier: &mut Box<dyn Applier>,
    steps: Vec<Step>,
    end: Option<&str>,
) -> Result<Vec<String>, Error> {
    let applied = applier.apply(&Batch { steps, end: end.map(Position::new), staged: false }).await?;
    Ok(applied.missing.iter().map(|(_, key)| key.to_string()).collect())
}

/// Rows as one block.
pub(crate) fn block<'a>(rows: impl IntoIterator<Item = Vec<Option<&'a [u8]>>>) -> BlockStream<'static> {
    let mut data = BytesMut::new();
    for cells in rows {
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                data.put_u8(b'\t');
            }
            encode_copy_cell(cell, &mut data);
        }
        data.put_u8(b'\n');
    }
    Box::pin(futures_util::stream::iter([Ok(Block::new(data.freeze()))]))
}

pub(crate) fn blocks(rows: &[&str]) -> BlockStream<'static> {
    block(rows.iter().map(|row| row.split(' ').map(|text| (text != "-").then_some(text.as_bytes())).collect()))
}

pub(crate) async fn replace(
    applier: &mut Box<dyn Applier>,
    table: &TableSchema,
    range: &Range,
    rows: &[&str],
) -> Replaced {
    applier.replace(table, range, blocks(rows)).await.unwrap()
}
