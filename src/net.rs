//! The net change of each row: what a run of changes, in source order, comes to. Pure.
//!
//! A row that was touched many times is written once. Steps keep the order that matters: a truncate, a table's new form and
//! a key change of which the rest of the row is not known stand between what came before and what came after.

use rowferry_api::{Cell, Change, Key, KeyEncoder, Op, PartialUpdate, Row, RowBuilder, Step, TableRows, TableSchema};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Works out the net change. Applying the steps leaves what applying the changes one by one leaves.
pub fn net_changes(changes: &[Change]) -> Vec<Step> {
    let mut net = Net::default();
    for change in changes {
        net.add(change);
    }
    net.flush();
    net.steps
}

/// Each change as a step of its own, in source order: for a target that refuses the net change but may take this.
pub fn row_by_row(changes: &[Change]) -> Vec<Step> {
    let mut net = Net::default();
    for change in changes {
        net.add(change);
        net.flush();
    }
    net.steps
}

#[derive(Default)]
struct Net {
    steps: Vec<Step>,
    /// Tables touched since the last barrier, in order of first touch.
    tables: Vec<Table>,
    /// Where the last change went; runs of changes of one table are the rule.
    last: usize,
    builder: RowBuilder,
}

struct Table {
    form: Arc<TableSchema>,
    keys: KeyEncoder,
    places: HashMap<Key, usize, BuildHasherDefault<KeyHasher>>,
    rows: Vec<(Key, Net1)>,
}

/// What one key comes to.
enum Net1 {
    Delete,
    Upsert(Row),
    Update(Row),
}

impl Net {
    fn add(&mut self, change: &Change) {
        if matches!(change.op, Op::Truncate) {
            return self.truncate(&change.table);
        }
        let table = self.table(&change.table);
        match &change.op {
            Op::Insert(row) => {
                if let Some(key) = self.tables[table].keys.key(row) {
                    self.tables[table].set(key, Net1::Upsert(row.clone()));
                }
            }
            Op::Update { key, after } => self.update(table, key, after),
            Op::Delete { key } => self.tables[table].set(key.clone(), Net1::Delete),
            Op::Truncate => {}
        }
    }

    fn update(&mut self, table: usize, key: &Key, after: &Row) {
        // A key column that the log left out did not change.
        let (after, new_key) = match self.tables[table].keys.key(after) {
            Some(new_key) => (after.clone(), new_key),
            None => (with_key(&mut self.builder, &self.tables[table].form, after, key), key.clone()),
        };
        let known = self.tables[table].get(key);
        let moved = new_key != *key;
        match (after.is_partial(), known) {
            (false, _) => {
                if moved {
                    self.tables[table].set(key.clone(), Net1::Delete);
                }
                self.tables[table].set(new_key, Net1::Upsert(after));
            }
            (true, Some(Net1::Upsert(before))) => {
                let whole = merge(&mut self.builder, before, &after);
                if moved {
                    self.tables[table].set(key.clone(), Net1::Delete);
                }
                self.tables[table].set(new_key, Net1::Upsert(whole));
            }
            (true, Some(Net1::Update(before))) if !moved => {
                let merged = merge(&mut self.builder, before, &after);
                self.tables[table].set(new_key, Net1::Update(merged));
            }
            (true, None) if !moved => self.tables[table].set(new_key, Net1::Update(after)),
            // The row is not known here and more than one key is at stake: by itself, in its place.
            (true, _) => {
                let form = self.tables[table].form.clone();
                self.flush();
                let updates = vec![PartialUpdate { key: key.clone(), row: after }];
                self.steps.push(Step::Rows(TableRows { table: form, deletes: Vec::new(), updates, upserts: Vec::new() }));
            }
        }
    }

    fn truncate(&mut self, form: &Arc<TableSchema>) {
        self.flush();
        match self.steps.last_mut() {
            Some(Step::Truncate(tables)) => {
                if tables.iter().all(|table| table.name != form.name) {
                    tables.push(form.clone());
                }
            }
            _ => self.steps.push(Step::Truncate(vec![form.clone()])),
        }
    }

    /// The place of a table; one of another form of it is a barrier.
    fn table(&mut self, form: &Arc<TableSchema>) -> usize {
        if self.tables.get(self.last).is_some_and(|table| Arc::ptr_eq(&table.form, form)) {
            return self.last;
        }
        self.last = match self.tables.iter().position(|table| table.form.name == form.name) {
            Some(place) if Arc::ptr_eq(&self.tables[place].form, form) => place,
            Some(_) => {
                self.flush();
                self.start(form)
            }
            None => self.start(form),
        };
        self.last
    }

    fn start(&mut self, form: &Arc<TableSchema>) -> usize {
        self.tables.push(Table {
            form: form.clone(),
            keys: KeyEncoder::new(&form.key),
            places: HashMap::default(),
            rows: Vec::new(),
        });
        self.tables.len() - 1
    }

    fn flush(&mut self) {
        for table in self.tables.drain(..).filter(|table| !table.rows.is_empty()) {
            let mut rows =
                TableRows { table: table.form, deletes: Vec::new(), updates: Vec::new(), upserts: Vec::new() };
            for (key, net) in table.rows {
                match net {
                    Net1::Delete => rows.deletes.push(key),
                    Net1::Upsert(row) => rows.upserts.push(row),
                    Net1::Update(row) => rows.updates.push(PartialUpdate { key, row }),
                }
            }
            self.steps.push(Step::Rows(rows));
        }
        self.last = 0;
    }
}

impl Table {
    fn get(&self, key: &Key) -> Option<&Net1> {
        self.places.get(key).map(|&place| &self.rows[place].1)
    }

    fn set(&mut self, key: Key, net: Net1) {
        match self.places.get(&key) {
            Some(&place) => self.rows[place].1 = net,
            None => {
                self.places.insert(key.clone(), self.rows.len());
                self.rows.push((key, net));
            }
        }
    }
}

/// The later row, with the earlier one's cells where it has none.
fn merge(builder: &mut RowBuilder, before: &Row, after: &Row) -> Row {
    for (before, after) in before.cells().zip(after.cells()) {
        builder.push(if after == Cell::Unchanged { before } else { after });
    }
    builder.finish()
}

fn with_key(builder: &mut RowBuilder, form: &TableSchema, row: &Row, key: &Key) -> Row {
    for (index, cell) in row.cells().enumerate() {
        let place = form.key.iter().position(|&column| column == index);
        builder.push(place.and_then(|place| key.cells().nth(place)).unwrap_or(cell));
    }
    builder.finish()
}

/// Keys are short byte strings from a database of our own: speed counts, resistance to chosen keys is the seedless
/// xxh3's.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = self.0.rotate_left(5) ^ number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
