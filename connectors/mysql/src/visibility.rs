//! What the log has said must be seen by the reads that follow.
//!
//! A server hands a transaction to its log's readers before the transaction's rows are visible to others (MySQL manual,
//! "binlog_order_commits"; with semi-synchronous replication long before). Changes of a table that is not copied yet are
//! dropped, and a read that came in between would miss them for good. So a read waits until the server shows everything that
//! the log's reader has received.

use crate::catalog::query_text;
use crate::connection::{Flavor, Server, from_mysql};
use crate::position::LogPosition;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{Error, ErrorKind, Result};
use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// How long a transaction may take from the log to the table.
const PATIENCE: Duration = Duration::from_secs(120);
/// The server is asked again after this, and after twice as long each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// MySQL without GTIDs does not say what is visible: a transaction is given this long.
const UNKNOWN: Duration = Duration::from_secs(2);

/// How far the log's reader has come, for those who read tables.
#[derive(Debug, Default)]
pub(crate) struct Received(Mutex<Option<(LogPosition, Instant)>>);

impl Received {
    /// The log has been read up to here.
    pub(crate) fn set(&self, position: LogPosition) {
        *self.lock() = Some((position, Instant::now()));
    }

    /// Another log is read from now on.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn get(&self) -> Option<(LogPosition, Instant)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(LogPosition, Instant)>> {
        self.0.lock().expect("no code panics while it holds this")
    }

    /// Waits until a statement on this connection sees everything received so far. On MariaDB a transaction is open
    /// then, whose snapshot does: returns whether the caller has to end it.
    pub(crate) async fn wait(&self, conn: &mut Conn, server: Server) -> Result<bool> {
        let received = self.get();
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            if is_visible(conn, server, received.as_ref()).await? {
                return Ok(server.flavor == Flavor::Mariadb);
            }
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::Transient,
                    format!("read a table: after {PATIENCE:?} the server still does not show what its log says"),
                )
                .hint("Look for transactions that hang in their commit, for example waiting for a semi-synchronous replica."));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
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
