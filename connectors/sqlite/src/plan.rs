//! How rows of one form of a table are written: which columns the table has, and the texts of the statements.
//!
//! In every statement the cell of column `i` is the parameter `?i+1`, and cell `j` of a key that stands apart from the
//! row is `?columns+j+1`.

use crate::bind::bind;
use crate::catalog::{self, ActualTable, quoted, quoted_list};
use crate::error::Explain;
use crate::types::{Affinity, Kind};
use rowferry_api::{Cell, Error, ErrorKind, Key, Result, TableSchema};
use rusqlite::{Connection, Statement};

/// How to write rows of one form of a table.
#[derive(Debug)]
pub(crate) struct Plan {
    form: TableSchema,
    /// As the file spells it.
    pub(crate) table: String,
    /// By the index of the cell; `None` where the table no longer has the column.
    pub(crate) columns: Vec<Option<PlanColumn>>,
    /// Indexes into `columns`, in key order.
    pub(crate) key: Vec<usize>,
    /// Other sets of columns of which no two rows hold the same.
    pub(crate) uniques: Vec<Vec<usize>>,
    /// The table has columns that the form lacks.
    pub(crate) has_more_columns: bool,
    pub(crate) upsert: String,
    pub(crate) delete: String,
    pub(crate) clear: String,
}

/// A column that is written.
#[derive(Debug)]
pub(crate) struct PlanColumn {
    /// As the form spells it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Text that looks like a number would become a real.
    real: bool,
}

impl PlanColumn {
    /// The column as both ends compare it: by its bytes, whatever collation the table declares.
    pub(crate) fn compared(&self) -> String {
        let collation = if self.kind == Kind::Text { " COLLATE BINARY" } else { "" };
        format!("{}{collation}", quoted(&self.name))
    }
}

impl Plan {
    pub(crate) fn new(connection: &Connection, form: &TableSchema) -> Result<Self> {
        let what = || format!("look at table {}", form.name);
        let Some(actual) = catalog::table(connection, &form.name.name).explain(what)? else {
            return Err(Error::new(ErrorKind::Schema, format!("write to {}: there is no such table", form.name))
                .hint(format!("Run `rowferry resync --table {}` to create and fill it again.", form.name)));
        };
        let columns: Vec<_> = form.columns.iter().map(|column| plan_column(&actual, column)).collect();
        if form.key.is_empty() || form.key.iter().any(|&index| columns[index].is_none()) {
            return Err(Error::new(ErrorKind::Schema, format!("write to {}: it lacks a column of the key", form.name)));
        }
        let known = |name: &str| form.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let table = quoted(&actual.name);
        let mut plan = Self {
            has_more_columns: actual.columns.iter().any(|column| !column.generated && !known(&column.name)),
            uniques: uniques(&actual, form),
            key: form.key.clone(),
            upsert: String::new(),
            delete: String::new(),
            clear: format!("DELETE FROM {table}"),
            table: actual.name,
            form: form.clone(),
            columns,
        };
        plan.upsert = plan.upsert_text();
        plan.delete = format!("DELETE FROM {table} WHERE {}", plan.where_key_apart());
        Ok(plan)
    }

    pub(crate) fn is_for(&self, form: &TableSchema) -> bool {
        self.form == *form
    }

