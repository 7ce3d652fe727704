//! Reads the log: pgoutput's messages become events, and the server hears from us whatever our caller does.
//!
//! A task of its own writes status updates, also while nobody reads: a server that hears nothing for
//! `wal_sender_timeout` ends the connection. Source: PostgreSQL manual, "Streaming Replication Protocol".

mod forms;

use crate::connection::{ConnectOptions, from_pg, quote_name, quote_text};
use crate::lsn::Lsn;
use crate::pgoutput::{Message, Old, Relation, decode};
use crate::replication::{FrameReader, FrameWriter, connect, error_in, start_streaming};
use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use forms::{Form, Forms};
use rowferry_api::{
    Cell, Change, Error, ErrorKind, Event, Key, LogReader, Op, Position, Result, Row, RowBuilder, TableSchema,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A call of `next` stops appending at about this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest silence towards the server.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// A stream of one slot's changes.
pub struct PostgresLogReader {
    frames: FrameReader,
    forms: Forms,
    status: Arc<Status>,
    writer: JoinHandle<()>,
    context: String,
    in_transaction: bool,
    /// The farthest position that was handed out.
    reached: Lsn,
    builder: RowBuilder,
    /// A table whose catalog is being looked up: kept here so that a dropped call loses nothing.
    described: Option<Relation>,
}

/// What the writing task tells the server.
struct Status {
    confirmed: AtomicU64,
    /// Asks for a keepalive, which says how far an idle server has read.
    ask: Notify,
    changed: Notify,
    end: Notify,
}

impl PostgresLogReader {
    /// Opens a slot's stream at `from`. A position that the slot has passed is [`ErrorKind::LogLost`]: the server would
    /// start later, in silence.
    pub async fn open(
        options: &ConnectOptions,
        slot: &str,
        publication: &str,
        from: &Position,
        tables: &[Arc<TableSchema>],
    ) -> Result<Self> {
        let start = Lsn::try_from(from)?;
        let client = options.connect().await?;
        let timeout = refuse_passed(&client, slot, start).await?;
        let context = format!("read the log of slot \"{slot}\" at {}", options.describe());
        let (mut frames, mut writer) = connect(options).await?;
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {})",
            quote_name(slot),
            quote_text(&quote_name(publication))
        );
        start_streaming(&mut frames, &mut writer, &command, &context)
            .await
            .map_err(|error| explain(error, slot))?;
        let status = Arc::new(Status {
            confirmed: AtomicU64::new(start.0),
            ask: Notify::new(),
            changed: Notify::new(),
            end: Notify::new(),
        });
        status.ask.notify_one();
        let every = timeout.map_or(STATUS_EVERY, |timeout| (timeout / 3).min(STATUS_EVERY));
        Ok(Self {
            frames,
            forms: Forms::new(client, options.clone(), tables),
            writer: tokio::spawn(write_status(writer, status.clone(), every)),
            status,
            context,
            in_transaction: false,
            reached: start,
            builder: RowBuilder::new(),
            described: None,
        })
    }

    /// Handles one message of CopyData. Returns the bytes that it brought.
    async fn copy_data(&mut self, mut body: Bytes, events: &mut Vec<Event>) -> Result<usize> {
        let size = body.len();
        let short = || Error::new(ErrorKind::Protocol, format!("{}: a message is cut short", self.context));
        if body.is_empty() {
            return Err(short());
        }
        match body.get_u8() {
            b'w' if body.len() >= 24 => {
                body.advance(24);
                self.message(body, events).await?;
            }
            b'k' if body.len() == 17 => {
                let wal_end = Lsn(body.get_u64());
                body.advance(8);
                if body.get_u8() == 1 {
                    self.status.changed.notify_one();
                }
                // Between transactions everything before it has been sent, and there was nothing for us in it.
                if !self.in_transaction && wal_end > self.reached {
                    self.reached = wal_end;
                    events.push(Event::Heartbeat { position: wal_end.into() });
                }
            }
            _ => return Err(short()),
        }
        Ok(size)
    }

    async fn describe(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if let Some(relation) = self.described.clone() {
            let form = self.forms.describe(relation).await?;
            self.described = None;
            events.push(Event::Schema(form));
        }
        Ok(())
    }

    async fn message(&mut self, body: Bytes, events: &mut Vec<Event>) -> Result<()> {
        let message = decode(body, |oid| self.forms.columns(oid))?;
        match message {
            Message::Begin { xid } => {
                self.in_transaction = true;
                events.push(Event::Begin { xid: xid.to_string() });
            }
            Message::Commit { end, committed_at } => {
                self.in_transaction = false;
                self.reached = self.reached.max(end);
                events.push(Event::Commit { position: end.into(), committed_at });
                if self.frames.is_drained() {
                    self.status.ask.notify_one();
                }
            }
            Message::Relation(relation) => {
                self.described = Some(relation);
                self.describe(events).await?;
            }
            Message::Insert { relation, new } => {
                let form = self.forms.get(relation)?;
                events.push(change(form.table.clone(), Op::Insert(new)));
            }
            Message::Update { relation, old, new } => {
                let form = self.forms.get(relation)?;
                let after = match &old {
                    Some(Old::Full(before)) if new.is_partial() => filled(&mut self.builder, &new, before),
                    _ => new,
                };
                let key = key_of(form, old.as_ref().map_or(&after, Old::row))?;
                events.push(change(form.table.clone(), Op::Update { key, after }));
            }
            Message::Delete { relation, old } => {
                let form = self.forms.get(relation)?;
                let key = key_of(form, old.row())?;
                events.push(change(form.table.clone(), Op::Delete { key }));
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    let form = self.forms.get(relation)?;
                    events.push(change(form.table.clone(), Op::Truncate));
                }
            }
            Message::Other => {}
        }
        Ok(())
    }
}

