//! A backlog, read several times as fast as the walsender sends: that makes a system call a row.
//!
//! A temporary copy of the slot is read in parts with `pg_logical_slot_get_binary_changes` and COPY. The copy moves on with
//! what it hands out; the slot itself only to what is confirmed, so a crash loses nothing, and the copy is gone with the
//! connection. The server writes a part down before it sends it (temporary files of about the part's size), and to decode a
//! part it reads the log again from the last place where it had noted which transactions were open, about 15 s of log
//! before; so parts are large, and larger where that place lies far behind.
//!
//! Source: PostgreSQL manual, "Replication Management Functions"; COPY, "Binary Format".

use super::decoder::Decoder;
use super::{CHUNK_BYTES, Place};
use crate::connection::{Failure, from_pg, quote_name, quote_text};
use crate::lsn::Lsn;
use crate::replication::{ReplicationConnection, connect};
use bytes::{Buf, Bytes};
use rowferry_api::{Error, ErrorKind, Event, Result};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// A part is so many times the backlog from which this way is taken.
const PART_TIMES: u64 = 4;
/// And at most so many times a part where much has to be read again.
const LONGEST_PARTS: u64 = 4;
/// Signature, flags, and the length of what extends them.
const HEADER_BYTES: usize = 19;

/// What lies between two places of a slot's log.
pub(super) struct Backlog {
    state: State,
    goal: Lsn,
    place: Arc<Place>,
    /// The copy of the slot.
    copy: String,
    /// Moves the slot.
    client: Arc<Client>,
    confirmed: Lsn,
    /// Where the slot was moved to, or is being moved to.
    released: Lsn,
    releasing: Option<JoinHandle<()>>,
}

enum State {
    /// The next part is asked for.
    Asking(JoinHandle<Result<(ReplicationConnection, Part)>>),
    Reading {
        connection: ReplicationConnection,
        header_read: bool,
    },
    Ended,
}

/// What the copy of the slot says of itself before a part.
struct Part {
    /// All that was committed before it has been read.
    passed: Lsn,
    /// The answer to COPY has begun.
    follows: bool,
}

impl Backlog {
    /// Opens what lies between `from` and the end of the log now, if it is much and the server gives the slot a copy.
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
        let mut connection = connect(&place.options).await?;
        let copy = match copy_slot(&mut connection, &place.slot, from).await {
            Ok(copy) => copy,
            Err(Failure::Server(error)) => {
                let reason = Failure::Server(error).into_error("copy the slot").to_string();
                tracing::info!(slot = %place.slot, %reason, "the backlog is streamed, which is slower");
                return Ok(None);
            }
            Err(failure) => return Err(failure.into_error(place.context.clone())),
        };
        tracing::info!(slot = %place.slot, from = %from, to = %goal, bytes = goal.0 - from.0, "reading a backlog in parts");
        let mut backlog = Self {
            state: State::Ended,
            goal,
            place: place.clone(),
            copy,
            client: client.clone(),
            confirmed,
            released: confirmed,
            releasing: None,
        };
        backlog.ask(connection);
        Ok(Some(backlog))
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
        match &mut self.state {
            State::Asking(task) => {
                let asked = task.await.map_err(|error| {
                    Error::new(ErrorKind::Other, "read a backlog: the task ended in a panic").because(error)
                })?;
                let (connection, part) = asked?;
                decoder.passed(part.passed, events);
                self.state = match part.follows {
                    true => State::Reading { connection, header_read: false },
                    false => State::Ended,
                };
                Ok(true)
            }
            State::Reading { .. } => self.read(decoder, events).await.map(|()| true),
            State::Ended => Ok(false),
        }
    }

    async fn read(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<()> {
        let State::Reading { connection, header_read } = &mut self.state else { return Ok(()) };
        let before = events.len();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES {
            let frame = match connection.reader.buffered() {
                Ok(None) if events.len() > before => return Ok(()),
                Ok(None) => connection.reader.next().await,
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
                    if let State::Reading { connection, .. } = std::mem::replace(&mut self.state, State::Ended) {
                        self.ask(connection);
                    }
                    return Ok(());
                }
                b'E' => return Err(decoder.ended(frame.error())),
                other => return Err(decoder.unknown(other)),
            }
        }
        Ok(())
    }

    /// Asks for the next part, and lets the slot go of what is confirmed.
    fn ask(&mut self, connection: ReplicationConnection) {
        let (place, copy, goal) = (self.place.clone(), self.copy.clone(), self.goal);
        self.state = State::Asking(tokio::spawn(async move {
            let context = place.context.clone();
            ask(connection, &place, &copy, goal).await.map_err(|failure| failure.into_error(context))
        }));
        let part_bytes = PART_TIMES * self.place.backlog_bytes;
        let is_free = self.releasing.as_ref().is_none_or(JoinHandle::is_finished);
        if is_free && self.confirmed.0.saturating_sub(self.released.0) >= part_bytes {
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
        if let State::Asking(task) = &self.state {
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

/// Gives the slot a copy that ends with this connection and starts at `from`. Returns its name.
async fn copy_slot(connection: &mut ReplicationConnection, slot: &str, from: Lsn) -> Result<String, Failure> {
    let pid = connection.query("SELECT pg_catalog.pg_backend_pid()").await?;
    let pid = pid.into_iter().flatten().next().flatten().unwrap_or_default();
    let copy = format!("rowferry_backlog_{pid}");
    let (slot, to) = (quote_text(slot), quote_text(&copy));
    connection.query(&format!("SELECT FROM pg_catalog.pg_copy_logical_replication_slot({slot}, {to}, true)")).await?;
    let advance = format!(
        "SELECT pg_catalog.pg_replication_slot_advance(slot_name, '{from}') FROM pg_catalog.pg_replication_slots \
         WHERE slot_name = {to} AND confirmed_flush_lsn < '{from}'"
    );
    connection.query(&advance).await?;
    Ok(copy)
}

async fn ask(
    mut connection: ReplicationConnection,
    place: &Place,
    copy: &str,
    goal: Lsn,
) -> Result<(ReplicationConnection, Part), Failure> {
    let copy = quote_text(copy);
    let asked = connection
        .query(&format!(
            "SELECT confirmed_flush_lsn, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = {copy}"
        ))
        .await?;
    let mut places = asked.iter().flatten().flatten().map(|text| Lsn::parse(text));
    let (Some(Ok(passed)), Some(Ok(restart))) = (places.next(), places.next()) else {
        return Err(Failure::Protocol("the server does not know the copy of the slot that it made".into()));
    };
    if passed >= goal {
        return Ok((connection, Part { passed, follows: false }));
    }
    let part_bytes = PART_TIMES * place.backlog_bytes;
    let read_again = passed.0.saturating_sub(restart.0);
    let end = Lsn(goal.0.min(passed.0 + read_again.clamp(part_bytes, LONGEST_PARTS * part_bytes)));
    let publication = quote_text(&quote_name(&place.publication));
    connection
        .start_copy(&format!(
            "COPY (SELECT data FROM pg_catalog.pg_logical_slot_get_binary_changes({copy}, '{end}', NULL, \
             'proto_version', '1', 'publication_names', {publication})) TO STDOUT (FORMAT binary)"
        ))
        .await?;
    Ok((connection, Part { passed, follows: true }))
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
