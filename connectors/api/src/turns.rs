//! Two appliers of a pipeline that take turns: what they share, and what one of them has brought near its tables for the batch
//! that it applies next.

use crate::{Batch, Step, TableName, TableRows};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What appliers that take turns share.
#[derive(Debug, Default)]
pub struct Turns {
    held: Mutex<Option<String>>,
    locked: AtomicBool,
}

impl Turns {
    /// The position that one of them last saw in the target.
    pub fn held(&self) -> Option<String> {
        self.held.lock().expect("no code panics while it holds this").clone()
    }

    /// Sets it; `None`: it has to be asked for.
    pub fn hold(&self, position: Option<&str>) {
        *self.held.lock().expect("no code panics while it holds this") = position.map(str::to_owned);
    }

    /// Whether writers of an earlier process have ended.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// They have.
    pub fn lock(&self) {
        self.locked.store(true, Ordering::Relaxed);
    }

    /// A connection was lost: what it was doing may still go on.
    pub fn unlock(&self) {
        self.locked.store(false, Ordering::Relaxed);
    }
}

/// The first rows of a step's upserts, in a table of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// As statements name it.
    pub table: String,
    /// How many.
    pub rows: usize,
}

/// What an applier has brought for its next batch, by the number of the step.
#[derive(Debug, Default)]
pub struct Staging(HashMap<usize, Staged>);

impl Staging {
    /// The steps whose upserts are worth it: `rows_from` or more of them, and the first ones of their table, since later ones may be of
    /// another form.
    pub fn worthwhile<'s>(steps: &'s [Step], rows_from: usize) -> Vec<(usize, &'s TableRows)> {
        let mut tables: HashSet<&TableName> = HashSet::new();
        let is_worth = |(number, step): (usize, &'s Step)| match step {
            Step::Rows(rows) if rows.upserts.len() >= rows_from && tables.insert(&rows.table.name) => {
                Some((number, rows))
            }
            _ => None,
        };
        steps.iter().enumerate().filter_map(is_worth).collect()
    }

    /// Something was brought.
    pub fn put(&mut self, step: usize, staged: Staged) {
        self.0.insert(step, staged);
    }

    /// What is there for this batch; nothing of it is there for another one.
    pub fn take(&mut self, batch: &Batch) -> HashMap<usize, Staged> {
        let steps = std::mem::take(&mut self.0);
        if batch.staged { steps } else { HashMap::new() }
    }

    /// It may be of an older form of a table, or gone.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, RowBuilder, TableSchema};
    use std::sync::Arc;

    #[test]
    fn the_first_large_upserts_of_each_table_are_worth_it_and_are_taken_by_their_batch_only() {
        let form = |name| Arc::new(TableSchema::new(TableName::new("s", name), Dialect::Mysql, Vec::new(), vec![0]));
        let (t, u) = (form("t"), form("u"));
        let rows = |table: &Arc<TableSchema>, upserts| {
            Step::Rows(TableRows {
                upserts: vec![RowBuilder::new().finish(); upserts],
                ..TableRows::new(table.clone())
            })
        };
        let steps = vec![rows(&t, 2), Step::Truncate(vec![u.clone()]), rows(&u, 4), rows(&t, 3), rows(&t, 5)];
        let worth: Vec<(usize, usize)> =
            Staging::worthwhile(&steps, 3).into_iter().map(|(number, rows)| (number, rows.upserts.len())).collect();
        assert_eq!(worth, [(2, 4), (3, 3)]);

        let batch = |staged| Batch { steps: Vec::new(), end: None, staged };
        let mut staging = Staging::default();
        let brought = Staged { table: "s".into(), rows: 4 };
        staging.put(2, brought.clone());
        assert!(staging.take(&batch(false)).is_empty() && staging.take(&batch(true)).is_empty());
        staging.put(2, brought.clone());
        assert_eq!(staging.take(&batch(true)), HashMap::from([(2, brought)]));
    }
}
