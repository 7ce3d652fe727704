//! The batch that fills while the one before it commits. Pure.
//!
//! It holds whole source transactions in commit order, and at its end the beginning of one that has not ended yet.
//! What is taken out is either a run of whole transactions with the position they reach, or, where a single
//! transaction outgrows the budget, a part of it without a position.

use super::ahead::Net;
use rowferry_api::{Change, Op, Position, TableName, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;

/// From so many tables on a batch costs what its tables do rather than what its rows do.
const MANY_TABLES: usize = 32;

/// Changes on their way to the target together.
#[derive(Debug)]
pub(super) struct Work {
    /// In source order.
    pub changes: Vec<Change>,
    /// Where the log stands after them; `None` for a part of a transaction that goes on.
    pub end: Option<End>,
    /// What they come to, if that is worked out already.
    pub net: Option<Net>,
}

/// Where a run of whole transactions ends.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// The position to commit with it.
    pub position: Position,
    /// When the source committed the last of them; `None` if only the log moved on.
    pub committed_at: Option<Timestamp>,
}

/// Changes that wait for the applier.
#[derive(Debug, Default)]
pub(super) struct Filling {
    changes: Vec<Change>,
    /// `changes[..whole]` are of transactions that have ended.
    whole: usize,
    whole_bytes: usize,
    bytes: usize,
    end: Option<End>,
    oldest: Option<Timestamp>,
    transactions: u64,
    /// The last transaction that ended is part of a backlog, and the log has not paused since.
    late: bool,
    mix: Mix,
    /// Another number once `changes[..whole]` are others.
    version: u64,
}

/// What kinds of changes wait.
#[derive(Debug, Default)]
struct Mix {
    /// Their tables, by their forms' places in memory, up to [`MANY_TABLES`].
    tables: HashSet<usize>,
    /// Some of them are no new rows.
    rewrites: bool,
}

impl Mix {
    fn add(&mut self, change: &Change, last: Option<&Change>) {
        let is_of_last = last.is_some_and(|last| Arc::ptr_eq(&last.table, &change.table));
        if !is_of_last && self.tables.len() < MANY_TABLES {
            self.tables.insert(Arc::as_ptr(&change.table).addr());
        }
        self.rewrites |= !matches!(change.op, Op::Insert(_));
    }

    /// Rows that are there are found in the order of their keys, and each table costs its ways to the target and back. New rows of a few
    /// tables cost the same in small batches.
    fn gains_from_more(&self) -> bool {
        self.rewrites || self.tables.len() >= MANY_TABLES
    }
}

impl Filling {
    /// A transaction begins: what is here of one that has not ended is none (its server went down while it wrote it).
    pub(super) fn begin(&mut self) {
        self.changes.truncate(self.whole);
        self.bytes = self.whole_bytes;
    }

    /// Adds a change of the transaction that is open.
    pub(super) fn change(&mut self, change: Change) {
        self.bytes += change.size_bytes();
        self.mix.add(&change, self.changes.last());
        self.changes.push(change);
    }

    /// The open transaction has ended.
    pub(super) fn commit(&mut self, position: Position, committed_at: Timestamp, is_late: bool) {
        self.late = is_late;
        self.version += 1;
        self.whole = self.changes.len();
        self.whole_bytes = self.bytes;
        self.end = Some(End { position, committed_at: Some(committed_at) });
        self.transactions += 1;
        self.oldest.get_or_insert(committed_at);
    }

    /// The log moved on between transactions.
    pub(super) fn heartbeat(&mut self, position: Position) {
        self.late = false;
        let committed_at = self.end.as_ref().and_then(|end| end.committed_at);
        self.end = Some(End { position, committed_at });
    }

    /// Whether more follows without a wait: a source says at once where its log stands when it has caught up.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether what waits is written faster the more there is of it.
    pub(super) fn gains_from_more(&self) -> bool {
        self.mix.gains_from_more()
    }

    /// Whether whole transactions wait; a heartbeat alone does not count.
    pub(super) fn has_transactions(&self) -> bool {
        self.transactions > 0
    }

    /// The position that [`take_whole`](Self::take_whole) would reach.
    pub(super) fn end(&self) -> Option<&Position> {
        self.end.as_ref().map(|end| &end.position)
    }

    /// When the source committed the oldest transaction that waits.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    /// The changes of the whole transactions that wait, and a number that no others of this batch or of a later one have.
    pub(super) fn whole(&self) -> (u64, &[Change]) {
        (self.version, &self.changes[..self.whole])
    }

    /// Takes all whole transactions, and the log's progress after them.
    pub(super) fn take_whole(&mut self) -> Option<Work> {
        let end = self.end.take()?;
        self.version += 1;
        let tail = self.changes.split_off(self.whole);
        let changes = std::mem::replace(&mut self.changes, tail);
        self.mix = Mix::default();
        self.bytes -= self.whole_bytes;
        self.whole = 0;
        self.whole_bytes = 0;
        self.oldest = None;
        self.transactions = 0;
        Some(Work { changes, end: Some(end), net: None })
    }

