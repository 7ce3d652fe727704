//! Applies one [`Work`] to the target, whatever it takes: the net changes first, row by row where a unique constraint
//! refuses them, bisected where a row is refused.
//!
//! Everything here happens in one transaction of the target. A key that has to be read again from the source is
//! written to the state before that transaction commits, so that a crash in between loses none.

use super::filling::Work;
use super::life::Lives;
use super::route::touched_keys;
use crate::net::{expect_any, moved_keys, net_changes, row_by_row};
use indexmap::IndexSet;
use rowferry_api::{
    Applied, Applier, Batch, Change, Error, ErrorKind, Key, Op, Position, Result, Row, Source, Step, TableName,
    TableSchema, Timestamp, failpoint,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A row that the target refused and that the policy lets go.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The change as it was to be applied.
    pub change: Change,
    /// Why the target refused it.
    pub reason: String,
}

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
    pub dead_letters: Vec<DeadLetter>,
}

/// Applies `work`. `catalog_version` is that of the source's catalog that the target's tables have followed. On an error nothing of it is in the target and the target's open transaction is rolled back.
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
        dead_letters: Vec::new(),
    };
    let result = attempt.run(work).await;
    if result.is_err() {
        // The error at hand says more than one of the rollback would; a lost connection rolls back by itself.
        let _ = applier.rollback().await;
    }
    result
}

fn refuses_rows(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unique | ErrorKind::BadRow)
}

struct Attempt<'a> {
    applier: &'a mut dyn Applier,
    lives: &'a Lives,
    source: &'a dyn Source,
    catalog_version: u64,
    again: Again,
    dead_letters: Vec<DeadLetter>,
}

impl Attempt<'_> {
    async fn run(mut self, work: Work) -> Result<Outcome> {
        let position = work.end.as_ref().map(|end| end.position.clone());
        let mut steps = net_changes(&work.changes);
        expect_any(&mut steps, |table| self.lives.in_window(table));
        let has_inserts = steps.iter().any(|step| matches!(step, Step::Rows(rows) if !rows.inserts.is_empty()));
        // A partial update may find no row: that must be known before the commit.
        let at_once = steps.iter().all(|step| !matches!(step, Step::Rows(rows) if !rows.updates.is_empty()));
        let end = if at_once { position.clone() } else { None };
        let mut sent = self.send(steps, end.clone()).await;
        if has_inserts && matches!(&sent, Err(error) if error.kind() == ErrorKind::Unique) {
            // Somebody else may have put a row there: it is written over.
            let mut steps = net_changes(&work.changes);
            expect_any(&mut steps, |_| true);
            sent = self.send(steps, end.clone()).await;
        }
        match sent {
            Ok(()) if end.is_some() => {}
            Ok(()) => {
                failpoint!("apply.sent");
                self.commit(position.clone()).await?;
            }
            Err(error) if refuses_rows(&error) => {
                self.row_by_row_or_bisect(&work.changes, error).await?;
                self.commit(position.clone()).await?;
            }
            Err(error) => return Err(error),
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
            dead_letters: self.dead_letters,
        })
    }

    async fn send(&mut self, steps: Vec<Step>, end: Option<Position>) -> Result<()> {
        // Cells of a row that moved may have come from a later row of its old key.
        let is_unsure = |table: &TableSchema, key: &Key| {
            self.again.holds(&table.name, key) || self.lives.is_unsure(&table.name, key)
        };
        let moved = moved_keys(&steps, is_unsure);
        let Applied { missing } = self.applier.apply(&Batch { steps, end }).await?;
        missing.into_iter().chain(moved).for_each(|(table, key)| self.again.add(&table, key));
        Ok(())
    }

    /// Commits what was applied as parts, once what has to be read again is on disk.
    async fn commit(&mut self, position: Option<Position>) -> Result<()> {
        self.lives.keep(&self.again.lists(), &self.dead_letters, position.as_ref()).await?;
        failpoint!("apply.kept");
        if position.is_some() { self.send(Vec::new(), position).await } else { Ok(()) }
    }

    /// The source's order may pass where the net change does not; else halves are tried until the row is alone.
    async fn row_by_row_or_bisect(&mut self, changes: &[Change], error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Unique {
            match self.send(row_by_row(changes), None).await {
                Ok(()) => return Ok(()),
                Err(error) if refuses_rows(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // Depth first and left to right, so that the source's order is kept.
        let mut todo = vec![(changes, Some(error))];
        while let Some((changes, refused)) = todo.pop() {
            let refused = match refused {
                Some(error) => error,
                None => match self.send(row_by_row(changes), None).await {
                    Ok(()) => continue,
                    Err(error) if refuses_rows(&error) => error,
                    Err(error) => return Err(error),
                },
            };
            if let [change] = changes {
                self.refused(change, refused).await?;
            } else {
                let (first, second) = changes.split_at(changes.len() / 2);
                todo.push((second, None));
                todo.push((first, None));
            }
        }
        Ok(())
    }

    /// One change that the target refuses by itself.
    async fn refused(&mut self, change: &Change, error: Error) -> Result<()> {
        let name = &change.table.name;
        if self.lives.in_window(name) {
            // A state that the source never had, or a row older than the form that the target has taken (NOT NULL since):
            // reading the row again removes what stands in its way, and is refused for good if that is not it.
            touched_keys(change).into_iter().for_each(|key| self.again.add(&change.table, key));
            return Ok(());
        }
        if self.source.catalog_version().await? != self.catalog_version {
            // A new label of an enum, a NULL that may be: no row of the log announces such a change.
            let what = format!("write a row of {name}: the source's tables have changed meanwhile ({error})");
            return Err(Error::new(ErrorKind::Transient, what));
        }
        if self.lives.lets_bad_rows_go(name) {
            self.dead_letters.push(DeadLetter { change: change.clone(), reason: error.to_string() });
            return Ok(());
        }
        let key = touched_keys(change).first().map(ToString::to_string).unwrap_or_default();
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

/// A row's encoded bytes, for a dead letter.
pub(super) fn encoded(op: &Op) -> (&'static str, Vec<u8>) {
    let bytes = |row: &Row| row.as_bytes().to_vec();
    match op {
        Op::Insert(row) => ("insert", bytes(row)),
        Op::Update { after, .. } => ("update", bytes(after)),
        Op::Delete { .. } => ("delete", Vec::new()),
        Op::Truncate => ("truncate", Vec::new()),
    }
}
