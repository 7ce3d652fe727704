//! Reads tables as COPY text, in the common text forms.

use crate::bind::{key_text, put};
use crate::catalog::{quoted, quoted_list};
use crate::error::{Explain, in_file};
use crate::open;
use crate::plan::Plan;
use crate::range::Order;
use crate::writer::blocking;
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use rowferry_api::{
    Block, BlockStream, Cell, Encoding, Error, ErrorKind, Key, KeyOrder, Range, Result, TableReader, TableSchema,
};
use rusqlite::{Connection, Row, Statement};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

/// A block is sent when it has reached this size.
const BLOCK_BYTES: usize = 512 * 1024;
/// Blocks on their way to the reader's caller.
const BLOCKS_AHEAD: usize = 2;

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct SqliteTableReader {
    path: PathBuf,
    /// A read whose stream was dropped still has it for a moment.
    connection: Arc<Mutex<Connection>>,
}

enum Fed {
    Rows(Block),
    Failed(Error),
    End,
}

impl SqliteTableReader {
    /// Opens the file, which must be there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let Some(connection) = open::reader(path)? else {
            return Err(in_file(Error::new(ErrorKind::Config, "read tables: there is no such file"), path)
                .hint("Name the file that was written in `path`, or run `rowferry run` first."));
        };
        Ok(Self { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)) })
    }
}

#[async_trait]
impl TableReader for SqliteTableReader {
    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, _ordered: bool) -> Result<Vec<Range>> {
        let connection = self.connection.clone().lock_owned().await;
        let (table, path) = (table.clone(), self.path.clone());
        blocking(move || {
            in_read(&connection, || split(&connection, &table, rows_per_range)).map_err(|error| in_file(error, &path))
        })
        .await
    }

    async fn read<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        ordered: bool,
    ) -> Result<BlockStream<'a>> {
        if matches!(range, Range::Native(_)) {
            return Err(Error::new(ErrorKind::Other, "read a native range: it is another store's own"));
        }
        let connection = self.connection.clone().lock_owned().await;
        let (feed, mut fed) = mpsc::channel(BLOCKS_AHEAD);
        let (table, range, path) = (table.clone(), range.clone(), self.path.clone());
        tokio::task::spawn_blocking(move || feed_blocks(connection, &path, &table, &range, ordered, &feed));
        let mut ended = false;
        Ok(Box::pin(futures_util::stream::poll_fn(move |context| {
            if ended {
                return Poll::Ready(None);
            }
            fed.poll_recv(context).map(|next| match next {
                Some(Fed::Rows(block)) => Some(Ok(block)),
                Some(Fed::End) => {
                    ended = true;
                    None
                }
                Some(Fed::Failed(error)) => {
                    ended = true;
                    Some(Err(error))
                }
                // Only a panic closes the channel without a last word.
                None => {
                    ended = true;
                    Some(Err(Error::new(ErrorKind::Other, "read a table: the reading thread ended early")))
                }
            })
        })))
    }
}

fn feed_blocks(
    connection: OwnedMutexGuard<Connection>,
    path: &Path,
    table: &TableSchema,
    range: &Range,
    ordered: bool,
    feed: &mpsc::Sender<Fed>,
) {
    let last = match in_read(&connection, || read(&connection, table, range, ordered, feed)) {
        Ok(()) => Fed::End,
        Err(error) => Fed::Failed(in_file(error, path)),
    };
    drop(connection);
    // Nobody may be listening any more.
    let _ = feed.blocking_send(last);
}

/// All that `work` reads is one state of the file.
fn in_read<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    connection.execute_batch("BEGIN").explain(|| "begin to read".into())?;
    let result = work();
    // Some errors have ended the transaction already; the first error says more than one of the end.
    let ended = if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") };
    result.and_then(|value| ended.explain(|| "end reading".into()).map(|()| value))
}

fn split(connection: &Connection, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
    let plan = Plan::new(connection, table)?;
    let order = Order::new(connection, &plan)?;
    // Sorting by something else than what is stored would sort the whole table for each range.
    if !order.is_stored() {
        return Ok(vec![Range::Whole]);
    }
    let what = || format!("cut {} into ranges", plan.table);
    let keys = quoted_list(plan.key_columns().map(|column| column.name.as_str()));
    let next = |after: Option<&Key>| -> Result<Option<Key>> {
        let sql = format!(
            "SELECT {keys} FROM {}{} ORDER BY {} LIMIT 1 OFFSET {}",
            quoted(&plan.table),
            order.clause(after.is_some(), false, 1),
            order.list(),
            rows_per_range.max(1) - 1
        );
        let mut statement = connection.prepare_cached(&sql).explain(what)?;
        order.bind(&mut statement, after, None, 1)?;
        let mut rows = statement.raw_query();
        let Some(row) = rows.next().explain(what)? else {
            return Ok(None);
        };
        key_of(&plan, row).map(Some)
    };
    let mut ranges = Vec::new();
    let mut after = None;
    while let Some(upto) = next(after.as_ref())? {
        ranges.push(Range::Keys { after: after.take(), upto: Some(upto.clone()) });
        after = Some(upto);
    }
    ranges.push(Range::Keys { after, upto: None });
    Ok(ranges)
}

