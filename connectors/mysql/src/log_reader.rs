//! Reads the binary log: events become transactions of changes.
//!
//! The server sends what a replica would get. It is told nothing back: how long the log is kept is the server's own setting.

mod ddl;
mod derive;
mod dump;
mod feed;
mod forms;
mod tables;
mod transaction;
mod versions;
mod xa;

use crate::binlog::{Header, LogEvent};
use crate::connection::{ConnectOptions, Flavor, Server};
use crate::position::{LogPosition, ResumePoint};
use crate::shared::Shared;
use crate::status::{self, Origin};
use crate::zero_dates::ZeroDates;
use async_trait::async_trait;
use feed::{Access, Fed, Feed};
use futures_util::FutureExt;
use rowferry_api::{Error, ErrorKind, Event, LogReader, Position, Result, TableName, TableSchema};
use std::cmp::Ordering;
use std::sync::Arc;
use tables::{Answer, Question, Tables};
use tokio::task::JoinHandle;
use transaction::Transaction;
use xa::{Prepared, Replay};

/// A call of `next` stops appending at about this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Transactions without a change that is carried, after which the position is told all the same.
const MAX_SILENT: u32 = 1_000;

/// Which log to read, and how.
pub(crate) struct Place {
    pub(crate) connect: ConnectOptions,
    pub(crate) server_id: u32,
    pub(crate) zero_dates: Arc<ZeroDates>,
    pub(crate) shared: Arc<Shared>,
}

/// A server's log from a position on.
pub(crate) struct MysqlLogReader {
    access: Access,
    feed: Feed,
    /// Away while they are asked for something that the server has to be asked for.
    tables: Option<Tables>,
    asking: Option<Asking>,
    shared: Arc<Shared>,
    server: Server,
    /// The end of the last transaction.
    position: LogPosition,
    /// The position's file and offset are another server's, until this one has said where it is.
    is_elsewhere: bool,
    /// Where the log is being read, also inside a transaction.
    file: String,
    offset: u64,
    transaction: Option<Transaction>,
    prepared: Prepared,
    /// Rows that a transaction brings which prepared them before, and the event that ends it.
    replay: Option<(Replay, Header)>,
    /// An event that is being taken; kept until it is done, so that a dropped call loses nothing.
    current: Option<Fed>,
    /// Those of the tables that `current` takes away that the catalog has all the same.
    there: Vec<TableName>,
    /// Transactions since the last position that was told.
    silent: u32,
    /// Seconds that the server's clock is ahead of ours.
    clock_ahead_us: i64,
}

impl MysqlLogReader {
    pub(crate) async fn open(
        place: Place,
        from: &Position,
        tables: &[Arc<TableSchema>],
        followed: &[Arc<TableSchema>],
    ) -> Result<Self> {
        let Place { connect, server_id, zero_dates, shared } = place;
        let context = format!("read the log of {}", connect.describe());
        let (mut conn, server) = connect.connect().await?;
        let origin = status::origin(&mut conn, server).await?;
        let ResumePoint { at: start, prepared, settled } = start(server, &origin, from)?;
        let clock_ahead_us = dump::clock_ahead_us(&mut conn).await?;
        // What was applied before may still not be visible.
        let is_known = start.server == origin.server || (server.flavor == Flavor::Mysql && start.gtids.is_some());
        if !is_known {
            shared.received.forget();
        }
        let tables = Tables::open(conn, server, connect.clone(), shared.clone(), zero_dates, tables, followed).await?;
        let access = Access { context, connect, flavor: server.flavor, server_id };
        let feed = access.open(&start).await?;
        let position = LogPosition { server: origin.server, ..start.clone() };
        let reader = Self {
            access,
            feed,
            tables: Some(tables),
            asking: None,
            shared,
            server,
            file: start.file.clone(),
            offset: start.offset,
            is_elsewhere: start.server != position.server,
            prepared: ResumePoint { at: start, prepared, settled }.into(),
            position,
            transaction: None,
            replay: None,
            current: None,
            there: Vec::new(),
            silent: 0,
            clock_ahead_us,
        };
        if is_known {
            reader.publish();
        }
        Ok(reader)
    }

    /// Waits for the next event; without `wait` there may be none yet.
    async fn advance(&mut self, wait: bool) -> Result<bool> {
        if self.current.is_some() {
            return Ok(true);
        }
        if let Some((replay, end)) = &mut self.replay {
            let end = *end;
            let (header, event) = match replay.next(&self.access, &self.position).await? {
                Some(again) => again,
                None => {
                    self.replay = None;
                    (end, LogEvent::Xid)
                }
            };
            self.current = Some((header, event, true));
            return Ok(true);
        }
        let fed = match wait {
            true => self.feed.next().await,
            false => match self.feed.next().now_or_never() {
                Some(fed) => fed,
                None => return Ok(false),
            },
        };
        self.current = Some(fed?.ok_or_else(|| self.ended())?);
        Ok(true)
    }

