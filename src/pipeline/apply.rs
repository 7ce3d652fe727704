//! Applies one [`Work`] to the target, whatever it takes: the net changes first, row by row where a unique constraint
//! refuses them, bisected where a row is refused.
//!
//! Everything here happens in one transaction of the target. A key that has to be read again from the source, and a row
//! that is let go, are written to the state before that transaction commits, so that a crash in between loses none.

use super::ahead::Net;
use super::bisect::{Bisection, Part};
use super::filling::Work;
use super::letters::Letter;
use super::life::Lives;
use super::overtaken::{Overtaken, Rows};
use super::route::touched_keys;
use crate::net::{expect_any, moved_keys, net_changes, row_by_row};
use indexmap::IndexSet;
use rowferry_api::{
    Applied, Applier, Batch, Change, Error, ErrorKind, Key, Op, Position, Result, Row, Source, Step, TableName,
    TableSchema, Timestamp, failpoint,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What an applied work leaves to do.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Where the target stands now; `None` after a part.
    pub position: Option<Position>,
    /// When the source committed the last transaction of it.
    pub committed_at: Option<Timestamp>,
    /// Changes applied, by target table.
    pub applied: HashMap<TableName, u64>,
    /// Rows to read again, by target table; already written to the state.
    pub again: Vec<(Arc<TableSchema>, Vec<Key>)>,
    /// Rows let go; already written to the state.
    pub letters: Vec<Letter>,
    /// Dead letters that are settled once this is committed.
    pub overtaken: Vec<Settled>,
}

/// Rows whose dead letters are settled.
#[derive(Debug)]
pub(super) struct Settled {
    /// The table at the target.
    pub table: TableName,
    /// Which rows of it.
    pub rows: Rows,
    /// Letters with this id or a later one are not.
    pub below: u64,
}

/// Applies `work`. `catalog_version` is that of the source's catalog that the target's tables have followed. On an error nothing
/// of it is in the target and the target's open transaction is rolled back.
pub(super) async fn apply(
    applier: &mut dyn Applier,
    work: Work,
    lives: &Lives,
    source: &dyn Source,
    catalog_version: u64,
) -> Result<Outcome> {
    let attempt = Attempt {
        applier: &mut *applier,
        lives,
        source,
        catalog_version,
        again: Again::default(),
        refused: BTreeMap::new(),
    };
    let result = attempt.run(work).await;
    if result.is_err() {
        // The error at hand says more than one of the rollback would; a lost connection rolls back by itself.
        let _ = applier.rollback().await;
    }
    result
}

/// Whether it is a row that the target does not take.
pub(super) fn refuses_rows(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unique | ErrorKind::BadRow)
}

struct Attempt<'a> {
    applier: &'a mut dyn Applier,
    lives: &'a Lives,
    source: &'a dyn Source,
    catalog_version: u64,
    again: Again,
    /// Changes that are let go, by their number in the work, and why.
    refused: BTreeMap<usize, String>,
}

