//! Rows by COPY: in binary where their types are known and stay what they are, else as text.
//!
//! Many tables with a few rows each cost the ways to the server and back rather than the rows, so what can be asked for all of
//! them is asked at once.

use super::super::rows::{Format, Shape, Written, failed, list};
use super::PostgresApplier;
use crate::connection::from_pg;
use crate::copy_binary;
use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::future::join;
use rowferry_api::{Error, ErrorKind, Result, Row, TableRows};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::CopyInSink;

/// Bytes of COPY data sent at once.
const COPY_BYTES: usize = 1 << 20;

/// A COPY into a table under way.
pub(in crate::target) struct Copy<'a> {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    shape: &'a Shape,
    format: Format,
    /// Rows that are sent with the next ones.
    pub(in crate::target) buffer: BytesMut,
}

impl Copy<'_> {
    /// Sends what is in the buffer, if it is much.
    pub(in crate::target) async fn send_full(&mut self) -> Result<()> {
        if self.buffer.len() >= COPY_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<()> {
        let rows = self.buffer.split().freeze();
        self.buffer.reserve(COPY_BYTES + COPY_BYTES / 8);
        self.send_bytes(rows).await
    }

    /// Sends rows of this format as they are, after those in the buffer.
    pub(in crate::target) async fn send_as_they_are(&mut self, rows: Bytes) -> Result<()> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        self.send_bytes(rows).await
    }

    async fn send_bytes(&mut self, rows: Bytes) -> Result<()> {
        self.sink.send(rows).await.map_err(|error| failed(&self.shape.table, error))
    }

    /// Sends the rest; an error of any row comes here.
    pub(in crate::target) async fn finish(mut self) -> Result<()> {
        if self.format == Format::Binary {
            self.buffer.extend_from_slice(copy_binary::TRAILER);
        }
        if !self.buffer.is_empty() {
            let rest = self.buffer.split().freeze();
            self.send_bytes(rest).await?;
        }
        self.sink.as_mut().finish().await.map(drop).map_err(|error| failed(&self.shape.table, error))
    }
}

impl PostgresApplier {
    /// Sends the new rows of tables, each straight into its table. `overlaps`: a COPY begins while the one before it ends. One that fails
    /// takes the connection with it then, and what the transaction has done before.
    pub(super) async fn copy_tables(&mut self, tables: &[(&TableRows, Arc<Shape>)], overlaps: bool) -> Result<()> {
        let statements = tables.iter().map(|(_, shape)| copy_statement(shape, &shape.table, shape.format()));
        self.prepare_all(statements.collect()).await?;
        self.refuse_other_types(&tables.iter().map(|(_, shape)| &**shape).collect::<Vec<_>>()).await?;
        let mut last = None;
        for (rows, shape) in tables {
            let rows: Vec<&Row> = rows.inserts.iter().collect();
            last = self.send_rows(last, shape, &shape.table, &rows).await?;
            if !overlaps {
                finish(last.take()).await?;
            }
        }
        finish(last).await
    }

    /// Sends rows by COPY into a table.
    pub(super) async fn copy_rows(&mut self, shape: &Shape, into: &str, rows: &[&Row]) -> Result<()> {
        if into == shape.table {
            self.refuse_other_types(&[shape]).await?;
        }
        finish(self.send_rows(None, shape, into, rows).await?).await
    }

