//! XA transactions in two phases: their rows stand in the log where they are prepared, and count where they are committed.
//!
//! Rows that are being prepared are held back; the XA COMMIT, a transaction of its own, gives them out. What does not fit into
//! the memory for it, or was prepared before we began, is read from the log again. Each position names what is prepared there and
//! where its rows begin, so a restart forgets nothing ([`ResumePoint`]).
//!
//! Source: MySQL manual, "XA Transaction States"; MariaDB knowledge base, "XA Transactions".

use super::feed::{Access, Feed};
use crate::binlog::{Header, LogEvent};
use crate::position::{LogPosition, ResumePoint, file_number};
use crate::statements::{SqlMode, Statement, XaVerb, Xid, parse};
use rowferry_api::{Error, ErrorKind, Position, Result};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::vec::IntoIter;

/// Rows of prepared transactions that are held, all together.
const HELD_BYTES: usize = 8 << 20;
/// Every position names them all.
const MOST_PREPARED: usize = 1_000;
/// What makes the number of a second replica out of ours: a server ends the dump of one whose number it sees again.
const SECOND_REPLICA: u32 = 0x2000_0000;

/// What is prepared, and what is about to be.
pub(super) struct Prepared {
    groups: BTreeMap<String, Group>,
    open: Option<Group>,
    held_bytes: usize,
    settled: Option<LogPosition>,
}

/// Rows up to where they are prepared.
struct Group {
    /// Before its first event.
    from: LogPosition,
    /// Descriptions of tables and their rows, and what they take; `None`: they have to be read again.
    held: Option<(Vec<(Header, LogEvent)>, usize)>,
}

impl Group {
    fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    fn replay(self, xid: String) -> Replay {
        match self.held {
            Some((events, _)) => Replay::Held(events.into_iter()),
            None => Replay::Again(Box::new(Reread { xid, from: self.from, feed: None, is_in: false })),
        }
    }
}

impl From<ResumePoint> for Prepared {
    fn from(point: ResumePoint) -> Self {
        let groups = point.prepared.into_iter().map(|(xid, from)| (xid, Group { from, held: None }));
        Self { groups: groups.collect(), open: None, held_bytes: 0, settled: point.settled }
    }
}

impl Prepared {
    /// Rows follow that are to be prepared; `from` is before them.
    pub(super) fn begin(&mut self, from: LogPosition) {
        self.abandon();
        self.open = Some(Group { from, held: Some((Vec::new(), 0)) });
    }

    /// Whether rows are being prepared.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether rows are being prepared, and some have come.
    pub(super) fn has_rows(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.held.as_ref().is_none_or(|(events, _)| !events.is_empty()))
    }

    /// What was begun does not end.
    pub(super) fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            self.held_bytes -= open.bytes();
        }
    }

    /// Holds an event of what is being prepared.
    pub(super) fn hold(&mut self, header: &Header, event: LogEvent) {
        let Some(Group { held, .. }) = &mut self.open else { return };
        let Some((events, bytes)) = held else { return };
        // Compressed rows are longer than their event.
        let rows = if let LogEvent::Rows(rows) = &event { rows.bytes() } else { 0 };
        let size = rows.max(header.size as usize) + size_of::<(Header, LogEvent)>();
        if self.held_bytes + size > HELD_BYTES {
            self.held_bytes -= *bytes;
            *held = None;
            return;
        }
        events.push((*header, event));
        *bytes += size;
        self.held_bytes += size;
    }

    /// What is open is prepared.
    pub(super) fn prepare(&mut self, xid: String) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if self.groups.len() >= MOST_PREPARED {
            return Err(Error::new(
                ErrorKind::Config,
                format!("more than {MOST_PREPARED} XA transactions are prepared at a time; {xid} is one too many"),
            )
            .hint("Commit or roll back those that XA RECOVER shows and nobody will end."));
        }
        if let Some(same) = self.groups.insert(xid, open) {
            self.held_bytes -= same.bytes();
        }
        Ok(())
    }

    /// The rows of a transaction that is committed; `None` if nothing is known of it.
    pub(super) fn commit(&mut self, xid: String) -> Option<Replay> {
        // In one phase it was not prepared before.
        let group = self.open.take().or_else(|| self.groups.remove(&xid))?;
        self.held_bytes -= group.bytes();
        Some(group.replay(xid))
    }

    /// The rows of a transaction never count.
    pub(super) fn roll_back(&mut self, xid: &str) {
        if let Some(group) = self.groups.remove(xid) {
            self.held_bytes -= group.bytes();
        }
    }

    /// Whether a transaction of which nothing is known was committed before anything was copied, if it was so before `at`.
    pub(super) fn is_settled(&self, at: &LogPosition) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.compare(at) == Some(Ordering::Greater))
    }

    /// The position that goes on at a place.
    pub(super) fn position(&mut self, at: &LogPosition) -> Position {
        if matches!(&self.settled, Some(settled) if matches!(settled.compare(at), Some(Ordering::Less | Ordering::Equal)))
        {
            self.settled = None;
        }
        if self.groups.is_empty() && self.settled.is_none() {
            return at.into();
        }
        let prepared = self.groups.iter().map(|(xid, group)| (xid.clone(), group.from.clone())).collect();
        (&ResumePoint { at: at.clone(), prepared, settled: self.settled.clone() }).into()
    }
}

/// The rows of a transaction that was prepared.
pub(super) enum Replay {
    Held(IntoIter<(Header, LogEvent)>),
    Again(Box<Reread>),
}

