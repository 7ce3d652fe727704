//! The async side of writing: who holds the writer, and what state a transaction is in.

use crate::error::Explain;
use crate::writer::{Held, Shared, Writer, run};
use crate::{alter, apply, ddl, finish, positions, replace};
use async_trait::async_trait;
use rowferry_api::{
    Alteration, Applied, Applier, Batch, BlockStream, Created, Error, ErrorKind, Finding, Position, Range, Replaced,
    Result, TableSchema, failpoint,
};

/// Writes for one pipeline.
#[derive(Debug)]
pub(crate) struct SqliteApplier {
    shared: Shared,
    pipeline: String,
    /// Where the pipeline must still stand when the next transaction starts; `None` if that is not known.
    expected: Option<Position>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    /// A transaction goes on; nobody else writes.
    Open(Held),
    /// SQLite rolled a transaction back by itself: nothing of it is there.
    RolledBack,
    /// A call was dropped: whether it has committed is not known.
    Lost,
}

impl SqliteApplier {
    /// An applier of a pipeline that stands at `expected`.
    pub(crate) fn new(shared: Shared, pipeline: &str, expected: Option<Position>) -> Self {
        Self { shared, pipeline: pipeline.to_owned(), expected, state: State::Idle }
    }

    /// For what has a transaction of its own.
    fn refuse_open(&self, what: &str) -> Result<()> {
        match self.state {
            State::Idle => Ok(()),
            State::Open(_) | State::RolledBack | State::Lost => {
                Err(Error::new(ErrorKind::Other, format!("{what} inside an open transaction")))
            }
        }
    }
}

#[async_trait]
impl Applier for SqliteApplier {
    async fn create(&mut self, table: &TableSchema) -> Result<Created> {
        self.refuse_open("create a table")?;
        let table = table.clone();
        self.shared.with(move |writer| create(writer, &table)).await
    }

    async fn alter(&mut self, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
        self.refuse_open("alter a table")?;
        let (after, alterations) = (after.clone(), alterations.to_vec());
        self.shared.with(move |writer| alter::alter(writer, &after, &alterations)).await
    }

    async fn finish(&mut self, table: &TableSchema) -> Result<Vec<Finding>> {
        self.refuse_open("build indexes")?;
        let table = table.clone();
        self.shared.with(move |writer| finish::finish(writer, &table)).await
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        let (held, goes_on) = match std::mem::replace(&mut self.state, State::Lost) {
            State::Open(held) => (held, true),
            State::Idle => {
                self.state = State::Idle;
                (self.shared.hold().await?, false)
            }
            gone @ (State::RolledBack | State::Lost) => {
                self.state = gone;
                return Err(Error::new(ErrorKind::Other, "apply a batch: earlier parts of its transaction were lost"));
            }
        };
        // Until the call is over it is open whether it has committed.
        self.state = State::Lost;
        // The rows are shared, not copied.
        let (batch, pipeline, expected) = (batch.clone(), self.pipeline.clone(), self.expected.clone());
        let end = batch.end.clone();
        let work = move |writer: &mut Writer| {
            if goes_on { go_on(writer, &pipeline, &batch) } else { start(writer, &pipeline, expected, &batch) }
        };
        let (mut held, result) = run(held, work).await?;
        match (&result, end) {
            (Ok(_), Some(end)) => {
                self.expected = Some(end);
                self.state = State::Idle;
            }
            (Ok(_), None) => self.state = State::Open(held),
            (Err(_), _) if !goes_on => self.state = State::Idle,
            (Err(_), _) if !held.writer().connection.is_autocommit() => self.state = State::Open(held),
            (Err(_), _) => self.state = State::RolledBack,
        }
        result
    }

    async fn rollback(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle | State::RolledBack => Ok(()),
            State::Open(held) => {
                let roll_back = |writer: &mut Writer| {
                    writer.roll_back();
                    Ok(())
                };
                run(held, roll_back).await?.1
            }
            State::Lost => {
                // A dropped call may have moved it.
                self.expected = None;
                Ok(())
            }
        }
    }

    async fn replace(&mut self, table: &TableSchema, range: &Range, rows: BlockStream<'_>) -> Result<Replaced> {
        self.refuse_open("replace a range")?;
        replace::replace(&self.shared, table, range, rows).await
    }
}

fn create(writer: &mut Writer, table: &TableSchema) -> Result<Created> {
    let created = writer.transaction(|writer| {
        let created = ddl::create(writer, table)?;
        failpoint!("sqlite.create");
        Ok(created)
    })?;
    failpoint!("sqlite.created");
    Ok(created)
}

/// A batch that starts a transaction, and may end it.
fn start(writer: &mut Writer, pipeline: &str, expected: Option<Position>, batch: &Batch) -> Result<Applied> {
    writer.begin()?;
    let result = still_there(writer, pipeline, expected).and_then(|()| write(writer, pipeline, batch));
    if result.is_err() {
        writer.roll_back();
    }
    result
}

/// A batch inside a transaction: undone alone if it fails.
fn go_on(writer: &mut Writer, pipeline: &str, batch: &Batch) -> Result<Applied> {
    writer.connection.execute_batch("SAVEPOINT part").explain(|| "set a savepoint".into())?;
    let result = write(writer, pipeline, batch);
    if writer.connection.is_autocommit() {
        return result;
    }
    let end = if result.is_ok() { "RELEASE part" } else { "ROLLBACK TO part; RELEASE part" };
    if let Err(error) = writer.connection.execute_batch(end) {
        // Neither with this part nor without it: nothing of the transaction can be kept.
        writer.roll_back();
        return result.and(Err(crate::error::failed(error, "end a savepoint")));
    }
    result
}

fn write(writer: &mut Writer, pipeline: &str, batch: &Batch) -> Result<Applied> {
    failpoint!("sqlite.begun");
    let applied = apply::steps(writer, &batch.steps)?;
    match &batch.end {
        Some(end) => {
            positions::advance(&writer.connection, pipeline, end)?;
            failpoint!("sqlite.position");
            writer.commit()?;
            failpoint!("sqlite.committed");
        }
        None => failpoint!("sqlite.part"),
    }
    Ok(applied)
}

/// Nobody else may have moved the pipeline. Nobody can from now on: the file is locked for writing.
fn still_there(writer: &Writer, pipeline: &str, expected: Option<Position>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    match positions::held(&writer.connection, pipeline)? {
        None => Err(positions::gone(pipeline)),
        Some(held) if held.position == expected => Ok(()),
        Some(held) => Err(Error::new(
            ErrorKind::Busy,
            format!("another process moved pipeline \"{pipeline}\" from {expected} to {}", held.position),
        )
        .hint("Two processes run this pipeline: stop one of them.")),
    }
}
