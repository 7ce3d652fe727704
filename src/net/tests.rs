//! A source with a memory of its own writes a log; the net changes of it are applied to a target that does no more than
//! the contract of steps says. Both must hold the same rows.

use super::*;
use proptest::prelude::*;
use rowferry_api::{Column, Dialect, Fill, ForeignKey, Index, Type};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A row by its columns; NULL is absent.
type Cells = BTreeMap<String, Vec<u8>>;
type Rows = BTreeMap<Key, Cells>;
/// Tables by name.
type Store = BTreeMap<String, Rows>;

/// What a test's source does next, over numbers that are taken for what is there.
#[derive(Debug, Clone)]
enum Act {
    Insert(u8, u8, u8),
    /// Sets cells; what is left out of the bits is unchanged, and unchanged cells may be missing from the log.
    Update {
        pick: u8,
        sets: u8,
        value: u8,
        logs_all: bool,
    },
    Move {
        pick: u8,
        to: u8,
        value: Option<u8>,
        logs_all: bool,
    },
    Swap {
        pick: u8,
        other: u8,
        logs_all: bool,
    },
    Delete(u8),
    Truncate {
        also_the_other: bool,
    },
    NewForm,
}

fn act() -> impl Strategy<Value = (u8, Act)> {
    let act = prop_oneof![
        6 => any::<(u8, u8, u8)>().prop_map(|(key, a, b)| Act::Insert(key, a, b)),
        6 => any::<(u8, u8, u8, bool)>()
            .prop_map(|(pick, sets, value, logs_all)| Act::Update { pick, sets, value, logs_all }),
        5 => (any::<u8>(), any::<u8>(), prop::option::of(any::<u8>()), prop::bool::weighted(0.4))
            .prop_map(|(pick, to, value, logs_all)| Act::Move { pick, to, value, logs_all }),
        1 => any::<(u8, u8, bool)>().prop_map(|(pick, other, logs_all)| Act::Swap { pick, other, logs_all }),
        4 => any::<u8>().prop_map(Act::Delete),
        1 => any::<bool>().prop_map(|also_the_other| Act::Truncate { also_the_other }),
    ];
    (0..2u8, act)
}

fn form(name: &str, extra: usize) -> Arc<TableSchema> {
    let column = |name: &str| Column {
        id: 0,
        name: name.into(),
        ty: Type::Text,
        native: "text".into(),
        nullable: true,
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Null,
    };
    // The second table's key does not stand together.
    let (names, key): (Vec<&str>, Vec<usize>) =
        if name == "one" { (vec!["id", "a", "b"], vec![0]) } else { (vec!["k2", "a", "b", "k1"], vec![3, 0]) };
    let extra_names: Vec<String> = (0..extra).map(|n| format!("x{n}")).collect();
    Arc::new(TableSchema::new(
        TableName::new("s", name),
        Dialect::Postgres,
        names.into_iter().chain(extra_names.iter().map(String::as_str)).map(column).collect(),
        key,
    ))
}

/// Keys of few values, so that they meet often.
const KEYS: u8 = 5;

struct Source {
    forms: Vec<Arc<TableSchema>>,
    tables: Vec<Rows>,
    log: Vec<Change>,
    /// The tables as they were before each change of the log, and at its end.
    history: Vec<Store>,
}

impl Source {
    fn new() -> Self {
        let forms = vec![form("one", 0), form("two", 0)];
        let mut source = Self { forms, tables: vec![Rows::new(), Rows::new()], log: Vec::new(), history: Vec::new() };
        source.history.push(source.store());
        source
    }

    fn store(&self) -> Store {
        self.forms.iter().zip(&self.tables).map(|(form, rows)| (form.name.name.clone(), rows.clone())).collect()
    }

    fn key_cells(form: &TableSchema, number: u8) -> Cells {
        let number = number % KEYS;
        let texts = [format!("{}", number / 2), format!("{}", number % 2)];
        let columns: Vec<&Column> = form.key_columns().collect();
        match columns.as_slice() {
            [only] => Cells::from([(only.name.clone(), vec![b'0' + number])]),
            _ => columns.iter().zip(texts).map(|(column, text)| (column.name.clone(), text.into_bytes())).collect(),
        }
    }

