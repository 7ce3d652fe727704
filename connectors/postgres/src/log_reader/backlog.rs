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
use super::{CHUNK_BYTES, Place, end_of_log};
use crate::connection::{END_WITH_CLIENT, Failure, from_pg, quote_name, quote_text};
use crate::lsn::Lsn;
use crate::replication::{Frame, ReplicationConnection, connect};
use bytes::{Buf, Bytes};
use rowferry_api::{Error, ErrorKind, Event, Result};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// The first part is this share of the backlog from which this way is taken: something is to be applied soon.
const FIRST_PART: u64 = 4;
/// The largest part is so many times that backlog.
const LARGEST_PART: u64 = 16;
/// So many times its own size is gone through again for a part before a larger one is taken.
const READ_AGAIN: u64 = 2;
/// Signature, flags, and the length of what extends them.
const HEADER_BYTES: usize = 19;

/// What lies between two places of a slot's log.
pub(super) struct Backlog {
    place: Arc<Place>,
    goal: Lsn,
    /// The part that is being read.
    part: Option<Made>,
    /// The part after it, being made; `None` at the end.
    next: Option<JoinHandle<Result<Made, Failure>>>,
    /// Sessions whose parts have been read.
    idle: Vec<Session>,
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
        if !place.reads_backlogs() || goal.0.saturating_sub(from.0) < place.backlog_bytes {
            return Ok(None);
        }
        let mut first = Session::open(place).await?;
        let second = match take_copies(place, &mut first, from).await {
            Ok(second) => second,
            // Streaming takes less of the server; what is wrong with either shows there.
            Err(error) => {
                place.refuse_backlogs(&error);
                first.close(place).await;
                return Ok(None);
            }
        };
        tracing::info!(slot = %place.slot, from = %from, to = %goal, bytes = goal.0 - from.0, "reading a backlog in parts");
        let next = tokio::spawn(first.make(place.clone(), goal, None));
        Ok(Some(Self {
            place: place.clone(),
            goal,
            part: None,
            next: Some(next),
            idle: vec![second],
            client: client.clone(),
            confirmed,
            released: confirmed,
            releasing: None,
        }))
    }

    pub(super) fn confirm(&mut self, position: Lsn) {
        self.confirmed = self.confirmed.max(position);
    }

    /// What has to end before the slot is read in another way.
    pub(super) fn leave(&mut self) -> Leaving {
        Leaving {
            place: self.place.clone(),
            releasing: self.releasing.take(),
            sessions: std::mem::take(&mut self.idle),
        }
    }

    /// Appends events; returns whether the backlog goes on. Nothing is lost if the wait is dropped.
    pub(super) async fn next(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<bool> {
        if self.part.is_some() {
            return self.read(decoder, events).await;
        }
        let Some(task) = &mut self.next else { return Ok(false) };
        let made = task.await.map_err(|error| {
            Error::new(ErrorKind::Other, "read a backlog: the task ended in a panic").because(error)
        })?;
        self.next = None;
        let made = match made {
            Ok(made) => made,
            Err(failure) => return self.failed(failure, decoder).map(|()| false),
        };
        decoder.passed(made.from, events);
        self.release();
        if made.from < self.goal {
            let before = Some((made.session.copy.clone(), made.to));
            self.next = self.idle.pop().map(|idle| tokio::spawn(idle.make(self.place.clone(), self.goal, before)));
            self.part = Some(made);
        } else {
            self.idle.push(made.session);
        }
        Ok(true)
    }

    /// A server that is short of something (places, space for the part) may still have what streaming takes. So may one that
    /// fails to decode a part (XX000): a stream starts from where the slot itself noted its transactions, not its copy.
    fn failed(&self, failure: Failure, decoder: &Decoder) -> Result<()> {
        match &failure {
            Failure::Server(error) if error.state.code().starts_with("53") || error.state.code() == "XX000" => {
                self.place.refuse_backlogs(&failure.into_error("read a part"));
                Ok(())
            }
            _ => Err(decoder.ended(failure)),
        }
    }

    async fn read(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<bool> {
        let Some(Made { session, notices, header_read, .. }) = &mut self.part else { return Ok(true) };
        for notice in std::mem::take(notices) {
            decoder.refuse_notice(&notice)?;
        }
        let reader = &mut session.connection.reader;
        let before = events.len();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES {
            let frame = match reader.buffered() {
                Ok(None) if events.len() > before => return Ok(true),
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
                    self.idle.extend(self.part.take().map(|made| made.session));
                    return Ok(true);
                }
                // Nothing of the part has been sent yet.
                b'E' if !*header_read => return self.failed(frame.error(), decoder).map(|()| false),
                b'E' => return Err(decoder.ended(frame.error())),
                other => return Err(decoder.unknown(other)),
            }
        }
        Ok(true)
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

/// What a backlog leaves behind.
pub(super) struct Leaving {
    place: Arc<Place>,
    releasing: Option<JoinHandle<()>>,
    sessions: Vec<Session>,
}

impl Leaving {
    /// Waits until the slot and the places of its copies are free.
    pub(super) async fn end(self) {
        if let Some(releasing) = self.releasing {
            let _ = releasing.await;
        }
        for session in self.sessions {
            session.close(&self.place).await;
        }
    }
}

/// Gives the first session a copy of the slot that starts at `from`, and opens a second one with a copy of that.
async fn take_copies(place: &Arc<Place>, first: &mut Session, from: Lsn) -> Result<Session> {
    let failed = |failure: Failure| failure.into_error("copy the slot");
    let copied = first.take_copy(&place.slot).await.map_err(failed)?;
    if copied < from {
        let copy = quote_text(&first.copy);
        let advance = format!("SELECT pg_catalog.pg_replication_slot_advance({copy}, '{from}')");
        first.connection.query(&advance).await.map_err(failed)?;
    }
    let mut second = Session::open(place).await?;
    let starts = second.take_copy(&first.copy).await.map_err(failed)?;
    if starts != from {
        let what = format!("copy the slot: the copy starts at {starts} instead of {from}");
        return Err(Error::new(ErrorKind::Protocol, what));
    }
    Ok(second)
}

impl Session {
    async fn open(place: &Place) -> Result<Self> {
        let mut connection = connect(&place.options).await?;
        // So that it ends with us also while it decodes.
        let asked = async {
            connection.query(END_WITH_CLIENT).await?;
            connection.query("SELECT pg_catalog.pg_backend_pid()").await
        };
        let pid = asked.await.map_err(|failure| failure.into_error(place.context.clone()))?;
        let pid = pid.into_iter().flatten().next().flatten().unwrap_or_default();
        Ok(Self { connection, copy: format!("rowferry_backlog_{pid}") })
    }

    /// Hangs up, and waits until the server has freed what it held for us.
    async fn close(mut self, place: &Place) {
        self.connection.writer.close().await;
        let ended = async { while self.connection.reader.next().await.is_ok() {} };
        let _ = tokio::time::timeout(place.options.connect_timeout(), ended).await;
    }

    /// Takes a copy of a slot, in place of the one before, that ends with this connection. Returns where it starts.
    async fn take_copy(&mut self, slot: &str) -> Result<Lsn, Failure> {
        let (slot, copy) = (quote_text(slot), quote_text(&self.copy));
        let drop = format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {copy}"
        );
        self.connection.query(&drop).await?;
        self.connection
            .query(&format!("SELECT FROM pg_catalog.pg_copy_logical_replication_slot({slot}, {copy}, true)"))
            .await?;
        Ok(self.places(&copy).await?.0)
    }

    /// Up to where a slot, by its quoted name, is read, and from where it is decoded.
    async fn places(&mut self, slot: &str) -> Result<(Lsn, Lsn), Failure> {
        let statement = format!(
            "SELECT confirmed_flush_lsn, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot}"
        );
        let asked = self.connection.query(&statement).await?;
        let mut places = asked.iter().flatten().flatten().map(|text| Lsn::parse(text));
        match (places.next(), places.next()) {
            (Some(Ok(confirmed)), Some(Ok(restart))) => Ok((confirmed, restart)),
            _ => Err(Failure::Protocol(format!("the server does not know slot {slot} any more"))),
        }
    }

    /// Makes the part that follows `before`: the copy that has read what is before it, and to where it was to read.
    async fn make(mut self, place: Arc<Place>, goal: Lsn, before: Option<(String, Lsn)>) -> Result<Made, Failure> {
        if let Some((copy, to)) = before {
            let starts = self.take_copy(&copy).await?;
            let (ended, _) = self.places(&quote_text(&copy)).await?;
            if starts != ended || ended < to {
                let what =
                    format!("a part that was to reach {to} ends at {ended}, and the next one starts at {starts}");
                return Err(Failure::Protocol(what));
            }
        }
        let copy = quote_text(&self.copy);
        let (from, restart) = self.places(&copy).await?;
        let part_bytes = part_bytes(place.backlog_bytes, from.0.saturating_sub(restart.0));
        let to = Lsn(goal.0.min(from.0.saturating_add(part_bytes)));
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

/// How large a part is before which so much is gone through again. A small one leaves little to apply when all is read, a large
/// one is cheaper.
fn part_bytes(backlog_bytes: u64, read_again: u64) -> u64 {
    let usual = read_again.saturating_mul(2).clamp(backlog_bytes.div_ceil(FIRST_PART), backlog_bytes);
    usual.max(read_again / READ_AGAIN).min(backlog_bytes.saturating_mul(LARGEST_PART))
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

    #[test]
    fn parts_grow_with_what_is_read_again_before_them() {
        let part = |read_again| part_bytes(64, read_again);
        assert_eq!([0, 8, 16, 32, 128, 400, 4_000].map(part), [16, 16, 32, 64, 64, 200, 1_024]);
        assert_eq!(part_bytes(1, 0), 1);
        assert_eq!(part_bytes(u64::MAX, u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), read in any::<bool>()) {
            let _ = row(bytes.into(), &mut read.clone());
        }
    }
}
