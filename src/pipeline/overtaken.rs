//! What a work means for dead letters: which refused changes are still to be kept at its end, which letters it settles, and
//! which rows have to be read again. Pure.
//!
//! A row with a letter is behind at the target. A whole newer change brings it up to date; a change of some of its cells does
//! not, since others may be those of the refused one, so such a row is read again from the source.

use super::route::touched_keys;
use rowferry_api::{Change, Key, Op, TableName, TableSchema};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rows {
    /// All of them.
    All,
    /// These.
    Keys(Vec<Key>),
}

/// Goes through changes in source order.
pub(super) struct Overtaken<F> {
    /// Whether a row, by its table's name at the target, may have a letter from before.
    had_letter: F,
    tables: HashMap<TableName, Table>,
}

#[derive(Default)]
struct Table {
    /// The refused changes by row.
    refused: HashMap<Key, usize>,
    /// Refused changes of the whole table.
    truncates: BTreeSet<usize>,
    settled: HashSet<Key>,
    all_settled: bool,
    again: HashMap<Key, Arc<TableSchema>>,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The numbers of refused changes that nothing has overtaken.
    pub refused: BTreeSet<usize>,
    /// Rows whose letters from before are settled.
    pub settled: Vec<(TableName, Rows)>,
    /// Rows to read again.
    pub again: Vec<(Arc<TableSchema>, Key)>,
}

impl<F: Fn(&TableName, &Key) -> bool> Overtaken<F> {
    pub(super) fn new(had_letter: F) -> Self {
        Self { had_letter, tables: HashMap::new() }
    }

    /// The next change, and whether it was refused and let go.
    pub(super) fn add(&mut self, number: usize, change: &Change, is_refused: bool) {
        let name = &change.table.name;
        let table = self.tables.entry(name.clone()).or_default();
        let keys = touched_keys(change);
        if is_refused {
            if keys.is_empty() {
                table.truncates.insert(number);
            }
            for key in keys {
                table.settled.remove(&key);
                table.refused.insert(key, number);
            }
            return;
        }
        if matches!(change.op, Op::Truncate) {
            *table = Table { all_settled: true, ..Table::default() };
            return;
        }
        let is_behind = |key: &Key| {
            table.refused.contains_key(key)
                || table.again.contains_key(key)
                || (!table.all_settled && !table.settled.contains(key) && (self.had_letter)(name, key))
        };
        if !keys.iter().any(is_behind) {
            return;
        }
        let is_whole = !matches!(&change.op, Op::Update { after, .. } if after.is_partial());
        for key in keys {
            if is_whole {
                table.refused.remove(&key);
                table.again.remove(&key);
                table.settled.insert(key);
            } else {
                table.settled.remove(&key);
                table.again.insert(key, change.table.clone());
            }
        }
    }