    /// The row as the log has it; of the unchanged columns only the key.
    fn row(form: &TableSchema, cells: &Cells, unchanged: &BTreeSet<String>) -> Row {
        let mut builder = RowBuilder::new();
        for column in &form.columns {
            builder.push(match cells.get(&column.name) {
                _ if unchanged.contains(&column.name) => Cell::Unchanged,
                Some(text) => Cell::Text(text),
                None => Cell::Null,
            });
        }
        builder.finish()
    }

    fn write(&mut self, table: usize, op: Op) {
        self.log.push(Change { table: self.forms[table].clone(), op });
        self.history.push(self.store());
    }

    fn pick(&self, table: usize, pick: u8) -> Option<Key> {
        let keys: Vec<&Key> = self.tables[table].keys().collect();
        (!keys.is_empty()).then(|| keys[pick as usize % keys.len()].clone())
    }

    fn act(&mut self, table: usize, act: &Act) {
        match *act {
            Act::Insert(number, a, b) => {
                let form = self.forms[table].clone();
                let mut cells = Self::key_cells(&form, number);
                cells.extend(value(a).map(|value| ("a".into(), value)));
                cells.extend(value(b).map(|value| ("b".into(), value)));
                let added = form.columns.iter().filter(|column| column.name.starts_with('x'));
                cells.extend(added.filter_map(|column| Some((column.name.clone(), value(a ^ b)?))));
                let row = Self::row(&form, &cells, &BTreeSet::new());
                let key = key_of(&form, &row);
                if let Entry::Vacant(place) = self.tables[table].entry(key) {
                    place.insert(cells);
                    self.write(table, Op::Insert(row));
                }
            }
            Act::Update { pick, sets, value: number, logs_all } => {
                let Some(key) = self.pick(table, pick) else { return };
                let names = ["a", "b"].into_iter().enumerate().filter(|(bit, _)| sets & (1 << bit) != 0);
                let set = names.map(|(bit, name)| (name.to_owned(), value(number.wrapping_add(bit as u8)))).collect();
                self.update(table, &key, None, set, logs_all);
            }
            Act::Move { pick, to, value: number, logs_all } => {
                let Some(key) = self.pick(table, pick) else { return };
                let set = number.map(|number| ("a".to_owned(), value(number))).into_iter().collect();
                self.update(table, &key, Some(to), set, logs_all);
            }
            Act::Swap { pick, other, logs_all } => self.swap(table, pick, other, logs_all),
            Act::Delete(pick) => {
                let Some(key) = self.pick(table, pick) else { return };
                self.tables[table].remove(&key);
                self.write(table, Op::Delete { key });
            }
            Act::Truncate { also_the_other } => {
                for table in if also_the_other { vec![0, 1] } else { vec![table] } {
                    self.tables[table].clear();
                    self.write(table, Op::Truncate);
                }
            }
            Act::NewForm => {
                let extra = self.forms[table].columns.iter().filter(|column| column.name.starts_with('x')).count();
                self.forms[table] = form(&self.forms[table].name.name, (extra + 1).min(2));
            }
        }
    }

    fn update(&mut self, table: usize, key: &Key, to: Option<u8>, set: Vec<(String, Option<Vec<u8>>)>, logs_all: bool) {
        let form = self.forms[table].clone();
        let mut cells = self.tables[table][key].clone();
        let named = |column: &Column| column.name.clone();
        let key_names: BTreeSet<String> = form.key_columns().map(named).collect();
        let mut unchanged: BTreeSet<String> = form.columns.iter().map(named).collect();
        unchanged.retain(|name| !key_names.contains(name));
        for (name, value) in set {
            unchanged.remove(&name);
            match value {
                Some(value) => cells.insert(name, value),
                None => cells.remove(&name),
            };
        }
        let before = cells.clone();
        cells.extend(to.map(|to| Self::key_cells(&form, to)).unwrap_or_default());
        // A large key cell that did not change is left out as well.
        unchanged
            .extend(form.key_columns().map(|column| column.name.clone()).filter(|name| cells[name] == before[name]));
        if logs_all {
            unchanged.clear();
        }
        let new_key = key_of(&form, &Self::row(&form, &cells, &BTreeSet::new()));
        if new_key != *key && self.tables[table].contains_key(&new_key) {
            return;
        }
        let after = Self::row(&form, &cells, &unchanged);
        self.tables[table].remove(key);
        self.tables[table].insert(new_key, cells);
        self.write(table, Op::Update { key: key.clone(), after });
    }