impl Attempt<'_> {
    async fn run(mut self, mut work: Work) -> Result<Outcome> {
        let position = work.end.as_ref().map(|end| end.position.clone());
        let Net { mut steps, staged } = match work.net.take() {
            Some(net) => net,
            None => Net { steps: net_changes(&work.changes), staged: false },
        };
        expect_any(&mut steps, |table| self.lives.in_window(table));
        let has_inserts = steps.iter().any(|step| matches!(step, Step::Rows(rows) if !rows.inserts.is_empty()));
        // A partial update may find no row: that must be known before the commit.
        let at_once = steps.iter().all(|step| !matches!(step, Step::Rows(rows) if !rows.updates.is_empty()))
            && !self.has_letters(&steps);
        let end = if at_once { position.clone() } else { None };
        let mut sent = self.send_batch(Batch { steps, end: end.clone(), staged }).await;
        if has_inserts && matches!(&sent, Err(error) if error.kind() == ErrorKind::Unique) {
            // Somebody else may have put a row there: it is written over.
            let mut steps = net_changes(&work.changes);
            expect_any(&mut steps, |_| true);
            sent = self.send(steps, end.clone()).await;
        }
        let is_committed = sent.is_ok() && end.is_some();
        match sent {
            Ok(()) => {}
            Err(error) if refuses_rows(&error) => self.row_by_row_or_bisect(&work.changes, error).await?,
            Err(error) => return Err(error),
        }
        let (letters, overtaken) = self.weigh_letters(&work.changes);
        if !is_committed {
            self.commit(position.clone(), &letters).await?;
        }
        let mut applied = HashMap::new();
        for change in &work.changes {
            match applied.get_mut(&change.table.name) {
                Some(count) => *count += 1,
                None => drop(applied.insert(change.table.name.clone(), 1)),
            }
        }
        Ok(Outcome {
            position,
            committed_at: work.end.and_then(|end| end.committed_at),
            applied,
            again: self.again.lists(),
            letters,
            overtaken,
        })
    }

    async fn send(&mut self, steps: Vec<Step>, end: Option<Position>) -> Result<()> {
        self.send_batch(Batch { steps, end, staged: false }).await
    }

    async fn send_batch(&mut self, batch: Batch) -> Result<()> {
        // Cells of a row that moved may have come from a later row of its old key.
        let is_unsure = |table: &TableSchema, key: &Key| {
            self.again.holds(&table.name, key) || self.lives.is_unsure(&table.name, key)
        };
        let moved = moved_keys(&batch.steps, is_unsure);
        let Applied { missing } = self.applier.apply(&batch).await?;
        missing.into_iter().chain(moved).for_each(|(table, key)| self.again.add(&table, key));
        Ok(())
    }

    /// Commits what was applied as parts, once what has to be read again and what is let go is on disk.
    async fn commit(&mut self, position: Option<Position>, letters: &[Letter]) -> Result<()> {
        failpoint!("apply.sent");
        self.lives.keep(&self.again.lists(), letters, position.as_ref()).await?;
        failpoint!("apply.kept");
        if position.is_some() { self.send(Vec::new(), position).await } else { Ok(()) }
    }

    /// The source's order may pass where the net change does not; else halves are tried until the row is alone.
    async fn row_by_row_or_bisect(&mut self, changes: &[Change], error: Error) -> Result<()> {
        let first = self.in_source_order(changes, error).await?;
        let Err(error) = first else { return Ok(()) };
        let mut bisection = Bisection::new(changes.len(), Some(error));
        while let Some(part) = bisection.next() {
            match part {
                Part::Alone(number, error) => self.refused(changes, number, error).await?,
                Part::Try(part) => {
                    if let Err(error) = self.try_part(&changes[part.clone()]).await? {
                        bisection.refused(part, error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Some changes by themselves; or the error with which they are refused.
    async fn try_part(&mut self, changes: &[Change]) -> Result<Result<()>> {
        let mut steps = net_changes(changes);
        expect_any(&mut steps, |_| true);
        match self.send(steps, None).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if refuses_rows(&error) => self.in_source_order(changes, error).await,
            Err(error) => Err(error),
        }
    }

    /// Tries changes row by row where a unique constraint refused them together; or the error with which they are refused.
    async fn in_source_order(&mut self, changes: &[Change], error: Error) -> Result<Result<()>> {
        if error.kind() != ErrorKind::Unique || changes.len() == 1 {
            return Ok(Err(error));
        }
        match self.send(row_by_row(changes), None).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if refuses_rows(&error) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// What is let go for good, since nothing in the same work has overtaken it; and the rows whose letters are settled by it.
    fn weigh_letters(&mut self, changes: &[Change]) -> (Vec<Letter>, Vec<Settled>) {
        if self.refused.is_empty() && !self.lives.letters.any() {
            return (Vec::new(), Vec::new());
        }
        let below = self.lives.letters.next_id();
        let mut seen = Overtaken::new(|table, key| self.lives.may_have_letter(table, key));
        for (number, change) in changes.iter().enumerate() {
            seen.add(number, change, self.refused.contains_key(&number));
        }
        let found = seen.found();
        found.again.into_iter().for_each(|(table, key)| self.again.add(&table, key));
        let letters = found.refused.into_iter().map(|number| {
            let change = &changes[number];
            let (op, row) = op_and_row(&change.op);
            let name = &change.table.name;
            Letter {
                table: self.lives.name_of(name).unwrap_or_else(|| name.clone()).to_string(),
                form: change.table.clone(),
                op,
                keys: touched_keys(change),
                row,
                reason: self.refused.get(&number).cloned().unwrap_or_default(),
            }
        });
        let settled = found.settled.into_iter().map(|(table, rows)| Settled { table, rows, below });
        (letters.collect(), settled.collect())
    }

    /// Whether a table that is written to has rows that were let go before.
    fn has_letters(&self, steps: &[Step]) -> bool {
        let has = |table: &TableSchema| {
            self.lives.name_of(&table.name).is_some_and(|name| self.lives.letters.any_of(&name.to_string()))
        };
        self.lives.letters.any()
            && steps.iter().any(|step| match step {
                Step::Rows(rows) => has(&rows.table),
                Step::Truncate(tables) => tables.iter().any(|table| has(table)),
            })
    }

    /// One change that the target refuses by itself.
    async fn refused(&mut self, changes: &[Change], number: usize, error: Error) -> Result<()> {
        let change = &changes[number];
        let name = &change.table.name;
        // A truncate touches rows that no key names.
        let keys = touched_keys(change);
        if self.lives.in_window(name) && !keys.is_empty() {
            // A state that the source never had, or a row older than the form that the target has taken (NOT NULL since):
            // reading the row again removes what stands in its way, and is refused for good if that is not it.
            keys.into_iter().for_each(|key| self.again.add(&change.table, key));
            return Ok(());
        }
        if self.source.catalog_version().await? != self.catalog_version {
            // A new label of an enum, a NULL that may be: no row of the log announces such a change.
            let what = format!("write a row of {name}: the source's tables have changed meanwhile ({error})");
            return Err(Error::new(ErrorKind::Transient, what));
        }
        if self.lives.lets_bad_rows_go(name) {
            self.refused.insert(number, error.to_string());
            return Ok(());
        }
        let key = keys.first().map(ToString::to_string).unwrap_or_default();
        let hint = format!(
            "Mend the row or the target's table and start again: the change is still in the source's log. To go on without \
             such rows set on_bad_row = \"dead_letter\" for {name}."
        );
        Err(error.within(format!("{} the row {key} of {name}", verb(&change.op))).hint(hint))
    }
}

fn verb(op: &Op) -> &'static str {
    match op {
        Op::Insert(_) => "insert",
        Op::Update { .. } => "update",
        Op::Delete { .. } => "delete",
        Op::Truncate => "truncate",
    }
}

/// Keys to read again, each once, in the order in which they came up.
#[derive(Default)]
struct Again(Vec<(Arc<TableSchema>, IndexSet<Key>)>);

impl Again {
    fn add(&mut self, table: &Arc<TableSchema>, key: Key) {
        match self.0.iter_mut().find(|(known, _)| known.name == table.name) {
            Some((_, keys)) => drop(keys.insert(key)),
            None => self.0.push((table.clone(), IndexSet::from([key]))),
        }
    }

    fn holds(&self, table: &TableName, key: &Key) -> bool {
        self.0.iter().any(|(known, keys)| known.name == *table && keys.contains(key))
    }

    fn lists(&self) -> Vec<(Arc<TableSchema>, Vec<Key>)> {
        self.0.iter().map(|(table, keys)| (table.clone(), keys.iter().cloned().collect())).collect()
    }
}

fn op_and_row(op: &Op) -> (&'static str, Option<Row>) {
    match op {
        Op::Insert(row) | Op::Update { after: row, .. } => (verb(op), Some(row.clone())),
        Op::Delete { .. } | Op::Truncate => (verb(op), None),
    }
}