    fn ended(&self) -> Error {
        Error::new(
            ErrorKind::Unreachable,
            format!("{}: the server ended it at {}:{}", self.access.context, self.file, self.offset),
        )
        .hint("The server was stopped, or the log has an event of a type that is not known.")
    }

    fn tables(&self) -> &Tables {
        self.tables.as_ref().expect("they are away only while an answer is waited for")
    }

    fn tables_mut(&mut self) -> &mut Tables {
        self.tables.as_mut().expect("they are away only while an answer is waited for")
    }

    /// What has to be known before the current event is taken.
    fn question(&self) -> Option<Question> {
        let described = match &self.current {
            Some((_, LogEvent::TableMap(map), _)) => Some(map),
            Some((_, LogEvent::Rows(rows), _)) => Some(&rows.table),
            _ => None,
        };
        if let Some(map) = described {
            let is_new = !self.prepared.is_open() && !self.tables().knows(map);
            return is_new.then(|| Question::Describe(map.clone()));
        }
        match &self.current {
            Some((_, LogEvent::Query(query), _)) => {
                let gone = self.taken_away(query);
                (!gone.is_empty()).then_some(Question::WhichAreThere(gone))
            }
            _ => None,
        }
    }

    /// Takes the event that is current. What has to be asked for first is asked in a task of its own: a dropped call leaves
    /// no connection in the middle of an answer.
    async fn take(&mut self, events: &mut Vec<Event>) -> Result<usize> {
        if self.asking.is_none()
            && let Some(question) = self.question()
        {
            let mut tables = self.tables.take().expect("nothing else is asked");
            self.asking = Some(Asking(tokio::spawn(async move {
                let answer = tables.answer(question).await;
                (tables, answer)
            })));
        }
        if let Some(asking) = &mut self.asking {
            let broken = |error| Error::new(ErrorKind::Other, "look at the source's tables").because(error);
            let (tables, answer) = (&mut asking.0).await.map_err(broken)?;
            self.asking = None;
            self.tables = Some(tables);
            match answer? {
                Answer::Described(told) => events.extend(told),
                Answer::There(there) => self.there = there,
            }
        }
        let Some((header, event, is_inner)) = self.current.take() else { return Ok(0) };
        if !is_inner {
            self.pass(&header, &event);
        }
        self.handle(&header, event, events)
    }

    /// Moves on in the file.
    fn pass(&mut self, header: &Header, event: &LogEvent) {
        match event {
            LogEvent::Rotate { file, position, .. } => {
                self.file.clone_from(file);
                self.offset = *position;
            }
            LogEvent::Heartbeat { file, position } if *position > 0 => {
                self.file.clone_from(file);
                self.offset = *position;
            }
            _ if header.flags & Header::ARTIFICIAL != 0 || header.end_position == 0 => {}
            // The header's field has 32 bits; a file may be longer.
            _ => {
                let low = u64::from(header.end_position);
                let mut end = (self.offset & !0xffff_ffff) | low;
                if end < self.offset {
                    end += 1 << 32;
                }
                self.offset = end;
            }
        }
    }

    /// Tells those who read tables how far the log has been read.
    fn publish(&self) {
        let mut received = self.position.clone();
        if let Some(transaction) = &self.transaction {
            received.offset = self.offset;
            received.file.clone_from(&self.file);
            if let (Some(gtids), Some(gtid)) = (&mut received.gtids, &transaction.gtid) {
                gtids.add(gtid);
            }
        }
        // What was committed before that place without its rows has to be seen as well.
        if let Some(settled) = self.prepared.settled()
            && settled.compare(&received) == Some(Ordering::Greater)
            && settled.server == received.server
        {
            received = settled.clone();
        }
        self.shared.received.set(received);
    }

    fn tell_position(&mut self, events: &mut Vec<Event>) {
        self.silent = 0;
        events.push(Event::Heartbeat { position: self.prepared.position(&self.position) });
    }
}

/// A question under way, which ends with the reader.
struct Asking(JoinHandle<(Tables, Result<Answer>)>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the dump begins. By file and offset on the server that the position is of; else by GTID.
fn start(server: Server, origin: &Origin, from: &Position) -> Result<ResumePoint> {
    let mut start = ResumePoint::parse(server.flavor, from)?;
    if !origin.has_gtids && server.flavor == Flavor::Mysql {
        start.at.gtids = None;
    }
    Ok(start)
}

#[async_trait]
impl LogReader for MysqlLogReader {
    async fn next(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        let mut bytes = 0;
        if let Some(tables) = &mut self.tables {
            tables.announce(events);
        }
        loop {
            let is_empty = events.len() == before;
            let told = self.silent == 0 || self.transaction.is_some();
            if !self.advance(is_empty && told).await? {
                if !told {
                    self.tell_position(events);
                }
                break;
            }
            bytes += self.take(events).await?;
            if self.silent >= MAX_SILENT && self.transaction.is_none() {
                self.tell_position(events);
            }
            if bytes >= CHUNK_BYTES {
                break;
            }
        }
        self.publish();
        Ok(())
    }

    /// The server keeps its log as its own settings say.
    fn confirm(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    async fn close(&mut self) {
        self.feed.close().await;
    }
}
