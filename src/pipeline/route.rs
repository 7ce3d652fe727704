//! From a change as the log has it to a change of the target's table: drops what is not carried, and lifts rows of
//! older forms into the form that the target has now. Pure.
//!
//! The target's form follows the source's *catalog*, which may be ahead of the log. So a row of the log may lack
//! columns that were added after it (they take the column's fill, or stay unchanged), and may carry columns that were
//! dropped after it (they are left out).

use rowferry_api::{Cell, Change, Fill, Key, Op, Row, RowBuilder, TableName, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;

/// The tables that changes go to, and how.
#[derive(Debug, Default)]
pub(super) struct Router {
    routes: HashMap<TableName, Route>,
    lifts: HashMap<usize, (Arc<TableSchema>, Lift)>,
    builder: RowBuilder,
}

/// Where one table's changes go.
#[derive(Debug, Clone)]
struct Route {
    /// The form that rows are read in; its columns stand in the order of the target's.
    read: Arc<TableSchema>,
    target: Arc<TableSchema>,
    /// Changes of a table that is not copied yet, or is halted, are dropped.
    open: bool,
}

/// How rows of one form of the log become rows of the target's form.
#[derive(Debug)]
enum Lift {
    /// Not carried.
    Drop,
    /// Cell by cell the same.
    Same(Arc<TableSchema>),
    /// Other columns.
    Cells(Arc<TableSchema>, Vec<From>),
}

#[derive(Debug)]
enum From {
    Cell(usize),
    Absent(Fill),
}

impl Router {
    /// Sets or replaces where a table goes.
    pub(super) fn set(&mut self, read: Arc<TableSchema>, target: Arc<TableSchema>, open: bool) {
        self.routes.insert(read.name.clone(), Route { read, target, open });
        self.lifts.clear();
    }

    /// Lets a table's changes pass, or drops them.
    pub(super) fn open(&mut self, table: &TableName, open: bool) {
        if let Some(route) = self.routes.get_mut(table) {
            route.open = open;
            self.lifts.clear();
        }
    }

    /// Whether the log's form of a table has something that the carried form does not know: then the catalog has
    /// moved on and must be read before the rows that follow.
    pub(super) fn is_news(&self, logged: &TableSchema, known: &TableSchema) -> bool {
        match self.routes.get(&logged.name) {
            Some(route) if route.open => logged.columns.iter().any(|column| {
                known.columns.iter().all(|have| have.name != column.name || have.native != column.native)
            }),
            _ => false,
        }
    }

    /// The change as the target takes it; `None` if the table is not carried now.
    pub(super) fn route(&mut self, change: Change) -> Option<Change> {
        let id = Arc::as_ptr(&change.table) as usize;
        if !self.lifts.contains_key(&id) {
            let lift = self.plan(&change.table);
            // Keeping the form alive keeps its address from being taken by another.
            self.lifts.insert(id, (change.table.clone(), lift));
        }
        match &self.lifts[&id].1 {
            Lift::Drop => None,
            Lift::Same(table) => Some(Change { table: table.clone(), op: change.op }),
            Lift::Cells(table, cells) => {
                let op = match change.op {
                    Op::Insert(row) => Op::Insert(lift(&mut self.builder, &row, cells, true)),
                    Op::Update { key, after } => {
                        Op::Update { key, after: lift(&mut self.builder, &after, cells, false) }
                    }
                    other => other,
                };
                Some(Change { table: table.clone(), op })
            }
        }
    }

    /// Brings changes that were routed under an older form of a target table into the form it has now.
    pub(super) fn relift(&mut self, changes: &mut [Change], target: &Arc<TableSchema>) {
        for change in changes.iter_mut().filter(|change| change.table.name == target.name) {
            if Arc::ptr_eq(&change.table, target) {
                continue;
            }
            let cells = plan_cells(&change.table, target);
            change.op = match std::mem::replace(&mut change.op, Op::Truncate) {
                Op::Insert(row) => Op::Insert(lift(&mut self.builder, &row, &cells, true)),
                Op::Update { key, after } => Op::Update { key, after: lift(&mut self.builder, &after, &cells, false) },
                other => other,
            };
            change.table = target.clone();
        }
    }

    fn plan(&self, logged: &Arc<TableSchema>) -> Lift {
        let Some(route) = self.routes.get(&logged.name).filter(|route| route.open) else {
            return Lift::Drop;
        };
        let names = |form: &TableSchema| form.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        if names(logged) == names(&route.read) {
            return Lift::Same(route.target.clone());
        }
        Lift::Cells(route.target.clone(), plan_cells(logged, &route.read))
    }
}

fn plan_cells(from: &TableSchema, to: &TableSchema) -> Vec<From> {
    to.columns
        .iter()
        .map(|column| match from.column_index(&column.name) {
            Some(index) => From::Cell(index),
            None => From::Absent(column.fill.clone()),
        })
        .collect()
}

fn lift(builder: &mut RowBuilder, row: &Row, cells: &[From], whole: bool) -> Row {
    let have: Vec<Cell<'_>> = row.cells().collect();
    for from in cells {
        builder.push(match from {
            From::Cell(index) => have.get(*index).copied().unwrap_or(Cell::Unchanged),
            From::Absent(_) if !whole => Cell::Unchanged,
            From::Absent(Fill::Value(text)) => Cell::Text(text.as_bytes()),
            From::Absent(_) => Cell::Null,
        });
    }
    builder.finish()
}

/// The keys that a change touches, before and after it.
pub(super) fn touched_keys(change: &Change) -> Vec<Key> {
    let mut encoder = rowferry_api::KeyEncoder::new(&change.table.key);
    match &change.op {
        Op::Insert(row) => encoder.key(row).into_iter().collect(),
        Op::Update { key, after } => {
            let mut keys = vec![key.clone()];
            keys.extend(encoder.key(after).filter(|new| new != key));
            keys
        }
        Op::Delete { key } => vec![key.clone()],
        Op::Truncate => Vec::new(),
    }
}