    /// Takes what there is of the open transaction as a part, if no whole one waits and it has reached `limit` bytes.
    pub(super) fn take_part(&mut self, limit: usize) -> Option<Work> {
        if self.end.is_some() || self.bytes < limit {
            return None;
        }
        self.bytes = 0;
        self.mix = Mix::default();
        Some(Work { changes: std::mem::take(&mut self.changes), end: None, net: None })
    }

    /// Takes out the changes of a table, by its name at the target: it will be copied again as it is later than they are.
    pub(super) fn forget(&mut self, table: &TableName) {
        self.version += 1;
        let size = |changes: &[Change]| changes.iter().map(Change::size_bytes).sum::<usize>();
        let mut tail = self.changes.split_off(self.whole);
        for part in [&mut self.changes, &mut tail] {
            part.retain(|change| change.table.name != *table);
        }
        self.whole = self.changes.len();
        self.whole_bytes = size(&self.changes);
        self.bytes = self.whole_bytes + size(&tail);
        self.changes.append(&mut tail);
    }

    /// The changes that wait, to bring them into a new form of their table.
    pub(super) fn changes_mut(&mut self) -> &mut [Change] {
        self.version += 1;
        &mut self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rowferry_api::{Cell, Dialect, Key, RowBuilder, TableName, TableSchema};

    fn table() -> Arc<TableSchema> {
        named("t")
    }

    fn named(name: &str) -> Arc<TableSchema> {
        Arc::new(TableSchema::new(TableName::new("public", name), Dialect::Postgres, Vec::new(), Vec::new()))
    }

    fn delete(table: &Arc<TableSchema>, id: usize) -> Change {
        let text = id.to_string();
        let key = Key::from_cells([Cell::Text(text.as_bytes())]);
        Change { table: table.clone(), op: Op::Delete { key } }
    }

    #[test]
    fn a_forgotten_table_leaves_the_others_and_their_transactions_whole() {
        let (kept, gone) = (named("kept"), named("gone"));
        let mut filling = Filling::default();
        for id in 0..6 {
            filling.change(delete(if id % 2 == 0 { &kept } else { &gone }, id));
            if id == 2 {
                filling.commit(Position::new("1"), Timestamp(1), false);
            }
        }
        filling.forget(&gone.name);
        let work = filling.take_whole().unwrap();
        assert_eq!(ids(&work), ["('0')", "('2')"]);
        assert_eq!(work.end.unwrap().position, Position::new("1"));
        filling.commit(Position::new("2"), Timestamp(2), false);
        assert_eq!(ids(&filling.take_whole().unwrap()), ["('4')"]);
        assert_eq!(filling.bytes(), 0);
    }

    #[test]
    fn many_tables_and_rows_that_are_there_gain_from_more() {
        let insert =
            |table: &Arc<TableSchema>| Change { table: table.clone(), op: Op::Insert(RowBuilder::new().finish()) };
        let tables: Vec<_> = (0..MANY_TABLES).map(|number| named(&number.to_string())).collect();
        let mut filling = Filling::default();
        for table in &tables {
            assert!(!filling.gains_from_more());
            filling.change(insert(table));
            filling.change(insert(table));
            filling.change(insert(&tables[0]));
        }
        assert!(filling.gains_from_more());
        filling.commit(Position::new("1"), Timestamp(1), false);
        filling.take_whole().unwrap();
        filling.change(insert(&tables[0]));
        assert!(!filling.gains_from_more());
        filling.change(delete(&tables[0], 1));
        assert!(filling.gains_from_more());
    }

    fn ids(work: &Work) -> Vec<String> {
        let id = |change: &Change| match &change.op {
            Op::Delete { key } => key.to_string(),
            other => panic!("{other:?}"),
        };
        work.changes.iter().map(id).collect()
    }

    proptest! {
        /// Whatever is taken when: all changes come out once and in order, a work with an end never splits a
        /// transaction from changes before it, and a part is taken of a transaction that stands alone only.
        #[test]
        fn whole_transactions_come_out_in_order(transactions in prop::collection::vec((0..6usize, prop::bool::ANY), 1..30), limit in 200..1500usize) {
            let table = table();
            let mut filling = Filling::default();
            let (mut id, mut out, mut ends) = (0, Vec::new(), Vec::new());
            let mut committed = 0;
            for (number, (changes, take)) in transactions.iter().enumerate() {
                for _ in 0..*changes {
                    filling.change(delete(&table, id));
                    id += 1;
                    if let Some(part) = filling.take_part(limit) {
                        prop_assert_eq!(out.len() >= committed, true, "a part goes out after all that ended before it");
                        out.extend(ids(&part));
                    }
                }
                filling.commit(Position::new(number.to_string()), Timestamp(number as i64), false);
                committed = id;
                if *take {
                    let work = filling.take_whole().unwrap();
                    out.extend(ids(&work));
                    ends.push((work.end.unwrap().position, out.len()));
                    prop_assert_eq!(filling.bytes(), 0);
                }
            }
            if let Some(work) = filling.take_whole() {
                out.extend(ids(&work));
            }
            let expected: Vec<String> = (0..id).map(|id| format!("('{id}')")).collect();
            prop_assert_eq!(out, expected);
            for (position, changes) in ends {
                let number: usize = position.as_str().parse().unwrap();
                prop_assert_eq!(changes, transactions[..=number].iter().map(|(changes, _)| changes).sum::<usize>());
            }
        }
    }
}
