//! The log as it is written: the server's walsender, one message a row.
//!
//! Source: PostgreSQL manual, "Streaming Replication Protocol".

use super::decoder::Decoder;
use super::refusal;
use super::status::{CLOSE_WITHIN, Status};
use super::{CHUNK_BYTES, Place, end_of_log};
use crate::connection::{Failure, quote_command_text, quote_name};
use crate::lsn::Lsn;
use crate::pgoutput::timestamp;
use crate::replication::{Frame, FrameReader, connect};
use bytes::{Buf, Bytes};
use rowferry_api::{Event, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::Client;

/// How often a stream that lags looks how much log lies before it.
const WEIGH_EVERY: Duration = Duration::from_secs(2);

/// While the log is behind, rows gather at the socket for so long: nobody waits for them there, so that neither the server
/// wakes us for each nor we ask the system for each.
const GATHER: Duration = Duration::from_millis(1);

/// A slot's stream. Dropping it tells the server the last confirmed position and frees the slot.
pub(super) struct Stream {
    frames: FrameReader,
    status: Status,
    place: Arc<Place>,
    weighed_at: Instant,
    /// The end of the log, being asked for.
    weighing: Option<JoinHandle<Result<Option<Lsn>>>>,
}

/// How a call of [`Stream::next`] ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Streamed {
    Events,
    /// A backlog lies ahead, which is read faster in another way.
    Lags,
}

impl Stream {
    /// Streams what follows `start`, of which all up to `confirmed` is the slot's to forget.
    pub(super) async fn open(place: &Arc<Place>, client: &Client, start: Lsn, confirmed: Lsn) -> Result<Self> {
        let slot = &place.slot;
        let timeout = refusal::sender_timeout(client).await?;
        let mut connection = connect(&place.options).await?;
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {})",
            quote_name(slot),
            quote_command_text(&quote_name(&place.publication))
        );
        if let Err(failure) = connection.start_streaming(&command).await {
            return Err(refusal::explain_start(client, slot, failure, &place.context).await);
        }
        refusal::refuse_passed(client, slot, start).await?;
        Ok(Self {
            frames: connection.reader,
            status: Status::start(connection.writer, confirmed, timeout),
            place: place.clone(),
            weighed_at: Instant::now(),
            weighing: None,
        })
    }

    pub(super) fn confirm(&self, position: Lsn) {
        self.status.confirm(position);
    }

    /// Tells the server the last confirmed position and frees the slot: a server hears us between the messages that it sends, and
    /// hangs up once it has heard the farewell.
    pub(super) async fn close(&mut self) {
        self.status.end();
        let hung_up = async { while self.frames.next().await.is_ok() {} };
        let _ = tokio::time::timeout(CLOSE_WITHIN, hung_up).await;
    }

    /// Appends events. Only the first is waited for, and nothing is lost if that wait is dropped.
    pub(super) async fn next(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<Streamed> {
        let before = events.len();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES || events.len() == before {
            let frame = match self.frames.buffered() {
                Ok(None) if events.len() > before => return Ok(Streamed::Events),
                Ok(None) => {
                    if decoder.is_late() {
                        std::thread::sleep(GATHER);
                    }
                    self.frames.next().await
                }
                Ok(Some(frame)) => Ok(frame),
                Err(failure) => Err(failure),
            };
            let frame = frame.map_err(|failure| decoder.ended(failure))?;
            bytes += self.frame(frame, decoder, events).await?;
        }
        self.weigh(decoder).await
    }

    /// Whether so much log lies ahead that it is worth another way of reading. Looked at while chunks come full.
    async fn weigh(&mut self, decoder: &Decoder) -> Result<Streamed> {
        match &mut self.weighing {
            None if self.weighed_at.elapsed() > WEIGH_EVERY && self.place.reads_backlogs() => {
                let client = decoder.client();
                self.weighing = Some(tokio::spawn(async move { end_of_log(&client).await }));
            }
            Some(task) if task.is_finished() => {
                let Some(reached) = decoder.boundary() else { return Ok(Streamed::Events) };
                let end = task.await;
                self.weighing = None;
                self.weighed_at = Instant::now();
                if let Ok(Ok(Some(end))) = end
                    && end.0.saturating_sub(reached.0) >= self.place.backlog_bytes.saturating_mul(2)
                {
                    return Ok(Streamed::Lags);
                }
            }
            _ => {}
        }
        Ok(Streamed::Events)
    }

    /// Handles one frame. Returns the bytes that it brought.
    async fn frame(&mut self, frame: Frame, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<usize> {
        let size = frame.body.len();
        match frame.tag {
            b'd' => self.copy_data(frame.body, decoder, events).await?,
            b'N' => decoder.refuse_notice(&frame)?,
            // A setting that changed.
            b'S' => {}
            b'E' => return Err(decoder.ended(frame.error())),
            b'c' | b'C' => {
                let what = "the server ended the stream, since it is going down";
                return Err(decoder.ended(Failure::Broken(what.into())));
            }
            other => return Err(decoder.unknown(other)),
        }
        Ok(size)
    }

    async fn copy_data(&mut self, mut body: Bytes, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<()> {
        match (body.first().copied(), body.len()) {
            (Some(b'w'), 25..) => {
                // Where the message stands in the log; the transaction's own positions say more.
                body.advance(17);
                let sent_at = timestamp(body.get_i64());
                let is_commit = body.first() == Some(&b'C');
                decoder.message(body, Some(sent_at), events).await?;
                if is_commit && self.frames.is_drained() {
                    self.status.ask_soon();
                }
                Ok(())
            }
            (Some(b'k'), 18) => {
                body.advance(1);
                let wal_end = Lsn(body.get_u64());
                body.advance(8);
                if body.get_u8() == 1 {
                    self.status.reply();
                }
                // Between transactions, all that is ours before it has been sent.
                decoder.passed(wal_end, events);
                Ok(())
            }
            _ => Err(decoder.ended(Failure::Protocol("a message is cut short or of an unknown kind".into()))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = &self.weighing {
            task.abort();
        }
    }
}
