//! A backlog, read several times as fast as the walsender sends: that makes a system call a row.
//!
//! Sessions take turns. Each decodes a part with `pg_logical_slot_get_binary_changes` and COPY, on a temporary copy of the
//! slot, while the parts before it are decoded, sent and applied: a server decodes a log in one process, and this way in
//! several. A cursor, which is another temporary copy, is moved from each part's start to the next one's and is what the sessions
//! copy. The slot itself moves only to what is confirmed, so a crash loses nothing, and the copies are gone with their
//! connections. The server writes a part down before it sends it (temporary files of about the part's size), and for each part
//! it goes again through the log from the last place where it had noted which transactions were open, about 15 s of log
//! before, at a fifth of the price; so parts grow where that place lies far behind.
//!
//! A part holds the transactions whose commit record begins in it. The server may send one more, that begins in the gap between the
//! part's last record and the place where it ends: the next part has that one, so it is left out here.
//!
//! Servers before version 14 are streamed from (`slot::MOVES_SLOTS`).
//!
//! Source: PostgreSQL manual, "Replication Management Functions"; COPY, "Binary Format".

use super::decoder::Decoder;
use super::{CHUNK_BYTES, Place, end_of_log};
use crate::connection::{END_WITH_CLIENT, Failure, from_pg, quote_name, quote_text};
use crate::copy_binary::HEADER;
use crate::lsn::Lsn;
use crate::pgoutput::begins_at;
use crate::publication::server_version;
use crate::replication::{Frame, ReplicationConnection, connect};
use crate::slot::MOVES_SLOTS;
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use rowferry_api::{Event, Result};
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// Parts that are being decoded, wait, or are being read: one is read while two are decoded.
const SESSIONS: usize = 3;
/// The first part is this share of the backlog from which this way is taken: something is to be applied soon.
const FIRST_PART: u64 = 16;
/// The largest part is so many times that backlog.
const LARGEST_PART: u64 = 16;
/// So many times its own size is gone through again for a part before a larger one is taken.
const READ_AGAIN: u64 = 2;

