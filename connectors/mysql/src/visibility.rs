//! What the log has said must be seen by the reads that follow.
//!
//! A server hands a transaction to its log's readers before the transaction's rows are visible to others (MySQL manual,
//! "binlog_order_commits"; with semi-synchronous replication long before). Changes of a table that is not copied yet are
//! dropped, and a read that came in between would miss them for good. So a read waits until the server shows everything that
//! the log's reader has received.

use crate::catalog::query_text;
use crate::connection::{Flavor, Server, from_mysql};
use crate::position::LogPosition;
use crate::prepared;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{Patience, Result};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// MySQL without GTIDs does not say what is visible: a transaction is given this long.
const UNKNOWN: Duration = Duration::from_secs(2);

/// XA transactions whose commit has just been read; of more than that no names are kept.
const MAX_NAMES: usize = 1_000;

/// How far the log's reader has come, for those who read tables.
#[derive(Debug, Default)]
pub(crate) struct Received(Mutex<Read>);

#[derive(Debug, Default, Clone)]
struct Read {
    /// And when we came there.
    upto: Option<(LogPosition, Instant)>,
    /// XA transactions whose commit was read, and when. A server shows their place in the log before their rows.
    commits: VecDeque<(String, Instant)>,
    /// More have been.
    unnamed: Option<Instant>,
}

impl Received {
    /// The log has been read up to here.
    pub(crate) fn set(&self, position: LogPosition) {
        self.lock().upto = Some((position, Instant::now()));
    }

    /// Another log is read from now on.
    pub(crate) fn forget(&self) {
        *self.lock() = Read::default();
    }

    /// The commit of an XA transaction that was prepared has been read.
    pub(crate) fn commits(&self, xid: &str) {
        self.lock().commits(xid.to_owned(), Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.0.lock().expect("no code panics while it holds this")
    }

    /// Waits until a statement on this connection sees everything received so far. On MariaDB a transaction is open
    /// then, whose snapshot does: returns whether the caller has to end it.
    pub(crate) async fn wait(&self, conn: &mut Conn, server: Server) -> Result<bool> {
        let read = self.lock().clone();
        wait(conn, server, &read).await?;
        Ok(server.flavor == Flavor::Mariadb)
    }
}

impl Read {
    fn commits(&mut self, xid: String, now: Instant) {
        self.commits.retain(|(_, at)| now - *at < UNKNOWN);
        if self.commits.len() >= MAX_NAMES {
            self.commits.pop_front();
            self.unnamed = Some(now);
        }
        self.commits.push_back((xid, now));
    }

    /// Whether the rows of XA transactions may not be visible though their commits stand in the log.
    async fn has_commits(&self, conn: &mut Conn) -> Result<bool> {
        let is_young = |at: Instant| at.elapsed() < UNKNOWN;
        if self.unnamed.is_some_and(is_young) {
            return Ok(true);
        }
        let young = self.commits.iter().filter(|(_, at)| is_young(*at)).map(|(xid, _)| xid.as_str());
        let young: Vec<&str> = young.collect();
        if young.is_empty() {
            return Ok(false);
        }
        // Who may not see them waits for as long as they may take.
        let names = prepared::names(conn).await?;
        Ok(names.is_none_or(|names| young.iter().any(|xid| names.contains(*xid))))
    }
}

/// Waits until the server shows what was committed before a place in its log.
pub(crate) async fn wait_until_visible(conn: &mut Conn, server: Server, place: &LogPosition) -> Result<()> {
    let read = Read { upto: Some((place.clone(), Instant::now())), ..Read::default() };
    wait(conn, server, &read).await?;
    if server.flavor == Flavor::Mariadb {
        conn.query_drop("ROLLBACK").await.map_err(|error| from_mysql("end a snapshot", error))?;
    }
    Ok(())
}

/// On MariaDB with a transaction open whose snapshot shows it.
async fn wait(conn: &mut Conn, server: Server, read: &Read) -> Result<()> {
    const HINT: &str =
        "Look for transactions that hang in their commit, for example waiting for a semi-synchronous replica.";
    let mut patience = Patience::begin();
    while read.has_commits(conn).await? || !is_visible(conn, server, read.upto.as_ref()).await? {
        tokio::time::sleep(patience.next_pause(HINT)?).await;
    }
    Ok(())
}

async fn is_visible(conn: &mut Conn, server: Server, received: Option<&(LogPosition, Instant)>) -> Result<bool> {
    match server.flavor {
        Flavor::Mariadb => in_snapshot(conn, received).await,
        Flavor::Mysql => {
            let Some((position, at)) = received else { return Ok(true) };
            let Some(gtids) = &position.gtids else { return Ok(at.elapsed() >= UNKNOWN) };
            let sql = format!("SELECT GTID_SUBSET('{gtids}', @@GLOBAL.gtid_executed)");
            let shown: Option<u8> =
                conn.query_first(sql).await.map_err(|error| from_mysql("ask what is visible", error))?;
            Ok(shown == Some(1))
        }
    }
}

/// MariaDB says which place in its log a snapshot is of (knowledge base, "START TRANSACTION", "WITH CONSISTENT SNAPSHOT").
async fn in_snapshot(conn: &mut Conn, received: Option<&(LogPosition, Instant)>) -> Result<bool> {
    let failed = |error| from_mysql("take a snapshot", error);
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await.map_err(failed)?;
    let Some((position, _)) = received else { return Ok(true) };
    let rows =
        query_text(conn, "ask for the snapshot's place in the log", "SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
    let value = |name: &str| {
        let named = |row: &&Vec<Option<String>>| {
            row.first().is_some_and(|cell| cell.as_ref().is_some_and(|cell| cell.eq_ignore_ascii_case(name)))
        };
        rows.iter().find(named).and_then(|row| row.get(1).cloned().flatten())
    };
    let offset = value("binlog_snapshot_position").and_then(|offset| offset.parse().ok());
    let snapshot = LogPosition {
        file: value("binlog_snapshot_file").unwrap_or_default(),
        offset: offset.unwrap_or(0),
        server: position.server.clone(),
        gtids: None,
    };
    let seen = matches!(snapshot.compare(position), Some(Ordering::Equal | Ordering::Greater));
    if !seen {
        conn.query_drop("ROLLBACK").await.map_err(failed)?;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_kept_for_as_long_as_they_may_take_and_no_more_than_some_by_name() {
        let mut read = Read::default();
        let start = Instant::now();
        for number in 0..=MAX_NAMES {
            read.commits(number.to_string(), start);
        }
        assert_eq!((read.commits.len(), read.unnamed), (MAX_NAMES, Some(start)));
        read.commits("last".into(), start + UNKNOWN);
        assert_eq!(read.commits.iter().map(|(xid, _)| xid.as_str()).collect::<Vec<_>>(), ["last"]);
    }
}
