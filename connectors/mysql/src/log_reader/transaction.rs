//! Transactions: where they begin and end, and what becomes of each event between.

use super::MysqlLogReader;
use crate::binlog::{AlterPhase, GtidEvent, Header, LogEvent, RowsEvent};
use crate::gtid::Gtid;
use crate::position::file_number;
use rowferry_api::{Error, ErrorKind, Event, Result, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// A transaction that was committed this long before it is read was waiting for us.
const LATE_US: i64 = 2_000_000;

/// A transaction being read.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) gtid: Option<Gtid>,
    /// Where its first event begins.
    starts_at: Option<u64>,
    committed_at_us: Option<i64>,
    /// It goes on until it says that it ends.
    pub(super) has_end: bool,
    /// It is a step of an ALTER TABLE that is logged twice.
    pub(super) alter: Option<AlterPhase>,
    /// A change of it has been handed out.
    pub(super) began: bool,
}

impl MysqlLogReader {
    /// Takes an event; the bytes that it appended.
    pub(super) fn handle(&mut self, header: &Header, event: LogEvent, events: &mut Vec<Event>) -> Result<usize> {
        match event {
            LogEvent::TableMap(_) | LogEvent::Rows(_) if self.prepared.is_open() => {
                self.prepared.hold(header, event);
                Ok(0)
            }
            LogEvent::Rotate { .. } if self.transaction.is_none() => {
                self.moved();
                Ok(0)
            }
            LogEvent::Heartbeat { .. } if self.transaction.is_none() => {
                self.moved();
                self.tell_position(events);
                Ok(0)
            }
            LogEvent::Gtid(gtid) => {
                self.begin(header, gtid);
                Ok(0)
            }
            LogEvent::Query(query) => self.statement(header, &query, events),
            LogEvent::Rows(rows) => self.rows(header, &rows, events),
            LogEvent::Xid => Ok(self.end(header, events)),
            LogEvent::XaPrepare { xid, one_phase: true } => self.commit_prepared(header, xid, true, events),
            LogEvent::XaPrepare { xid, one_phase: false } => {
                self.prepare(xid)?;
                Ok(self.end(header, events))
            }
            LogEvent::StatementLoad => Err(self.refused(
                "LOAD DATA was logged as a statement, without its rows",
                "Set binlog_format = ROW (SET GLOBAL binlog_format = 'ROW', and the sessions that set their own), then run \
                 `rowferry resync --all`.",
            )),
            LogEvent::Incident { number, message } => Err(self.refused(
                &format!("the server lost changes of its own log (incident {number}: {message})"),
                "Run `rowferry resync --all`: it goes on from the log's end and compares and copies every table again.",
            )),
            LogEvent::TableMap(_)
            | LogEvent::Payload(_)
            | LogEvent::Rotate { .. }
            | LogEvent::Heartbeat { .. }
            | LogEvent::Format { .. }
            | LogEvent::RowsQuery(_)
            | LogEvent::PreviousGtids(_)
            | LogEvent::GtidList(_)
            | LogEvent::StatementValue
            | LogEvent::Stop
            | LogEvent::Ignored => Ok(0),
        }
    }

    fn begin(&mut self, header: &Header, event: GtidEvent) {
        self.prepared.abandon();
        self.transaction = Some(Transaction {
            gtid: event.gtid,
            starts_at: self.offset.checked_sub(u64::from(header.size)),
            committed_at_us: event.commit_time_us.and_then(|us| i64::try_from(us).ok()),
            // MariaDB says so; MySQL has a BEGIN.
            has_end: self.server.flavor == crate::connection::Flavor::Mariadb && !event.is_standalone,
            alter: event.alter,
            began: false,
        });
        if event.prepares.is_some() {
            self.begin_prepared();
        }
    }

    /// Outside a transaction: where we are is where we go on. Asked by GTID a server begins at a file's start, and passes over
    /// what we have.
    fn moved(&mut self) {
        let place = |file: &str, offset: u64| (file_number(file), offset);
        let is_back = place(&self.file, self.offset) < place(&self.position.file, self.position.offset);
        if is_back && !self.is_elsewhere {
            return;
        }
        self.is_elsewhere = false;
        self.position.file.clone_from(&self.file);
        self.position.offset = self.offset;
    }