fn key_of(plan: &Plan, row: &Row<'_>) -> Result<Key> {
    let mut cells = Vec::new();
    for (at, column) in plan.key_columns().enumerate() {
        cells.push(key_text(column.kind, row.get_ref(at).explain(|| format!("read a key of {}", plan.table))?));
    }
    Ok(Key::from_cells(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text))))
}

fn read(
    connection: &Connection,
    table: &TableSchema,
    range: &Range,
    ordered: bool,
    feed: &mpsc::Sender<Fed>,
) -> Result<()> {
    let plan = Plan::new(connection, table)?;
    if let Some(at) = plan.columns.iter().position(Option::is_none) {
        let column = &table.columns[at].name;
        return Err(Error::new(ErrorKind::Schema, format!("read {}: it has no column {column}", plan.table)));
    }
    let what = || format!("read {}", plan.table);
    let columns = quoted_list(plan.present().map(|(_, column)| column.name.as_str()));
    let select = format!("SELECT {columns} FROM {}", quoted(&plan.table));
    let mut out = Output { plan: &plan, feed, block: BytesMut::new(), rows: 0 };
    match range {
        Range::Set(keys) => {
            let mut keys: Vec<&Key> = keys.iter().collect();
            if ordered {
                let orders: Vec<KeyOrder> = table.key_columns().map(|column| KeyOrder::of(&column.ty)).collect();
                keys.sort_by(|a, b| compare(a, b, &orders));
            }
            let sql = format!("{select} WHERE {}", plan.where_key_apart());
            let mut statement = connection.prepare_cached(&sql).explain(what)?;
            for key in keys {
                plan.bind_key(&mut statement, key, &mut Vec::new())?;
                if !out.rows(&mut statement)? {
                    return Ok(());
                }
            }
        }
        Range::Whole | Range::Keys { .. } | Range::Native(_) => {
            let (after, upto) = match range {
                Range::Keys { after, upto } => (after.as_ref(), upto.as_ref()),
                _ => (None, None),
            };
            let order = Order::new(connection, &plan)?;
            let by = if ordered { format!(" ORDER BY {}", order.list()) } else { String::new() };
            let sql = format!("{select}{}{by}", order.clause(after.is_some(), upto.is_some(), 1));
            let mut statement = connection.prepare_cached(&sql).explain(what)?;
            order.bind(&mut statement, after, upto, 1)?;
            if !out.rows(&mut statement)? {
                return Ok(());
            }
        }
    }
    out.send();
    Ok(())
}

fn compare(a: &Key, b: &Key, orders: &[KeyOrder]) -> Ordering {
    for ((a, b), order) in a.cells().zip(b.cells()).zip(orders) {
        let ordering = match (a, b) {
            (Cell::Text(a) | Cell::Raw(a), Cell::Text(b) | Cell::Raw(b)) => order.compare(a, b),
            (a, b) => (a == Cell::Null).cmp(&(b == Cell::Null)),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// Rows on their way into blocks.
struct Output<'a> {
    plan: &'a Plan,
    feed: &'a mpsc::Sender<Fed>,
    block: BytesMut,
    rows: u64,
}

impl Output<'_> {
    /// Appends all rows of a statement whose parameters are bound; `false` if nobody listens any more.
    fn rows(&mut self, statement: &mut Statement<'_>) -> Result<bool> {
        let what = || format!("read {}", self.plan.table);
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().explain(what)? {
            for (at, (_, column)) in self.plan.present().enumerate() {
                if at > 0 {
                    self.block.put_u8(b'\t');
                }
                put(column.kind, row.get_ref(at).explain(what)?, &mut self.block);
            }
            self.block.put_u8(b'\n');
            self.rows += 1;
            if self.block.len() >= BLOCK_BYTES && !self.send() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&mut self) -> bool {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return true;
        }
        let data = std::mem::take(&mut self.block).freeze();
        self.block.reserve(BLOCK_BYTES + BLOCK_BYTES / 8);
        self.feed.blocking_send(Fed::Rows(Block { data, rows, encoding: Encoding::Text })).is_ok()
    }
}
