//! Reads tables range by range with COPY, at a source and at a target.
//!
//! Each range is a transaction of its own that locks the table before it looks: a snapshot older than a lock that was waited
//! for would see nothing of a table that was rewritten meanwhile.

mod pages;
mod split;

use crate::connection::{ConnectOptions, from_pg, quote_name, quote_table};
use crate::copy_binary;
use crate::delivered::Delivered;
use crate::keys::{KeyFacts, facts_statement};
use crate::publication::server_version;
use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use pages::{Later, Pages, Part};
use rowferry_api::{Block, BlockStream, Encoding, Error, ErrorKind, Range, Result, TableReader, TableSchema};
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::{Client, CopyOutStream, SimpleQueryMessage, SimpleQueryRow};

/// Version 14: ranges of pages are read without a scan of the rest.
const WITH_TID_RANGES: i32 = 140_000;
/// Bytes of a block, unless one row is larger.
const BLOCK_BYTES: usize = 512 << 10;

/// A connection that reads tables.
pub struct PostgresTableReader {
    options: ConnectOptions,
    client: Client,
    version: i32,
    /// What the log has said.
    delivered: Arc<Delivered>,
    /// A transaction is open: a read is under way, or was dropped before its end, and the connection is of no more use.
    reading: bool,
}

/// What the server says of a table once it is locked.
struct Facts {
    partitioned: bool,
    key: KeyFacts,
    /// pg_relation_filenode: another one means that rows have moved without a word in the log.
    node: u32,
}

impl PostgresTableReader {
    /// Connects. Reads wait until they see what was delivered before them.
    pub async fn open(options: ConnectOptions, delivered: Arc<Delivered>) -> Result<Self> {
        let client = options.connect().await?;
        let version = server_version(&client).await?;
        Ok(Self { options, client, version, delivered, reading: false })
    }

    async fn make_usable(&mut self) -> Result<()> {
        if self.reading || self.client.is_closed() {
            self.client = self.options.connect().await?;
            self.reading = false;
        }
        Ok(())
    }

    /// Opens a transaction with the table locked against rewrites, in one round trip.
    async fn begin(&mut self, table: &TableSchema, pages: Option<&Pages>, context: &str) -> Result<Facts> {
        let relation = pages.map_or(&table.name, |pages| &pages.leaf);
        let statements = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; LOCK TABLE ONLY {} IN ACCESS SHARE MODE; {}",
            quote_table(relation),
            facts_statement(table, relation)
        );
        self.reading = true;
        let answer = self.client.simple_query(&statements).await;
        let row = answer.map_err(|error| from_pg(context, error)).and_then(|messages| {
            let rows = messages.into_iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            rows.last().ok_or_else(|| Error::new(ErrorKind::Schema, format!("{context}: it is gone")))
        });
        match row {
            Ok(row) => Ok(facts_of(&row)),
            Err(error) => Err(self.give_up(error).await),
        }
    }

    /// Whether the columns have the types that the table was found with. They keep them while it is locked.
    async fn has_types(&mut self, table: &TableSchema, context: &str) -> Result<bool> {
        let statement = "SELECT count(*) = cardinality($2::text[])
                         FROM unnest($2::text[], $3::text[]) AS c(name, native)
                         JOIN pg_attribute a ON a.attrelid = to_regclass($1::text) AND a.attname = c.name AND a.attnum > 0
                              AND NOT a.attisdropped AND format_type(a.atttypid, a.atttypmod) = c.native";
        let (names, natives): (Vec<&str>, Vec<&str>) =
            table.columns.iter().map(|column| (column.name.as_str(), column.native.as_str())).unzip();
        match self.client.query_one(statement, &[&quote_table(&table.name), &names, &natives]).await {
            Ok(row) => Ok(row.get(0)),
            Err(error) => Err(self.give_up(from_pg(context, error)).await),
        }
    }

    /// The leaves that came later, as what to read from; `None` if there is none. Where one of them may not be read by its own name,
    /// the whole table is gone through for their rows.
    async fn later(&self, table: &TableSchema, later: &Later, context: &str) -> Result<Option<String>> {
        let statement = "SELECT coalesce(array_agg(c.oid::regclass::text), '{}'), string_agg(c.oid::text, ', '),
                                coalesce(bool_and(has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')), true)
                         FROM pg_partition_tree(to_regclass($1::text)) p JOIN pg_class c ON c.oid = p.relid AND c.relkind = 'r'
                         WHERE c.oid <> ALL ($2::oid[])";
        let row = self.client.query_one(statement, &[&quote_table(&table.name), &later.but]).await;
        let row = row.map_err(|error| from_pg(context, error))?;
        let (names, oids, readable): (Vec<String>, Option<String>, bool) = (row.get(0), row.get(1), row.get(2));
        let columns = columns(table);
        Ok(oids.map(|oids| match readable {
            true => {
                let each = names.iter().map(|name| format!("SELECT {columns} FROM ONLY {name}"));
                format!("({}) AS later", each.collect::<Vec<_>>().join(" UNION ALL "))
            }
            false => format!("{} WHERE tableoid IN ({oids})", quote_table(&table.name)),
        }))
    }

    async fn give_up(&mut self, error: Error) -> Error {
        self.reading = self.client.batch_execute("ROLLBACK").await.is_err();
        error
    }
}

fn facts_of(row: &SimpleQueryRow) -> Facts {
    Facts {
        partitioned: row.get(0) == Some("p"),
        key: KeyFacts {
            in_bytes: row.get(1).unwrap_or_default().bytes().map(|byte| byte == b't').collect(),
            indexed: row.get(2) == Some("t"),
            other_encoding: row.get(4) == Some("t"),
        },
        node: row.get(3).and_then(|node| node.parse().ok()).unwrap_or(0),
    }
}

#[async_trait]
impl TableReader for PostgresTableReader {
    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, ordered: bool) -> Result<Vec<Range>> {
        self.make_usable().await?;
        if !ordered && self.version >= WITH_TID_RANGES {
            return split::by_pages(&self.client, table, rows_per_range).await;
        }
        split::by_keys(&self.client, table, rows_per_range).await
    }

    async fn read<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        ordered: bool,
    ) -> Result<BlockStream<'a>> {
        self.copy_out(table, range, ordered, Encoding::Text).await
    }

    async fn read_encoded<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        encoding: Encoding,
    ) -> Result<BlockStream<'a>> {
        self.copy_out(table, range, false, encoding).await
    }
}