/// What lies between two places of a slot's log.
pub(super) struct Backlog {
    place: Arc<Place>,
    goal: Lsn,
    /// All that was committed before it has been read, but for the part that is being read.
    cut: Lsn,
    /// The part that is being read.
    part: Option<Made>,
    /// The parts after it, in order; closed at the end.
    parts: mpsc::Receiver<Result<Made, Failure>>,
    /// Takes back sessions whose parts have been read.
    idle: mpsc::Sender<Session>,
    /// Makes the parts; returns the sessions that it has at the end.
    maker: Option<JoinHandle<Vec<Session>>>,
    /// Sessions that it does not take any more.
    ended: Vec<Session>,
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

/// The copy of the slot that stands where the next part begins.
struct Cursor {
    session: Session,
    at: Lsn,
}

/// A part that the server has decoded and written down.
struct Made {
    session: Session,
    from: Lsn,
    to: Lsn,
    /// What the server had to say while it decoded.
    notices: Vec<Frame>,
    header_read: bool,
    /// The transactions that follow are the next part's.
    past: bool,
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
        if server_version(client).await? < MOVES_SLOTS {
            return Ok(None);
        }
        let (cursor, first) = match Cursor::open(place, from).await {
            Ok(opened) => opened,
            // Streaming takes less of the server; what is wrong with either shows there.
            Err(error) => {
                place.refuse_backlogs(&error);
                return Ok(None);
            }
        };
        tracing::info!(slot = %place.slot, from = %from, to = %goal, bytes = goal.0 - from.0, "reading a backlog in parts");
        let (made, parts) = mpsc::channel(SESSIONS);
        let (idle, is_idle) = mpsc::channel(SESSIONS);
        let maker = tokio::spawn(make_parts(place.clone(), cursor, goal, first, is_idle, made));
        Ok(Some(Self {
            place: place.clone(),
            goal,
            cut: from,
            part: None,
            parts,
            idle,
            maker: Some(maker),
            ended: Vec::new(),
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
        // Parts that nobody reads are not waited for.
        self.parts.close();
        Leaving {
            place: self.place.clone(),
            releasing: self.releasing.take(),
            maker: self.maker.take(),
            sessions: std::mem::take(&mut self.ended),
        }
    }

    /// Appends events; returns whether the backlog goes on. Nothing is lost if the wait is dropped.
    pub(super) async fn next(&mut self, decoder: &mut Decoder, events: &mut Vec<Event>) -> Result<bool> {
        if self.part.is_some() {
            return self.read(decoder, events).await;
        }
        match self.parts.recv().await {
            Some(Ok(made)) if made.from == self.cut => {
                decoder.passed(made.from, events);
                self.cut = made.to;
                self.release();
                self.part = Some(made);
                Ok(true)
            }
            Some(Ok(made)) => {
                let what = format!("a part begins at {} where one was to begin at {}", made.from, self.cut);
                Err(decoder.ended(Failure::Protocol(what)))
            }
            Some(Err(failure)) => self.failed(failure, decoder).map(|()| false),
            None if self.cut == self.goal => {
                decoder.passed(self.goal, events);
                Ok(false)
            }
            None => {
                let ended = match &mut self.maker {
                    Some(maker) => maker.await.err(),
                    None => None,
                };
                let reason = ended.map(|ended| format!(" ({ended})")).unwrap_or_default();
                Err(decoder.ended(Failure::Protocol(format!("the parts of a backlog end before it does{reason}"))))
            }
        }
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
        let Some(Made { session, to, notices, header_read, past, .. }) = &mut self.part else { return Ok(true) };
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
                        *past |= begins_at(&message).is_some_and(|at| at >= *to);
                        if !*past {
                            decoder.message(message, None, events).await?;
                        }
                    }
                }
                b'N' => decoder.refuse_notice(&frame)?,
                b'c' | b'C' | b'S' => {}
                b'Z' => {
                    if let Some(made) = self.part.take()
                        && let Err(TrySendError::Full(session) | TrySendError::Closed(session)) =
                            self.idle.try_send(made.session)
                    {
                        self.ended.push(session);
                    }
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
        abort(self.maker.as_ref());
    }
}

fn abort(maker: Option<&JoinHandle<Vec<Session>>>) {
    if let Some(maker) = maker {
        maker.abort();
    }
}

/// What a backlog leaves behind.
pub(super) struct Leaving {
    place: Arc<Place>,
    releasing: Option<JoinHandle<()>>,
    maker: Option<JoinHandle<Vec<Session>>>,
    sessions: Vec<Session>,
}

impl Leaving {
    /// Waits until the slot and the places of its copies are free.
    pub(super) async fn end(mut self) {
        if let Some(releasing) = &mut self.releasing {
            let _ = releasing.await;
        }
        if let Some(maker) = &mut self.maker {
            // It ends as soon as it sees that nobody reads.
            self.sessions.extend(maker.await.unwrap_or_default());
        }
        for session in self.sessions.drain(..) {
            session.close(&self.place).await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        abort(self.maker.as_ref());
    }
}

/// Makes one part after the other, each as soon as a session is idle, and hands them over in order. Ends with the goal, or with the
/// first part that fails; returns the sessions that are left.
async fn make_parts(
    place: Arc<Place>,
    cursor: Cursor,
    goal: Lsn,
    mut sessions: Vec<Session>,
    mut idle: mpsc::Receiver<Session>,
    parts: mpsc::Sender<Result<Made, Failure>>,
) -> Vec<Session> {
    let cursor = Mutex::new(cursor);
    let mut making = FuturesOrdered::new();
    let mut left = Vec::new();
    loop {
        making.extend(sessions.drain(..).map(|session| session.make(&place, &cursor, goal)));
        if making.is_empty() && !left.is_empty() {
            break;
        }
        let handed = tokio::select! {
            Some(made) = making.next() => match made {
                Ok(Next::Part(made)) => parts.send(Ok(made)).await,
                Ok(Next::Goal(session)) => {
                    left.push(session);
                    Ok(())
                }
                Err(failure) => {
                    // Who waits hears of it; who does not has left.
                    let _ = parts.send(Err(failure)).await;
                    break;
                }
            },
            Some(session) = idle.recv(), if left.is_empty() => {
                sessions.push(session);
                Ok(())
            }
            () = parts.closed() => break,
        };
        if handed.is_err() {
            break;
        }
    }
    drop(making);
    idle.close();
    while let Ok(session) = idle.try_recv() {
        left.push(session);
    }
    left.push(cursor.into_inner().session);
    left
}

/// What a session makes.
enum Next {
    Part(Made),
    /// Nothing: the cursor stands at the goal.
    Goal(Session),
}

impl Cursor {
    /// Takes a copy of the slot, moved to `at`, and opens sessions that have a place for a copy of it: as many as the server gives
    /// while it has a place more for others, but one at least.
    async fn open(place: &Place, at: Lsn) -> Result<(Self, Vec<Session>)> {
        let mut cursor = Self { session: Session::open(place).await?, at };
        match cursor.sessions(place).await {
            Ok(sessions) => Ok((cursor, sessions)),
            Err(error) => {
                cursor.session.close(place).await;
                Err(error)
            }
        }
    }

    async fn sessions(&mut self, place: &Place) -> Result<Vec<Session>> {
        let failed = |failure: Failure| failure.into_error("copy the slot");
        let (copied, _) = self.session.take_copy(&place.slot).await.map_err(failed)?;
        if copied < self.at {
            self.session.advance(self.at).await.map_err(failed)?;
        }
        let (mut sessions, mut refused) = (Vec::new(), None);
        for opened in join_all((0..=SESSIONS).map(|_| Session::beside(place, &self.session.copy, self.at))).await {
            match opened {
                Ok(session) => sessions.push(session),
                Err(error) => refused = Some(error),
            }
        }
        match (sessions.pop(), refused) {
            (None, Some(error)) => return Err(error),
            // The place that stays free.
            (Some(spare), _) if !sessions.is_empty() => spare.close(place).await,
            (last, _) => sessions.extend(last),
        }
        Ok(sessions)
    }
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

