//! Rows by COPY: in binary where their types are known and stay what they are, else as text.

use super::super::binary;
use super::super::rows::{Format, Shape, failed};
use super::PostgresApplier;
use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use rowferry_api::{Error, ErrorKind, Result, Row};
use std::pin::Pin;
use tokio_postgres::CopyInSink;

/// Bytes of COPY data sent at once.
const COPY_BYTES: usize = 1 << 20;

/// A COPY into a table under way.
pub(in crate::target) struct Copy<'a> {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    table: &'a str,
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

    /// Sends rows as they are, after those in the buffer.
    pub(in crate::target) async fn send_bytes(&mut self, rows: Bytes) -> Result<()> {
        self.sink.send(rows).await.map_err(|error| failed(self.table, error))
    }

    /// Sends the rest; an error of any row comes here.
    pub(in crate::target) async fn finish(mut self) -> Result<()> {
        if self.format == Format::Binary {
            self.buffer.extend_from_slice(binary::TRAILER);
        }
        if !self.buffer.is_empty() {
            let rest = self.buffer.split().freeze();
            self.send_bytes(rest).await?;
        }
        self.sink.as_mut().finish().await.map(drop).map_err(|error| failed(self.table, error))
    }
}

impl PostgresApplier {
    /// Sends rows by COPY into a table, in binary up to the first that has to go as text.
    pub(super) async fn copy_rows(&mut self, shape: &Shape, into: &str, rows: &[&Row]) -> Result<()> {
        let sent = self.copy_some(shape, into, rows, shape.format()).await?;
        if sent < rows.len() {
            self.copy_some(shape, into, &rows[sent..], Format::Text).await?;
        }
        Ok(())
    }

    /// Sends rows by COPY up to the first that cannot go in this format; returns how many that were.
    async fn copy_some(&mut self, shape: &Shape, into: &str, rows: &[&Row], format: Format) -> Result<usize> {
        let mut copy = self.copy(shape, into, format).await?;
        let mut sent = 0;
        for row in rows {
            if format.put(row, &shape.columns, &mut copy.buffer).is_none() {
                break;
            }
            sent += 1;
            copy.send_full().await?;
        }
        copy.finish().await.map(|()| sent)
    }

    /// Begins a COPY into a table, inside a transaction.
    pub(in crate::target) async fn copy<'s>(
        &mut self,
        shape: &'s Shape,
        into: &str,
        format: Format,
    ) -> Result<Copy<'s>> {
        if format == Format::Binary && into == shape.table {
            self.refuse_other_types(shape).await?;
        }
        let statement = format!("COPY {into} ({}) FROM STDIN{}", shape.names(), format.clause());
        let statement = self.prepared(&statement).await?;
        let sink = self.client.copy_in(&statement).await.map_err(|error| failed(&shape.table, error))?;
        let buffer = BytesMut::from(if format == Format::Binary { binary::HEADER } else { &[] });
        Ok(Copy { sink: Box::pin(sink), table: &shape.table, format, buffer })
    }

    /// A server takes the bytes of one type for those of another. From here to the end of the transaction the table keeps
    /// its types: a statement whose answer would have others than when it was prepared is an error.
    async fn refuse_other_types(&mut self, shape: &Shape) -> Result<()> {
        let probe = self.prepared(&format!("SELECT {} FROM {} WHERE false", shape.names(), shape.table)).await?;
        let as_expected = shape.columns.iter().zip(probe.columns());
        let as_expected = as_expected
            .fold(true, |all, (column, have)| all && column.binary.is_some_and(|binary| binary.is(have.type_())));
        let probed = self.client.execute(&probe, &[]).await.map_err(|error| failed(&shape.table, error));
        match probed {
            Ok(_) if as_expected => Ok(()),
            Err(error) if error.kind() == ErrorKind::Unreachable => Err(error),
            _ => {
                self.forget();
                let what = format!("write table {}: its columns' types have changed meanwhile", shape.table);
                Err(Error::new(ErrorKind::Transient, what))
            }
        }
    }
}
