//! A backlog, read several times as fast as the walsender sends: that makes a system call a row.
//!
//! Two sessions take turns. Each reads a part with `pg_logical_slot_get_binary_changes` and COPY, on a temporary copy of the
//! slot, while the other one's part is sent and applied; the next part starts on a copy of the copy that has the last one
//! behind it. The slot itself moves only to what is confirmed, so a crash loses nothing, and the copies are gone with their
//! connections. The server writes a part down before it sends it (temporary files of about the part's size), and for each part
//! it goes again through the log from the last place where it had noted which transactions were open, about 15 s of log
//! before, at a tenth of the price; so parts grow where that place lies far behind.
//!
//! Source: PostgreSQL manual, "Replication Management Functions"; COPY, "Binary Format".

use super::decoder::Decoder;
use super::{CHUNK_BYTES, Place};
use crate::connection::{Failure, from_pg, quote_name, quote_text};
use crate::lsn::Lsn;
use crate::replication::{Frame, ReplicationConnection, connect};
use bytes::{Buf, Bytes};
use rowferry_api::{Error, ErrorKind, Event, Result};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// The smallest part is this share of the backlog from which this way is taken.
const SMALLEST_PART: u64 = 4;
/// The largest part is so many times that backlog.
const LARGEST_PART: u64 = 16;
/// So many times its own size is gone through again for a part before a larger one is taken.
const READ_AGAIN: u64 = 1;
/// Signature, flags, and the length of what extends them.
const HEADER_BYTES: usize = 19;

/// What lies between two places of a slot's log.
pub(super) struct Backlog {
    place: Arc<Place>,
    goal: Lsn,
    /// The part that is being read.
    part: Option<Made>,
    /// The part after it, being made; `None` at the end.
    next: Option<JoinHandle<Result<Made>>>,
    /// The session whose part has been read.
    idle: Option<Session>,
    /// Moves the slot.
    client: Arc<Client>,
    confirmed: Lsn,
    /// Where the slot was moved to, or is being moved to.
    released: Lsn,
    releasing: Option<JoinHandle<()>>,
}

/// A connection and its copy of the slot.
struct Session {
    connection: ReplicationConnection,
    copy: String,
}

/// A part that the server has decoded and written down.
struct Made {
    session: Session,
    /// All that was committed before it has been read.
    from: Lsn,
    /// It goes to here at least.
    to: Lsn,
    /// What the server had to say while it decoded.
    notices: Vec<Frame>,
    header_read: bool,
}

impl Backlog {
    /// Opens what lies between `from` and the end of the log now, if it is much and the server gives the slot its copies.
    pub(super) async fn open(
        place: &Arc<Place>,
        client: &Arc<Client>,
        from: Lsn,
        confirmed: Lsn,
    ) -> Result<Option<Self>> {
        let Some(goal) = end_of_log(client).await? else { return Ok(None) };
        if place.backlog_bytes == 0 || goal.0.saturating_sub(from.0) < place.backlog_bytes {
            return Ok(None);
        }
        let (mut first, mut second) = (Session::open(place).await?, Session::open(place).await?);
        match take_copies(&mut first, &mut second, &place.slot, from).await {
            Ok(()) => {}
            Err(Failure::Server(error)) => {
                let reason = Failure::Server(error).into_error("copy the slot").to_string();
                tracing::info!(slot = %place.slot, %reason, "the backlog is streamed, which is slower");
                return Ok(None);
            }
            Err(failure) => return Err(failure.into_error(place.context.clone())),
        }
        tracing::info!(slot = %place.slot, from = %from, to = %goal, bytes = goal.0 - from.0, "reading a backlog in parts");
        let next = tokio::spawn(first.make(place.clone(), goal, None));
        Ok(Some(Self {
            place: place.clone(),
            goal,
            part: None,
            next: Some(next),
            idle: Some(second),
            client: client.clone(),
            confirmed,
            released: confirmed,
            releasing: None,
        }))
    }

    pub(super) fn confirm(&mut self, position: Lsn) {
        self.confirmed = self.confirmed.max(position);
    }

    /// The task that still moves the slot, if one does: until it has ended the slot is in use.
    pub(super) fn take_releasing(&mut self) -> Option<JoinHandle<()>> {
        self.releasing.take()
    }