    pub(super) fn found(self) -> Found {
        let mut found = Found::default();
        for (name, table) in self.tables {
            found.refused.extend(table.refused.into_values().chain(table.truncates));
            found.again.extend(table.again.into_iter().map(|(key, form)| (form, key)));
            if table.all_settled {
                found.settled.push((name, Rows::All));
            } else if !table.settled.is_empty() {
                found.settled.push((name, Rows::Keys(table.settled.into_iter().collect())));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rowferry_api::{Cell, Dialect, Row, RowBuilder};
    use std::collections::BTreeMap;

    /// A row of a key and two cells.
    type Cells = [Option<u8>; 2];

    #[derive(Debug, Clone)]
    enum Made {
        Put(u8, [u8; 2]),
        /// The row of a key gets another key and some new cells.
        Change(u8, u8, Cells),
        Delete(u8),
        Truncate,
    }

    fn made() -> impl Strategy<Value = Made> {
        prop_oneof![
            4 => (0..4u8, any::<[u8; 2]>()).prop_map(|(key, cells)| Made::Put(key, cells)),
            4 => (0..4u8, 0..4u8, any::<Cells>()).prop_map(|(key, to, cells)| Made::Change(key, to, cells)),
            2 => (0..4u8).prop_map(Made::Delete),
            1 => Just(Made::Truncate),
        ]
    }

    fn table() -> Arc<TableSchema> {
        Arc::new(TableSchema::new(TableName::new("public", "t"), Dialect::Postgres, Vec::new(), vec![0]))
    }

    fn key(number: u8) -> Key {
        Key::from_cells([Cell::Text(&[number])])
    }

    fn row(number: u8, cells: Cells) -> Row {
        let mut builder = RowBuilder::new();
        builder.push(Cell::Text(&[number]));
        for cell in &cells {
            builder.push(cell.as_ref().map_or(Cell::Unchanged, |value| Cell::Text(std::slice::from_ref(value))));
        }
        builder.finish()
    }

    type Rows4 = BTreeMap<u8, [u8; 2]>;

    /// What a change does to rows, as a source or a target does it; `None` if it makes no sense at the source.
    fn carry_out(made: &Made, rows: &mut Rows4, is_source: bool) -> Option<()> {
        match made {
            Made::Put(key, cells) => _ = rows.insert(*key, *cells),
            Made::Change(from, to, new) => {
                if is_source && (!rows.contains_key(from) || (from != to && rows.contains_key(to))) {
                    return None;
                }
                let before = rows.remove(from).or_else(|| rows.get(to).copied()).unwrap_or_default();
                rows.insert(*to, [new[0].unwrap_or(before[0]), new[1].unwrap_or(before[1])]);
            }
            Made::Delete(key) => _ = rows.remove(key),
            Made::Truncate => rows.clear(),
        }
        Some(())
    }

    proptest! {
        /// Whatever was refused when: a row that is not as the source's has a letter or is read again, and a letter that is
        /// settled or never made belongs to a row that is.
        #[test]
        fn no_row_is_behind_without_a_letter(
            all in prop::collection::vec((made(), prop::bool::weighted(0.3)), 1..20),
            start in any::<[[u8; 2]; 4]>(),
            lettered in prop::collection::btree_set(0..4u8, 0..3),
        ) {
            let table = table();
            let mut source: Rows4 = start.into_iter().enumerate().map(|(at, cells)| (at as u8, cells)).collect();
            let mut target = source.clone();
            for key in &lettered { target.insert(*key, [0, 0]); }
            let mut seen = Overtaken::new(|_, one| lettered.iter().any(|number| key(*number) == *one));
            let mut touched = Vec::new();
            for (number, (made, is_refused)) in all.iter().enumerate() {
                touched.push(Vec::new());
                if carry_out(made, &mut source, true).is_none() {
                    continue;
                }
                let op = match made {
                    Made::Put(number, cells) => Op::Insert(row(*number, cells.map(Some))),
                    Made::Change(from, to, cells) => Op::Update { key: key(*from), after: row(*to, *cells) },
                    Made::Delete(number) => Op::Delete { key: key(*number) },
                    Made::Truncate => Op::Truncate,
                };
                let change = Change { table: table.clone(), op };
                touched[number] = touched_keys(&change);
                if !is_refused {
                    carry_out(made, &mut target, false);
                }
                seen.add(number, &change, *is_refused);
            }
            let found = seen.found();
            let whole_table = found.refused.iter().any(|number| touched[*number].is_empty());
            let settles = |one: &Key| found.settled.iter().any(|(_, rows)| match rows {
                Rows::All => true,
                Rows::Keys(keys) => keys.contains(one),
            });
            for number in 0..4 {
                let one = key(number);
                let in_letter = found.refused.iter().any(|at| touched[*at].contains(&one));
                let is_kept = lettered.contains(&number) && !settles(&one);
                let is_read = found.again.iter().any(|(_, again)| *again == one);
                if !(whole_table || in_letter || is_kept || is_read) {
                    prop_assert_eq!(source.get(&number), target.get(&number), "row {}", number);
                }
            }
        }
    }
}
