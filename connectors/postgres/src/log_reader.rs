//! Reads the log: pgoutput's messages become events.
//!
//! Source: PostgreSQL manual, "Streaming Replication Protocol".

mod forms;
mod refusal;
mod status;

use crate::connection::{ConnectOptions, Failure, quote_command_text, quote_name};
use crate::lsn::Lsn;
use crate::pgoutput::{Message, decode, timestamp};
use crate::replication::{Frame, FrameReader, connect};
use crate::slot;
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use forms::{Forms, Lookup};
pub(crate) use refusal::lost;
use rowferry_api::{Error, Event, LogReader, Position, Result, TableSchema, Timestamp};
use status::Status;
use std::sync::Arc;

/// A call of `next` stops appending at about this size.
const CHUNK_BYTES: usize = 256 << 10;

/// A transaction that was committed so long before it was sent is part of a backlog.
const LATE_US: i64 = 100_000;

/// A stream of one slot's changes. Dropping it tells the server the last confirmed position and frees the slot.
pub struct PostgresLogReader {
    frames: FrameReader,
    status: Status,
    forms: Forms,
    publication: String,
    context: String,
    in_transaction: bool,
    /// The farthest position that was handed out.
    reached: Lsn,
    /// A table that is being looked up: kept here so that a dropped call loses nothing.
    lookup: Option<Lookup>,
}

impl PostgresLogReader {
    /// Opens a slot's stream at `from`. A position that the slot has passed is [`LogLost`](rowferry_api::ErrorKind::LogLost): the server would
    /// start later, in silence. A slot that another client reads is [`Busy`](rowferry_api::ErrorKind::Busy).
    pub async fn open(
        options: &ConnectOptions,
        slot: &str,
        publication: &str,
        from: &Position,
        tables: &[Arc<TableSchema>],
    ) -> Result<Self> {
        let start = Lsn::try_from(from)?;
        let client = options.connect().await?;
        slot::wait_until_free(&client, slot).await?;
        slot::refuse_lost(&client, slot, start).await?;
        let timeout = refusal::sender_timeout(&client).await?;
        let context = format!("read the log of slot \"{slot}\" at {}", options.describe());
        let mut connection = connect(options).await?;
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {})",
            quote_name(slot),
            quote_command_text(&quote_name(publication))
        );
        if let Err(failure) = connection.start_streaming(&command).await {
            return Err(refusal::explain_start(&client, slot, failure, &context).await);
        }
        refusal::refuse_passed(&client, slot, start).await?;
        Ok(Self {
            frames: connection.reader,
            status: Status::start(connection.writer, start, timeout),
            forms: Forms::new(client, options.clone(), tables),
            publication: publication.to_owned(),
            context,
            in_transaction: false,
            reached: start,
            lookup: None,
        })
    }

    /// Handles one frame. Returns the bytes that it brought.
    async fn frame(&mut self, frame: Frame, events: &mut Vec<Event>) -> Result<usize> {
        let size = frame.body.len();
        match frame.tag {
            b'd' => self.copy_data(frame.body, events).await?,
            b'N' => self.refuse_notice(&frame)?,
            // A setting that changed.
            b'S' => {}
            b'E' => return Err(self.ended(frame.error())),
            b'c' | b'C' => {
                return Err(self.ended(Failure::Broken("the server ended the stream, since it is going down".into())));
            }
            other => {
                return Err(self.ended(Failure::Protocol(format!("unknown message '{}'", other.escape_ascii()))));
            }
        }
        Ok(size)
    }

    async fn copy_data(&mut self, mut body: Bytes, events: &mut Vec<Event>) -> Result<()> {
        match (body.first().copied(), body.len()) {
            (Some(b'w'), 25..) => {
                // Where the message stands in the log; the transaction's own positions say more.
                body.advance(17);
                let sent_at = timestamp(body.get_i64());
                self.message(body, sent_at, events).await
            }
            (Some(b'k'), 18) => {
                body.advance(1);
                let wal_end = Lsn(body.get_u64());
                body.advance(8);
                self.keepalive(wal_end, body.get_u8() == 1, events);
                Ok(())
            }
            _ => Err(self.ended(Failure::Protocol("a message is cut short or of an unknown kind".into()))),
        }
    }

    fn keepalive(&mut self, wal_end: Lsn, wants_reply: bool, events: &mut Vec<Event>) {
        if wants_reply {
            self.status.reply();
        }
        // Between transactions, all that is ours before it has been sent.
        if !self.in_transaction && wal_end > self.reached {
            self.reached = wal_end;
            events.push(Event::Heartbeat { position: wal_end.into() });
        }
    }

    async fn message(&mut self, body: Bytes, sent_at: Timestamp, events: &mut Vec<Event>) -> Result<()> {
        match decode(body, |oid| self.forms.columns(oid)).map_err(|error| error.within(self.context.clone()))? {
            Message::Begin { xid } => {
                self.in_transaction = true;
                events.push(Event::Begin { xid: xid.to_string() });
            }
            Message::Commit { end, committed_at } => {
                self.in_transaction = false;
                self.reached = self.reached.max(end);
                let is_late = sent_at.0.saturating_sub(committed_at.0) > LATE_US;
                events.push(Event::Commit { position: end.into(), committed_at, is_late });
                if self.frames.is_drained() {
                    self.status.ask_soon();
                }
            }
            Message::Relation(relation) => {
                self.lookup = self.forms.look_up(relation);
                self.describe(events).await?;
            }
            Message::Insert { relation, new } => events.push(self.forms.get(relation)?.insert(new)?),
            Message::Update { relation, old, new } => {
                events.push(self.forms.get(relation)?.update(old.as_ref(), new)?);
            }
            Message::Delete { relation, old } => events.push(self.forms.get(relation)?.delete(&old)?),
            Message::Truncate { relations } => {
                for relation in relations {
                    events.push(self.forms.get(relation)?.truncate());
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Finishes what a Relation message began.
    async fn describe(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if let Some(lookup) = &mut self.lookup {
            let (relation, found) = lookup.found().await?;
            self.lookup = None;
            events.extend(self.forms.describe(relation, found).map(Event::Schema));
        }
        Ok(())
    }

    fn refuse_notice(&self, frame: &Frame) -> Result<()> {
        refusal::explain_notice(frame.error(), &self.publication, &self.context).map_or(Ok(()), Err)
    }

    fn ended(&self, failure: Failure) -> Error {
        refusal::explain_end(failure, &self.publication, &self.context)
    }
}

#[async_trait]
impl LogReader for PostgresLogReader {
    async fn next(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        let mut bytes = 0;
        self.describe(events).await?;
        // Only the first event is waited for, and nothing is lost if that wait is dropped.
        while bytes < CHUNK_BYTES || events.len() == before {
            let frame = match self.frames.buffered() {
                Ok(None) if events.len() > before => return Ok(()),
                Ok(None) => self.frames.next().await,
                Ok(Some(frame)) => Ok(frame),
                Err(failure) => Err(failure),
            };
            let frame = frame.map_err(|failure| self.ended(failure))?;
            bytes += self.frame(frame, events).await?;
        }
        Ok(())
    }

    fn confirm(&mut self, position: &Position) -> Result<()> {
        self.status.confirm(Lsn::try_from(position)?);
        Ok(())
    }
}
