//! The net change of each row: what a run of changes, in source order, comes to. Pure.
//!
//! A row that was touched many times is written once, and the rows of a table in the order of their keys. Steps keep the order that matters: a truncate, another form of a
//! table, and a key change of which the rest of the row is not known stand between what came before and what came after.

use indexmap::IndexMap;
use rowferry_api::{
    Cell, Change, Key, KeyEncoder, Op, PartialUpdate, Row, RowBuilder, Step, TableName, TableRows, TableSchema,
};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

mod order;

/// Works out the net change. Applying the steps leaves what applying the changes one by one leaves. New rows keep the order in
/// which they came, since rows written together tend to lie together; so do all rows of a table whose order
/// matters.
pub fn net_changes(changes: &[Change]) -> Vec<Step> {
    let mut net = Net::new();
    for change in changes {
        net.add(change);
    }
    net.flush();
    net.steps
}

/// Each change as a step of its own, in source order: for a target that refuses the net change but may take this.
pub fn row_by_row(changes: &[Change]) -> Vec<Step> {
    let mut net = Net::new();
    for change in changes {
        net.add(change);
        net.flush();
    }
    expect_any(&mut net.steps, |_| true);
    net.steps
}

/// Lets rows that the source took for new ones be there already, in these tables.
pub fn expect_any(steps: &mut [Step], of: impl Fn(&TableName) -> bool) {
    for step in steps {
        if let Step::Rows(rows) = step
            && of(&rows.table.name)
        {
            rows.expect_any();
        }
    }
}

/// The new keys of rows that change their key and of which some cells come from what the target has. In a slice's window
/// the target may have a later row under the old key by now, with cells of its own: such keys are to be read again.
/// `is_unsure` says which old keys; what comes from one of those is unsure itself.
pub fn moved_keys(steps: &[Step], is_unsure: impl Fn(&TableSchema, &Key) -> bool) -> Vec<(Arc<TableSchema>, Key)> {
    let mut moved: Vec<(Arc<TableSchema>, Key)> = Vec::new();
    let mut known: HashSet<(&TableName, Key)> = HashSet::new();
    for step in steps {
        let Step::Rows(rows) = step else { continue };
        let (table, mut keys) = (&rows.table, KeyEncoder::new(&rows.table.key));
        for update in &rows.updates {
            let Some(new) = keys.key(&update.row).filter(|new| *new != update.key) else { continue };
            let comes_from_one = known.contains(&(&table.name, update.key.clone())) || is_unsure(table, &update.key);
            if comes_from_one && known.insert((&table.name, new.clone())) {
                moved.push((table.clone(), new));
            }
        }
    }
    moved
}

struct Net<'a> {
    steps: Vec<Step>,
    tables: Vec<Table<'a>>,
    /// Tables with rows since the last barrier, in order of first touch.
    touched: Vec<usize>,
    by_form: HashMap<*const TableSchema, usize>,
    by_name: HashMap<&'a TableName, usize>,
    /// Runs of changes of one table are the rule.
    last: Option<(*const TableSchema, usize)>,
    hasher: KeyHasherSeed,
    builder: RowBuilder,
}

struct Table<'a> {
    form: &'a Arc<TableSchema>,
    keys: KeyEncoder,
    rows: IndexMap<Key, Pending, KeyHasherSeed>,
}

/// What one key comes to.
enum Pending {
    Delete,
    /// A row that was not there before, as the source took it for a new one.
    Insert(Row),
    Upsert(Row),
    Update(Row),
    /// The row goes to another key with cells that are not known here.
    Move(Row),
    /// A moved row arrives here.
    Arrival,
}

impl Pending {
    /// The step that holds this cannot take another change of the key.
    fn is_settled(&self) -> bool {
        matches!(self, Self::Move(_) | Self::Arrival)
    }
}

impl<'a> Net<'a> {
    fn new() -> Self {
        Self {
            steps: Vec::new(),
            tables: Vec::new(),
            touched: Vec::new(),
            by_form: HashMap::new(),
            by_name: HashMap::new(),
            last: None,
            hasher: KeyHasherSeed::random(),
            builder: RowBuilder::new(),
        }
    }

    fn add(&mut self, change: &'a Change) {
        if matches!(change.op, Op::Truncate) {
            return self.truncate(&change.table);
        }
        let table = self.table(&change.table);
        match &change.op {
            Op::Insert(row) => match self.tables[table].keys.key(row) {
                Some(key) => {
                    let is_new = !self.tables[table].rows.contains_key(&key);
                    let pending = if is_new { Pending::Insert } else { Pending::Upsert };
                    self.put(table, key, pending(row.clone()));
                }
                None => self.keyless(table, row),
            },
            Op::Update { key, after } => self.update(table, key, after),
            Op::Delete { key } => self.put(table, key.clone(), Pending::Delete),
            Op::Truncate => {}
        }
    }

