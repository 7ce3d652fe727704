//! Reads tables range by range, at a source and at a target.
//!
//! Each range is one consistent read of one statement, without a lock.

mod cells;
mod native;
mod split;

use crate::connection::{ConnectOptions, Flavor, Server, from_mysql, quote_name, quote_table};
use crate::keys;
use crate::shared::Shared;
use crate::zero_dates::{NullDates, ZeroDates};
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use cells::Converter;
use futures_util::stream;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, QueryResult, TextProtocol, Value};
use native::NativeRange;
use rowferry_api::{Block, BlockStream, Encoding, Keeps, Range, Result, TableReader, TableSchema, Type};
use std::sync::Arc;

/// Bytes of a block, unless one row is larger.
const BLOCK_BYTES: usize = 512 << 10;

/// What a reader at a source knows besides.
pub(crate) struct AtSource {
    pub(crate) shared: Arc<Shared>,
    pub(crate) zero_dates: Arc<ZeroDates>,
}

/// A connection that reads tables.
pub(crate) struct MysqlTableReader {
    options: ConnectOptions,
    conn: Conn,
    server: Server,
    at_source: Option<AtSource>,
    /// A read is under way, or was dropped before its end, and the connection is of no more use.
    reading: bool,
}

impl MysqlTableReader {
    /// Connects. At a source reads wait until they see what the log has said.
    pub(crate) async fn open(options: ConnectOptions, at_source: Option<AtSource>) -> Result<Self> {
        let (conn, server) = options.connect().await?;
        Ok(Self { options, conn, server, at_source, reading: false })
    }

    async fn make_usable(&mut self) -> Result<()> {
        if self.reading {
            (self.conn, self.server) = self.options.connect().await?;
            self.reading = false;
        }
        Ok(())
    }
}

#[async_trait]
impl TableReader for MysqlTableReader {
    fn keeps(&self) -> Keeps {
        Keeps { json_text: !self.server.is_mysql(5, 8), minus_zero: self.server.flavor == Flavor::Mysql }
    }

    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, ordered: bool) -> Result<Vec<Range>> {
        self.make_usable().await?;
        self.reading = true;
        let is_native = !ordered && native::is_possible(table) && !split::has_prefix(&mut self.conn, table).await?;
        let ranges = match is_native {
            true => split::by_index(&mut self.conn, table, rows_per_range).await,
            false => split::by_keys(&mut self.conn, table, rows_per_range).await,
        }?;
        self.reading = false;
        Ok(ranges)
    }

    async fn read<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        ordered: bool,
    ) -> Result<BlockStream<'a>> {
        self.make_usable().await?;
        let context = format!("read table {}", table.name);
        let mut statement = select(table, range, ordered).map_err(|error| error.within(context.as_str()))?;
        self.reading = true;
        if let Some(source) = &self.at_source
            && source.shared.received.wait(&mut self.conn, self.server).await?
        {
            statement += "; COMMIT";
        }
        let rows = self.conn.query_iter(statement).await.map_err(|error| from_mysql(context.as_str(), error))?;
        let converters = rows
            .columns_ref()
            .iter()
            .zip(&table.columns)
            .map(|(found, column)| {
                let nulls = self.at_source.as_ref().and_then(|source| source.zero_dates.nulls(&table.name, column));
                (Converter::new(column, found), nulls)
            })
            .collect();
        let reading = Reading {
            rows: Some(rows),
            through: &mut self.reading,
            converters,
            buffer: BytesMut::new(),
            scratch: Vec::new(),
            context,
        };
        Ok(Box::pin(stream::try_unfold(reading, Reading::next)))
    }
}

fn select(table: &TableSchema, range: &Range, ordered: bool) -> Result<String> {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| match column.ty {
            // A number of 32 bits is printed as one of 64, which keeps all of its own, and one with fixed digits behind the point
            // as what it is. Zero keeps its sign.
            Type::Float { .. } => format!("({} - 0e0)", quote_name(&column.name)),
            _ => quote_name(&column.name),
        })
        .collect();
    let condition = match range {
        Range::Native(text) => NativeRange::parse(text)?.condition(table)?,
        range => keys::condition(table, range),
    };
    let condition = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
    let order = match ordered && !table.key.is_empty() {
        true => format!(" ORDER BY {}", keys::order_by(table)),
        false => String::new(),
    };
    Ok(format!("SELECT {} FROM {}{condition}{order}", columns.join(", "), quote_table(&table.name)))
}

/// A read under way.
struct Reading<'a> {
    rows: Option<QueryResult<'a, 'static, TextProtocol>>,
    /// The reader's own mark, taken away once all has been read.
    through: &'a mut bool,
    converters: Vec<(Converter, Option<NullDates>)>,
    buffer: BytesMut,
    scratch: Vec<u8>,
    context: String,
}

impl Reading<'_> {
    async fn next(mut self) -> Result<Option<(Block, Self)>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let mut count = 0;
        let mut ended = false;
        while self.buffer.len() < BLOCK_BYTES {
            let Some(row) = rows.next().await.map_err(|error| from_mysql(self.context.as_str(), error))? else {
                ended = true;
                break;
            };
            for (place, (converter, nulls)) in self.converters.iter().enumerate() {
                if place > 0 {
                    self.buffer.put_u8(b'\t');
                }
                let becomes_null = match (nulls, row.as_ref(place)) {
                    (Some(nulls), Some(Value::Bytes(text))) => nulls.takes(text),
                    _ => false,
                };
                let value = row.as_ref(place).filter(|_| !becomes_null);
                converter.put(value, &mut self.scratch, &mut self.buffer);
            }
            self.buffer.put_u8(b'\n');
            count += 1;
        }
        if ended {
            if let Some(rows) = self.rows.take() {
                rows.drop_result().await.map_err(|error| from_mysql(self.context.as_str(), error))?;
            }
            *self.through = false;
        }
        if count == 0 {
            return Ok(None);
        }
        let data = self.buffer.split().freeze();
        if !ended {
            self.buffer.reserve(BLOCK_BYTES + BLOCK_BYTES / 8);
        }
        Ok(Some((Block { data, rows: count, encoding: Encoding::Text }, self)))
    }
}