impl PostgresTableReader {
    async fn copy_out<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        ordered: bool,
        mut encoding: Encoding,
    ) -> Result<BlockStream<'a>> {
        self.make_usable().await?;
        let context = format!("read table {}", table.name);
        self.delivered.wait(&self.client).await?;
        let part = Part::of(range).map_err(|error| error.within(context.as_str()))?;
        let pages = match &part {
            Some(Part::Pages(pages)) => Some(pages),
            _ => None,
        };
        let facts = self.begin(table, pages, &context).await.map_err(|error| match (pages, error.kind()) {
            // A leaf that was dropped or renamed since the table was cut.
            (Some(_), ErrorKind::Schema) => Error::new(ErrorKind::Stale, error.to_string()),
            _ => error,
        })?;
        if pages.is_some_and(|pages| pages.node != facts.node) {
            let what = format!("{context}: it was rewritten at the source since it was cut into ranges");
            return Err(self.give_up(Error::new(ErrorKind::Stale, what)).await);
        }
        let from = match &part {
            Some(Part::Pages(pages)) => format!("ONLY {} WHERE {}", quote_table(&pages.leaf), pages.condition()),
            Some(Part::Later(later)) => match self.later(table, later, &context).await {
                Ok(Some(from)) => from,
                Ok(None) => {
                    self.client.batch_execute("COMMIT").await.map_err(|error| from_pg(context, error))?;
                    self.reading = false;
                    return Ok(Box::pin(stream::empty()));
                }
                Err(error) => return Err(self.give_up(error).await),
            },
            None => {
                let condition = facts.key.condition(table, range);
                from(table, facts.partitioned)
                    + &condition.map_or(String::new(), |condition| format!(" WHERE {condition}"))
            }
        };
        // The bytes of another type would be taken for those of this one.
        if encoding == Encoding::PostgresBinary && !self.has_types(table, &context).await? {
            encoding = Encoding::Text;
        }
        let order = match ordered && !table.key.is_empty() {
            true => format!(" ORDER BY {}", facts.key.order(table)),
            false => String::new(),
        };
        let format = if encoding == Encoding::PostgresBinary { " (FORMAT binary)" } else { "" };
        let statement = format!("COPY (SELECT {} FROM {from}{order}) TO STDOUT{format}", columns(table));
        match self.client.copy_out(statement.as_str()).await {
            Ok(rows) => {
                let reading = Reading {
                    reader: self,
                    rows: Box::pin(rows),
                    encoding,
                    begun: false,
                    buffer: BytesMut::new(),
                    context,
                };
                Ok(Box::pin(stream::try_unfold(reading, Reading::next)))
            }
            Err(error) => Err(self.give_up(from_pg(context, error)).await),
        }
    }
}

fn columns(table: &TableSchema) -> String {
    table.columns.iter().map(|column| quote_name(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Tables that inherit from this one in the old way are tables of their own; partitions are not.
fn from(table: &TableSchema, partitioned: bool) -> String {
    let name = quote_table(&table.name);
    if partitioned { name } else { format!("ONLY {name}") }
}

/// A COPY under way.
struct Reading<'a> {
    reader: &'a mut PostgresTableReader,
    rows: Pin<Box<CopyOutStream>>,
    encoding: Encoding,
    /// What stands before the first row in binary has come.
    begun: bool,
    buffer: BytesMut,
    context: String,
}

impl<'a> Reading<'a> {
    async fn next(mut self) -> Result<Option<(Block, Self)>> {
        if !self.reader.reading {
            return Ok(None);
        }
        let mut rows = 0;
        while self.buffer.len() < BLOCK_BYTES {
            let Some(row) = self.rows.next().await else {
                let done = self.reader.client.batch_execute("COMMIT").await;
                done.map_err(|error| from_pg(self.context.as_str(), error))?;
                self.reader.reading = false;
                break;
            };
            let row = row.map_err(|error| from_pg(self.context.as_str(), error))?;
            let Some(row) = self.row(&row)? else { continue };
            self.buffer.extend_from_slice(row);
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let data = self.buffer.split().freeze();
        self.buffer.reserve(BLOCK_BYTES + BLOCK_BYTES / 8);
        let encoding = self.encoding;
        Ok(Some((Block { data, rows, encoding }, self)))
    }

    /// The row that a message of the server's brings; in binary the first one has the header before it, and the last one is no row.
    fn row<'m>(&mut self, message: &'m [u8]) -> Result<Option<&'m [u8]>> {
        if self.encoding == Encoding::Text {
            return Ok(Some(message));
        }
        let row = match std::mem::replace(&mut self.begun, true) {
            true => message,
            false => message.strip_prefix(copy_binary::HEADER).ok_or_else(|| {
                Error::new(
                    ErrorKind::Protocol,
                    format!("{}: the rows do not begin as COPY's binary format", self.context),
                )
            })?,
        };
        Ok(Some(row).filter(|row| *row != copy_binary::TRAILER && !row.is_empty()))
    }
}
