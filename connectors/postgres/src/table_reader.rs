//! Reads tables range by range with COPY, at a source and at a target.

use crate::connection::{ConnectOptions, from_pg, quote_name, quote_table, quote_text};
use crate::keys::{condition, is_indexed, order_by};
use crate::publication::server_version;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use rowferry_api::{
    Block, BlockStream, Cell, Error, ErrorKind, Key, Range, Result, TableName, TableReader, TableSchema,
};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::{Client, CopyOutStream};

/// Version 14: ranges of pages are read without a scan of the rest.
const WITH_TID_RANGES: i32 = 140_000;
/// Bytes of a block, unless one row is larger.
const BLOCK_BYTES: usize = 512 << 10;
/// Rows of a page where nobody has counted yet.
const ASSUMED_ROWS_PER_PAGE: f64 = 50.0;

/// A connection that reads tables.
pub struct PostgresTableReader {
    options: ConnectOptions,
    client: Client,
    version: i32,
    /// The database compares texts by their bytes.
    c_collation: bool,
    /// A read is under way, or was dropped before its end: the connection is of no more use then.
    reading: AtomicBool,
}

/// Pages of one table on disk, as [`Range::Native`] holds them.
#[derive(Debug, Serialize, Deserialize)]
struct Pages {
    leaf: TableName,
    /// pg_relation_filenode: another one means that rows have moved without a word in the log.
    node: u32,
    from: u32,
    /// Exclusive; the last range of a table is open.
    to: Option<u32>,
}

impl PostgresTableReader {
    /// Connects.
    pub async fn open(options: ConnectOptions) -> Result<Self> {
        let client = options.connect().await?;
        let version = server_version(&client).await?;
        let collation = client
            .query_one("SELECT datcollate::text FROM pg_database WHERE datname = current_database()", &[])
            .await
            .map_err(|error| from_pg("ask for the database's collation", error))?;
        let c_collation = matches!(collation.get::<_, String>(0).as_str(), "C" | "POSIX");
        Ok(Self { options, client, version, c_collation, reading: AtomicBool::new(false) })
    }

    async fn usable(&mut self) -> Result<()> {
        if self.reading.load(Ordering::Acquire) || self.client.is_closed() {
            self.client = self.options.connect().await?;
            self.reading.store(false, Ordering::Release);
        }
        Ok(())
    }

    async fn split_pages(&self, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
        let rows = self
            .client
            .query(
                "SELECT n.nspname, c.relname, pg_relation_filenode(c.oid), c.reltuples::float8, c.relpages::float8,
                        pg_relation_size(c.oid) / current_setting('block_size')::int8
                 FROM (SELECT $1::text::regclass::oid AS relid WHERE (SELECT relkind FROM pg_class WHERE oid = $1::text::regclass) = 'r'
                       UNION ALL SELECT relid FROM pg_partition_tree($1::text::regclass) WHERE isleaf
                         AND (SELECT relkind FROM pg_class WHERE oid = $1::text::regclass) = 'p') t
                 JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
                 ORDER BY 1, 2",
                &[&quote_table(&table.name)],
            )
            .await
            .map_err(|error| from_pg(format!("cut table {} into ranges", table.name), error))?;
        let mut ranges = Vec::new();
        for row in &rows {
            let leaf = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            let node: Option<u32> = row.get(2);
            let (tuples, pages): (f64, f64) = (row.get(3), row.get(4));
            let density = if tuples > 0.0 && pages > 0.0 { tuples / pages } else { ASSUMED_ROWS_PER_PAGE };
            let step = ((rows_per_range as f64 / density.max(1.0)).ceil() as u32).max(1);
            let pages = u32::try_from(row.get::<_, i64>(5)).unwrap_or(u32::MAX);
            let starts: Vec<u32> = (0..pages.max(1)).step_by(step as usize).collect();
            for (index, &from) in starts.iter().enumerate() {
                let to = starts.get(index + 1).copied();
                ranges.push(native(&Pages { leaf: leaf.clone(), node: node.unwrap_or(0), from, to })?);
            }
        }
        // A partitioned table may have no partition yet.
        Ok(if ranges.is_empty() { vec![Range::Whole] } else { ranges })
    }

    /// Bounds by a walk along the key's index.
    async fn split_keys(&self, table: &TableSchema, rows_per_range: u64) -> Result<Vec<Range>> {
        let names: Vec<String> = table.key_columns().map(|column| quote_name(&column.name)).collect();
        let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        let order = order_by(table);
        let statement = format!(
            "SELECT {} FROM (SELECT {}, row_number() OVER (ORDER BY {order}) AS \"rowferry place\" FROM {}) t \
             WHERE \"rowferry place\" % {} = 0 ORDER BY \"rowferry place\"",
            texts.join(", "),
            names.join(", "),
            quote_table(&table.name),
            rows_per_range.max(1)
        );
        let rows = self
            .client
            .query(&statement, &[])
            .await
            .map_err(|error| from_pg(format!("cut table {} into ranges", table.name), error))?;
        let mut after = None;
        let mut ranges = Vec::with_capacity(rows.len() + 1);
        for row in &rows {
            let cells: Vec<Option<String>> = (0..names.len()).map(|index| row.get(index)).collect();
            let cell = |text: &'_ Option<String>| text.as_ref().map(|text| text.clone().into_bytes());
            let owned: Vec<Option<Vec<u8>>> = cells.iter().map(cell).collect();
            let key = Key::from_cells(owned.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)));
            ranges.push(Range::Keys { after: after.replace(key.clone()), upto: Some(key) });
        }
        ranges.push(Range::Keys { after, upto: None });
        Ok(ranges)
    }
}

