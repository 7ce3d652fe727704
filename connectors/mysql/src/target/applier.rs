//! Applies batches: each table's net changes in statements of many rows, all of a batch and its position in one transaction.

use super::catalog::{TargetTable, look};
use super::session::Session;
use super::shape::{Shape, Values, Written};
use super::{ddl, finish, replace, stage};
use crate::connection::{ConnectOptions, quote_text};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use rowferry_api::{
    Alteration, Applied, Applier, Batch, BlockStream, Created, Error, ErrorKind, Finding, Key, KnownTables, Range,
    Replaced, Result, Row, Staged, Staging, Step, TableName, TableRows, TableSchema, Turns, failpoint,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Keys of one statement: what an optimizer still takes for a list of places in an index.
const KEYS_AT_ONCE: usize = 1_000;
/// The same for keys of several columns.
const WIDE_KEYS_AT_ONCE: usize = 200;

/// A connection that writes.
pub(super) struct MysqlApplier {
    options: ConnectOptions,
    pub(super) pipeline: String,
    pub(super) session: Session,
    pub(super) known: Arc<KnownTables>,
    /// [`KnownTables::forms`] as it was when the tables were looked up.
    forms: u64,
    turns: Arc<Turns>,
    pub(super) staging: Staging,
    /// Temporary tables that hold rows which were brought, needed or not.
    pub(super) stages: Vec<String>,
    /// A transaction is open.
    open: bool,
    /// A range is being replaced; still set if the call was dropped.
    replacing: bool,
    tables: HashMap<TableName, Arc<TargetTable>>,
}

impl MysqlApplier {
    pub(super) async fn open(
        options: ConnectOptions,
        pipeline: &str,
        known: Arc<KnownTables>,
        turns: Arc<Turns>,
    ) -> Result<Self> {
        Ok(Self {
            session: Session::open_for_rows(&options).await?,
            options,
            pipeline: pipeline.to_owned(),
            forms: known.forms(),
            known,
            turns,
            staging: Staging::default(),
            stages: Vec::new(),
            open: false,
            replacing: false,
            tables: HashMap::new(),
        })
    }

    /// Connects again if the connection was lost; a transaction that was open is lost with it.
    async fn usable(&mut self) -> Result<()> {
        if self.session.is_usable() && !self.replacing {
            return Ok(());
        }
        let was_open = std::mem::take(&mut self.open);
        self.session = Session::open_for_rows(&self.options).await?;
        self.turns.unlock();
        self.replacing = false;
        self.stages.clear();
        self.forget();
        if was_open {
            let what = format!("write to {}: the connection was lost inside a transaction", self.options.describe());
            return Err(Error::new(ErrorKind::Unreachable, what));
        }
        Ok(())
    }

    /// Columns and what was brought may be of an older form of a table.
    fn forget(&mut self) {
        self.tables.clear();
        self.staging.forget();
    }

    /// Forgets what is of an older form of a table, if another applier has made a newer one.
    pub(super) fn follow_forms(&mut self) {
        if self.known.has_changed(&mut self.forms) {
            self.forget();
        }
    }

    pub(super) async fn run(&mut self, statement: &str) -> Result<()> {
        self.session.run("write to the target", statement).await.map(drop)
    }

    pub(super) async fn shape(&mut self, form: &TableSchema) -> Result<Shape> {
        let table = match self.tables.get(&form.name) {
            Some(table) => table.clone(),
            None => {
                let table = look(&mut self.session, &form.name).await?.ok_or_else(|| {
                    let name = &form.name;
                    Error::new(ErrorKind::Schema, format!("write table {name}: the target does not have it"))
                        .hint(format!("It was dropped there. `rowferry resync --table {name}` makes it again."))
                })?;
                let table = Arc::new(table);
                self.tables.insert(form.name.clone(), table.clone());
                table
            }
        };
        Shape::new(form, &table, self.session.server)
    }

    async fn begin(&mut self) -> Result<()> {
        self.run("START TRANSACTION").await?;
        if !self.turns.is_locked() {
            // A range that an earlier process was writing when it ended may still be on its way into the table.
            let lock = replace::lock_statement(&self.pipeline, "FOR UPDATE");
            let _: Vec<String> = self.session.query("wait for writers of an earlier process", lock).await?;
            self.turns.lock();
        }
        failpoint!("mysql.begun");
        Ok(())
    }

    async fn steps(&mut self, batch: &Batch) -> Result<Applied> {
        let mut applied = Applied::default();
        let mut staged = self.staging.take(batch);
        for (number, step) in batch.steps.iter().enumerate() {
            match step {
                Step::Rows(rows) => self.rows(rows, staged.remove(&number), &mut applied).await?,
                Step::Truncate(tables) => {
                    // TRUNCATE would commit.
                    for table in tables {
                        let shape = self.shape(table).await?;
                        self.session.run(&shape.context, format!("DELETE FROM {}", shape.table)).await?;
                    }
                }
            }
            failpoint!("mysql.step");
        }
        match &batch.end {
            Some(end) => {
                self.move_position(end.as_str()).await?;
                failpoint!("mysql.position");
            }
            None => failpoint!("mysql.part"),
        }
        Ok(applied)
    }

    async fn move_position(&mut self, position: &str) -> Result<()> {
        let context = "write the position into the target";
        let pipeline = quote_text(&self.pipeline);
        let mut held = self.turns.held();
        if held.is_none() {
            let query = format!("SELECT position FROM rowferry.positions WHERE pipeline = {pipeline}");
            held = self.session.first(context, query).await?;
        }
        let statement = format!(
            "UPDATE rowferry.positions SET position = {}, updated_at = NOW(6) WHERE pipeline = {pipeline} AND position = {}",
            quote_text(position),
            quote_text(held.as_deref().unwrap_or_default())
        );
        if self.session.run(context, statement).await? == 1 {
            return Ok(());
        }
        self.turns.hold(None);
        Err(Error::position_moved(&self.pipeline))
    }

    async fn rows(&mut self, rows: &TableRows, staged: Option<Staged>, applied: &mut Applied) -> Result<()> {
        let shape = self.shape(&rows.table).await?;
        self.delete(&shape, &rows.deletes).await?;
        self.updates(&shape, rows, applied).await?;
        let mut upserts: &[Row] = &rows.upserts;
        if let Some(staged) = staged.filter(|staged| staged.rows <= upserts.len()) {
            stage::upsert_from(self, &shape, &staged.table).await?;
            upserts = &upserts[staged.rows..];
        }
        let place = shape.place();
        let upserted = self.insert(&shape, &place.insert(), upserts, &shape.upsert_tail(Values::List)).await;
        upserted.map_err(|error| guarded(&shape, error))?;
        self.put_new(&shape, &place, &rows.inserts).await
    }

    /// Writes rows in statements of many, each with `head` before them; `tail` says what becomes of those that are there.
    pub(super) async fn insert(&mut self, shape: &Shape, head: &str, rows: &[Row], tail: &str) -> Result<()> {
        let limit = self.session.statement_bytes();
        let mut statement = Vec::new();
        for row in rows {
            statement.extend_from_slice(if statement.is_empty() { head.as_bytes() } else { b"," });
            let start = statement.len();
            shape.put_row(row, &mut statement)?;
            // A long row goes by itself.
            if statement.len() > limit && start > head.len() {
                let row = statement.split_off(start);
                statement.pop();
                self.send(shape, &mut statement, tail).await?;
                statement.extend_from_slice(head.as_bytes());
                statement.extend_from_slice(&row);
            }
            if statement.len() > limit {
                self.send(shape, &mut statement, tail).await?;
            }
        }
        self.send(shape, &mut statement, tail).await
    }

    /// Sends a statement and empties it.
    pub(super) async fn send(&mut self, shape: &Shape, statement: &mut Vec<u8>, tail: &str) -> Result<()> {
        if statement.is_empty() {
            return Ok(());
        }
        statement.extend_from_slice(tail.as_bytes());
        self.session.run(&shape.context, statement.as_slice()).await?;
        statement.clear();
        Ok(())
    }

    /// Removes rows; one that is not there is no error.
    pub(super) async fn delete(&mut self, shape: &Shape, keys: &[Key]) -> Result<()> {
        let limit = self.session.statement_bytes();
        let columns: Vec<&Written> = shape.key_columns().collect();
        // Not every server walks an index for a list of rows; for conditions side by side each does.
        let (head, between, tail, at_once) = match columns.as_slice() {
            [only] => (format!("DELETE FROM {} WHERE {} IN (", shape.table, only.name), ",", ")", KEYS_AT_ONCE),
            _ => (format!("DELETE FROM {} WHERE (", shape.table), ") OR (", ")", WIDE_KEYS_AT_ONCE),
        };
        let mut statement = Vec::new();
        for chunk in keys.chunks(at_once) {
            for key in chunk {
                statement.extend_from_slice(if statement.is_empty() { &head } else { between }.as_bytes());
                match columns.len() {
                    1 => shape.put_key(key, &mut statement)?,
                    _ => shape.put_key_condition(key, &mut statement)?,
                }
                if statement.len() > limit {
                    self.send(shape, &mut statement, tail).await?;
                }
            }
            self.send(shape, &mut statement, tail).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, was_open: bool) -> Result<()> {
        self.open = false;
        if let Err(error) = self.run("COMMIT").await {
            // It may have been done.
            self.turns.hold(None);
            return Err(if was_open { lost(error) } else { error });
        }
        failpoint!("mysql.committed");
        Ok(())
    }

    /// Undoes this call's changes. The error says whether an open transaction is still there.
    async fn undo(&mut self, was_open: bool, error: Error) -> Error {
        let statement = if was_open { "ROLLBACK TO SAVEPOINT rowferry" } else { "ROLLBACK" };
        self.open = was_open;
        if !self.session.is_usable() {
            // A connection that is gone has rolled back; the next call connects again and says so.
            return error;
        }
        match self.run(statement).await {
            // A deadlock undid the whole transaction, and the savepoint with it.
            Err(_) if was_open => {
                self.open = false;
                let _ = self.run("ROLLBACK").await;
                lost(error)
            }
            _ => error,
        }
    }
}

/// An upsert that met a row of another key.
pub(super) fn guarded(shape: &Shape, error: Error) -> Error {
    match shape.is_refused_by_guard(&error) {
        true => Error::new(ErrorKind::Unique, format!("{}: a row of another key is in the way", shape.context)),
        false => error,
    }
}

fn lost(error: Error) -> Error {
    let what = format!("{error}; the earlier parts of the transaction are undone with it");
    Error::new(ErrorKind::Unreachable, what)
}

#[async_trait]
impl Applier for MysqlApplier {
    async fn create(&mut self, table: &TableSchema) -> Result<Created> {
        self.usable().await?;
        self.forget();
        let created = ddl::create(&mut self.session, table).await;
        self.known.other_forms();
        created
    }

    async fn alter(&mut self, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
        self.usable().await?;
        self.forget();
        let altered = ddl::alter(&mut self.session, after, alterations).await;
        self.known.other_forms();
        altered
    }

    async fn finish(&mut self, table: &TableSchema) -> Result<Vec<Finding>> {
        self.usable().await?;
        self.forget();
        let finished = finish::finish(&mut self.session, table).await;
        self.known.other_forms();
        finished
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied> {
        self.usable().await?;
        self.follow_forms();
        let was_open = self.open;
        if was_open {
            self.run("SAVEPOINT rowferry").await?;
        } else if let Err(error) = self.begin().await {
            return Err(self.undo(false, error).await);
        }
        self.open = true;
        let result = match (self.steps(batch).await, &batch.end) {
            (Ok(applied), Some(end)) => self.commit(was_open).await.map(|()| {
                self.turns.hold(Some(end.as_str()));
                applied
            }),
            (Ok(applied), None) if was_open => self.run("RELEASE SAVEPOINT rowferry").await.map(|()| applied),
            (result, _) => result,
        };
        let error = match result {
            Ok(applied) => return Ok(applied),
            Err(error) => error,
        };
        if matches!(error.kind(), ErrorKind::Schema | ErrorKind::Other) {
            self.forget();
        }
        // A COMMIT that failed left nothing open.
        Err(self.undo(was_open && self.open, error).await)
    }

    fn twin(&self) -> Option<BoxFuture<'static, Result<Box<dyn Applier>>>> {
        if !self.session.stages_aside {
            return None;
        }
        let (options, pipeline) = (self.options.clone(), self.pipeline.clone());
        let (known, turns) = (self.known.clone(), self.turns.clone());
        Some(Box::pin(async move {
            let twin = Self::open(options, &pipeline, known, turns).await?;
            Ok(Box::new(twin) as Box<dyn Applier>)
        }))
    }

    async fn stage(&mut self, steps: &[Step]) -> Result<bool> {
        self.bring(steps).await
    }

    async fn rollback(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open) && self.session.is_usable() {
            self.run("ROLLBACK").await?;
        }
        Ok(())
    }

    async fn replace(&mut self, table: &TableSchema, range: &Range, rows: BlockStream<'_>) -> Result<Replaced> {
        self.usable().await?;
        self.follow_forms();
        self.replacing = true;
        let result = replace::replace(self, table, range, rows).await;
        if result.is_err() && self.session.is_usable() {
            let _ = self.run("ROLLBACK").await;
            self.forget();
        }
        self.replacing = false;
        result
    }
}