    /// Ends the `last` COPY and sends rows with others, in binary up to the first row that has to go as text. Returns the one that is
    /// still to be ended.
    async fn send_rows<'s>(
        &mut self,
        mut last: Option<Copy<'s>>,
        shape: &'s Shape,
        into: &str,
        mut rows: &[&Row],
    ) -> Result<Option<Copy<'s>>> {
        let mut format = shape.format();
        while !rows.is_empty() {
            let first = |buffer: &mut BytesMut| rows = put_some(format, rows, &shape.columns, buffer);
            let mut copy = self.begin_copy(last.take(), shape, into, format, first).await?;
            let mut left = rows.len() + 1;
            while !rows.is_empty() && rows.len() < left {
                copy.send_full().await?;
                left = rows.len();
                rows = put_some(format, rows, &shape.columns, &mut copy.buffer);
            }
            last = Some(copy);
            if !rows.is_empty() {
                finish(last.take()).await?;
                format = Format::Text;
            }
        }
        Ok(last)
    }

    /// Begins a COPY into a table, inside a transaction.
    pub(in crate::target) async fn copy<'s>(
        &mut self,
        shape: &'s Shape,
        into: &str,
        format: Format,
    ) -> Result<Copy<'s>> {
        if format == Format::Binary && into == shape.table {
            self.refuse_other_types(&[shape]).await?;
        }
        self.begin_copy(None, shape, into, format, |_| {}).await
    }

    /// Begins a COPY while the `last` one ends, and while `first` puts its first rows into the buffer. Its statement is prepared if there is
    /// a last one: nothing else is answered before its end.
    async fn begin_copy<'s>(
        &mut self,
        last: Option<Copy<'_>>,
        shape: &'s Shape,
        into: &str,
        format: Format,
        first: impl FnOnce(&mut BytesMut),
    ) -> Result<Copy<'s>> {
        let statement = self.prepared(&copy_statement(shape, into, format)).await?;
        let mut buffer = BytesMut::from(if format == Format::Binary { copy_binary::HEADER } else { &[] });
        let ask = join(finish(last), self.client.copy_in(&statement));
        let ((ended, begun), ()) = join(ask, async { first(&mut buffer) }).await;
        // The library ends a COPY that never began once more, and takes each later answer for that of the statement before.
        self.spoiled |= begun.is_err();
        ended?;
        let sink = begun.map_err(|error| failed(&shape.table, error))?;
        Ok(Copy { sink: Box::pin(sink), shape, format, buffer })
    }

    /// A server takes the bytes of one type for those of another. From here to the end of the transaction these tables are held as they
    /// are, and their types have to be those that were looked up.
    async fn refuse_other_types(&mut self, shapes: &[&Shape]) -> Result<()> {
        let shapes: Vec<&&Shape> = shapes.iter().filter(|shape| shape.format() == Format::Binary).collect();
        let Some(first) = shapes.first() else { return Ok(()) };
        let types = self
            .prepared(
                "SELECT attrelid, array_agg(atttypid ORDER BY attnum) FROM pg_catalog.pg_attribute \
                 WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped GROUP BY attrelid",
            )
            .await?;
        let hold = format!(
            "LOCK TABLE {} IN ACCESS SHARE MODE",
            list(shapes.iter().map(|shape| format!("ONLY {}", shape.table)))
        );
        let oids: Vec<u32> = shapes.iter().map(|shape| shape.oid).collect();
        let (held, found) = join(self.client.batch_execute(&hold), self.client.query(&types, &[&oids])).await;
        let found = match held {
            Ok(()) => found.map_err(|error| from_pg("look at the types of the target's columns", error))?,
            Err(error) => {
                let error = failed(&first.table, error);
                if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Denied) {
                    return Err(error);
                }
                Vec::new()
            }
        };
        let found: HashMap<u32, Vec<u32>> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        match shapes.iter().find(|shape| found.get(&shape.oid) != Some(&shape.types)) {
            None => Ok(()),
            Some(other) => {
                self.forget();
                let what = format!("write table {}: its columns' types have changed meanwhile", other.table);
                Err(Error::new(ErrorKind::Transient, what))
            }
        }
    }
}

/// Puts rows into a buffer until it is full, or one of them does not go in this format. Returns those that are left.
fn put_some<'r, 'a>(
    format: Format,
    mut rows: &'r [&'a Row],
    columns: &[Written],
    buffer: &mut BytesMut,
) -> &'r [&'a Row] {
    while let [row, rest @ ..] = rows
        && buffer.len() < COPY_BYTES
        && format.put(row, columns, buffer).is_some()
    {
        rows = rest;
    }
    rows
}

/// Ends a COPY, if there is one.
async fn finish(copy: Option<Copy<'_>>) -> Result<()> {
    match copy {
        Some(copy) => copy.finish().await,
        None => Ok(()),
    }
}

fn copy_statement(shape: &Shape, into: &str, format: Format) -> String {
    format!("COPY {into} ({}) FROM STDIN{}", shape.names(), format.clause())
}
