//! Replaces a range of a table in one transaction: what the range held goes, what the source holds comes. Readers see the
//! end only.

use crate::error::ended;
use crate::shape::{Shape, bind_cell};
use crate::writer::Writer;
use futures_util::Stream;
use rowferry_api::{
    Block, BlockStream, Cell, Error, ErrorKind, Key, Range, Replaced, Result, TableSchema, decode_copy_row,
};
use rusqlite::CachedStatement;
use std::future::poll_fn;
use std::pin::Pin;
use tokio::sync::{OwnedMutexGuard, mpsc};

/// Blocks between the reading task and the writing thread.
const BLOCKS: usize = 4;

pub(crate) async fn replace(
    mut writer: OwnedMutexGuard<Writer>,
    table: &TableSchema,
    range: &Range,
    mut rows: BlockStream<'_>,
) -> Result<Replaced> {
    let (sender, receiver) = mpsc::channel(BLOCKS);
    let (table, range) = (table.clone(), range.clone());
    let work = tokio::task::spawn_blocking(move || {
        let result = write(&mut writer, &table, &range, receiver);
        if result.is_err() {
            let _ = writer.run("ROLLBACK");
            writer.columns.clear();
        }
        result
    });
    loop {
        match poll_fn(|context| Pin::new(&mut rows).as_mut().poll_next(context)).await {
            Some(Ok(block)) => {
                if sender.send(Some(block)).await.is_err() {
                    break;
                }
            }
            Some(Err(error)) => {
                drop(sender);
                // The writer sees a stream without an end and rolls back; the reader's error says why.
                let _ = work.await;
                return Err(error);
            }
            None => {
                let _ = sender.send(None).await;
                break;
            }
        }
    }
    drop(sender);
    work.await.map_err(ended)?
}

/// `None` is the end of the rows; a channel that closes without it means that the rows were cut off.
fn write(
    writer: &mut Writer,
    table: &TableSchema,
    range: &Range,
    mut blocks: mpsc::Receiver<Option<Block>>,
) -> Result<Replaced> {
    let shape = Shape::new(writer, table)?;
    writer.run("BEGIN IMMEDIATE")?;
    clear(writer, &shape, range).map_err(|error| writer.failed(format!("clear a range of table {}", table.name), error))?;
    let mut replaced = Replaced::default();
    loop {
        match blocks.blocking_recv() {
            Some(Some(block)) => {
                replaced.rows += block.rows;
                replaced.bytes += block.data.len() as u64;
                write_block(writer, &shape, table, &block, &mut replaced.evicted)?;
            }
            Some(None) => break,
            None => {
                let what = format!("write a range of table {}: its rows were cut off", table.name);
                return Err(Error::new(ErrorKind::Transient, what));
            }
        }
    }
    writer.run("COMMIT")?;
    Ok(replaced)
}

fn clear(writer: &Writer, shape: &Shape, range: &Range) -> rusqlite::Result<()> {
    let mut scratch = Vec::new();
    match range {
        Range::Native(_) => Ok(()),
        Range::Set(keys) => {
            let text = format!("DELETE FROM {} WHERE {}", shape.table, shape.is_key(1));
            let mut statement = writer.connection.prepare_cached(&text)?;
            for key in keys {
                shape.bind_key(&mut statement, 1, key, &mut scratch)?;
                statement.raw_execute()?;
            }
            Ok(())
        }
        Range::Whole | Range::Keys { .. } => {
            let (condition, keys) = shape.in_range(range).unwrap_or(("true".into(), Vec::new()));
            let text = format!("DELETE FROM {} WHERE {condition}", shape.table);
            let mut statement = writer.connection.prepare_cached(&text)?;
            for (index, key) in keys.into_iter().enumerate() {
                shape.bind_key(&mut statement, index * shape.keys.len() + 1, key, &mut scratch)?;
            }
            statement.raw_execute().map(drop)
        }
    }
}

fn write_block(
    writer: &Writer,
    shape: &Shape,
    table: &TableSchema,
    block: &Block,
    evicted: &mut Vec<Key>,
) -> Result<()> {
    let failed = |error| writer.failed(format!("write table {}", table.name), error);
    let mut statement = writer.connection.prepare_cached(&shape.upsert()).map_err(failed)?;
    let (mut cell_scratch, mut bytes_scratch) = (Vec::new(), Vec::new());
    for line in block.lines() {
        bind_line(&mut statement, shape, table, line, &mut cell_scratch, &mut bytes_scratch).map_err(failed)?;
        let Err(error) = statement.raw_execute() else { continue };
        let error = failed(error);
        if error.kind() != ErrorKind::Unique {
            return Err(error);
        }
        evict(writer, shape, table, line, evicted).map_err(failed)?;
        bind_line(&mut statement, shape, table, line, &mut cell_scratch, &mut bytes_scratch).map_err(failed)?;
        statement.raw_execute().map_err(failed)?;
    }
    Ok(())
}

fn bind_line(
    statement: &mut CachedStatement<'_>,
    shape: &Shape,
    table: &TableSchema,
    line: &[u8],
    cell_scratch: &mut Vec<u8>,
    bytes_scratch: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let mut columns = shape.columns.iter().enumerate().peekable();
    let mut result = Ok(());
    let mut cells = 0;
    decode_copy_row(line, cell_scratch, |place, cell| {
        cells = place + 1;
        if let Some((index, column)) = columns.next_if(|(_, column)| column.place == place)
            && result.is_ok()
        {
            let cell = cell.map_or(Cell::Null, Cell::Text);
            result = bind_cell(statement, index + 1, column.storage, cell, bytes_scratch);
        }
    });
    if cells == table.columns.len() { result } else { Err(rusqlite::Error::InvalidParameterCount(cells, table.columns.len())) }
}

/// Removes the rows that hold what this row holds under a unique index that is not the key.
fn evict(
    writer: &Writer,
    shape: &Shape,
    table: &TableSchema,
    line: &[u8],
    evicted: &mut Vec<Key>,
) -> rusqlite::Result<()> {
    let mut cells: Vec<Option<Vec<u8>>> = Vec::new();
    decode_copy_row(line, &mut Vec::new(), |_, cell| cells.push(cell.map(<[u8]>::to_vec)));
    let mut indexes = writer.connection.prepare_cached(
        "SELECT l.name FROM pragma_index_list(?1) l WHERE l.\"unique\" AND l.origin <> 'pk' AND NOT l.partial",
    )?;
    let names: Vec<String> = indexes.query_map([&table.name.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        let mut info = writer.connection.prepare_cached("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?;
        let columns: Vec<String> = info.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let places: Option<Vec<usize>> = columns.iter().map(|column| table.column_index(column)).collect();
        let Some(places) = places else { continue };
        let same: Vec<String> =
            columns.iter().enumerate().map(|(index, column)| format!("{} = ?{}", crate::writer::quote(column), index + 1)).collect();
        let keys: Vec<&str> = shape.keys.iter().map(|key| key.name.as_str()).collect();
        let text = format!("DELETE FROM {} WHERE {} RETURNING {}", shape.table, same.join(" AND "), keys.join(", "));
        let mut statement = writer.connection.prepare_cached(&text)?;
        for (index, &place) in places.iter().enumerate() {
            let storage = crate::values::Storage::of(&table.columns[place].ty);
            let cell = cells.get(place).and_then(Option::as_deref).map_or(Cell::Null, Cell::Text);
            bind_cell(&mut statement, index + 1, storage, cell, &mut Vec::new())?;
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            evicted.push(crate::table_reader::key_of(row, &shape.keys)?);
        }
    }
    Ok(())
}
