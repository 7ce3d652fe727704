//! How rows of one form are written into one table: which columns, how each is stored, and the statements.

use crate::values::{Storage, bind};
use crate::writer::{Writer, quote};
use rowferry_api::{Cell, Error, ErrorKind, Key, Range, Result, Row, TableSchema};
use rusqlite::{CachedStatement, ToSql};

/// A column that is written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Its place among a row's cells.
    pub place: usize,
    /// Quoted.
    pub name: String,
    pub storage: Storage,
    pub is_key: bool,
}

/// How rows of one form are written.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Quoted.
    pub table: String,
    /// In the order of a row's cells; columns that the table no longer has are left out.
    pub columns: Vec<Written>,
    /// In key order.
    pub keys: Vec<Written>,
}

impl Shape {
    pub(crate) fn new(writer: &mut Writer, form: &TableSchema) -> Result<Self> {
        let missing = || {
            Error::new(ErrorKind::Schema, format!("write table {}: it, or a column of its key, is not there", form.name))
                .hint(format!("It was dropped. `rowferry resync --table {}` makes it again.", form.name))
        };
        let have = writer.columns(&form.name)?.ok_or_else(missing)?;
        let written = |place: usize| {
            let column = &form.columns[place];
            have.iter().find(|have| have.name.eq_ignore_ascii_case(&column.name)).map(|_| Written {
                place,
                name: quote(&column.name),
                storage: Storage::of(&column.ty),
                is_key: form.key.contains(&place),
            })
        };
        let keys: Option<Vec<Written>> = form.key.iter().map(|&place| written(place)).collect();
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(missing)?;
        Ok(Self { table: quote(&form.name.name), columns: (0..form.columns.len()).filter_map(written).collect(), keys })
    }

    /// Parameters in the order of `columns`.
    pub(crate) fn upsert(&self) -> String {
        let join = |parts: Vec<String>| parts.join(", ");
        let names = join(self.columns.iter().map(|column| column.name.clone()).collect());
        let places = join((1..=self.columns.len()).map(|number| format!("?{number}")).collect());
        let key = join(self.keys.iter().map(|key| key.name.clone()).collect());
        let others: Vec<String> = self
            .columns
            .iter()
            .filter(|column| !column.is_key)
            .map(|column| format!("{0} = excluded.{0}", column.name))
            .collect();
        let action = if others.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", join(others)) };
        format!("INSERT INTO {} ({names}) VALUES ({places}) ON CONFLICT ({key}) DO {action}", self.table)
    }

    /// `a = ?1 AND b = ?2`, from parameter `first` on.
    pub(crate) fn is_key(&self, first: usize) -> String {
        let pairs = self.keys.iter().enumerate().map(|(index, key)| format!("{} = ?{}", key.name, first + index));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// Sets these columns of the row with a key; the key's parameters follow the columns'.
    pub(crate) fn update(&self, columns: &[&Written]) -> String {
        let set = columns.iter().enumerate().map(|(index, column)| format!("{} = ?{}", column.name, index + 1));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("UPDATE {} SET {set} WHERE {}", self.table, self.is_key(columns.len() + 1))
    }

    /// The condition for a range of keys, with its parameters; `None` for all rows.
    pub(crate) fn in_range<'a>(&self, range: &'a Range) -> Option<(String, Vec<&'a Key>)> {
        let Range::Keys { after, upto } = range else { return None };
        let names = self.keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>().join(", ");
        let mut conditions = Vec::new();
        let mut keys = Vec::new();
        for (key, op) in after.iter().map(|key| (key, ">")).chain(upto.iter().map(|key| (key, "<="))) {
            let first = keys.len() * self.keys.len();
            let places: Vec<String> = (1..=self.keys.len()).map(|number| format!("?{}", first + number)).collect();
            conditions.push(format!("({names}) {op} ({})", places.join(", ")));
            keys.push(key);
        }
        (!conditions.is_empty()).then(|| (conditions.join(" AND "), keys))
    }

    /// Binds a key's cells from parameter `first` on.
    pub(crate) fn bind_key(
        &self,
        statement: &mut CachedStatement<'_>,
        first: usize,
        key: &Key,
        scratch: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        for (index, (column, cell)) in self.keys.iter().zip(key.cells()).enumerate() {
            bind_cell(statement, first + index, column.storage, cell, scratch)?;
        }
        Ok(())
    }
}

/// Binds the cells of these columns, which stand in the order of the row's cells, from parameter 1 on.
pub(crate) fn bind_row<'a>(
    statement: &mut CachedStatement<'_>,
    columns: impl Iterator<Item = &'a Written>,
    row: &Row,
    scratch: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let mut cells = row.cells().enumerate();
    for (index, column) in columns.enumerate() {
        let cell = cells.find(|(place, _)| *place == column.place).map_or(Cell::Null, |(_, cell)| cell);
        bind_cell(statement, index + 1, column.storage, cell, scratch)?;
    }
    Ok(())
}

/// Binds one cell.
pub(crate) fn bind_cell(
    statement: &mut CachedStatement<'_>,
    parameter: usize,
    storage: Storage,
    cell: Cell<'_>,
    scratch: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    let value: &dyn ToSql = &bind(storage, cell, scratch);
    statement.raw_bind_parameter(parameter, value)
}