fn native(pages: &Pages) -> Result<Range> {
    let failed = |error| Error::new(ErrorKind::Other, "write a range of pages").because(error as serde_json::Error);
    serde_json::to_string(pages).map(Range::Native).map_err(failed)
}

#[async_trait]
impl TableReader for PostgresTableReader {
    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, ordered: bool) -> Result<Vec<Range>> {
        self.usable().await?;
        if !ordered && self.version >= WITH_TID_RANGES {
            return self.split_pages(table, rows_per_range).await;
        }
        if is_indexed(table, self.c_collation) {
            return self.split_keys(table, rows_per_range).await;
        }
        Ok(vec![Range::Whole])
    }

    async fn read<'a>(&'a mut self, table: &'a TableSchema, range: &'a Range, ordered: bool) -> Result<BlockStream<'a>> {
        self.usable().await?;
        let context = format!("read table {}", table.name);
        let pages = match range {
            Range::Native(text) => Some(serde_json::from_str::<Pages>(text).map_err(|error| {
                Error::new(ErrorKind::Stale, format!("{context}: a range of pages cannot be read")).because(error)
            })?),
            _ => None,
        };
        let statement = copy_statement(table, range, pages.as_ref(), ordered);
        self.reading.store(true, Ordering::Release);
        self.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY").await.map_err(|error| from_pg(context.as_str(), error))?;
        let rows = match self.client.copy_out(statement.as_str()).await {
            Ok(rows) => rows,
            Err(error) => {
                let error = from_pg(context.as_str(), error);
                let rolled_back = self.client.batch_execute("ROLLBACK").await.is_ok();
                self.reading.store(!rolled_back, Ordering::Release);
                // A leaf that was dropped or detached since the table was cut.
                return Err(match (&pages, error.kind()) {
                    (Some(_), ErrorKind::Schema) => Error::new(ErrorKind::Stale, error.to_string()),
                    _ => error,
                });
            }
        };
        let reading = Reading { reader: self, rows: Box::pin(rows), buffer: BytesMut::new(), pages, context };
        Ok(Box::pin(stream::try_unfold(reading, Reading::next)))
    }
}

fn copy_statement(table: &TableSchema, range: &Range, pages: Option<&Pages>, ordered: bool) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote_name(&column.name)).collect();
    let (from, condition) = match pages {
        None => (quote_table(&table.name), condition(table, range)),
        Some(pages) => {
            let upper = pages.to.map_or(String::new(), |to| format!(" AND ctid < '({to},0)'::tid"));
            let condition = format!("ctid >= '({},0)'::tid{upper}", pages.from);
            (format!("ONLY {}", quote_table(&pages.leaf)), Some(condition))
        }
    };
    let condition = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
    let order = if ordered && !table.key.is_empty() { format!(" ORDER BY {}", order_by(table)) } else { String::new() };
    format!("COPY (SELECT {} FROM {from}{condition}{order}) TO STDOUT", columns.join(", "))
}

/// A COPY under way.
struct Reading<'a> {
    reader: &'a mut PostgresTableReader,
    rows: Pin<Box<CopyOutStream>>,
    buffer: BytesMut,
    pages: Option<Pages>,
    context: String,
}

impl<'a> Reading<'a> {
    async fn next(mut self) -> Result<Option<(Block, Self)>> {
        if !self.reader.reading.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut rows = 0;
        while self.buffer.len() < BLOCK_BYTES {
            match self.rows.next().await {
                Some(row) => {
                    let row: Bytes = row.map_err(|error| from_pg(self.context.as_str(), error))?;
                    self.buffer.extend_from_slice(&row);
                    rows += 1;
                }
                None => {
                    self.end().await?;
                    break;
                }
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let data = self.buffer.split().freeze();
        self.buffer.reserve(BLOCK_BYTES + BLOCK_BYTES / 8);
        Ok(Some((Block { data, rows }, self)))
    }

    /// The COPY's lock is held until here, so a storage that is the same now was the same all along.
    async fn end(&mut self) -> Result<()> {
        let client = &self.reader.client;
        if let Some(pages) = &self.pages {
            let statement = format!("SELECT coalesce(pg_relation_filenode({}::regclass), 0)", quote_text(&quote_table(&pages.leaf)));
            let row = client.query_one(&statement, &[]).await.map_err(|error| from_pg(self.context.as_str(), error))?;
            if row.get::<_, u32>(0) != pages.node {
                let what = format!("{}: it was rewritten at the source since it was cut into ranges", self.context);
                return Err(Error::new(ErrorKind::Stale, what));
            }
        }
        client.batch_execute("COMMIT").await.map_err(|error| from_pg(self.context.as_str(), error))?;
        self.reader.reading.store(false, Ordering::Release);
        Ok(())
    }
}