    /// The columns that the table has, with their cells' indexes.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, &PlanColumn)> {
        self.columns.iter().enumerate().filter_map(|(index, column)| Some((index, column.as_ref()?)))
    }

    /// The key's columns, in key order.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = &PlanColumn> {
        self.key.iter().filter_map(|&index| self.columns[index].as_ref())
    }

    fn upsert_text(&self) -> String {
        let names = quoted_list(self.present().map(|(_, column)| column.name.as_str()));
        let values: Vec<_> = self.present().map(|(index, _)| format!("?{}", index + 1)).collect();
        let key = quoted_list(self.key_columns().map(|column| column.name.as_str()));
        let set: Vec<_> = self
            .present()
            .filter(|(index, _)| !self.key.contains(index))
            .map(|(_, column)| format!("{0} = excluded.{0}", quoted(&column.name)))
            .collect();
        let action = if set.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", set.join(", ")) };
        // OR ABORT overrides conflict clauses of a table that somebody else made. The alias keeps a table by the name of
        // `excluded` apart from the row that was refused.
        format!(
            "INSERT OR ABORT INTO {} AS rowferry_row ({names}) VALUES ({}) ON CONFLICT ({key}) DO {action}",
            quoted(&self.table),
            values.join(", ")
        )
    }

    /// `UPDATE` of the columns that `carried` names by their cells' indexes. The row is found by a key that stands apart
    /// or, for `by_row`, by the row's own.
    pub(crate) fn update_text(&self, carried: &[bool], with_key: bool, by_row: bool) -> String {
        let mut set: Vec<_> = self
            .present()
            .filter(|(index, _)| carried[*index] && (with_key || !self.key.contains(index)))
            .map(|(index, column)| format!("{} = ?{}", quoted(&column.name), index + 1))
            .collect();
        if set.is_empty() {
            // Nothing to write; the statement still says whether the row is there.
            set.extend(self.key_columns().take(1).map(|column| format!("{0} = {0}", quoted(&column.name))));
        }
        let key = if by_row { self.where_key_of_row() } else { self.where_key_apart() };
        format!("UPDATE OR ABORT {} SET {} WHERE {key}", quoted(&self.table), set.join(", "))
    }

    /// `"a" = ?7 AND "b" = ?8`, for a key that stands apart.
    pub(crate) fn where_key_apart(&self) -> String {
        let first = self.columns.len() + 1;
        let equal = |(at, column): (usize, &PlanColumn)| format!("{} = ?{}", column.compared(), first + at);
        self.key_columns().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// `"a" = ?1 AND "b" = ?2`, for the key in the row.
    pub(crate) fn where_key_of_row(&self) -> String {
        self.where_row(&self.key)
    }

    /// `"a" = ?1 AND "b" = ?2`, for these cells of the row.
    pub(crate) fn where_row(&self, columns: &[usize]) -> String {
        let equal = |&index: &usize| Some(format!("{} = ?{}", self.columns[index].as_ref()?.compared(), index + 1));
        columns.iter().filter_map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Binds the cell of a row; one that the table has no column for is left out.
    pub(crate) fn bind_cell(
        &self,
        statement: &mut Statement<'_>,
        index: usize,
        cell: Cell<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(Some(column)) = self.columns.get(index) else {
            return Ok(());
        };
        if cell == Cell::Null && self.key.contains(&index) {
            // An INTEGER PRIMARY KEY would take a number of its own choice.
            return Err(Error::new(
                ErrorKind::BadRow,
                format!("write column {} of {}: a key cannot be NULL", column.name, self.table),
            ));
        }
        self.bind_column(statement, index + 1, column, cell, scratch)
    }

    /// Binds a key that stands apart from the row.
    pub(crate) fn bind_key(&self, statement: &mut Statement<'_>, key: &Key, scratch: &mut Vec<u8>) -> Result<()> {
        self.bind_key_from(statement, self.columns.len() + 1, key, scratch)
    }

    /// Binds a key's cells as parameters from `?first` on.
    pub(crate) fn bind_key_from(
        &self,
        statement: &mut Statement<'_>,
        first: usize,
        key: &Key,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let mut cells = key.cells();
        for (at, column) in self.key_columns().enumerate() {
            let cell = cells.next().ok_or_else(|| {
                Error::new(ErrorKind::Protocol, format!("find a row of {}: its key has too few cells", self.table))
            })?;
            self.bind_column(statement, first + at, column, cell, scratch)?;
        }
        Ok(())
    }

    fn bind_column(
        &self,
        statement: &mut Statement<'_>,
        at: usize,
        column: &PlanColumn,
        cell: Cell<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        bind(statement, at, column.kind, column.real, cell, scratch)
            .map_err(|refusal| refusal.of_column(&self.table, &column.name))
    }
}

fn plan_column(actual: &ActualTable, column: &rowferry_api::Column) -> Option<PlanColumn> {
    let there = actual.column(&column.name).filter(|there| !there.generated)?;
    let real = there.affinity == Affinity::Real;
    Some(PlanColumn { name: column.name.clone(), kind: Kind::of(&column.ty), real })
}

/// The unique sets that are not the key and that lie within the form's columns; those that cover only some rows too.
fn uniques(actual: &ActualTable, form: &TableSchema) -> Vec<Vec<usize>> {
    let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
    let index = |name: &String| form.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let others =
        actual.uniques.iter().filter(|unique| !unique.columns.is_empty() && (unique.partial || !unique.is_over(&key)));
    others.filter_map(|unique| unique.columns.iter().map(index).collect()).collect()
}
