//! The stream of events as a replica gets it.

use crate::binlog::{Header, raw_event};
use crate::connection::{Flavor, Server, from_mysql};
use crate::position::LogPosition;
use bytes::Bytes;
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn};
use rowferry_api::Result;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An idle server says where its log ends this often.
const HEARTBEAT_NS: u64 = 250_000_000;
/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const FAREWELL: Duration = Duration::from_secs(1);

/// A dump under way.
pub(super) struct Dump {
    stream: Option<BinlogStream>,
    /// Events of a compressed transaction that the client library takes out of it by itself, after we have: to be left out.
    expected: VecDeque<Inner>,
}

/// An event inside of a compressed transaction, as its header tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inner {
    timestamp: u32,
    type_code: u8,
    size: u32,
    end_position: u32,
}

impl Inner {
    pub(super) fn of(header: &Header) -> Self {
        let Header { timestamp, type_code, size, end_position, .. } = *header;
        Self { timestamp, type_code, size, end_position }
    }
}

impl Dump {
    pub(super) async fn open(
        mut conn: Conn,
        server: Server,
        server_id: u32,
        start: &LogPosition,
    ) -> mysql_async::Result<Self> {
        let period =
            format!("SET @master_heartbeat_period = {HEARTBEAT_NS}, @source_heartbeat_period = {HEARTBEAT_NS}");
        conn.query_drop(period).await?;
        let request = BinlogStreamRequest::new(server_id);
        let request = match (&start.gtids, server.flavor) {
            (Some(gtids), Flavor::Mariadb) => {
                // Below 4 the server would hide its GTIDs (MariaDB knowledge base, "Replication Protocol").
                conn.query_drop("SET @mariadb_slave_capability = 4").await?;
                conn.query_drop(format!("SET @slave_connect_state = '{gtids}'")).await?;
                conn.query_drop("SET @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0").await?;
                conn.get_binlog_stream(request.with_filename(b"").with_pos(4_u64)).await?
            }
            (Some(gtids), Flavor::Mysql) => {
                let sids = gtids.sids();
                let request = request.with_gtid().with_gtid_set(sids).with_filename(b"").with_pos(4_u64);
                conn.get_binlog_stream(request).await?
            }
            (None, _) => {
                if server.flavor == Flavor::Mariadb {
                    conn.query_drop("SET @mariadb_slave_capability = 4").await?;
                }
                let request = request.with_filename(start.file.as_bytes()).with_pos(start.offset);
                conn.get_binlog_stream(request).await?
            }
        };
        Ok(Self { stream: Some(request), expected: VecDeque::new() })
    }

    /// The library will hand this one out too.
    pub(super) fn expect(&mut self, inner: Inner) {
        self.expected.push_back(inner);
    }

    /// The next event of the log's own. Dropping the call loses nothing. `None`: the server ended the dump, or the library
    /// does not know an event's type.
    pub(super) async fn next(&mut self) -> Option<mysql_async::Result<Bytes>> {
        let stream = self.stream.as_mut()?;
        loop {
            let event = match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(event) => event?,
                Err(_) => {
                    let silent =
                        std::io::Error::new(std::io::ErrorKind::TimedOut, format!("nothing heard for {SILENCE:?}"));
                    return Some(Err(mysql_async::Error::Io(mysql_async::IoError::Io(silent))));
                }
            };
            let event = match event {
                Ok(event) => event,
                Err(error) => return Some(Err(error)),
            };
            if let Some(inner) = self.expected.front().copied() {
                let header = event.header();
                let found = Inner {
                    timestamp: header.timestamp(),
                    type_code: header.event_type_raw(),
                    size: header.event_size(),
                    end_position: header.log_pos(),
                };
                if found == inner {
                    self.expected.pop_front();
                    continue;
                }
                // The library could not read them, and we could.
                self.expected.clear();
            }
            return Some(Ok(raw_event(&event)));
        }
    }

    pub(super) async fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = tokio::time::timeout(FAREWELL, stream.close()).await;
        }
    }
}

/// How far the server's clock is ahead of ours, in microseconds.
pub(super) async fn clock_ahead_us(conn: &mut Conn) -> Result<i64> {
    let now: Option<String> = conn
        .query_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")
        .await
        .map_err(|error| from_mysql("ask for the server's time", error))?;
    let theirs = now.and_then(|now| now.parse::<i64>().ok()).unwrap_or(0);
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Ok(theirs - i64::try_from(ours).unwrap_or(theirs))
}
