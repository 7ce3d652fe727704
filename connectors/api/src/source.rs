//! What a source can do.

use crate::{BlockStream, Encoding, Event, Finding, Identity, Position, Range, Result, TableName, TableSchema};
use async_trait::async_trait;
use std::cmp::Ordering;
use std::sync::Arc;

/// A database that is replicated from. Calls may run side by side; each reconnects by itself where it must.
#[async_trait]
pub trait Source: Send + Sync {
    /// Kind, host and database, as a message names it. Holds no secret.
    fn describe(&self) -> String;

    /// Who this server is.
    async fn identity(&self) -> Result<Identity>;

    /// What tells this server's history from one that branched off it (PostgreSQL's timeline), as text that only the connector
    /// reads. `None` if it has nothing of the kind, or if it may change while the log is read.
    async fn branch(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Refuses a position that was reached on that branch and that is not in this server's history, with
    /// [`ErrorKind::LogLost`](crate::ErrorKind::LogLost): the same place may come again with another history before it.
    async fn refuse_branched(&self, branch: &str, resume: &Position) -> Result<()> {
        let _ = (branch, resume);
        Ok(())
    }

    /// Returns once the server has answered on a connection of its own, that waits for nothing else.
    async fn ping(&self) -> Result<()>;

    /// Lets go of connections that are kept for the next call and that would not be given up with a call that is dropped: the
    /// server does not answer on them.
    async fn hang_up(&self) {}

    /// Looks at server, rights, publication, slot and these tables, and changes nothing.
    async fn check(&self, tables: &[SourceTable]) -> Result<Vec<Finding>>;

    /// Every table that could be replicated, as the catalog has it now; system tables left out.
    async fn tables(&self) -> Result<Vec<SourceTable>>;

    /// A number that changes when what [`tables`](Self::tables) would answer changes in form. Cheap.
    async fn catalog_version(&self) -> Result<u64>;

    /// What may have changed of a table between two looks at it without a word in the log, by what those found in
    /// [`SourceTable::traces`].
    async fn untold(&self, before: &str, now: &str) -> Result<Untold> {
        let _ = (before, now);
        Ok(Untold::default())
    }

    /// Makes the log carry these tables and keep what follows `resume`: creates what is missing (publication,
    /// slot). Without `resume` the log starts anywhere at or after the last call's effects; with it, a log that no
    /// longer has that position is [`ErrorKind::LogLost`](crate::ErrorKind::LogLost), and nothing is created in
    /// place of a slot that is gone. A slot in use is [`ErrorKind::Busy`](crate::ErrorKind::Busy). Repeating it is safe.
    async fn prepare(&self, tables: &[SourceTable], resume: Option<&Position>) -> Result<LogStart>;

    /// Waits until every transaction has ended that may have changed a table before the last [`prepare`](Self::prepare) made
    /// the log carry it. The log may lack such changes, so a table that the log carries anew is read after this returns. Waits
    /// as long as the oldest of them takes. Dropping the call changes nothing.
    async fn settled(&self) -> Result<()>;

    /// The end of the log now: whatever a read that has ended saw is committed at or before it.
    async fn head(&self) -> Result<Position>;

    /// Somebody waits for the log to reach [`head`](Self::head): a source that keeps the log's end to itself for a while
    /// hands it out soon. Returns at once; repeating it is cheap.
    async fn hurry(&self) -> Result<()> {
        Ok(())
    }

    /// The order of two positions, where they have one.
    fn compare(&self, a: &Position, b: &Position) -> Result<Option<Ordering>>;

    /// Bytes of log from `from` to `to`, 0 if `to` is not behind it; `None` if the log does not count in bytes.
    fn distance_bytes(&self, from: &Position, to: &Position) -> Option<u64>;

    /// What the source keeps of its log, where the pipeline has applied it up to `applied`. Cheap enough for every few seconds.
    async fn log_kept(&self, applied: Option<&Position>) -> Result<LogKept>;

    /// Whether [`give_up_log`](Self::give_up_log) frees anything.
    fn can_give_up_log(&self) -> bool {
        false
    }

    /// Lets go of what the source keeps for us: the log cannot be followed from where it stands any more. Waits until the
    /// pipeline's own reader, which was just ended, is gone. Repeating it is safe.
    async fn give_up_log(&self) -> Result<()> {
        Ok(())
    }

    /// The log does not say by itself what its rows look like: the forms that [`Event::Schema`] brings are kept with the
    /// positions that they follow, and [`open_log`](Self::open_log) is given those that hold at its position.
    fn follows_forms(&self) -> bool {
        false
    }

    /// Opens the log at a position that [`prepare`](Self::prepare) accepted. `tables` are the forms known so far, with
    /// the keys that changes are to carry; a key is found by its columns' names again when a table's form changes. `followed`
    /// are the forms that hold at `from`, where [`follows_forms`](Self::follows_forms) asks for them.
    async fn open_log(
        &self,
        from: &Position,
        tables: &[Arc<TableSchema>],
        followed: &[Arc<TableSchema>],
    ) -> Result<Box<dyn LogReader>>;

    /// Opens a connection that reads tables.
    async fn open_tables(&self) -> Result<Box<dyn TableReader>>;
}

/// A table at the source, and what replicating it needs to know beyond its form.
#[derive(Debug, Clone)]
pub struct SourceTable {
    /// The source's own id of the table: another one if it was dropped and made again under its name. 0 if unknown.
    pub id: u64,
    /// Its form. The engine may narrow `columns` and set `key` from the configuration.
    pub schema: Arc<TableSchema>,
    /// The partitioned tables that it is part of, root first. A table is skipped where one of them is chosen.
    pub ancestors: Vec<TableName>,
    /// Rows, estimated; for progress.
    pub estimated_rows: u64,
    /// Bytes on disk, estimated; for progress and the number of slices.
    pub estimated_bytes: u64,
    /// What DDL leaves in the catalog where it changes rows that the log does not tell of, as text that only the connector reads.
    /// Empty where the log tells of all, or nothing is known.
    pub traces: String,
}

/// What the log does not tell of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untold {
    /// Rows may have come, gone or changed.
    pub rows: bool,
    /// It is made of other parts than before, of which the log may carry less: [`check`](Source::check) says so.
    pub parts: bool,
}

