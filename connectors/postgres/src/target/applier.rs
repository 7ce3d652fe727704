//! Applies batches: each table's net changes in a few statements, all of a batch and its position in one transaction.

mod copy;
mod stage;
mod updates;

use super::rows::{Shape, Texts, Written, columns_of, columns_of_keys, failed, unnest};
use super::{Look, TargetTable, ddl, make_commits_durable, replace};
use crate::connection::{ConnectOptions, from_pg, quote_table};
use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all};
use rowferry_api::{
    Alteration, Applied, Applier, Batch, BlockStream, Created, Encoding, Error, ErrorKind, Finding, Key, KnownTables,
    Range, Replaced, Result, Row, Staged, Staging, Step, TableName, TableRows, TableSchema, Turns, failpoint,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// Rows from which staging with COPY pays.
const STAGE_FROM: usize = 100;
/// Rows from which COPY straight into a table pays.
const COPY_FROM: usize = 10;
/// Keys or rows of one statement with array parameters.
const ROWS_AT_ONCE: usize = 5_000;

/// A connection that writes.
pub(super) struct PostgresApplier {
    options: ConnectOptions,
    pub(super) pipeline: String,
    pub(super) client: Client,
    /// Foreign keys and triggers do not act in this session.
    pub(super) replica_role: bool,
    pub(super) known: Arc<KnownTables>,
    /// [`KnownTables::forms`] as it was when the tables were looked up.
    forms: u64,
    turns: Arc<Turns>,
    staging: Staging,
    /// Temporary tables that hold rows which were brought, needed or not.
    stages_with_rows: Vec<String>,
    /// A transaction is open.
    open: bool,
    /// Answers no longer come for the statements that they belong to: the connection must not be used again.
    spoiled: bool,
    tables: HashMap<TableName, Arc<TargetTable>>,
    /// How rows of a form are written, each with its form.
    shapes: HashMap<TableName, (Arc<TableSchema>, Arc<Shape>)>,
    statements: HashMap<String, Statement>,
    look: Option<Look>,
}

impl PostgresApplier {
    pub(super) async fn open(
        options: ConnectOptions,
        pipeline: &str,
        known: Arc<KnownTables>,
        turns: Arc<Turns>,
    ) -> Result<Self> {
        let (client, replica_role) = connect(&options).await?;
        Ok(Self {
            options,
            pipeline: pipeline.to_owned(),
            client,
            replica_role,
            forms: known.forms(),
            known,
            turns,
            staging: Staging::default(),
            stages_with_rows: Vec::new(),
            open: false,
            spoiled: false,
            tables: HashMap::new(),
            shapes: HashMap::new(),
            statements: HashMap::new(),
            look: None,
        })
    }

    fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.spoiled
    }

    /// Connects again if the connection was lost; a transaction that was open is lost with it.
    pub(super) async fn usable(&mut self) -> Result<()> {
        if self.is_usable() {
            return Ok(());
        }
        let was_open = std::mem::take(&mut self.open);
        (self.client, self.replica_role) = connect(&self.options).await?;
        self.spoiled = false;
        self.turns.unlock();
        self.stages_with_rows.clear();
        self.look = None;
        self.forget();
        if was_open {
            let what = format!("write to {}: the connection was lost inside a transaction", self.options.describe());
            return Err(Error::new(ErrorKind::Unreachable, what));
        }
        Ok(())
    }

    /// Statements and columns may be of an older form of a table.
    pub(super) fn forget(&mut self) {
        self.tables.clear();
        self.shapes.clear();
        self.statements.clear();
        self.staging.forget();
    }

    pub(super) async fn run(&self, statement: &str) -> Result<()> {
        self.client.batch_execute(statement).await.map_err(|error| from_pg("write to the target", error))
    }

    async fn look(&mut self) -> Result<Look> {
        match &self.look {
            Some(look) => Ok(look.clone()),
            None => Ok(self.look.insert(Look::prepare(&self.client).await?).clone()),
        }
    }

    /// Looks up all tables of these steps that are not known yet, at once. One that is not there is an error for whoever writes it.
    async fn meet(&mut self, steps: &[Step]) -> Result<()> {
        let names = steps.iter().flat_map(|step| match step {
            Step::Rows(rows) => std::slice::from_ref(&rows.table),
            Step::Truncate(tables) => tables,
        });
        let unknown: HashSet<&TableName> =
            names.map(|table| &table.name).filter(|name| !self.tables.contains_key(name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<&TableName> = unknown.into_iter().collect();
        let found = self.look().await?.tables(&self.client, &unknown).await?;
        for (name, table) in unknown.into_iter().zip(found) {
            if let Some(table) = table {
                self.tables.insert(name.clone(), Arc::new(table));
            }
        }
        Ok(())
    }

    async fn table(&mut self, name: &TableName) -> Result<Arc<TargetTable>> {
        if let Some(table) = self.tables.get(name) {
            return Ok(table.clone());
        }
        let found = self.look().await?.tables(&self.client, &[name]).await?.pop().flatten();
        let table = found.ok_or_else(|| {
            Error::new(ErrorKind::Schema, format!("write table {name}: the target does not have it"))
                .hint(format!("It was dropped there. `rowferry resync --table {name}` makes it again."))
        })?;
        let table = Arc::new(table);
        self.tables.insert(name.clone(), table.clone());
        Ok(table)
    }

    pub(super) async fn shape(&mut self, form: &Arc<TableSchema>) -> Result<Arc<Shape>> {
        if let Some((known, shape)) = self.shapes.get(&form.name)
            && Arc::ptr_eq(known, form)
        {
            return Ok(shape.clone());
        }
        let shape = Arc::new(self.shape_now(form).await?);
        self.shapes.insert(form.name.clone(), (form.clone(), shape.clone()));
        Ok(shape)
    }

    pub(super) async fn shape_now(&mut self, form: &TableSchema) -> Result<Shape> {
        Shape::new(form, &*self.table(&form.name).await?)
    }

    async fn prepared(&mut self, statement: &str) -> Result<Statement> {
        if let Some(prepared) = self.statements.get(statement) {
            return Ok(prepared.clone());
        }
        let prepared = self
            .client
            .prepare(statement)
            .await
            .map_err(|error| from_pg("prepare a statement at the target", error))?;
        self.statements.insert(statement.to_owned(), prepared.clone());
        Ok(prepared)
    }

    /// Prepares statements that are not yet, at once.
    async fn prepare_all(&mut self, mut statements: Vec<String>) -> Result<()> {
        statements.retain(|statement| !self.statements.contains_key(statement));
        statements.sort_unstable();
        statements.dedup();
        let prepared = join_all(statements.iter().map(|statement| self.client.prepare(statement))).await;
        for (statement, prepared) in statements.into_iter().zip(prepared) {
            let prepared = prepared.map_err(|error| from_pg("prepare a statement at the target", error))?;
            self.statements.insert(statement, prepared);
        }
        Ok(())
    }

    /// What follows a BEGIN: rows are written table by table, so foreign keys that act are looked at when all are there.
    pub(super) fn defer(&self) -> &'static str {
        if self.replica_role { "" } else { "; SET CONSTRAINTS ALL DEFERRED" }
    }

    async fn begin(&mut self) -> Result<()> {
        self.run(&format!("BEGIN{}", self.defer())).await?;
        if !self.turns.is_locked() {
            // A range that an earlier process was writing when it ended may still be on its way into the table.
            let statement = format!("SELECT pg_advisory_xact_lock({})", replace::lock_of(&self.pipeline));
            self.run(&statement).await?;
            self.turns.lock();
        }
        failpoint!("postgres.begun");
        Ok(())
    }

    async fn steps(&mut self, batch: &Batch, was_open: bool) -> Result<Applied> {
        let mut applied = Applied::default();
        self.meet(&batch.steps).await?;
        let mut staged = self.staging.take(batch);
        let mut steps = batch.steps.iter().enumerate();
        let mut copies = Vec::new();
        loop {
            let step = steps.next();
            if let Some((_, Step::Rows(rows))) = step
                && let Some(shape) = self.shape_to_copy(rows).await?
            {
                copies.push((rows, shape));
                continue;
            }
            self.copy_tables(&std::mem::take(&mut copies), !was_open).await?;
            match step {
                Some((number, Step::Rows(rows))) => self.rows(rows, staged.remove(&number), &mut applied).await?,
                Some((_, Step::Truncate(tables))) => self.truncate(tables).await?,
                None => {}
            }
            failpoint!("postgres.step");
            if step.is_none() {
                break;
            }
        }
        match &batch.end {
            Some(end) => {
                self.move_position(end.as_str()).await?;
                failpoint!("postgres.position");
            }
            None => failpoint!("postgres.part"),
        }
        Ok(applied)
    }

    async fn move_position(&mut self, position: &str) -> Result<()> {
        let context = |error| from_pg("write the position into the target", error);
        let mut held = self.turns.held();
        if held.is_none() {
            let row = self
                .client
                .query_opt("SELECT position FROM rowferry.positions WHERE pipeline = $1", &[&self.pipeline])
                .await
                .map_err(context)?;
            held = row.map(|row| row.get(0));
        }
        let statement = self
            .prepared(
                "UPDATE rowferry.positions SET position = $2, updated_at = now() WHERE pipeline = $1 AND position = $3",
            )
            .await?;
        let moved = self
            .client
            .execute(&statement, &[&self.pipeline, &position, &held.as_deref().unwrap_or_default()])
            .await
            .map_err(context)?;
        if moved == 1 {
            return Ok(());
        }
        self.turns.hold(None);
        Err(Error::position_moved(&self.pipeline))
    }

    async fn truncate(&mut self, tables: &[Arc<TableSchema>]) -> Result<()> {
        let names: Vec<String> = tables.iter().map(|table| quote_table(&table.name)).collect();
        let mut only = Vec::with_capacity(tables.len());
        for table in tables {
            only.push(self.table(&table.name).await?.only());
        }
        let referenced = self
            .client
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY (t.oids) \
                 AND NOT conrelid = ANY (t.oids)) FROM (SELECT array_agg(to_regclass(name)::oid) AS oids \
                 FROM unnest($1::text[]) AS name) t",
                &[&names],
            )
            .await
            .map_err(|error| from_pg("truncate", error))?;
        if referenced.get(0) {
            // The source emptied the referencing tables as well, or they have no foreign key there.
            for only in &only {
                self.run(&format!("DELETE FROM {only}")).await?;
            }
            return Ok(());
        }
        self.run(&format!("TRUNCATE {}", only.join(", "))).await
    }

    /// The table's shape, if all of its rows are new ones for COPY.
    async fn shape_to_copy(&mut self, rows: &TableRows) -> Result<Option<Arc<Shape>>> {
        let others = rows.deletes.len() + rows.updates.len() + rows.upserts.len();
        if others > 0 || rows.inserts.len() < COPY_FROM {
            return Ok(None);
        }
        Ok(Some(self.shape(&rows.table).await?).filter(|shape| shape.takes_copy))
    }

    async fn rows(&mut self, rows: &TableRows, staged: Option<Staged>, applied: &mut Applied) -> Result<()> {
        let shape = self.shape(&rows.table).await?;
        for keys in rows.deletes.chunks(ROWS_AT_ONCE) {
            self.delete(&shape, &keys.iter().collect::<Vec<_>>()).await?;
        }
        self.updates(&shape, rows, applied).await?;
        let copies = rows.inserts.len() >= COPY_FROM && shape.takes_copy;
        let (new, others): (&[Row], &[Row]) = if copies { (&rows.inserts, &[]) } else { (&[], &rows.inserts) };
        let mut upserts: Vec<&Row> = rows.upserts.iter().chain(others).collect();
        if let Some(staged) = staged.filter(|staged| staged.rows <= rows.upserts.len()) {
            self.upsert_from(&shape, &staged.table).await?;
            upserts.drain(..staged.rows);
        }
        self.upsert(&shape, &upserts).await?;
        if !new.is_empty() {
            self.copy_rows(&shape, &shape.table, &new.iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    async fn upsert(&mut self, shape: &Shape, rows: &[&Row]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if rows.len() >= STAGE_FROM {
            let stage = self.empty_stage(shape).await?;
            self.copy_rows(shape, &stage, rows).await?;
            return self.upsert_from(shape, &stage).await;
        }
        let columns: Vec<&Written> = shape.columns.iter().collect();
        let (from, typed) = unnest(&columns);
        let statement = self.prepared(&shape.upsert(&format!("SELECT {} FROM {from}", typed.join(", ")))).await?;
        let texts = columns_of(rows, &columns)?;
        self.client
            .execute(&statement, &parameters(&texts))
            .await
            .map(drop)
            .map_err(|error| failed(&shape.table, error))
    }

    async fn delete(&mut self, shape: &Shape, keys: &[&Key]) -> Result<()> {
        let columns: Vec<&Written> = shape.keys.iter().collect();
        let text = match columns.as_slice() {
            // ANY of a list of arrays would look into them.
            [only] if !only.bare.ends_with("[]") => {
                let any = format!("ANY ($1::text[]::{}[])", only.bare);
                format!("DELETE FROM {} AS t WHERE {}", shape.only, shape.has_key(&[any]))
            }
            _ => {
                let (from, typed) = unnest(&columns);
                format!("DELETE FROM {} AS t USING {from} WHERE {}", shape.only, shape.has_key(&typed))
            }
        };
        let statement = self.prepared(&text).await?;
        let texts = columns_of_keys(keys, columns.len())?;
        self.client
            .execute(&statement, &parameters(&texts))
            .await
            .map(drop)
            .map_err(|error| failed(&shape.table, error))
    }

    /// Commits. A constraint that was put off is looked at before, where a savepoint still keeps the transaction's earlier
    /// parts: a COMMIT that fails drops them too.
    async fn commit(&mut self, was_open: bool) -> Result<()> {
        if was_open || !self.replica_role {
            self.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
        }
        self.open = false;
        let committed = self.run("COMMIT").await;
        if committed.is_err() {
            // It may have been done.
            self.turns.hold(None);
        }
        match committed {
            Err(error) if was_open => {
                let what = format!("{error}; the earlier parts of the transaction are undone with it");
                Err(Error::new(ErrorKind::Unreachable, what))
            }
            result => result,
        }?;
        failpoint!("postgres.committed");
        Ok(())
    }

    /// A connection that is gone has rolled back; the next call connects again.
    async fn roll_back(&mut self, statement: &str) {
        if self.is_usable() {
            let _ = self.client.batch_execute(statement).await;
        }
    }

    async fn undo(&mut self, was_open: bool) {
        let statement = if was_open { "ROLLBACK TO SAVEPOINT rowferry" } else { "ROLLBACK" };
        self.roll_back(statement).await;
        self.open = was_open;
    }
}

fn parameters<'a>(texts: &'a [Texts<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    texts.iter().map(|texts| texts as &(dyn ToSql + Sync)).collect()
}

async fn connect(options: &ConnectOptions) -> Result<(Client, bool)> {
    let client = options.connect().await?;
    // Refused to those who may not: then foreign keys and triggers act, and `check` says what that means.
    let replica_role = client.batch_execute("SET session_replication_role = replica").await.is_ok();
    // Under another isolation a statement would see the catalog as it was before what it has waited for.
    client
        .batch_execute("SET client_min_messages = error; SET default_transaction_isolation = 'read committed'")
        .await
        .map_err(|error| from_pg("set up a session at the target", error))?;
    make_commits_durable(&client).await?;
    Ok((client, replica_role))
}

#[async_trait]
impl Applier for PostgresApplier {
    async fn create(&mut self, table: &TableSchema) -> Result<Created> {
        self.usable().await?;
        self.forget();
        let created = ddl::create(&mut self.client, table).await;
        self.known.other_forms();
        created
    }

    async fn alter(&mut self, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
        self.usable().await?;
        self.forget();
        let altered = ddl::alter(&mut self.client, after, alterations).await;
        self.known.other_forms();
        altered
    }

    async fn finish(&mut self, table: &TableSchema) -> Result<Vec<Finding>> {
        self.usable().await?;
        let finished = ddl::finish(&self.client, table, self.replica_role).await;
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
            self.undo(false).await;
            return Err(error);
        }
        self.open = true;
        let result = match (self.steps(batch, was_open).await, &batch.end) {
            (Ok(applied), Some(end)) => self.commit(was_open).await.map(|()| {
                self.turns.hold(Some(end.as_str()));
                applied
            }),
            (Ok(applied), None) if was_open => self.run("RELEASE SAVEPOINT rowferry").await.map(|()| applied),
            (result, _) => result,
        };
        if let Err(error) = &result {
            // A COMMIT that failed left nothing open.
            self.undo(was_open && self.open).await;
            if matches!(error.kind(), ErrorKind::Schema | ErrorKind::Other) {
                self.forget();
            }
        }
        result
    }

    fn twin(&self) -> Option<BoxFuture<'static, Result<Box<dyn Applier>>>> {
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
        if std::mem::take(&mut self.open) && self.is_usable() {
            self.run("ROLLBACK").await?;
        }
        Ok(())
    }

    async fn encoding(&mut self, read: &TableSchema, table: &TableSchema, range: &Range) -> Result<Encoding> {
        self.usable().await?;
        replace::encoding(self, read, table, range).await
    }

    async fn replace(&mut self, table: &TableSchema, range: &Range, rows: BlockStream<'_>) -> Result<Replaced> {
        self.usable().await?;
        self.follow_forms();
        let result = replace::replace(self, table, range, rows).await;
        if result.is_err() {
            self.roll_back("ROLLBACK").await;
            self.forget();
        }
        result
    }
}