#[async_trait]
impl LogReader for PostgresLogReader {
    async fn next(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        let mut bytes = 0;
        self.describe(events).await?;
        // Only the first frame is waited for, and nothing is lost if that wait is dropped.
        while bytes < CHUNK_BYTES {
            let frame = match self.frames.buffered()? {
                Some(frame) => frame,
                None if events.len() > before => return Ok(()),
                None => self.frames.next().await?,
            };
            match frame.tag {
                b'd' => bytes += self.copy_data(frame.body, events).await?,
                b'E' => return Err(error_in(&frame, &self.context)),
                b'c' => {
                    let what = format!("{}: the server ended the stream", self.context);
                    return Err(Error::new(ErrorKind::Unreachable, what));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn confirm(&mut self, position: &Position) -> Result<()> {
        let lsn = Lsn::try_from(position)?;
        self.status.confirmed.fetch_max(lsn.0, Ordering::AcqRel);
        self.status.changed.notify_one();
        Ok(())
    }
}

impl Drop for PostgresLogReader {
    fn drop(&mut self) {
        self.status.end.notify_one();
        let writer = self.writer.abort_handle();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                writer.abort();
            });
        }
    }
}

fn change(table: Arc<TableSchema>, op: Op) -> Event {
    Event::Change(Change { table, op })
}

fn key_of(form: &mut Form, row: &Row) -> Result<Key> {
    if form.table.key.is_empty() {
        // Its changes are not carried; the engine drops them by the table.
        return Ok(Key::from_cells([]));
    }
    match form.keys.key(row) {
        Some(key) if key.cells().all(|cell| cell != Cell::Null) => Ok(key),
        _ => Err(Error::new(
            ErrorKind::Schema,
            format!("read a change of {}: the log does not carry its whole key", form.table.name),
        )
        .hint(format!(
            "The replica identity of {} must hold its key: ALTER TABLE ... REPLICA IDENTITY FULL (or DEFAULT with a primary \
             key), then `rowferry resync --table {}`.",
            form.table.name, form.table.name
        ))),
    }
}

/// The new row, with the old one's cells where the log says unchanged.
fn filled(builder: &mut RowBuilder, new: &Row, old: &Row) -> Row {
    for (new, old) in new.cells().zip(old.cells()) {
        builder.push(if new == Cell::Unchanged { old } else { new });
    }
    builder.finish()
}

/// Checks that the slot has not passed `start`; returns the server's patience with a silent client.
async fn refuse_passed(client: &tokio_postgres::Client, slot: &str, start: Lsn) -> Result<Option<Duration>> {
    let context = || format!("look at slot \"{slot}\"");
    let row = client
        .query_opt(
            "SELECT confirmed_flush_lsn::text, (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout') \
             FROM pg_replication_slots WHERE slot_name = $1",
            &[&slot],
        )
        .await
        .map_err(|error| from_pg(context(), error))?;
    let Some(row) = row else {
        return Err(lost(format!("{}: it is gone", context())));
    };
    let confirmed: Option<String> = row.get(0);
    if let Some(confirmed) = confirmed
        && Lsn::parse(&confirmed)? > start
    {
        return Err(lost(format!(
            "{}: it has passed {confirmed} already, and this pipeline stands at {start}; what lies between is lost to it",
            context()
        )));
    }
    let timeout_ms: i64 = row.get(1);
    Ok(u64::try_from(timeout_ms).ok().filter(|timeout| *timeout > 0).map(Duration::from_millis))
}

/// The log no longer has what we need.
pub(crate) fn lost(what: String) -> Error {
    Error::new(ErrorKind::LogLost, what).hint(
        "`rowferry resync --all` starts the log anew and compares and copies every table again over what the target has.",
    )
}

/// What the server's refusal to stream means.
fn explain(error: Error, slot: &str) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Busy => error.hint(format!(
            "Another process reads slot \"{slot}\". Stop it, or give this pipeline a slot of its own."
        )),
        _ if text.contains("can no longer get changes") || text.contains("has already been removed") => lost(text),
        ErrorKind::Schema if text.contains("does not exist") => lost(text),
        _ => error,
    }
}

/// Tells the server how far we are: on its request, on a confirmation, and often enough to be heard.
async fn write_status(mut writer: FrameWriter, status: Arc<Status>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    let mut ended = false;
    while !ended {
        let ask = tokio::select! {
            () = status.end.notified() => { ended = true; false }
            () = status.ask.notified() => true,
            () = status.changed.notified() => false,
            _ = ticks.tick() => true,
        };
        let lsn = status.confirmed.load(Ordering::Acquire);
        let mut frame = BytesMut::with_capacity(39);
        frame.put_u8(b'd');
        frame.put_u32(4 + 34);
        frame.put_u8(b'r');
        // Written, flushed and applied are the same to us: what is checkpointed.
        frame.put_u64(lsn);
        frame.put_u64(lsn);
        frame.put_u64(lsn);
        frame.put_i64(0);
        frame.put_u8(ask.into());
        if writer.send(&frame).await.is_err() {
            // The reading half sees the same broken connection and says so.
            return;
        }
    }
    writer.close().await;
}
