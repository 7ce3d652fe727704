//! What a target can do.

use crate::{
    Alteration, Applied, Batch, BlockStream, Encoding, Finding, Identity, Position, Range, Replaced, Result, Step,
    TableName, TableReader, TableSchema,
};
use async_trait::async_trait;
use futures_core::future::BoxFuture;

/// A store that is replicated into. Calls may run side by side.
#[async_trait]
pub trait Target: Send + Sync {
    /// Kind, host and database or path, as a message names it. Holds no secret.
    fn describe(&self) -> String;

    /// What the engine may count on.
    fn capabilities(&self) -> Capabilities;

    /// The name that a source's table takes here unless the configuration names one.
    fn table_name(&self, source: &TableName) -> TableName;

    /// Parses a name from the configuration (`orders`, `sales.orders`) into one that this store has. `source` is the
    /// table that it is for, whose schema is taken where the text has none.
    fn parse_name(&self, text: &str, source: &TableName) -> TableName;

    /// Who this store is. Creates nothing; `None` if the store does not exist yet or was never written.
    async fn identity(&self) -> Result<Option<Identity>>;

    /// Returns once the store has answered on a connection of its own, that waits for nothing else. A store in files is there.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Looks at the store, rights and these tables (forms as they are to be here), and changes nothing.
    async fn check(&self, tables: &[TableSchema]) -> Result<Vec<Finding>>;

    /// What the store says of a pipeline; `None` if it has nothing of it. Changes nothing.
    async fn position(&self, pipeline: &str) -> Result<Option<HeldPosition>>;

    /// Creates rowferry's own tables where they are missing, and makes `position` in the log of `source` the pipeline's
    /// position: if it has none yet, or `anew` whatever it has. Durable when it returns. Returns the store's identity, which is
    /// lasting from now on.
    async fn prepare(&self, pipeline: &str, source: &Identity, position: &Position, anew: bool) -> Result<Identity>;

    /// Opens a connection that writes. Several may be open: one applies the log, others replace ranges.
    async fn open_applier(&self, pipeline: &str) -> Result<Box<dyn Applier>>;

    /// Opens a connection that reads tables, in the cells' common text forms.
    async fn open_tables(&self) -> Result<Box<dyn TableReader>>;
}

/// What the engine may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A batch and its position become visible and durable together.
    pub transactions: bool,
    /// [`Applier::alter`] and [`Applier::create`] are all or nothing.
    pub transactional_ddl: bool,
    /// How many appliers can replace ranges side by side and gain from it.
    pub parallel_writers: usize,
}

/// The position that a target holds of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPosition {
    /// The source that the position belongs to.
    pub source: Identity,
    /// Everything up to here is in the target.
    pub position: Position,
}

/// What became of a table asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was not there and is now, empty, with its key and without secondary indexes.
    New,
    /// It was there, fits, and is empty.
    Empty,
    /// It was there, fits, and has rows.
    Filled,
}

/// Writes to a target.
#[async_trait]
pub trait Applier: Send {
    /// Creates a table, the schema it lives in and the types it needs, or finds that the one that is there fits. One that
    /// does not is [`ErrorKind::Schema`](crate::ErrorKind::Schema) with the difference, and nothing is changed.
    async fn create(&mut self, table: &TableSchema) -> Result<Created>;

    /// Carries a change of form over: after it the target's table can take rows of `after`. Not called inside an open
    /// transaction. All of the alterations or none, where DDL is transactional. Repeating it is safe.
    async fn alter(&mut self, after: &TableSchema, alterations: &[Alteration]) -> Result<()>;

    /// Builds secondary indexes and unique constraints, and the foreign keys to tables that exist here. What is there already
    /// is left alone; what cannot be carried over is returned as findings and is no error.
    async fn finish(&mut self, table: &TableSchema) -> Result<Vec<Finding>>;

    /// Applies a batch. A batch without an end opens (or goes on with) a transaction that the next batch with an end
    /// commits together with that position; when the call returns, that is durable. On an error this call's changes
    /// are undone, earlier parts of the same transaction stay open, and the same or another batch may be applied.
    /// Dropping the future may have committed: ask [`Target::position`]. If another process moved the pipeline's
    /// position in between, it is [`ErrorKind::Busy`](crate::ErrorKind::Busy) and nothing is applied.
    async fn apply(&mut self, batch: &Batch) -> Result<Applied>;

    /// Opens another applier that takes turns with this one: while one applies a batch, the other may [`stage`](Self::stage) the
    /// next. Only one of them applies at a time, and none while a transaction of the other is open. `None`: this target gains nothing from it.
    fn twin(&self) -> Option<BoxFuture<'static, Result<Box<dyn Applier>>>> {
        None
    }

    /// Brings rows near their tables, for the next batch to be applied here if that is [`Batch::staged`](crate::Batch). Nothing
    /// of it is visible or durable. Returns whether anything was brought. After an error this applier is not to be used any more.
    async fn stage(&mut self, _steps: &[Step]) -> Result<bool> {
        Ok(false)
    }

    /// Drops the open transaction, if there is one.
    async fn rollback(&mut self) -> Result<()>;

    /// In which encoding [`replace`](Self::replace) takes the rows of this range best, where they are read from a table of the form `read`.
    /// It takes text too.
    async fn encoding(&mut self, _read: &TableSchema, _table: &TableSchema, _range: &Range) -> Result<Encoding> {
        Ok(Encoding::Text)
    }

    /// Makes the rows of a range what `rows` holds, in one transaction: upserts all of them, and for [`Range::Whole`],
    /// [`Range::Keys`] and [`Range::Set`] removes those of the range that are not among them. Memory is bounded by a few
    /// blocks. Durable when it returns. Repeating it is safe.
    async fn replace(&mut self, table: &TableSchema, range: &Range, rows: BlockStream<'_>) -> Result<Replaced>;
}