impl Replay {
    /// The next description of a table, or rows. Dropping the call loses nothing.
    /// `now` is where the log has been read up to, which is beyond them.
    pub(super) async fn next(&mut self, access: &Access, now: &LogPosition) -> Result<Option<(Header, LogEvent)>> {
        match self {
            Self::Held(events) => Ok(events.next()),
            Self::Again(reread) => {
                let next = reread.next(access, now).await;
                next.map_err(|error| error.within(format!("read again what was prepared as {}", reread.xid)))
            }
        }
    }
}

/// Rows that are read from the log once more, by another replica than the one that waits meanwhile.
pub(super) struct Reread {
    xid: String,
    from: LogPosition,
    feed: Option<Feed>,
    /// We are between its beginning and its end.
    is_in: bool,
}

impl Reread {
    async fn next(&mut self, access: &Access, now: &LogPosition) -> Result<Option<(Header, LogEvent)>> {
        if self.feed.is_none() {
            let mut from = self.from.clone();
            if from.server == now.server {
                // The place is of this server: nothing has to be looked for.
                from.gtids = None;
            }
            let access = Access { server_id: access.server_id ^ SECOND_REPLICA, ..access.clone() };
            self.feed = Some(access.open(&from).await?);
        }
        let feed = self.feed.as_mut().expect("opened above");
        loop {
            let Some((header, event, _)) = feed.next().await? else { return Err(self.missing()) };
            match event {
                LogEvent::TableMap(_) | LogEvent::Rows(_) if self.is_in => return Ok(Some((header, event))),
                LogEvent::Gtid(begun) => self.is_in = begun.prepares.as_ref() == Some(&self.xid),
                LogEvent::Query(query) => {
                    let mode = SqlMode(query.sql_mode.unwrap_or(0));
                    if let Statement::Xa(XaVerb::Start, Xid(xid)) = parse(&query.statement, &query.schema, mode) {
                        self.is_in = xid == self.xid;
                    }
                }
                LogEvent::XaPrepare { .. } if self.is_in => return Ok(None),
                // Servers send some also for what they pass over.
                LogEvent::Heartbeat { file, position }
                    if (file_number(&file), position) >= (file_number(&now.file), now.offset) =>
                {
                    return Err(self.missing());
                }
                _ => {}
            }
        }
    }

    fn missing(&self) -> Error {
        Error::new(
            ErrorKind::LogLost,
            format!("the log does not have it from {}:{} on", self.from.file, self.from.offset),
        )
        .hint("Run `rowferry resync --all`: it goes on from the log's end and compares and copies every table again.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Flavor;

    fn at(offset: u64) -> LogPosition {
        LogPosition { file: "b.000001".into(), offset, server: "1".into(), gtids: None }
    }

    /// Prepares a transaction of one event of this size.
    fn prepare(prepared: &mut Prepared, xid: &str, size: usize) {
        prepared.begin(at(size as u64));
        let header = Header { timestamp: 0, type_code: 0, server_id: 1, size: size as u32, end_position: 0, flags: 0 };
        prepared.hold(&header, LogEvent::Ignored);
        prepared.prepare(xid.into()).unwrap();
    }

    fn is_held(replay: Option<Replay>) -> bool {
        matches!(replay, Some(Replay::Held(events)) if events.len() == 1)
    }

    #[test]
    fn what_does_not_fit_is_read_again_and_what_ends_makes_room() {
        let mut prepared = Prepared::from(ResumePoint::from(at(4)));
        prepare(&mut prepared, "a", HELD_BYTES / 2);
        prepare(&mut prepared, "b", HELD_BYTES / 2);
        prepare(&mut prepared, "c", 100);
        assert!(is_held(prepared.commit("a".into())));
        assert!(matches!(prepared.commit("b".into()), Some(Replay::Again(reread)) if reread.xid == "b"));
        prepare(&mut prepared, "d", HELD_BYTES / 2);
        prepared.roll_back("d");
        prepare(&mut prepared, "e", HELD_BYTES / 2);
        assert!(is_held(prepared.commit("e".into())));
        assert!(is_held(prepared.commit("c".into())));
        prepared.begin(at(9));
        prepared.begin(at(9));
        prepared.abandon();
        assert_eq!(prepared.held_bytes, 0);
        assert!(prepared.commit("c".into()).is_none());
    }

    #[test]
    fn positions_name_what_is_prepared_until_it_ends() {
        let point = ResumePoint { settled: Some(at(50)), ..ResumePoint::from(at(4)) };
        let mut prepared = Prepared::from(point);
        assert!(prepared.is_settled(&at(49)) && !prepared.is_settled(&at(50)));
        prepare(&mut prepared, "X'61',X'',1", 10);
        prepare(&mut prepared, "X'62',X'',1", 20);
        assert_eq!(
            prepared.position(&at(49)).as_str(),
            "b.000001:49@1 +X'61',X'',1 b.000001:10@1 +X'62',X'',1 b.000001:20@1 ~b.000001:50@1"
        );
        prepared.roll_back("X'61',X'',1");
        let position = prepared.position(&at(50));
        assert_eq!(position.as_str(), "b.000001:50@1 +X'62',X'',1 b.000001:20@1");
        let mut again = Prepared::from(ResumePoint::parse(Flavor::Mysql, &position).unwrap());
        assert!(matches!(again.commit("X'62',X'',1".into()), Some(Replay::Again(reread)) if reread.from == at(20)));
        assert_eq!(again.position(&at(60)).as_str(), "b.000001:60@1");
    }

    #[test]
    fn more_than_every_position_can_name_is_refused() {
        let mut prepared = Prepared::from(ResumePoint::from(at(4)));
        for number in 0..MOST_PREPARED {
            prepare(&mut prepared, &number.to_string(), 1);
        }
        prepared.begin(at(1));
        assert!(prepared.prepare("one more".into()).unwrap_err().to_string().contains("one more"));
    }
}
