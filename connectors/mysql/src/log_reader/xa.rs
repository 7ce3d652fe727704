//! XA transactions in two phases: their rows stand in the log where they are prepared, and count where they are committed.
//!
//! Rows that are being prepared are held back; the XA COMMIT, a transaction of its own, gives them out. What does not fit into
//! the memory for it, or was prepared before we began, is read from the log again. Each position names what is prepared there and
//! where its rows begin, so a restart forgets nothing ([`ResumePoint`]).
//!
//! Source: MySQL manual, "XA Transaction States"; MariaDB knowledge base, "XA Transactions".

use super::feed::{Access, Feed};
use crate::binlog::{Header, LogEvent};
use crate::connection::Flavor;
use crate::position::{LogPosition, ResumePoint, SETTLED, file_number, prepared_text};
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
    /// What positions say of `groups`, once it has been asked for.
    text: Option<String>,
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
            None => Replay::Again(Box::new(Reread::new(xid, self.from))),
        }
    }
}

impl From<ResumePoint> for Prepared {
    fn from(point: ResumePoint) -> Self {
        let groups = point.prepared.into_iter().map(|(xid, from)| (xid, Group { from, held: None }));
        Self { groups: groups.collect(), open: None, held_bytes: 0, settled: point.settled, text: None }
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
            .hint(
                "Commit or roll back those that XA RECOVER shows and nobody will end. Then run `rowferry resync --all`, which goes on \
                 from the log's end: here the log stands before they end.",
            ));
        }
        self.text = None;
        if let Some(same) = self.groups.insert(xid, open) {
            self.held_bytes -= same.bytes();
        }
        Ok(())
    }

    /// The rows of a transaction that is committed; `None` if nothing is known of it. In one phase it was not prepared before.
    pub(super) fn commit(&mut self, xid: &str, one_phase: bool) -> Option<Replay> {
        let open = self.open.take_if(|_| one_phase);
        let group = open.or_else(|| self.remove(xid))?;
        self.held_bytes -= group.bytes();
        Some(group.replay(xid.to_owned()))
    }

    /// The rows of a transaction never count.
    pub(super) fn roll_back(&mut self, xid: &str) {
        if let Some(group) = self.remove(xid) {
            self.held_bytes -= group.bytes();
        }
    }

    fn remove(&mut self, xid: &str) -> Option<Group> {
        let group = self.groups.remove(xid)?;
        self.text = None;
        Some(group)
    }

    /// Whether a transaction of which nothing is known was committed before anything was copied, if it was so before `at`.
    pub(super) fn is_settled(&self, at: &LogPosition) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.compare(at) == Some(Ordering::Greater))
    }

    /// Up to where transactions end of which nothing is known, while we have not come there.
    pub(super) fn settled(&self) -> Option<&LogPosition> {
        self.settled.as_ref()
    }

    /// The position that goes on at a place.
    pub(super) fn position(&mut self, at: &LogPosition) -> Position {
        if matches!(&self.settled, Some(settled) if matches!(settled.compare(at), Some(Ordering::Less | Ordering::Equal)))
        {
            self.settled = None;
        }
        let groups = self.groups.iter();
        let prepared =
            self.text.get_or_insert_with(|| groups.map(|(xid, group)| prepared_text(xid, &group.from)).collect());
        let mut text = format!("{at}{prepared}");
        if let Some(settled) = &self.settled {
            text.push_str(&format!("{SETTLED}{settled}"));
        }
        Position::new(text)
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

fn is_at_or_after(file: &str, offset: u64, place: &LogPosition) -> bool {
    (file_number(file), offset) >= (file_number(&place.file), place.offset)
}

/// Rows that are read from the log once more, by another replica than the one that waits meanwhile.
pub(super) struct Reread {
    xid: String,
    from: LogPosition,
    feed: Option<Feed>,
    /// The file that is being read.
    file: String,
    /// The log is read from the very place where it begins.
    is_exact: bool,
    /// A transaction has begun.
    has_begun: bool,
    /// We are between its beginning and its end.
    is_in: bool,
}

impl Reread {
    fn new(xid: String, from: LogPosition) -> Self {
        Self { xid, file: from.file.clone(), from, feed: None, is_exact: false, has_begun: false, is_in: false }
    }

    async fn next(&mut self, access: &Access, now: &LogPosition) -> Result<Option<(Header, LogEvent)>> {
        if self.feed.is_none() {
            let mut from = self.from.clone();
            // A server_uuid is of one server only. Another one of MariaDB's may have the number of an old one.
            if from.gtids.is_none() || from.server == now.server && access.flavor == Flavor::Mysql {
                from.gtids = None;
                self.is_exact = true;
            }
            let access = Access { server_id: access.server_id ^ SECOND_REPLICA, ..access.clone() };
            self.feed = Some(access.open(&from).await?);
        }
        let feed = self.feed.as_mut().expect("opened above");
        loop {
            let Some((header, event, _)) = feed.next().await? else {
                return Err(Error::new(ErrorKind::Unreachable, "the server ended the log before it came"));
            };
            match event {
                LogEvent::TableMap(_) | LogEvent::Rows(_) if self.is_in => return Ok(Some((header, event))),
                LogEvent::Rotate { file, .. } => self.file = file,
                LogEvent::Gtid(begun) => {
                    let is_beyond = is_at_or_after(&self.file, u64::from(header.end_position), now);
                    let is_second = std::mem::replace(&mut self.has_begun, true);
                    if self.is_in || is_beyond || self.is_exact && is_second {
                        return Err(self.missing());
                    }
                    self.is_in = begun.prepares.as_ref() == Some(&self.xid);
                }
                LogEvent::Query(query) => {
                    let mode = SqlMode(query.sql_mode.unwrap_or(0));
                    if let Statement::Xa(XaVerb::Start, Xid(xid)) = parse(&query.statement, &query.schema, mode) {
                        self.is_in = xid == self.xid;
                    }
                }
                LogEvent::XaPrepare { .. } if self.is_in => return Ok(None),
                // Servers send some also for what they pass over.
                LogEvent::Heartbeat { file, position } if is_at_or_after(&file, position, now) => {
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
        assert!(is_held(prepared.commit("a", false)));
        assert!(matches!(prepared.commit("b", false), Some(Replay::Again(reread)) if reread.xid == "b"));
        prepare(&mut prepared, "d", HELD_BYTES / 2);
        prepared.roll_back("d");
        prepare(&mut prepared, "e", HELD_BYTES / 2);
        assert!(is_held(prepared.commit("e", false)));
        assert!(is_held(prepared.commit("c", false)));
        prepared.begin(at(9));
        prepared.begin(at(9));
        prepared.abandon();
        assert_eq!(prepared.held_bytes, 0);
        assert!(prepared.commit("c", false).is_none());
    }

    #[test]
    fn only_a_commit_in_one_phase_takes_what_is_open() {
        let mut prepared = Prepared::from(ResumePoint::from(at(4)));
        prepared.begin(at(4));
        assert!(prepared.commit("a", false).is_none() && prepared.is_open());
        assert!(prepared.commit("a", true).is_some() && !prepared.is_open());
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
        assert!(matches!(again.commit("X'62',X'',1", false), Some(Replay::Again(reread)) if reread.from == at(20)));
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
