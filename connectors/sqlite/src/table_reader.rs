//! Reads tables in the common text forms, on a connection of its own.

use crate::error::{ended, from_sqlite};
use crate::shape::{Shape, Written};
use crate::values::{Storage, put};
use crate::writer::{Writer, quote};
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use rowferry_api::{
    Block, BlockStream, Cell, Error, ErrorKind, Key, Range, Result, TableReader, TableSchema, decode_copy_row,
};
use rusqlite::Row;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Bytes of a block, unless one row is larger.
const BLOCK_BYTES: usize = 512 << 10;
/// Blocks that wait for the receiver.
const BLOCKS: usize = 2;

/// Reads from a file.
pub(crate) struct SqliteTableReader {
    path: PathBuf,
}

impl SqliteTableReader {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn open(path: &std::path::Path) -> Result<Writer> {
        let connection = crate::writer::open_to_read(path)?.ok_or_else(|| {
            Error::new(ErrorKind::Schema, format!("read {}: the file does not exist", path.display()))
                .hint("`rowferry run` makes it.")
        })?;
        Ok(Writer { connection, path: path.to_owned(), columns: HashMap::new(), held: HashMap::new() })
    }
}

#[async_trait]
impl TableReader for SqliteTableReader {
    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, _ordered: bool) -> Result<Vec<Range>> {
        let (path, table) = (self.path.clone(), table.clone());
        tokio::task::spawn_blocking(move || split(&mut Self::open(&path)?, &table, rows_per_range)).await.map_err(ended)?
    }

    async fn read<'a>(&'a mut self, table: &'a TableSchema, range: &'a Range, ordered: bool) -> Result<BlockStream<'a>> {
        let (sender, receiver) = mpsc::channel(BLOCKS);
        let (path, table, range) = (self.path.clone(), table.clone(), range.clone());
        tokio::task::spawn_blocking(move || {
            let result = Self::open(&path).and_then(|mut writer| read(&mut writer, &table, &range, ordered, &sender));
            if let Err(error) = result {
                // A receiver that is gone does not want to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(Box::pin(Received(receiver)))
    }
}

/// Blocks from the reading thread. Dropping it ends the thread at its next block.
struct Received(mpsc::Receiver<Result<Block>>);

impl futures_util::Stream for Received {
    type Item = Result<Block>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// The key that a row of `RETURNING` or of a query over the key's columns holds.
pub(crate) fn key_of(row: &Row<'_>, keys: &[Written]) -> rusqlite::Result<Key> {
    let mut line = BytesMut::new();
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            line.put_u8(b'\t');
        }
        put(key.storage, row.get_ref(index)?, &mut line);
    }
    let mut cells: Vec<Option<Vec<u8>>> = Vec::new();
    decode_copy_row(&line, &mut Vec::new(), |_, cell| cells.push(cell.map(<[u8]>::to_vec)));
    Ok(Key::from_cells(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text))))
}

/// The order of the index is the common order for whole numbers and for texts; other keys are read in one range.
fn split(writer: &mut Writer, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    let shape = Shape::new(writer, table)?;
    if shape.keys.iter().any(|key| key.storage == Storage::Real) {
        return Ok(vec![Range::Whole]);
    }
    let names = shape.keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>().join(", ");
    let statement = format!(
        "SELECT {names} FROM (SELECT {names}, row_number() OVER (ORDER BY {names}) AS \"rowferry place\" FROM {}) \
         WHERE \"rowferry place\" % {} = 0 ORDER BY \"rowferry place\"",
        shape.table,
        rows_per_range.max(1)
    );
    let failed = |error| writer.failed(format!("cut table {} into ranges", table.name), error);
    let mut statement = writer.connection.prepare(&statement).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let (mut ranges, mut after) = (Vec::new(), None);
    while let Some(row) = rows.next().map_err(failed)? {
        let key = key_of(row, &shape.keys).map_err(failed)?;
        ranges.push(Range::Keys { after: after.replace(key.clone()), upto: Some(key) });
    }
    ranges.push(Range::Keys { after, upto: None });
    Ok(ranges)
}

fn read(
    writer: &mut Writer,
    table: &TableSchema,
    range: &Range,
    ordered: bool,
    sender: &mpsc::Sender<Result<Block>>,
) -> Result<()> {
    let shape = Shape::new(writer, table)?;
    if shape.columns.len() != table.columns.len() {
        let lacks: Vec<&str> = table
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !shape.columns.iter().any(|have| have.name == quote(name)))
            .collect();
        return Err(Error::new(ErrorKind::Schema, format!("read table {}: it has no column {}", table.name, lacks.join(", "))));
    }
    let failed = |error| from_sqlite(&writer.path, format!("read table {}", table.name), error);
    let names = shape.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>().join(", ");
    let keys = shape.keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>().join(", ");
    let order = if ordered { format!(" ORDER BY {keys}") } else { String::new() };
    let mut out = Blocks { sender, buffer: BytesMut::new(), rows: 0 };
    let mut scratch = Vec::new();
    if let Range::Set(keys) = range {
        let text = format!("SELECT {names} FROM {} WHERE {}", shape.table, shape.is_key(1));
        let mut statement = writer.connection.prepare_cached(&text).map_err(failed)?;
        for key in keys {
            shape.bind_key(&mut statement, 1, key, &mut scratch).map_err(failed)?;
            if !out.add(statement.raw_query(), &shape).map_err(failed)? {
                return Ok(());
            }
        }
    } else {
        let (condition, keys) = shape.in_range(range).unwrap_or(("true".into(), Vec::new()));
        let text = format!("SELECT {names} FROM {} WHERE {condition}{order}", shape.table);
        let mut statement = writer.connection.prepare_cached(&text).map_err(failed)?;
        for (index, key) in keys.into_iter().enumerate() {
            let first = index * shape.keys.len() + 1;
            shape.bind_key(&mut statement, first, key, &mut scratch).map_err(failed)?;
        }
        out.add(statement.raw_query(), &shape).map_err(failed)?;
    }
    out.send();
    Ok(())
}

/// Gathers rows into blocks.
struct Blocks<'a> {
    sender: &'a mpsc::Sender<Result<Block>>,
    buffer: BytesMut,
    rows: u64,
}

impl Blocks<'_> {
    /// `false` if nobody wants more.
    fn add(&mut self, mut rows: rusqlite::Rows<'_>, shape: &Shape) -> rusqlite::Result<bool> {
        while let Some(row) = rows.next()? {
            for (index, column) in shape.columns.iter().enumerate() {
                if index > 0 {
                    self.buffer.put_u8(b'\t');
                }
                put(column.storage, row.get_ref(index)?, &mut self.buffer);
            }
            self.buffer.put_u8(b'\n');
            self.rows += 1;
            if self.buffer.len() >= BLOCK_BYTES && !self.send() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&mut self) -> bool {
        let block = Block { data: self.buffer.split().freeze(), rows: std::mem::take(&mut self.rows) };
        block.rows == 0 || self.sender.blocking_send(Ok(block)).is_ok()
    }
}