    /// Two rows change places by way of a third key, if one is free.
    fn swap(&mut self, table: usize, pick: u8, other: u8, logs_all: bool) {
        let (Some(one), Some(two)) = (self.pick(table, pick), self.pick(table, other)) else {
            return;
        };
        let form = self.forms[table].clone();
        let number = |key: &Key| {
            let is = |number: &u8| {
                key_of(&form, &Self::row(&form, &Self::key_cells(&form, *number), &BTreeSet::new())) == *key
            };
            (0..KEYS).find(is)
        };
        let (Some(first), Some(second)) = (number(&one), number(&two)) else {
            return;
        };
        let free = (0..KEYS).find(|number| {
            let row = Self::row(&form, &Self::key_cells(&form, *number), &BTreeSet::new());
            !self.tables[table].contains_key(&key_of(&form, &row))
        });
        let Some(free) = free.filter(|_| one != two) else {
            return;
        };
        let free_key = key_of(&form, &Self::row(&form, &Self::key_cells(&form, free), &BTreeSet::new()));
        self.update(table, &one, Some(free), Vec::new(), logs_all);
        self.update(table, &two, Some(first), Vec::new(), logs_all);
        self.update(table, &free_key, Some(second), Vec::new(), logs_all);
    }
}

fn value(number: u8) -> Option<Vec<u8>> {
    (!number.is_multiple_of(4)).then(|| format!("v{number}").into_bytes())
}

fn key_of(form: &TableSchema, row: &Row) -> Key {
    KeyEncoder::new(&form.key).key(row).unwrap()
}

/// A target that does what the contract of steps says, and no more.
#[derive(Debug, Clone, Default)]
struct Target {
    store: Store,
    missing: BTreeSet<(String, Key)>,
}

impl Target {
    fn at(store: &Store) -> Self {
        Self { store: store.clone(), ..Self::default() }
    }

    fn apply(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Truncate(tables) => {
                    for table in tables {
                        self.store.entry(table.name.name.clone()).or_default().clear();
                    }
                }
                Step::Rows(rows) => self.rows(rows),
            }
        }
    }

    fn rows(&mut self, rows: &TableRows) {
        let form = &rows.table;
        let name = form.name.name.clone();
        let table = self.store.entry(name.clone()).or_default();
        let mut seen = BTreeSet::new();
        for key in &rows.deletes {
            assert!(seen.insert(key.clone()), "{key} stands twice");
            table.remove(key);
        }
        for PartialUpdate { key, row } in &rows.updates {
            let new_key = key_of(form, row);
            assert!(seen.insert(key.clone()), "{key} stands twice");
            assert!(new_key == *key || seen.insert(new_key.clone()), "{new_key} stands twice");
            let moved = table.remove(key);
            let there = if new_key == *key { moved } else { table.remove(&new_key).or(moved) };
            match there {
                Some(mut cells) => {
                    set(&mut cells, form, row);
                    table.insert(new_key, cells);
                }
                None => drop(self.missing.insert((name.clone(), new_key))),
            }
        }
        for row in &rows.upserts {
            assert!(!row.is_partial());
            let key = key_of(form, row);
            assert!(seen.insert(key.clone()), "{key} stands twice");
            set(table.entry(key.clone()).or_default(), form, row);
        }
        for row in &rows.inserts {
            assert!(!row.is_partial());
            let key = key_of(form, row);
            assert!(seen.insert(key.clone()), "{key} stands twice");
            assert!(!table.contains_key(&key), "{key} is there already");
            set(table.entry(key.clone()).or_default(), form, row);
        }
    }
}

fn set(cells: &mut Cells, form: &TableSchema, row: &Row) {
    for (column, cell) in form.columns.iter().zip(row.cells()) {
        match cell {
            Cell::Text(text) | Cell::Raw(text) => drop(cells.insert(column.name.clone(), text.to_vec())),
            Cell::Null => drop(cells.remove(&column.name)),
            Cell::Unchanged => {}
        }
    }
}