    /// Opens one that has a copy of a slot that stands at `at`.
    async fn beside(place: &Place, slot: &str, at: Lsn) -> Result<Self> {
        let mut session = Self::open(place).await?;
        match session.take_copy_at(slot, at).await {
            Ok(_) => Ok(session),
            Err(failure) => {
                session.close(place).await;
                Err(failure.into_error("copy the slot"))
            }
        }
    }

    /// Hangs up, and waits until the server has freed what it held for us.
    async fn close(mut self, place: &Place) {
        self.connection.writer.close().await;
        let ended = async { while self.connection.reader.next().await.is_ok() {} };
        let _ = tokio::time::timeout(place.options.connect_timeout(), ended).await;
    }

    /// Takes a copy of a slot, in place of the one before, that ends with this connection. Returns up to where it is read, and
    /// from where it is decoded.
    async fn take_copy(&mut self, slot: &str) -> Result<(Lsn, Lsn), Failure> {
        let (slot, copy) = (quote_text(slot), quote_text(&self.copy));
        let drop = format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {copy}"
        );
        self.connection.query(&drop).await?;
        self.connection
            .query(&format!("SELECT FROM pg_catalog.pg_copy_logical_replication_slot({slot}, {copy}, true)"))
            .await?;
        let statement = format!(
            "SELECT confirmed_flush_lsn, restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = {copy}"
        );
        let asked = self.connection.query(&statement).await?;
        let mut places = asked.iter().flatten().flatten().map(|text| Lsn::parse(text));
        match (places.next(), places.next()) {
            (Some(Ok(confirmed)), Some(Ok(restart))) => Ok((confirmed, restart)),
            _ => Err(Failure::Protocol(format!("the server does not know slot {copy} any more"))),
        }
    }

    /// Takes a copy of a slot that stands at `at`. Returns from where it is decoded.
    async fn take_copy_at(&mut self, slot: &str, at: Lsn) -> Result<Lsn, Failure> {
        let (starts, restart) = self.take_copy(slot).await?;
        if starts == at {
            return Ok(restart);
        }
        Err(Failure::Protocol(format!("a copy of a slot at {at} starts at {starts}")))
    }

    /// Moves its copy to a place that it has not passed.
    async fn advance(&mut self, to: Lsn) -> Result<(), Failure> {
        let copy = quote_text(&self.copy);
        let advance = format!("SELECT pg_catalog.pg_replication_slot_advance({copy}, '{to}')");
        self.connection.query(&advance).await.map(drop)
    }

    /// Makes the part that begins at the cursor, and moves that to its end.
    async fn make(mut self, place: &Place, cursor: &Mutex<Cursor>, goal: Lsn) -> Result<Next, Failure> {
        let mut cursor = cursor.lock().await;
        let from = cursor.at;
        if from >= goal {
            return Ok(Next::Goal(self));
        }
        let restart = self.take_copy_at(&cursor.session.copy, from).await?;
        let part_bytes = part_bytes(place.backlog_bytes, from.0.saturating_sub(restart.0));
        let to = Lsn(goal.0.min(from.0.saturating_add(part_bytes)));
        cursor.at = to;
        let advance = async move {
            // At the goal nobody copies it.
            if to < goal { cursor.session.advance(to).await } else { Ok(()) }
        };
        let ((), made) = tokio::try_join!(advance, self.decode(place, from, to))?;
        Ok(Next::Part(made))
    }

    async fn decode(mut self, place: &Place, from: Lsn, to: Lsn) -> Result<Made, Failure> {
        let (copy, publication) = (quote_text(&self.copy), quote_text(&quote_name(&place.publication)));
        self.connection
            .start_copy(&format!(
                "COPY (SELECT data FROM pg_catalog.pg_logical_slot_get_binary_changes({copy}, '{to}', NULL, \
                 'proto_version', '1', 'publication_names', {publication})) TO STDOUT (FORMAT binary)"
            ))
            .await?;
        let mut notices = Vec::new();
        // All of the part is decoded before its first row is sent.
        while self.connection.reader.next_tag().await? == b'N' {
            notices.push(self.connection.reader.next().await?);
        }
        Ok(Made { session: self, from, to, notices, header_read: false, past: false })
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
        if !message.starts_with(HEADER) {
            return Err(cut_short());
        }
        message.advance(HEADER.len());
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
        assert_eq!([0, 1, 8, 16, 32, 128, 400, 4_000].map(part), [4, 4, 16, 32, 64, 64, 200, 1_024]);
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