/// What a source keeps of its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogKept {
    /// Bytes that it keeps for us, or that lie between us and its end where it keeps them by itself.
    pub bytes: Option<u64>,
    /// How the server calls the state of what it keeps for us (PostgreSQL: `reserved`, `extended`, `unreserved`, `lost`).
    pub status: Option<String>,
    /// Bytes that may be written until a limit of the server lets go of what we need.
    pub left_bytes: Option<u64>,
    /// Seconds for which the server keeps a file of its log, where it lets go of old ones by their age.
    pub kept_seconds: Option<u64>,
    /// Files between the one that we stand in and the one that is written.
    pub files_behind: Option<u64>,
}

/// Where a log starts.
#[derive(Debug, Clone)]
pub struct LogStart {
    /// The position to open the log at.
    pub position: Position,
    /// The log was kept before this call: it may say what tables were long before.
    pub is_older: bool,
}

/// Reads one log from a position on. It has a thread and a runtime of its own, those that it was opened on: it may hold
/// the thread up for some milliseconds to let rows gather while the log is behind.
#[async_trait]
pub trait LogReader: Send {
    /// Appends what has arrived, at least one event, in commit order; waits for it. Stops appending at about 256 KiB
    /// or at the first event beyond it, so that a caller's budget holds. Cancel-safe: dropping the future loses nothing.
    /// Says by itself to the server that it is alive, also between calls. After an error the reader is of no more use.
    async fn next(&mut self, events: &mut Vec<Event>) -> Result<()>;

    /// Tells the source that everything up to `position` is applied and checkpointed, so that it may drop that part
    /// of its log. Never goes back. Returns before the source has acted on it.
    fn confirm(&mut self, position: &Position) -> Result<()>;

    /// Tells the source the last confirmed position and lets the log go; gives up after a second. The reader is of no more
    /// use. Dropping a reader does the same as far as its runtime lives on.
    async fn close(&mut self);
}

/// Reads tables as they are now.
#[async_trait]
pub trait TableReader: Send {
    /// Cuts a table into ranges of about `rows_per_range` rows that together cover it. `ordered`: as ranges of keys
    /// ([`Range::Keys`], ascending, first and last open) or [`Range::Whole`]; else as is fastest to read.
    async fn split(&mut self, table: &TableSchema, rows_per_range: u64, ordered: bool) -> Result<Vec<Range>>;

    /// Reads one range, all columns of `table` in its order, each range in one statement. `ordered`: rows come by
    /// key in the order of [`KeyOrder`](crate::KeyOrder). A native range of a table whose storage was rewritten since it was
    /// cut ends in [`ErrorKind::Stale`](crate::ErrorKind::Stale), since rows may have moved out of it. Dropping the stream early leaves the reader usable or
    /// makes the next call reconnect.
    async fn read<'a>(&'a mut self, table: &'a TableSchema, range: &'a Range, ordered: bool)
    -> Result<BlockStream<'a>>;

    /// The same without an order, in the encoding that [`Applier::encoding`](crate::Applier::encoding) asks for, or as text where it
    /// cannot.
    async fn read_encoded<'a>(
        &'a mut self,
        table: &'a TableSchema,
        range: &'a Range,
        _encoding: Encoding,
    ) -> Result<BlockStream<'a>> {
        self.read(table, range, false).await
    }

    /// What its store gives back as it was given.
    fn keeps(&self) -> Keeps {
        Keeps { json_text: true, minus_zero: true }
    }
}

/// What a store gives back as it was given: where it does not, equal values may read otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// JSON is the text that it was, and not a document whose members and numbers are written in the store's own way.
    pub json_text: bool,
    /// A float that is zero has its sign.
    pub minus_zero: bool,
}