    /// Appends events; returns whether the backlog goes on. Nothing is lost if the wait is dropped.
    pub(super) async fn next(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<bool> {
        if self.part.is_some() {
            return self.read(decoder, events).await.map(|()| true);
        }
        let Some(task) = &mut self.next else { return Ok(false) };
        let made = task.await.map_err(|error| {
            Error::new(ErrorKind::Other, "read a backlog: the task ended in a panic").because(error)
        })?;
        self.next = None;
        let made = made?;
        decoder.passed(made.from, events);
        self.release();
        if made.from < self.goal {
            let before = Some((made.session.copy.clone(), made.to));
            self.next = self.idle.take().map(|idle| tokio::spawn(idle.make(self.place.clone(), self.goal, before)));
            self.part = Some(made);
        }
        Ok(true)
    }

    async fn read(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<()> {
        let Some(Made { session, notices, header_read, .. }) = &mut self.part else { return Ok(()) };
        for notice in std::mem::take(notices) {
            decoder.refuse_notice(&notice)?;
        }
        let reader = &mut session.connection.reader;
        let before = events.len();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES {
            let frame = match reader.buffered() {
                Ok(None) if events.len() > before => return Ok(()),
                Ok(None) => reader.next().await,
                Ok(Some(frame)) => Ok(frame),
                Err(failure) => Err(failure),
            };
            let frame = frame.map_err(|failure| decoder.ended(failure))?;
            bytes += frame.body.len();
            match frame.tag {
                b'd' => {
                    if let Some(message) = row(frame.body, header_read).map_err(|failure| decoder.ended(failure))? {
                        decoder.message(message, None, events).await?;
                    }
                }
                b'N' => decoder.refuse_notice(&frame)?,
                b'c' | b'C' | b'S' => {}
                b'Z' => {
                    self.idle = self.part.take().map(|made| made.session);
                    return Ok(());
                }
                b'E' => return Err(decoder.ended(frame.error())),
                other => return Err(decoder.unknown(other)),
            }
        }
        Ok(())
    }

    /// Lets the slot go of what is confirmed.
    fn release(&mut self) {
        let is_free = self.releasing.as_ref().is_none_or(JoinHandle::is_finished);
        if is_free && self.confirmed.0.saturating_sub(self.released.0) >= self.place.backlog_bytes {
            self.released = self.confirmed;
            let (client, slot, to) = (self.client.clone(), self.place.slot.clone(), self.confirmed.to_string());
            self.releasing = Some(tokio::spawn(async move {
                let parameters: [&(dyn ToSql + Sync); 2] = [&slot, &to];
                let statement = "SELECT FROM pg_replication_slot_advance($1, $2::text::pg_lsn)";
                if let Err(error) = client.query(statement, &parameters).await {
                    let error = from_pg(format!("move slot \"{slot}\" to {to}"), error);
                    tracing::warn!(%error, "the source keeps log that is not needed any more, for now");
                }
            }));
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        if let Some(task) = &self.next {
            task.abort();
        }
    }
}

/// The end of the log; `None` on a standby, which says other things of it.
async fn end_of_log(client: &Client) -> Result<Option<Lsn>> {
    let statement = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END::text";
    let row = client.query_one(statement, &[]).await.map_err(|error| from_pg("ask for the end of the log", error))?;
    row.get::<_, Option<&str>>(0).map(Lsn::parse).transpose()
}

/// Gives either session a copy of the slot that starts at `from`.
async fn take_copies(first: &mut Session, second: &mut Session, slot: &str, from: Lsn) -> Result<(), Failure> {
    first.take_copy(slot).await?;
    let copy = quote_text(&first.copy);
    let advance = format!(
        "SELECT pg_catalog.pg_replication_slot_advance(slot_name, '{from}') FROM pg_catalog.pg_replication_slots \
         WHERE slot_name = {copy} AND confirmed_flush_lsn < '{from}'"
    );
    first.connection.query(&advance).await?;
    second.take_copy(&first.copy).await
}

impl Session {
    async fn open(place: &Place) -> Result<Self> {
        let mut connection = connect(&place.options).await?;
        let pid = connection.query("SELECT pg_catalog.pg_backend_pid()").await;
        let pid = pid.map_err(|failure| failure.into_error(place.context.clone()))?;
        let pid = pid.into_iter().flatten().next().flatten().unwrap_or_default();
        Ok(Self { connection, copy: format!("rowferry_backlog_{pid}") })
    }

    /// Takes a copy of a slot, in place of the one before, that ends with this connection.
    async fn take_copy(&mut self, slot: &str) -> Result<(), Failure> {
        let (slot, copy) = (quote_text(slot), quote_text(&self.copy));
        let drop = format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {copy}"
        );
        self.connection.query(&drop).await?;
        self.connection
            .query(&format!("SELECT FROM pg_catalog.pg_copy_logical_replication_slot({slot}, {copy}, true)"))
            .await?;
        Ok(())
    }

    /// Makes the part that follows `before`: the copy that has read what is before it, and to where it was to read.
    async fn make(self, place: Arc<Place>, goal: Lsn, before: Option<(String, Lsn)>) -> Result<Made> {
        let context = place.context.clone();
        self.try_to_make(&place, goal, before).await.map_err(|failure| failure.into_error(context))
    }

    async fn try_to_make(mut self, place: &Place, goal: Lsn, before: Option<(String, Lsn)>) -> Result<Made, Failure> {
        let mut reached = Lsn(0);
        if let Some((copy, to)) = before {
            self.take_copy(&copy).await?;
            reached = to;
        }
        let copy = quote_text(&self.copy);
        let asked = self
            .connection
            .query(&format!(
                "SELECT confirmed_flush_lsn, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = {copy}"
            ))
            .await?;
        let mut places = asked.iter().flatten().flatten().map(|text| Lsn::parse(text));
        let (Some(Ok(from)), Some(Ok(restart))) = (places.next(), places.next()) else {
            return Err(Failure::Protocol("the server does not know the copy of the slot that it made".into()));
        };
        if from < reached {
            return Err(Failure::Protocol(format!("a part that was to reach {reached} ends at {from}")));
        }
        let to =
            Lsn(goal.0.min(from.0.saturating_add(part_bytes(place.backlog_bytes, from.0.saturating_sub(restart.0)))));
        let mut notices = Vec::new();
        if from < goal {
            let publication = quote_text(&quote_name(&place.publication));
            self.connection
                .start_copy(&format!(
                    "COPY (SELECT data FROM pg_catalog.pg_logical_slot_get_binary_changes({copy}, '{to}', NULL, \
                     'proto_version', '1', 'publication_names', {publication})) TO STDOUT (FORMAT binary)"
                ))
                .await?;
            // The copy of the slot has moved on before the first row is sent.
            while self.connection.reader.next_tag().await? == b'N' {
                notices.push(self.connection.reader.next().await?);
            }
        }
        Ok(Made { session: self, from, to, notices, header_read: false })
    }
}

/// How large a part is before which so much is gone through again.
fn part_bytes(backlog_bytes: u64, read_again: u64) -> u64 {
    let (smallest, largest) = (backlog_bytes.div_ceil(SMALLEST_PART), backlog_bytes.saturating_mul(LARGEST_PART));
    (read_again / READ_AGAIN).clamp(smallest, largest)
}

/// The one field of the one row that a message of COPY holds; `None` of the end.
fn row(mut message: Bytes, header_read: &mut bool) -> Result<Option<Bytes>, Failure> {
    let cut_short = || Failure::Protocol("a row of COPY is cut short or of an unknown form".into());
    if !*header_read {
        if message.len() < HEADER_BYTES || message[HEADER_BYTES - 4..HEADER_BYTES] != [0; 4] {
            return Err(cut_short());
        }
        message.advance(HEADER_BYTES);
        *header_read = true;
    }
    match (message.len(), message.first_chunk::<2>().copied().map(i16::from_be_bytes)) {
        (2, Some(-1)) | (0, None) => Ok(None),
        (6.., Some(1)) => {
            message.advance(2);
            let len = message.get_i32();
            if usize::try_from(len) == Ok(message.len()) { Ok(Some(message)) } else { Err(cut_short()) }
        }
        _ => Err(cut_short()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Vec<u8> {
        [b"PGCOPY\n\xff\r\n\0".as_slice(), &[0; 8]].concat()
    }

    fn field(body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[0, 1], len.as_slice(), body].concat()
    }

    #[test]
    fn rows_follow_a_header_and_an_end_follows_them() {
        let mut header_read = false;
        let first = [header(), field(b"one")].concat();
        assert_eq!(row(first.into(), &mut header_read).unwrap().unwrap(), &b"one"[..]);
        assert_eq!(row(field(b"").into(), &mut header_read).unwrap().unwrap(), &b""[..]);
        assert!(row(Bytes::from_static(&[0xff, 0xff]), &mut header_read).unwrap().is_none());
        let empty = [header(), vec![0xff, 0xff]].concat();
        assert!(row(empty.into(), &mut false).unwrap().is_none());
        assert!(
            row(Bytes::from_static(&[0, 1, 0xff, 0xff, 0xff, 0xff]), &mut header_read).is_err(),
            "no message is NULL"
        );
        assert!(row([field(b"a"), field(b"b")].concat().into(), &mut header_read).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), read in any::<bool>()) {
            let _ = row(bytes.into(), &mut read.clone());
        }
    }
}
