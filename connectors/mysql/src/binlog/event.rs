//! What the log says, event by event.

use super::compressed::Payload;
use super::table_map::TableMap;
use crate::gtid::{Gtid, GtidSet};
use bytes::Bytes;
use std::sync::Arc;

/// One event, as the reader of the log needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LogEvent {
    /// The log goes on in `file` at `position`. An artificial one stands in no file: the server makes it up where a dump
    /// begins and at each file's end.
    Rotate { file: String, position: u64, is_artificial: bool },
    /// A file or a dump begins; the decoder now knows its format.
    Format { server_version: String },
    /// A transaction begins.
    Gtid(GtidEvent),
    /// A statement: BEGIN, COMMIT, SAVEPOINT, DDL, or a change in statement format.
    Query(QueryEvent),
    /// Rows that follow are of this table. The same `Arc` comes again while the table's description stays the same.
    TableMap(Arc<TableMap>),
    /// Changed rows of one table.
    Rows(RowsEvent),
    /// The transaction is committed.
    Xid,
    /// The transaction is prepared and waits for its XA COMMIT or XA ROLLBACK, or (`one_phase`) is committed. The id is
    /// written as in those statements: `X'7831',X'',1`.
    XaPrepare { xid: String, one_phase: bool },
    /// The server is there and has sent everything up to `position` of `file`.
    Heartbeat { file: String, position: u64 },
    /// A compressed transaction; each event inside is for [`Decoder::parse_inner`](super::Decoder::parse_inner).
    Payload(Payload),
    /// The text of the statement whose rows follow.
    RowsQuery(String),
    /// MySQL's: all transactions before this file.
    PreviousGtids(GtidSet),
    /// MariaDB's: the last GTID of each domain and server before this file (before the dump, in an artificial one).
    GtidList(Vec<Gtid>),
    /// A value that only a statement in statement format needs (INSERT_ID, RAND(), a user's variable).
    StatementValue,
    /// LOAD DATA in statement format: its rows are not in the log.
    StatementLoad,
    /// The server stopped writing at this place and knows that changes may be missing.
    Incident { number: u16, message: String },
    /// The server was shut down here.
    Stop,
    /// Nothing that a reader of rows needs.
    Ignored,
}

/// How a transaction begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GtidEvent {
    /// `None` in MySQL with `gtid_mode` off.
    pub(crate) gtid: Option<Gtid>,
    /// MariaDB only: no BEGIN and no end follow, one statement (DDL) is the whole transaction.
    pub(crate) is_standalone: bool,
    /// MariaDB only: a step of an ALTER TABLE that is logged twice (`binlog_alter_two_phase`).
    pub(crate) alter: Option<AlterPhase>,
    /// MariaDB only: rows follow that are prepared as this XA transaction, written as in [`LogEvent::XaPrepare`].
    pub(crate) prepares: Option<String>,
    /// Microseconds since 1970; MySQL from 8.0.1 on.
    pub(crate) commit_time_us: Option<u64>,
}

/// A step of an ALTER TABLE of MariaDB's that is logged when it begins and again when it ends. Each step carries the
/// statement's whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlterPhase {
    /// Not done yet.
    Start,
    Commit,
    Rollback,
}

/// A statement's text and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryEvent {
    /// The session's default database, empty if there was none.
    pub(crate) schema: String,
    pub(crate) statement: String,
    /// What the statement ended with on the server; 0 is success.
    pub(crate) error_code: u16,
    /// `sql_mode`'s bits, if the log says them.
    pub(crate) sql_mode: Option<u64>,
    /// The number of the client's collation, if the log says it.
    pub(crate) client_collation: Option<u16>,
}

#[cfg(test)]
impl QueryEvent {
    const ANSI_QUOTES: u64 = 4;
    const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;

    /// Double quotes enclose names in it.
    pub(crate) fn has_ansi_quotes(&self) -> bool {
        self.sql_mode.is_some_and(|mode| mode & Self::ANSI_QUOTES != 0)
    }

    /// A backslash is no escape in its strings.
    pub(crate) fn has_no_backslash_escapes(&self) -> bool {
        self.sql_mode.is_some_and(|mode| mode & Self::NO_BACKSLASH_ESCAPES != 0)
    }
}

/// What happened to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsKind {
    Insert,
    Update,
    Delete,
}

/// Rows of one table; [`RowDecoder`](super::RowDecoder) reads them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowsEvent {
    pub(crate) kind: RowsKind,
    pub(crate) table: Arc<TableMap>,
    /// The statement ends with it.
    pub(crate) ends_statement: bool,
    /// JSON columns of the images after may be differences from the images before.
    pub(super) is_partial: bool,
    /// One bit for each column that the images before carry; empty for an INSERT.
    pub(super) before: Bytes,
    /// The same of the images after; empty for a DELETE.
    pub(super) after: Bytes,
    pub(super) data: Bytes,
}

impl RowsEvent {
    /// What its rows take, uncompressed.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }
}