fn run(acts: &[(u8, Act)]) -> Source {
    let mut source = Source::new();
    for (table, act) in acts {
        source.act(*table as usize, act);
    }
    source
}

/// Cuts a log at these places into batches.
fn batches<'a>(log: &'a [Change], cuts: &[prop::sample::Index]) -> Vec<&'a [Change]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(log.len() + 1)).chain([0, log.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &log[pair[0]..pair[1]]).collect()
}

/// What slices that were read at any time after the start of the log leave: each row as it was at a time of its own.
fn window(source: &Source, from: usize, times: &[prop::sample::Index]) -> Store {
    let mut store = Store::new();
    let mut time = times.iter().cycle();
    for form in &source.forms {
        let name = &form.name.name;
        let rows = store.entry(name.clone()).or_default();
        for number in 0..KEYS {
            let cells = Source::key_cells(form, number);
            let key = key_of(form, &Source::row(form, &cells, &BTreeSet::new()));
            let later = &source.history[from..];
            let at = &later[time.next().unwrap().index(later.len())];
            if let Some(cells) = at[name].get(&key) {
                rows.insert(key, cells.clone());
            }
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_net_change_leaves_what_the_source_has(
        acts in prop::collection::vec(prop_oneof![20 => act(), 1 => (0..2u8).prop_map(|table| (table, Act::NewForm))], 0..60),
        from in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let source = run(&acts);
        let from = from.index(source.log.len() + 1);
        for steps_of in [net_changes, row_by_row] {
            let mut target = Target::at(&source.history[from]);
            for batch in batches(&source.log[from..], &cuts) {
                target.apply(&steps_of(batch));
            }
            prop_assert_eq!(&target.store, &source.store());
            prop_assert!(target.missing.is_empty());
        }
    }

    /// Slices are read at any time after the log's start. Once the log has passed the last read, only rows that are known
    /// to be read again may differ from the source's, whichever way each batch was applied.
    #[test]
    fn past_a_window_the_rows_are_the_sources(
        acts in prop::collection::vec(act(), 0..60),
        times in prop::collection::vec(any::<prop::sample::Index>(), 10),
        from in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        ways in prop::collection::vec(any::<bool>(), 4),
    ) {
        let source = run(&acts);
        let from = from.index(source.log.len() + 1);
        let mut target = Target::at(&window(&source, from, &times));
        let mut again = BTreeSet::new();
        for (batch, net) in batches(&source.log[from..], &cuts).into_iter().zip(ways) {
            let mut steps = if net { net_changes(batch) } else { row_by_row(batch) };
            expect_any(&mut steps, |_| true);
            again.extend(moved_keys(&steps, |_, _| true).into_iter().map(|(table, key)| (table.name.name.clone(), key)));
            target.apply(&steps);
        }
        again.append(&mut target.missing);
        let mut wanted = source.store();
        for (table, key) in again {
            wanted.get_mut(&table).unwrap().remove(&key);
            target.store.get_mut(&table).unwrap().remove(&key);
        }
        prop_assert_eq!(&target.store, &wanted);
    }

    /// Past the window of the ranges, some keys are read again, each at a time of its own. Only what comes from a key whose
    /// read the log has not passed, or from one that is to be read again for that, is to be read again; the rest is as at
    /// the source, and so are the keys that were read.
    #[test]
    fn past_the_ranges_only_rows_that_are_ahead_are_to_be_read_again(
        acts in prop::collection::vec(act(), 0..60),
        read in prop::collection::vec((any::<prop::sample::Index>(), 0..KEYS, any::<prop::sample::Index>()), 0..4),
        from in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ways in prop::collection::vec(any::<bool>(), 6),
    ) {
        let source = run(&acts);
        let from = from.index(source.log.len() + 1);
        let mut target = Target::at(&source.history[from]);
        // Where the log has to come before a key that was read is sure.
        let mut ahead: BTreeMap<(String, Key), usize> = BTreeMap::new();
        for (table, number, time) in &read {
            let form = table.get(&source.forms);
            let name = form.name.name.clone();
            let cells = Source::key_cells(form, *number);
            let key = key_of(form, &Source::row(form, &cells, &BTreeSet::new()));
            let high = from + time.index(source.log.len() + 1 - from);
            let rows = target.store.entry(name.clone()).or_default();
            match source.history[high][&name].get(&key) {
                Some(cells) => drop(rows.insert(key.clone(), cells.clone())),
                None => drop(rows.remove(&key)),
            }
            // A key may be read twice: the last read counts, and the log has to pass both.
            let known = ahead.entry((name, key)).or_default();
            *known = high.max(*known);
        }
        let mut again: BTreeSet<(String, Key)> = BTreeSet::new();
        let mut at = from;
        for (batch, net) in batches(&source.log[from..], &cuts).into_iter().zip(ways) {
            let mut steps = if net { net_changes(batch) } else { row_by_row(batch) };
            expect_any(&mut steps, |_| true);
            let is_unsure = |table: &TableSchema, key: &Key| {
                let row = (table.name.name.clone(), key.clone());
                ahead.get(&row).is_some_and(|high| *high > at) || again.contains(&row)
            };
            let moved = moved_keys(&steps, is_unsure);
            again.extend(moved.into_iter().map(|(table, key)| (table.name.name.clone(), key)));
            target.apply(&steps);
            again.append(&mut target.missing);
            at += batch.len();
        }
        let mut wanted = source.store();
        for (table, key) in again {
            wanted.get_mut(&table).unwrap().remove(&key);
            target.store.get_mut(&table).unwrap().remove(&key);
        }
        prop_assert_eq!(&target.store, &wanted);
    }
}

fn text_row(cells: &[Option<&str>]) -> Row {
    let mut builder = RowBuilder::new();
    cells.iter().for_each(|cell| builder.push(cell.map_or(Cell::Unchanged, |text| Cell::Text(text.as_bytes()))));
    builder.finish()
}

fn key(text: &str) -> Key {
    Key::from_cells([Cell::Text(text.as_bytes())])
}

fn shown(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| match step {
            Step::Truncate(tables) => {
                format!("truncate {:?}", tables.iter().map(|table| table.name.name.as_str()).collect::<Vec<_>>())
            }
            Step::Rows(rows) => format!(
                "{}: -{:?} ~{:?} +{:?} *{:?}",
                rows.table.name.name,
                rows.deletes,
                rows.updates.iter().map(|update| (&update.key, &update.row)).collect::<Vec<_>>(),
                rows.upserts,
                rows.inserts
            ),
        })
        .collect()
}

#[test]
fn a_row_touched_many_times_is_written_once() {
    let table = form("one", 0);
    let change = |op| Change { table: table.clone(), op };
    let log = [
        change(Op::Insert(text_row(&[Some("1"), Some("x"), Some("y")]))),
        change(Op::Insert(text_row(&[Some("2"), Some("x"), Some("y")]))),
        change(Op::Update { key: key("1"), after: text_row(&[Some("1"), Some("z"), None]) }),
        change(Op::Delete { key: key("2") }),
        change(Op::Update { key: key("3"), after: text_row(&[Some("3"), Some("z"), None]) }),
        change(Op::Update { key: key("3"), after: text_row(&[Some("3"), None, Some("w")]) }),
    ];
    assert_eq!(shown(&net_changes(&log)), [r#"one: -[['2']] ~[(['3'], ['3', 'z', 'w'])] +[] *[['1', 'z', 'y']]"#]);
    assert_eq!(row_by_row(&log).len(), 6);
}

/// By key, unless another constraint of the table may need the source's order.
#[test]
fn rows_go_in_the_order_of_their_keys_where_that_is_free() {
    let plain = form("one", 0);
    let index = |unique, constraint: Option<&str>| Index {
        name: "i".into(),
        unique,
        columns: vec!["a".into()],
        partial: false,
        definition: String::new(),
        constraint: constraint.map(Into::into),
    };
    let to = |table: &str| ForeignKey {
        name: "f".into(),
        columns: vec!["a".into()],
        references: TableName::new("s", table),
        referenced_columns: vec!["id".into()],
        actions: String::new(),
    };
    let with = |indexes, foreign_keys| Arc::new(TableSchema { indexes, foreign_keys, ..TableSchema::clone(&plain) });
    let sorted = "one: -[['3'], ['30']] ~[] +[['2', 'x', 'y'], ['9', 'x', 'y'], ['10', 'x', 'y']] *[]";
    let as_they_came = "one: -[['30'], ['3']] ~[] +[['10', 'x', 'y'], ['9', 'x', 'y'], ['2', 'x', 'y']] *[]";
    let cases = [
        (plain.clone(), sorted),
        (with(vec![index(false, None)], vec![to("other")]), sorted),
        (with(vec![index(true, None)], vec![]), as_they_came),
        (with(vec![index(false, Some("EXCLUDE (a WITH =)"))], vec![]), as_they_came),
        (with(vec![], vec![to("one")]), as_they_came),
    ];
    for (table, expected) in cases {
        let mut log = Vec::new();
        for id in ["10", "9", "2"] {
            log.push(Op::Update { key: key(id), after: text_row(&[Some(id), Some("x"), Some("y")]) });
        }
        log.extend(["30", "3"].map(|id| Op::Delete { key: key(id) }));
        let log: Vec<Change> = log.into_iter().map(|op| Change { table: table.clone(), op }).collect();
        assert_eq!(shown(&net_changes(&log)), [expected], "{table:?}");
    }
}

#[test]
fn moves_of_different_rows_stand_side_by_side() {
    let table = form("one", 0);
    let shift = |from: &str, to: &str| Change {
        table: table.clone(),
        op: Op::Update { key: key(from), after: text_row(&[Some(to), None, None]) },
    };
    assert_eq!(net_changes(&[shift("1", "11"), shift("2", "12"), shift("3", "13")]).len(), 1);
    // The second goes where the first came from.
    assert_eq!(net_changes(&[shift("2", "3"), shift("1", "2")]).len(), 2);
}

#[test]
fn a_partial_update_of_a_deleted_row_finds_no_row() {
    let table = form("one", 0);
    let change = |op| Change { table: table.clone(), op };
    let steps = net_changes(&[
        change(Op::Delete { key: key("1") }),
        change(Op::Update { key: key("1"), after: text_row(&[Some("1"), Some("a"), None]) }),
    ]);
    assert_eq!(
        shown(&steps),
        [r#"one: -[['1']] ~[] +[] *[]"#, r#"one: -[] ~[(['1'], ['1', 'a', unchanged])] +[] *[]"#]
    );
}

#[test]
fn forms_of_a_table_stay_in_their_order() {
    let (old, new) = (form("one", 0), form("one", 1));
    let insert = |table: &Arc<TableSchema>, cells: &[Option<&str>]| Change {
        table: table.clone(),
        op: Op::Insert(text_row(cells)),
    };
    let steps = net_changes(&[
        insert(&old, &[Some("1"), Some("a"), Some("b")]),
        insert(&form("one", 0), &[Some("2"), Some("a"), Some("b")]),
        insert(&new, &[Some("1"), Some("c"), Some("d"), Some("e")]),
        insert(&old, &[Some("1"), Some("f"), Some("g")]),
        insert(&new, &[Some("1"), Some("h"), Some("i"), Some("j")]),
    ]);
    assert_eq!(
        shown(&steps),
        [
            r#"one: -[] ~[] +[] *[['1', 'a', 'b'], ['2', 'a', 'b']]"#,
            r#"one: -[] ~[] +[] *[['1', 'c', 'd', 'e']]"#,
            r#"one: -[] ~[] +[] *[['1', 'f', 'g']]"#,
            r#"one: -[] ~[] +[] *[['1', 'h', 'i', 'j']]"#,
        ]
    );
}

#[test]
fn tables_truncated_side_by_side_are_one_step() {
    let (one, two) = (form("one", 0), form("two", 0));
    let log = [one.clone(), two, one].map(|table| Change { table, op: Op::Truncate });
    assert_eq!(shown(&net_changes(&log)), [r#"truncate ["one", "two"]"#]);
}

#[test]
fn a_key_cell_that_the_log_left_out_is_the_old_one() {
    let table = form("two", 0);
    let before = Key::from_cells([Cell::Text(b"k1"), Cell::Text(b"k2")]);
    let after = text_row(&[Some("new k2"), Some("a"), Some("b"), None]);
    let steps = net_changes(&[Change { table, op: Op::Update { key: before, after } }]);
    assert_eq!(shown(&steps), [r#"two: -[['k1', 'k2']] ~[] +[['new k2', 'a', 'b', 'k1']] *[]"#]);
}