    /// The transaction ends; the bytes that this appends.
    pub(super) fn end(&mut self, header: &Header, events: &mut Vec<Event>) -> usize {
        let transaction = self.transaction.take().unwrap_or_default();
        if let (Some(gtids), Some(gtid)) = (&mut self.position.gtids, &transaction.gtid) {
            gtids.add(gtid);
        }
        self.moved();
        if !transaction.began {
            self.silent += 1;
            return 0;
        }
        let committed_at = transaction.committed_at_us.unwrap_or(i64::from(header.timestamp) * 1_000_000);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let age_us = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(self.clock_ahead_us) - committed_at;
        let position = self.prepared.position(&self.position);
        let bytes = position.as_str().len();
        events.push(Event::Commit {
            position,
            committed_at: Timestamp(committed_at - self.clock_ahead_us),
            is_late: age_us > LATE_US,
        });
        self.silent = 0;
        bytes
    }

    /// Rows follow that count once they are committed.
    pub(super) fn begin_prepared(&mut self) {
        let transaction = self.transaction.get_or_insert_default();
        transaction.has_end = true;
        let mut from = self.position.clone();
        if let Some(starts_at) = transaction.starts_at {
            from.file.clone_from(&self.file);
            from.offset = starts_at;
        }
        self.prepared.begin(from);
    }

    /// The rows since its beginning are prepared.
    fn prepare(&mut self, xid: String) -> Result<()> {
        let began = self.transaction.as_ref().is_some_and(|transaction| transaction.began);
        if began && !self.prepared.is_open() {
            let what = format!("XA transaction {xid} is prepared, whose beginning was not understood");
            return Err(
                self.refused(&what, "This is a defect; leave such tables out, and run `rowferry resync --all`.")
            );
        }
        self.prepared.prepare(xid).map_err(|error| error.within(self.access.context.as_str()))
    }

    /// A transaction that was prepared is committed: its rows come now, and then its end. The bytes that this appends.
    pub(super) fn commit_prepared(
        &mut self,
        header: &Header,
        xid: String,
        one_phase: bool,
        events: &mut Vec<Event>,
    ) -> Result<usize> {
        self.shared.received.commits(&xid);
        match self.prepared.commit(&xid, one_phase) {
            Some(replay) => {
                self.replay = Some((replay, *header));
                Ok(0)
            }
            None if self.prepared.is_settled(&self.position) => Ok(self.end(header, events)),
            None => Err(self.refused(
                &format!("XA transaction {xid} is committed, which was prepared before its log was followed: its rows are not known"),
                "Run `rowferry resync --all`: it goes on from the log's end and compares and copies every table again. A start waits \
                 for such transactions if the user may see them (XA RECOVER; MySQL 8.0 asks for XA_RECOVER_ADMIN).",
            )),
        }
    }

    /// Rows of a table that is carried become changes.
    fn rows(&mut self, header: &Header, rows: &RowsEvent, events: &mut Vec<Event>) -> Result<usize> {
        if !self.tables().takes(rows) {
            let is_new = |refusal: &Event| match (refusal, events.last()) {
                (Event::Unreadable { table, .. }, Some(Event::Unreadable { table: last, .. })) => table != last,
                _ => true,
            };
            events.extend(self.tables().refusal(rows).filter(is_new));
            return Ok(0);
        }
        self.ensure_begun(header, events);
        self.tables_mut().changes(rows, events)
    }

    pub(super) fn ensure_begun(&mut self, header: &Header, events: &mut Vec<Event>) {
        let transaction = self.transaction.get_or_insert_default();
        if !std::mem::replace(&mut transaction.began, true) {
            let xid = match &transaction.gtid {
                Some(gtid) => gtid.to_string(),
                None => format!("{}:{}", self.file, header.end_position),
            };
            events.push(Event::Begin { xid });
        }
    }

    /// An error about what stands in the log here.
    pub(super) fn refused(&self, what: &str, mend: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{}: at {}:{} {what}", self.access.context, self.file, self.offset))
            .hint(mend)
    }
}
