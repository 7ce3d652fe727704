//! Writes the steps of a batch. Blocking; inside a transaction that the caller has begun.

use crate::error::Explain;
use crate::plan::Plan;
use crate::writer::Writer;
use rowferry_api::{Applied, Cell, Error, ErrorKind, Key, PartialUpdate, Result, Row, Step, TableRows, failpoint};
use rusqlite::{CachedStatement, Connection};
use std::sync::Arc;

/// Writes steps in order.
pub(crate) fn steps(writer: &mut Writer, steps: &[Step]) -> Result<Applied> {
    let mut applied = Applied::default();
    for step in steps {
        match step {
            Step::Rows(rows) => table_rows(writer, rows, &mut applied)?,
            Step::Truncate(tables) => {
                for table in tables {
                    let plan = writer.plan(table)?;
                    writer.connection.execute(&plan.clear, []).explain(|| format!("empty {}", plan.table))?;
                }
            }
        }
        failpoint!("sqlite.step");
    }
    Ok(applied)
}

fn table_rows(writer: &mut Writer, rows: &TableRows, applied: &mut Applied) -> Result<()> {
    let plan = writer.plan(&rows.table)?;
    let connection = &writer.connection;
    let mut scratch = Vec::new();
    if !rows.deletes.is_empty() {
        delete(connection, &plan, &rows.deletes, &mut scratch)?;
    }
    if !rows.updates.is_empty() {
        let mut updates =
            Updates { connection, plan: &plan, carried: Vec::new(), statement: None, scratch: &mut scratch };
        for update in &rows.updates {
            if !updates.apply(update)? {
                applied.missing.push((Arc::clone(&rows.table), updates.key_after(update)));
            }
        }
    }
    for rows in [&rows.upserts, &rows.inserts] {
        if !rows.is_empty() {
            upsert(connection, &plan, rows, &mut scratch)?;
        }
    }
    Ok(())
}

/// Removes rows; one that is not there is no error.
pub(crate) fn delete(connection: &Connection, plan: &Plan, keys: &[Key], scratch: &mut Vec<u8>) -> Result<()> {
    let what = || format!("delete from {}", plan.table);
    let mut statement = connection.prepare_cached(&plan.delete).explain(what)?;
    for key in keys {
        plan.bind_key(&mut statement, key, scratch)?;
        statement.raw_execute().explain(what)?;
    }
    Ok(())
}

fn upsert(connection: &Connection, plan: &Plan, rows: &[Row], scratch: &mut Vec<u8>) -> Result<()> {
    let what = || format!("write a row of {}", plan.table);
    let mut statement = connection.prepare_cached(&plan.upsert).explain(what)?;
    for row in rows {
        let mut count = 0;
        for (index, cell) in row.cells().enumerate() {
            plan.bind_cell(&mut statement, index, cell, scratch)?;
            count += 1;
        }
        if count != plan.columns.len() {
            return Err(wrong_count(plan, count));
        }
        statement.raw_execute().explain(what)?;
    }
    Ok(())
}

/// Else a cell of the row before would be written again.
pub(crate) fn wrong_count(plan: &Plan, count: usize) -> Error {
    let expected = plan.columns.len();
    Error::new(ErrorKind::Protocol, format!("write a row of {}: it has {count} cells, not {expected}", plan.table))
}

/// Partial updates, one after the other; the statement stays while the same cells are carried.
struct Updates<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    /// By the cell's index, of the row at hand.
    carried: Vec<bool>,
    /// For rows whose key stays: what it carries, and the statement.
    statement: Option<(Vec<bool>, CachedStatement<'a>)>,
    scratch: &'a mut Vec<u8>,
}

impl Updates<'_> {
    /// Whether the row was there.
    fn apply(&mut self, update: &PartialUpdate) -> Result<bool> {
        self.carried.clear();
        self.carried.extend(update.row.cells().map(|cell| cell != Cell::Unchanged));
        if self.carried.len() != self.plan.columns.len() {
            return Err(wrong_count(self.plan, self.carried.len()));
        }
        if self.moves_key(update) { self.apply_move(update) } else { self.apply_in_place(update) }
    }

    fn moves_key(&self, update: &PartialUpdate) -> bool {
        let mut before = update.key.cells();
        self.plan.key.iter().any(|&index| {
            let (before, after) = (before.next(), update.row.cell(index));
            after != Some(Cell::Unchanged) && before != after
        })
    }

    fn apply_in_place(&mut self, update: &PartialUpdate) -> Result<bool> {
        let what = || format!("update a row of {}", self.plan.table);
        if self.statement.as_ref().is_none_or(|(carried, _)| *carried != self.carried) {
            let sql = self.plan.update_text(&self.carried, false, false);
            self.statement = Some((self.carried.clone(), self.connection.prepare_cached(&sql).explain(what)?));
        }
        let (_, statement) = self.statement.as_mut().expect("set above");
        for (index, cell) in update.row.cells().enumerate() {
            if cell != Cell::Unchanged && !self.plan.key.contains(&index) {
                self.plan.bind_cell(statement, index, cell, self.scratch)?;
            }
        }
        self.plan.bind_key(statement, &update.key, self.scratch)?;
        Ok(statement.raw_execute().explain(what)? > 0)
    }

    /// A row of the new key takes the cells and the old row goes; else the old row takes the new key too.
    fn apply_move(&mut self, update: &PartialUpdate) -> Result<bool> {
        let what = || format!("move a row of {} to another key", self.plan.table);
        let by_row = self.plan.update_text(&self.carried, false, true);
        let mut statement = self.connection.prepare_cached(&by_row).explain(what)?;
        self.bind_carried(&mut statement, update)?;
        if statement.raw_execute().explain(what)? > 0 {
            delete(self.connection, self.plan, std::slice::from_ref(&update.key), self.scratch)?;
            return Ok(true);
        }
        let moved = self.plan.update_text(&self.carried, true, false);
        let mut statement = self.connection.prepare_cached(&moved).explain(what)?;
        self.bind_carried(&mut statement, update)?;
        self.plan.bind_key(&mut statement, &update.key, self.scratch)?;
        Ok(statement.raw_execute().explain(what)? > 0)
    }

    fn bind_carried(&mut self, statement: &mut CachedStatement<'_>, update: &PartialUpdate) -> Result<()> {
        for (index, cell) in update.row.cells().enumerate() {
            if cell != Cell::Unchanged {
                self.plan.bind_cell(statement, index, cell, self.scratch)?;
            }
        }
        Ok(())
    }

    fn key_after(&self, update: &PartialUpdate) -> Key {
        let mut before = update.key.cells();
        Key::from_cells(self.plan.key.iter().map(|&index| {
            let before = before.next().unwrap_or(Cell::Null);
            update.row.cell(index).filter(|cell| *cell != Cell::Unchanged).unwrap_or(before)
        }))
    }
}