    fn update(&mut self, table: usize, key: &Key, after: &Row) {
        let (after, new_key) = match self.tables[table].keys.key(after) {
            Some(new_key) => (after.clone(), new_key),
            None => {
                let after = with_key(&mut self.builder, self.tables[table].form, after, key);
                match self.tables[table].keys.key(&after) {
                    Some(new_key) => (after, new_key),
                    None => return self.keyless(table, &after),
                }
            }
        };
        let moves = new_key != *key;
        let known = self.tables[table].rows.get(key);
        let stays_new = !moves && matches!(known, Some(Pending::Insert(_)));
        let whole = match known {
            _ if !after.is_partial() => after,
            Some(Pending::Insert(before) | Pending::Upsert(before)) => merge(&mut self.builder, before, &after),
            _ if moves => return self.move_unknown(table, key, new_key, after),
            Some(Pending::Update(before)) => {
                let cells = merge(&mut self.builder, before, &after);
                return self.put(table, new_key, Pending::Update(cells));
            }
            None => return self.put(table, new_key, Pending::Update(after)),
            // A partial update of a row that is gone: it must find no row, and be reported.
            Some(_) => {
                self.flush();
                return self.put(table, new_key, Pending::Update(after));
            }
        };
        if moves {
            self.put(table, key.clone(), Pending::Delete);
        }
        let pending = if stays_new { Pending::Insert } else { Pending::Upsert };
        self.put(table, new_key, pending(whole));
    }

    /// Stands beside other rows of the step as long as neither of its keys is among them.
    fn move_unknown(&mut self, table: usize, key: &Key, new_key: Key, after: Row) {
        let rows = &self.tables[table].rows;
        if rows.contains_key(key) || rows.contains_key(&new_key) {
            self.flush();
        }
        self.put(table, key.clone(), Pending::Move(after));
        self.put(table, new_key, Pending::Arrival);
    }

    /// A row that does not say which it is cannot be netted; it is not dropped, the target has to refuse it.
    fn keyless(&mut self, table: usize, row: &Row) {
        self.flush();
        let mut rows = TableRows::new(self.tables[table].form.clone());
        rows.upserts.push(row.clone());
        self.steps.push(Step::Rows(rows));
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

    fn put(&mut self, table: usize, key: Key, pending: Pending) {
        if self.tables[table].rows.get(&key).is_some_and(Pending::is_settled) {
            self.flush();
        }
        let rows = &mut self.tables[table].rows;
        if rows.is_empty() {
            self.touched.push(table);
        }
        rows.insert(key, pending);
    }

    /// The place of a table in this form.
    fn table(&mut self, form: &'a Arc<TableSchema>) -> usize {
        let address = Arc::as_ptr(form);
        if let Some((last, place)) = self.last
            && last == address
        {
            return place;
        }
        let place = match self.by_form.get(&address) {
            Some(&place) => place,
            None => self.meet(form),
        };
        self.last = Some((address, place));
        place
    }

    fn meet(&mut self, form: &'a Arc<TableSchema>) -> usize {
        let known = self.by_name.get(&form.name).copied();
        let place = match known {
            Some(place) if self.tables[place].form == form => place,
            _ => {
                // Coming back to the older form is a third one: rows must not go before those in between.
                self.by_form.retain(|_, place| Some(*place) != known);
                let rows = IndexMap::with_hasher(self.hasher);
                self.tables.push(Table { form, keys: KeyEncoder::new(&form.key), rows });
                self.tables.len() - 1
            }
        };
        self.by_form.insert(Arc::as_ptr(form), place);
        self.by_name.insert(&form.name, place);
        place
    }

    fn flush(&mut self) {
        for place in self.touched.drain(..) {
            let table = &mut self.tables[place];
            let mut rows = TableRows::new(table.form.clone());
            let mut upserts = Vec::new();
            for (key, pending) in table.rows.drain(..) {
                match pending {
                    Pending::Delete => rows.deletes.push(key),
                    Pending::Insert(row) => rows.inserts.push(row),
                    Pending::Upsert(row) => upserts.push((order::place(&key), row)),
                    Pending::Update(row) | Pending::Move(row) => rows.updates.push(PartialUpdate { key, row }),
                    Pending::Arrival => {}
                }
            }
            if order::is_free(table.form) {
                rows.deletes.sort_by_cached_key(order::place);
                upserts.sort_by_key(|(place, _)| *place);
            }
            rows.upserts = upserts.into_iter().map(|(_, row)| row).collect();
            self.steps.push(Step::Rows(rows));
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

/// A key cell that the log left out did not change.
fn with_key(builder: &mut RowBuilder, form: &TableSchema, row: &Row, key: &Key) -> Row {
    for (index, cell) in row.cells().enumerate() {
        let place = form.key.iter().position(|&column| column == index);
        let known = place.filter(|_| cell == Cell::Unchanged).and_then(|place| key.cells().nth(place));
        builder.push(known.unwrap_or(cell));
    }
    builder.finish()
}

/// Keys are short byte strings, hashed by xxh3 with a seed of this run: whoever may choose keys at the source must not
/// be able to make them collide.
#[derive(Debug, Clone, Copy)]
struct KeyHasherSeed(u64);

impl KeyHasherSeed {
    fn random() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for KeyHasherSeed {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.0)
    }
}

struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    /// The length that stands before the bytes adds nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
